// Signing in, out, and requests of any kind.

import { createClient, Filter } from "matrix-js-sdk";
import { cryptoCallbacks } from "./secrets.mjs";
import { until } from "./until.mjs";

let client = null;

export function sdk() {
  if (!client) throw new Error("Sign in first: there is no client yet");
  return client;
}

export async function register({ baseUrl, user, password }) {
  const answer = await createClient({ baseUrl }).registerRequest({
    username: user,
    password,
    auth: { type: "m.login.dummy" },
    inhibit_login: true,
  });
  return answer.user_id;
}

export async function login({
  baseUrl,
  user,
  password,
  deviceId,
  initialSyncLimit = 20,
}) {
  if (client) throw new Error("Signed in already: one process is one device");
  const granted = await createClient({ baseUrl }).loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user },
    password,
    device_id: deviceId,
    initial_device_display_name: "foreign client",
  });
  client = createClient({
    baseUrl,
    userId: granted.user_id,
    deviceId: granted.device_id,
    accessToken: granted.access_token,
    cryptoCallbacks,
    disableVoip: true,
  });
  await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit, filter: wideFilter(client) });
  await until("the first sync", () => client.isInitialSyncComplete());
  await until("the device keys on the server", hasPublishedKeys);
  const keys = await client.getCrypto().getOwnDeviceKeys();
  return {
    userId: granted.user_id,
    deviceId: granted.device_id,
    accessToken: granted.access_token,
    ed25519: keys.ed25519,
    curve25519: keys.curve25519,
  };
}

// Without a limit a sync brings ten events, and the SDK never sees the others.
function wideFilter(client) {
  const filter = new Filter(client.getUserId());
  filter.setTimelineLimit(500);
  return filter;
}

// The SDK calls a sync complete before others can encrypt for the device.
async function hasPublishedKeys() {
  const user = client.getUserId();
  const answer = await client.downloadKeysForUsers([user]);
  return answer.device_keys[user]?.[client.getDeviceId()];
}

// `path` is the full one: /_matrix/client/v3/...
export function raw({ method = "GET", path, query = {}, body }) {
  return sdk().http.authedRequest(method, path, query, body, { prefix: "" });
}

export function logout() {
  return sdk().logout(true);
}

export function stop() {
  client?.stopClient();
}
