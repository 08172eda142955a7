// Devices, identities and keys.

import {
  DeviceId,
  LocalTrust,
  OlmMachine,
  UserId,
} from "@matrix-org/matrix-sdk-crypto-wasm";
import {
  AllDevicesIsolationMode,
  decodeRecoveryKey,
  deriveRecoveryKeyFromPassphrase,
  OnlySignedDevicesIsolationMode,
} from "matrix-js-sdk/lib/crypto-api/index.js";
import { remember } from "./secrets.mjs";
import { sdk } from "./session.mjs";
import { until } from "./until.mjs";

const api = () => sdk().getCrypto();

export function setIsolation({ mode }) {
  const modes = {
    all: () => new AllDevicesIsolationMode(false),
    signed: () => new OnlySignedDevicesIsolationMode(),
  };
  if (!Object.hasOwn(modes, mode)) throw new Error("mode is 'all' or 'signed'");
  api().setDeviceIsolationMode(modes[mode]());
}

export async function userDevices({ userId }) {
  const users = await api().getUserDeviceInfo([userId], true);
  return [...(users.get(userId)?.values() ?? [])].map((device) => ({
    deviceId: device.deviceId,
    displayName: device.displayName ?? null,
    algorithms: device.algorithms,
    keys: Object.fromEntries(device.keys),
    signatures: plain(device.signatures),
    dehydrated: device.dehydrated,
  }));
}

// Maps within a map as objects, which JSON has.
function plain(map) {
  const entries = [...map].map(([key, of]) => [key, Object.fromEntries(of)]);
  return Object.fromEntries(entries);
}

export async function deviceStatus({ userId, deviceId }) {
  const status = await api().getDeviceVerificationStatus(userId, deviceId);
  if (!status) return null;
  return {
    signedByOwner: status.signedByOwner,
    crossSigningVerified: status.crossSigningVerified,
    localVerified: status.localVerified,
    verified: status.isVerified(),
  };
}

// Waits until this device is shown as signed by an owner who is verified.
export async function waitForVerified({ userId, deviceId, timeoutMs }) {
  const isVerified = async () =>
    (await deviceStatus({ userId, deviceId }))?.crossSigningVerified;
  await until(`the verification of ${deviceId}`, isVerified, timeoutMs);
}

export async function waitForVerifiedUser({ userId, timeoutMs }) {
  const isVerified = async () => (await userStatus({ userId })).verified;
  await until(`the verification of ${userId}`, isVerified, timeoutMs);
}

export async function userStatus({ userId }) {
  const status = await api().getUserVerificationStatus(userId);
  return {
    known: status.known,
    verified: status.isVerified(),
    wasVerified: status.wasCrossSigningVerified(),
    needsUserApproval: status.needsUserApproval,
  };
}

export async function verifyDevice({ userId, deviceId, verified = true }) {
  await api().setDeviceVerified(userId, deviceId, verified);
}

// The SDK blocks devices, and its public interface does not say so.
export async function blockDevice({ userId, deviceId }) {
  const ids = [new UserId(userId), new DeviceId(deviceId)];
  const device = await api().olmMachine.getDevice(...ids);
  await device.setLocalTrust(LocalTrust.BlackListed);
}

export async function deviceIsBlocked({ userId, deviceId }) {
  const ids = [new UserId(userId), new DeviceId(deviceId)];
  return (await api().olmMachine.getDevice(...ids)).isBlacklisted();
}

export async function withdrawVerification({ userId }) {
  await api().withdrawVerificationRequirement(userId);
}

// `reset` makes new keys even where there are some.
export async function bootstrapCrossSigning({ password, reset = false }) {
  const user = sdk().getUserId();
  // Without the public keys in store the SDK cannot import the private ones.
  await api().userHasCrossSigningKeys(user, true);
  await api().bootstrapCrossSigning({
    setupNewCrossSigning: reset,
    authUploadDeviceSigningKeys: (upload) =>
      upload({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
      }),
  });
  // The signature of this device comes back with a later key query.
  await until("the signature of this device", hasSignedItself);
  return crossSigningStatus();
}

async function hasSignedItself() {
  const userId = sdk().getUserId();
  const deviceId = sdk().getDeviceId();
  return (await deviceStatus({ userId, deviceId }))?.crossSigningVerified;
}

export async function crossSigningStatus() {
  const keyIds = {};
  for (const type of ["master_key", "self_signing_key", "user_signing_key"]) {
    keyIds[type] = await api().getCrossSigningKeyId(type);
  }
  return {
    ready: await api().isCrossSigningReady(),
    keyIds,
    ...(await api().getCrossSigningStatus()),
  };
}

// Returns the recovery key, as a person would write it down.
export async function bootstrapSecretStorage({
  passphrase,
  keyBackup = true,
  reset = false,
}) {
  const key = await api().createRecoveryKeyFromPassphrase(passphrase);
  await api().bootstrapSecretStorage({
    createSecretStorageKey: async () => key,
    setupNewSecretStorage: reset,
    setupNewKeyBackup: keyBackup,
  });
  return key.encodedPrivateKey;
}

export async function storeSecret({ name, value }) {
  await sdk().secretStorage.store(name, value);
}

export async function fetchSecret({ name }) {
  return (await sdk().secretStorage.get(name)) ?? null;
}

// Tells a further device the recovery key; bootstrapCrossSigning then imports.
export async function enterRecoveryKey({ recoveryKey }) {
  const keyId = await sdk().secretStorage.getDefaultKeyId();
  if (!keyId) throw new Error("The account has no secret storage");
  remember(keyId, decodeRecoveryKey(recoveryKey));
}

// The same with a passphrase, from which the account says how the key is derived.
export async function enterPassphrase({ passphrase }) {
  const keyId = await sdk().secretStorage.getDefaultKeyId();
  const [, info] = await sdk().secretStorage.getKey(keyId);
  const { salt, iterations } = info.passphrase;
  const key = await deriveRecoveryKeyFromPassphrase(passphrase, salt, iterations);
  remember(keyId, key);
}

// The SDK switches key requests off (element-web issue 26524), and has no public
// switch.
export function requestsRoomKeys() {
  return api().olmMachine.roomKeyRequestsEnabled;
}

// Switches them on, and tries again what could not be read in a room.
export async function requestRoomKeys({ roomId }) {
  api().olmMachine.roomKeyRequestsEnabled = true;
  const events = sdk().getRoom(roomId).getLiveTimeline().getEvents();
  const unread = events.filter((event) => event.isDecryptionFailure());
  const retry = (event) => event.attemptDecryption(api(), { isRetry: true });
  await Promise.all(unread.map(retry));
  return unread.length;
}

export async function forceDiscardSession({ roomId }) {
  await api().forceDiscardSession(roomId);
}

// Text, not values: a round trip through R would lose {} against [].
export function exportRoomKeys() {
  return api().exportRoomKeysAsJson();
}

export async function importRoomKeys({ keys }) {
  await api().importRoomKeysAsJson(keys);
}

// The file that Element exports keys to, and imports them from.
export async function exportKeyFile({ passphrase, rounds = 1000 }) {
  const keys = await api().exportRoomKeysAsJson();
  return OlmMachine.encryptExportedRoomKeys(keys, passphrase, rounds);
}

export async function importKeyFile({ file, passphrase }) {
  const keys = OlmMachine.decryptExportedRoomKeys(file, passphrase);
  await api().importRoomKeysAsJson(keys);
}
