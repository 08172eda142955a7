// What oidc-provider keeps, in memory. Its own store forgets what has expired, and
// a device code that ran out would be an unknown one: invalid_grant instead of
// expired_token.

const models = new Map();

export class Store {
  constructor(model) {
    this.entries = models.get(model) ?? new Map();
    models.set(model, this.entries);
  }

  async upsert(id, payload) {
    this.entries.set(id, payload);
  }

  async find(id) {
    return this.entries.get(id);
  }

  async consume(id) {
    this.entries.get(id).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.entries.delete(id);
  }

  async findByUid(uid) {
    return this.values().find((payload) => payload.uid === uid);
  }

  async findByUserCode(user_code) {
    return this.values().find((payload) => payload.userCode === user_code);
  }

  async revokeByGrantId(grant_id) {
    for (const [id, payload] of this.entries) {
      if (payload.grantId === grant_id) this.entries.delete(id);
    }
  }

  values() {
    return [...this.entries.values()];
  }
}

// Ends a grant: its tokens are unknown from now on.
export async function end_grant(grant_id) {
  for (const model of ["AccessToken", "RefreshToken", "DeviceCode"]) {
    await new Store(model).revokeByGrantId(grant_id);
  }
  await new Store("Grant").destroy(grant_id);
}
