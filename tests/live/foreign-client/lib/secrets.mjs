// The secret storage keys this device has been told, as a person would type
// them. The SDK asks for one whenever it reads or writes secret storage.

const known = new Map();

export function remember(keyId, privateKey) {
  known.set(keyId, privateKey);
}

export const cryptoCallbacks = {
  async getSecretStorageKey({ keys }) {
    const keyId = Object.keys(keys).find((id) => known.has(id));
    return keyId ? [keyId, known.get(keyId)] : null;
  },
  cacheSecretStorageKey(keyId, _info, privateKey) {
    remember(keyId, privateKey);
  },
};
