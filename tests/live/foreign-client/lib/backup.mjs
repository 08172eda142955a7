// The key backup.

import { raw, sdk } from "./session.mjs";
import { until } from "./until.mjs";

const api = () => sdk().getCrypto();

// The version this device backs keys up to, once it holds `keys` keys.
export async function waitForBackup({ keys, timeoutMs }) {
  await api().checkKeyBackupAndEnable();
  return until(
    `${keys} keys in the backup`,
    async () => {
      // The SDK itself remembers how many there were.
      const path = "/_matrix/client/v3/room_keys/version";
      const { version, count } = await raw({ path });
      const active = await api().getActiveSessionBackupVersion();
      return active === version && count >= keys && active;
    },
    timeoutMs,
  );
}

// What this device thinks of the backup that the server shows.
export async function backupTrust() {
  const info = await api().getKeyBackupInfo();
  return info && { version: info.version, ...(await api().isKeyBackupTrusted(info)) };
}

// Whether the private key of the backup is on this device.
export async function holdsBackupKey() {
  return (await api().getSessionBackupPrivateKey()) !== null;
}

// Gets all keys, with what is in secret storage.
export async function restoreBackup() {
  await api().loadSessionBackupPrivateKeyFromSecretStorage();
  return api().restoreKeyBackup();
}

// Makes another backup, and deletes those before.
export function resetBackup() {
  return api().resetKeyBackup();
}
