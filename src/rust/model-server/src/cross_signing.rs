//! Cross-signing keys, and the signatures that were added to keys after their upload.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::token::Caller;

const KINDS: [&str; 3] = ["master", "self_signing", "user_signing"];

/// The cross-signing keys of a user, and what was signed of theirs.
#[derive(Default)]
pub(crate) struct CrossSigning {
    /// By kind, as uploaded.
    keys: BTreeMap<&'static str, Object>,
    /// By device id or public master key, and then by signing user.
    signatures: BTreeMap<String, BTreeMap<String, Object>>,
}

impl CrossSigning {
    pub(crate) fn master(&self) -> Option<&Object> {
        self.keys.get("master")
    }

    /// The public key by which signatures speak of the master key.
    pub(crate) fn master_id(&self) -> Option<&str> {
        self.master().and_then(public_key)
    }

    /// Adds signatures; false when all of them were there.
    pub(crate) fn sign(&mut self, target: &str, signer: &str, signatures: &Object) -> bool {
        let by_signer = self.signatures.entry(target.to_owned()).or_default();
        let held = by_signer.entry(signer.to_owned()).or_default();
        let before = held.clone();
        held.extend(signatures.clone());
        *held != before
    }

    pub(crate) fn forget_signatures(&mut self, target: &str) {
        self.signatures.remove(target);
    }

    /// A key with the signatures that a reader may see: those of its owner and their own.
    pub(crate) fn with_signatures(
        &self,
        key: &Object,
        owner: &str,
        target: &str,
        reader: &str,
    ) -> Object {
        let mut key = key.clone();
        let Some(added) = self.signatures.get(target) else { return key };
        let all = key.entry("signatures").or_insert_with(|| json!({}));
        for (signer, added) in added.iter().filter(|(by, _)| *by == owner || *by == reader) {
            if let Some(all) = all.as_object_mut()
                && let Some(of_signer) =
                    all.entry(signer.as_str()).or_insert_with(|| json!({})).as_object_mut()
            {
                of_signer.extend(added.clone());
            }
        }
        key
    }

    /// The keys by kind; who signed whom is for the signing user's eyes only.
    pub(crate) fn shown_to(&self, owner: &str, reader: &str) -> Vec<(&'static str, Object)> {
        let shown =
            self.keys.iter().filter(|(kind, _)| **kind != "user_signing" || owner == reader);
        let signed = |(kind, key): (&&'static str, &Object)| {
            let target = public_key(key).unwrap_or_default();
            (*kind, self.with_signatures(key, owner, target, reader))
        };
        shown.map(signed).collect()
    }
}

impl ModelServer {
    pub(crate) fn upload_cross_signing(&mut self, me: &Caller, call: &Call) -> Reply {
        let body = call.object()?;
        let mut keys = BTreeMap::new();
        for kind in KINDS {
            if let Some(key) = body.object(&format!("{kind}_key"))? {
                check_key(me, kind, key)?;
                keys.insert(kind, key.clone());
            }
        }
        let held = &self.user_of(me)?.cross_signing.keys;
        if keys.iter().all(|(kind, key)| held.get(kind) == Some(key)) {
            return Ok(json!({}));
        }
        match (held.contains_key("master"), keys.contains_key("master")) {
            (false, false) => return Err(Error::missing_param("master_key")),
            (false, true) => {}
            (true, _) => self.require_password(me, &body)?,
        }
        self.user_of(me)?.cross_signing.keys.extend(keys);
        self.note_device_change(&me.user);
        Ok(json!({}))
    }
}

fn check_key(me: &Caller, kind: &str, key: &Object) -> Result<(), Error> {
    let usage = key.list("usage")?;
    let is_used = usage.is_some_and(|usage| usage.contains(&Value::from(kind)));
    if key.need_text("user_id")? == me.user && is_used && public_key(key).is_some() {
        Ok(())
    } else {
        Err(Error::invalid_param(format!("Invalid {kind} key")))
    }
}

/// The one public key of a cross-signing key.
fn public_key(key: &Object) -> Option<&str> {
    let keys = key.get("keys")?.as_object().filter(|keys| keys.len() == 1)?;
    keys.values().next()?.as_str()
}
