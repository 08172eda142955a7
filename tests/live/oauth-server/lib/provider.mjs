// oidc-provider, set up as the Matrix specification wants the OAuth server of a
// homeserver to be ("OAuth 2.0 API"). All of the protocol is its own: metadata,
// registration, the device grant, rotation of refresh tokens, revocation,
// introspection, and the pages for a person (its development interactions, which
// believe any password). It keeps all in memory, and what has expired for 15 seconds
// more: a device code that is polled later is unknown (invalid_grant), and not run
// out (expired_token).
//
// A refresh token is good for one use. If one comes again, oidc-provider takes it
// for stolen: it answers invalid_grant and revokes the whole grant, also the tokens
// that were issued in its place. So a client that lost the response to a refresh is
// signed out. Matrix Authentication Service (MAS) forgives that one case; a client
// that is right with this server is right with both.

import Provider, { errors } from "oidc-provider";

export const account_actions = [
  "org.matrix.device_delete",
  "org.matrix.cross_signing_reset",
];

export const device_grant = "urn:ietf:params:oauth:grant-type:device_code";

// The stable name and the one of MSC2967, which older clients still ask for.
const api = /^urn:matrix:(org\.matrix\.msc2967\.)?client:api:\*$/;
const device = /^urn:matrix:(?:org\.matrix\.msc2967\.)?client:device:(.+)$/;

export function device_of(scope = "") {
  return scope.split(" ").map((token) => token.match(device)?.[1]).find(Boolean);
}

// Scopes that name a device cannot be listed in a configuration. oidc-provider lets
// a resource server say, for each request, which scopes it has: the homeserver is
// one, and has those that the client asks for, if they are as they must be.
function matrix_scope(scope) {
  const tokens = scope.split(" ");
  const devices = tokens.filter((token) => device.test(token));
  if (devices.length !== 1 || !tokens.some((token) => api.test(token))) {
    throw new errors.InvalidScope("the scope needs the API and exactly one device");
  }
  return [...tokens.filter((token) => api.test(token)), ...devices].join(" ");
}

// The scope is in the request where a grant begins, and in the grant later.
function requested_scope({ params, entities }) {
  const source =
    entities.DeviceCode ?? entities.AuthorizationCode ?? entities.RefreshToken;
  return params?.scope ?? source?.scope ?? "";
}

export function make_provider(issuer, secret, settings) {
  return new Provider(issuer, {
    cookies: { keys: [secret] },
    // The homeserver, which asks about tokens.
    clients: [
      {
        client_id: "homeserver",
        client_secret: secret,
        grant_types: [],
        redirect_uris: [],
        response_types: [],
      },
    ],
    // The paths of MAS; Synapse knows the one of introspection by heart.
    routes: {
      authorization: "/authorize",
      code_verification: "/device",
      device_authorization: "/oauth2/device",
      introspection: "/oauth2/introspect",
      registration: "/oauth2/registration",
      revocation: "/oauth2/revoke",
      token: "/oauth2/token",
    },
    discovery: {
      account_management_uri: new URL("account", issuer).href,
      account_management_actions_supported: account_actions,
    },
    features: {
      deviceFlow: { enabled: true },
      dPoP: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (ctx, client) => client.clientId === "homeserver",
      },
      pushedAuthorizationRequests: { enabled: false },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:homeserver",
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx) => ({
          scope: matrix_scope(requested_scope(ctx.oidc)),
          accessTokenFormat: "opaque",
          accessTokenTTL: settings.access_ttl,
        }),
      },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: false },
    },
    responseTypes: ["code"],
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    // Synapse knows a user by the name.
    extraTokenClaims: (ctx, token) => ({ username: token.accountId }),
    // The person may close the browser.
    expiresWithSession: () => false,
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed("refresh_token"),
    rotateRefreshToken: true,
    // The specification: with either token, both are revoked.
    revokeGrantPolicy: () => true,
    ttl: {
      DeviceCode: () => settings.code_ttl,
      RefreshToken: 14 * 86400,
      Session: 86400,
      Interaction: 3600,
      Grant: 14 * 86400,
    },
  });
}
