//! Uploads of signatures, by which devices and users are cross-signed.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object, expect_object};
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn upload_signatures(&mut self, me: &Caller, call: &Call) -> Reply {
        let body = call.object()?;
        let mut failures = json!({});
        for (user, signed) in &body {
            for (target, signed) in expect_object(user, signed)? {
                match self.add_signature(me, user, target, signed) {
                    Ok(true) => self.note_signature(me, user),
                    Ok(false) => {}
                    Err(error) => failures[user][target] = error.into_body(),
                }
            }
        }
        Ok(json!({"failures": failures}))
    }

    /// Adds the caller's signatures to a key of a user; true when there are new ones.
    fn add_signature(
        &mut self,
        me: &Caller,
        user: &str,
        target: &str,
        signed: &Value,
    ) -> Result<bool, Error> {
        let signed = expect_object(target, signed)?;
        let stored = self.signable_key(me, user, target);
        let stored = stored.ok_or_else(|| Error::not_found("No such key"))?;
        if unsigned(signed) != unsigned(stored) {
            return Err(Error::new(400, "M_INVALID_SIGNATURE", "Key mismatch"));
        }
        let signatures = signed.need_object("signatures")?.need_object(&me.user)?;
        let owner = self.users.get_mut(user);
        Ok(owner.is_some_and(|owner| owner.cross_signing.sign(target, &me.user, signatures)))
    }

    /// The key of that name, if the caller is one to sign it: users sign their own devices and
    /// master key, and the master keys of others.
    fn signable_key(&self, me: &Caller, user: &str, target: &str) -> Option<&Object> {
        let owner = self.users.get(user)?;
        if owner.cross_signing.master_id() == Some(target) {
            return owner.cross_signing.master();
        }
        let device = owner.devices.get(target).filter(|_| user == me.user)?;
        device.keys.as_ref()
    }

    fn note_signature(&mut self, me: &Caller, user: &str) {
        if user == me.user {
            self.note_device_change(user);
        } else {
            self.note_change_for(user, &me.user);
        }
    }
}

/// What a signature covers.
fn unsigned(key: &Object) -> Object {
    let mut key = key.clone();
    key.remove("signatures");
    key.remove("unsigned");
    key
}
