//! Access tokens and refresh tokens, and who a request comes from.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object};

/// How long an access token lives when it can be refreshed.
const LIFETIME_MS: u64 = 300_000;

/// The device a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: String,
    pub(crate) device: String,
}

impl Caller {
    /// For what belongs to one user alone.
    pub(crate) fn must_be(&self, user: &str) -> Result<(), Error> {
        if self.user == user {
            Ok(())
        } else {
            Err(Error::forbidden("This belongs to another user"))
        }
    }
}

#[derive(Default)]
pub(crate) struct Tokens {
    grants: BTreeMap<u64, Grant>,
    access: BTreeMap<String, u64>,
    /// Never removed: a spent token must be told from one that never was.
    refresh: BTreeMap<String, (Caller, u64)>,
}

/// An access token, and the refresh token that came with it.
struct Grant {
    caller: Caller,
    access: String,
    expires_at: Option<u64>,
    /// The grant this one was refreshed from. It stays good until this one is used, for the case
    /// that the response with the new tokens was lost.
    parent: Option<u64>,
}

impl Tokens {
    /// Use of a grant proves that its tokens arrived.
    fn settle(&mut self, id: u64) {
        let parent = self.grants.get_mut(&id).and_then(|grant| grant.parent.take());
        if let Some(grant) = parent.and_then(|parent| self.grants.remove(&parent)) {
            self.access.remove(&grant.access);
        }
    }

    pub(crate) fn revoke(&mut self, caller: &Caller) {
        self.grants.retain(|_, grant| grant.caller != *caller);
        self.access.retain(|_, id| self.grants.contains_key(id));
    }
}

impl ModelServer {
    pub(crate) fn authenticate(&mut self, call: &Call) -> Result<Caller, Error> {
        let missing = || Error::new(401, "M_MISSING_TOKEN", "Missing access token");
        let token = call.token.ok_or_else(missing)?;
        let unknown = || Error::unknown_token("Invalid access token passed.", false);
        let id = *self.tokens.access.get(token).ok_or_else(unknown)?;
        let grant = self.tokens.grants.get(&id).ok_or_else(unknown)?;
        if grant.expires_at.is_some_and(|end| call.now >= end) {
            return Err(Error::unknown_token("Access token has expired", true));
        }
        let caller = grant.caller.clone();
        self.tokens.settle(id);
        self.device_of(&caller)?.last_seen = call.now;
        Ok(caller)
    }

    /// The user whose token it is, whether or not it has expired.
    pub(crate) fn user_with(&self, token: &str) -> Option<String> {
        let id = self.tokens.access.get(token)?;
        self.tokens.grants.get(id).map(|grant| grant.caller.user.clone())
    }

    /// New tokens, as the fields of a login response.
    pub(crate) fn grant(&mut self, caller: &Caller, now: u64, refreshable: bool) -> Object {
        self.grant_after(caller, now, refreshable, None)
    }

    fn grant_after(
        &mut self,
        caller: &Caller,
        now: u64,
        refreshable: bool,
        parent: Option<u64>,
    ) -> Object {
        let id = self.next("token");
        let access = format!("{}_token_{id}", self.name);
        let mut fields = Object::new();
        fields.insert("access_token".to_owned(), Value::from(access.as_str()));
        if refreshable {
            let refresh = format!("{}_refresh_{id}", self.name);
            fields.insert("refresh_token".to_owned(), Value::from(refresh.as_str()));
            fields.insert("expires_in_ms".to_owned(), Value::from(LIFETIME_MS));
            self.tokens.refresh.insert(refresh, (caller.clone(), id));
        }
        let expires_at = refreshable.then(|| now.saturating_add(LIFETIME_MS));
        self.tokens.access.insert(access.clone(), id);
        self.tokens.grants.insert(id, Grant { caller: caller.clone(), access, expires_at, parent });
        fields
    }

    pub(crate) fn refresh(&mut self, call: &Call) -> Reply {
        let body = call.object()?;
        let known = self.tokens.refresh.get(body.need_text("refresh_token")?).cloned();
        let refused = |soft| Error::unknown_token("Refresh token is not valid", soft);
        let (caller, id) = known.ok_or_else(|| refused(false))?;
        if !self.tokens.grants.contains_key(&id) {
            // Signing in again helps only as long as the device is there to sign in to.
            return Err(refused(self.device_of(&caller).is_ok()));
        }
        self.tokens.settle(id);
        Ok(json!(self.grant_after(&caller, call.now, true, Some(id))))
    }
}
