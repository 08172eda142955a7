// STAND-INS. What Matrix Authentication Service does and oidc-provider does not,
// written by us; a test of these parts proves our client against our reading of
// the specification, and against Synapse, which is the other side of most of them.
//
//   - Synapse is told of users and devices, over its endpoints for MAS: a user is
//     registered and a device made when tokens are first issued, and the device is
//     deleted when the grant ends. Nothing else makes devices there.
//   - Synapse introspects with its shared secret as a bearer token; oidc-provider
//     knows clients with a password.
//   - `expires_in` in introspection, without which Synapse takes a token that has
//     expired for two minutes more (its cache).
//   - `interval` of the device grant, and `slow_down` for a client that polls
//     faster (RFC 8628, 3.5). oidc-provider sends neither.
//   - The account page, which asks who one is and believes it.

import { device_grant, device_of } from "./provider.mjs";

async function tell_synapse(settings, endpoint, body) {
  const response = await fetch(`${settings.homeserver}/_synapse/mas/${endpoint}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${settings.secret}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  if (!response.ok) {
    throw new Error(`Synapse, ${endpoint}: ${await response.text()}`);
  }
}

export function bearer_as_client(req, secret) {
  if (
    req.url === "/oauth2/introspect" &&
    req.headers.authorization === `Bearer ${secret}`
  ) {
    const basic = Buffer.from(`homeserver:${secret}`).toString("base64");
    req.headers.authorization = `Basic ${basic}`;
  }
}

// Of each device code: when it was last polled, and the interval, which grows by
// five seconds with each slow_down.
const polls = new Map();

export function too_fast(settings, form) {
  if (form.get("grant_type") !== device_grant) return false;
  const now = Date.now() / 1000;
  const poll = polls.get(form.get("device_code"));
  const early = poll && now - poll.last < poll.interval - 0.1;
  const slow_down = settings.slow_down > 0 || early;
  if (settings.slow_down > 0) settings.slow_down -= 1;
  polls.set(form.get("device_code"), {
    last: now,
    interval: (poll?.interval ?? settings.interval) + (slow_down ? 5 : 0),
  });
  return slow_down;
}

// Of each grant: the user and the device.
const grants = new Map();

async function grant_issued(settings, token) {
  if (grants.has(token.grantId)) return;
  const localpart = token.accountId;
  const device_id = device_of(token.scope);
  grants.set(token.grantId, { localpart, device_id });
  await tell_synapse(settings, "provision_user", { localpart });
  await tell_synapse(settings, "upsert_device", { localpart, device_id });
}

async function grant_ended(settings, grant_id) {
  const grant = grants.get(grant_id);
  grants.delete(grant_id);
  // A device that signed in again has two grants, and is deleted with the last.
  const same = (other) =>
    other.localpart === grant.localpart && other.device_id === grant.device_id;
  if (grant && ![...grants.values()].some(same)) {
    await tell_synapse(settings, "delete_device", grant);
  }
}

// Ends the grants of a user, or of one device: their tokens are unknown then.
export async function end_grants(provider, settings, which) {
  const { user, device_id, keep_devices } = which;
  const chosen = [...grants].filter(
    ([, grant]) =>
      grant.localpart === user && (!device_id || grant.device_id === device_id),
  );
  for (const [grant_id] of chosen) {
    await provider.AccessToken.revokeByGrantId(grant_id);
    await provider.RefreshToken.revokeByGrantId(grant_id);
    await provider.Grant.adapter.destroy(grant_id);
    if (keep_devices) grants.delete(grant_id);
    else await grant_ended(settings, grant_id);
  }
  return chosen.length;
}

export function around(provider, settings) {
  // Where oidc-provider itself ends a grant: revocation, a refresh token used twice.
  const ended = new WeakMap();
  provider.on("grant.revoked", (ctx, grant_id) => ended.set(ctx, grant_id));

  provider.use(async (ctx, next) => {
    await next();
    const { route, entities } = ctx.oidc ?? {};
    if (ended.has(ctx)) await grant_ended(settings, ended.get(ctx));
    if (route === "token" && ctx.status === 200) {
      await grant_issued(settings, entities.AccessToken);
    }
    if (route === "introspection" && ctx.body.exp) {
      ctx.body.expires_in = ctx.body.exp - Math.floor(Date.now() / 1000);
    }
    if (route === "device_authorization" && ctx.status === 200) {
      ctx.body.interval = settings.interval;
    }
  });
}

function account_form(query) {
  const hidden = ["action", "device_id"].map((name) => {
    const value = (query.get(name) ?? "").replace(/[&"<>]/g, "");
    return `<input type="hidden" name="${name}" value="${value}">`;
  });
  return `<title>Account</title><form method="post" action="/account">
    ${hidden.join("")}<input name="user"><button>Confirm</button></form>`;
}

export async function account(provider, settings, method, query, form) {
  if (method === "GET") return account_form(query);
  const user = form.get("user");
  switch (form.get("action")) {
    case "org.matrix.cross_signing_reset":
      await tell_synapse(settings, "allow_cross_signing_reset", { localpart: user });
      break;
    case "org.matrix.device_delete":
      await end_grants(provider, settings, { user, device_id: form.get("device_id") });
      break;
    default:
      return "<title>Account</title>There is no such action.";
  }
  return "<title>Account</title>Done";
}
