//! The response to `POST /keys/query`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::value::RawValue;
use vodozemac::Ed25519PublicKey;

use super::{
    cross_signing::{self, CrossSigningKeys},
    device_keys::{self, DeviceKeys},
    unique_map::{UniqueMap, read_object},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{canonical_json::Json, parallel},
};

/// A device the server returned: its keys, or why they are refused.
#[derive(Debug)]
pub struct Verdict {
    /// The owner.
    pub user_id: String,
    /// The name of the device.
    pub device_id: String,
    /// The object as it came.
    pub text: String,
    /// The judgement.
    pub keys: Result<DeviceKeys>,
    /// The self-signing key of the owner that signed it.
    pub signed_by: Option<String>,
}

/// The cross-signing keys of a user, or why they are refused.
#[derive(Debug)]
pub struct Identity {
    /// The user.
    pub user_id: String,
    /// The object of the master key as it came.
    pub master: String,
    /// The judgement.
    pub keys: Result<CrossSigningKeys>,
    /// A device bears the name of one of them.
    pub name_taken: bool,
}

/// What the server returned.
#[derive(Debug)]
pub struct Answer {
    /// The users it knows something of, or knows to have no devices. Of others it says nothing: their
    /// server could not be reached, or their part cannot be read.
    pub users: BTreeSet<String>,
    /// Their devices.
    pub devices: Vec<Verdict>,
    /// Their identities, of those who have one.
    pub identities: Vec<Identity>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    device_keys: UniqueMap<&'a RawValue>,
    #[serde(borrow)]
    master_keys: Option<&'a RawValue>,
    #[serde(borrow)]
    self_signing_keys: Option<&'a RawValue>,
    #[serde(borrow)]
    user_signing_keys: Option<&'a RawValue>,
}

/// The cross-signing keys of all users, by use, each as text.
struct CrossSigning<'a> {
    by_usage: [BTreeMap<String, &'a RawValue>; 3],
}

impl<'a> CrossSigning<'a> {
    fn new(body: &Body<'a>) -> Self {
        let read = |part: Option<&'a RawValue>| {
            let users = part.and_then(|part| serde_json::from_str(part.get()).ok());
            users.map_or_else(BTreeMap::new, |users: UniqueMap<&RawValue>| users.0)
        };
        let parts = [body.master_keys, body.self_signing_keys, body.user_signing_keys];
        Self { by_usage: parts.map(read) }
    }

    fn identity_of(&self, user_id: &str) -> Option<Identity> {
        let [master, self_signing, user_signing] =
            self.by_usage.each_ref().map(|users| users.get(user_id).map(|text| text.get()));
        let master = master?;
        let keys = cross_signing::judge(user_id, master, self_signing, user_signing);
        Some(Identity {
            user_id: user_id.to_owned(),
            master: master.to_owned(),
            keys,
            name_taken: false,
        })
    }

    /// The names of the cross-signing keys of a user, also of those that do not hold. A signature
    /// names its key by the name of a device or by such a key: a device of that name would have its
    /// signature taken for the user's (specification: "Key and signature security").
    fn names(&self, user_id: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for object in self.by_usage.iter().filter_map(|users| users.get(user_id)) {
            let key: KeyNames = serde_json::from_str(object.get()).unwrap_or_default();
            for (id, value) in key.keys.0 {
                let names = [id.split_once(':').map(|(_, name)| name), value.as_str()];
                found.extend(names.into_iter().flatten().map(str::to_owned));
            }
        }
        found
    }
}

#[derive(Default, Deserialize)]
struct KeyNames {
    #[serde(default)]
    keys: UniqueMap<Json>,
}

/// What is checked of all devices of one user.
struct Owner {
    user_id: String,
    self_signing: Option<Ed25519PublicKey>,
    taken_names: BTreeSet<String>,
}

/// Judges `text` as the response about the users `asked`. Other users in it are left out.
///
/// # Errors
/// [`Kind::Answer`] when it is no such response.
pub fn judge(text: &str, asked: &BTreeSet<String>) -> Result<Answer> {
    let body: Body<'_> = read_object(text).or_fail(Kind::Answer, "The answer to /keys/query")?;
    let cross_signing = CrossSigning::new(&body);
    let mut users = BTreeSet::new();
    let mut identities = Vec::new();
    let mut objects = Vec::new();
    for (user_id, of_user) in body.device_keys.0 {
        if !asked.contains(&user_id) {
            continue;
        }
        // A user whose part cannot be read is not a user without devices.
        let Ok(devices) = serde_json::from_str::<UniqueMap<&RawValue>>(of_user.get()) else {
            continue;
        };
        let mut identity = cross_signing.identity_of(&user_id);
        let keys = identity.as_ref().and_then(|identity| identity.keys.as_ref().ok());
        let owner = Arc::new(Owner {
            user_id: user_id.clone(),
            self_signing: keys.and_then(|keys| keys.self_signing),
            taken_names: cross_signing.names(&user_id),
        });
        if let Some(identity) = &mut identity {
            identity.name_taken = devices.0.keys().any(|id| owner.taken_names.contains(id));
        }
        for (device_id, object) in devices.0 {
            objects.push((Arc::clone(&owner), device_id, object));
        }
        identities.extend(identity);
        users.insert(user_id);
    }
    let devices = parallel::map(objects, |(owner, device_id, object)| {
        judge_device(&owner, device_id, object.get())
    });
    Ok(Answer { users, devices, identities })
}

fn judge_device(owner: &Owner, device_id: String, text: &str) -> Verdict {
    let mut signed_by = None;
    let mut judge = || {
        if owner.taken_names.contains(&device_id) {
            let message = "The device has the name of a cross-signing key.";
            return Err(Error::new(Kind::Signature, message));
        }
        let object = Json::parse_object(text)?;
        let required = &device_keys::REQUIRED_ALGORITHMS;
        let keys = device_keys::judge_object(&object, &owner.user_id, &device_id, required)?;
        let signs =
            |key: &Ed25519PublicKey| cross_signing::is_signed_by(&object, &owner.user_id, *key);
        signed_by = owner.self_signing.filter(signs).map(|key| key.to_base64());
        Ok(keys)
    };
    let keys = judge();
    Verdict { user_id: owner.user_id.clone(), device_id, text: text.to_owned(), keys, signed_by }
}

#[cfg(test)]
mod tests {
    use vodozemac::olm::Account;

    use super::*;
    use crate::primitives::account;

    const ALICE: &str = "@alice:here";

    fn asked() -> BTreeSet<String> {
        BTreeSet::from([ALICE.to_owned(), "@bob:there".to_owned()])
    }

    #[test]
    fn one_bad_device_hurts_itself_alone() {
        let good = account::device_keys(&Account::new(), ALICE, "GOOD").unwrap();
        let text = format!(
            r#"{{"device_keys":{{"{ALICE}":{{"GOOD":{good},"BAD":{{}},"WORSE":7,"OTHER":{good}}}}},
                "failures":7,"unknown":[]}}"#
        );
        let answer = judge(&text, &asked()).unwrap();
        let accepted: Vec<_> = answer.devices.iter().filter(|d| d.keys.is_ok()).collect();
        assert_eq!((accepted.len(), accepted[0].device_id.as_str()), (1, "GOOD"));
        assert_eq!(answer.devices.len(), 4);
        assert_eq!(answer.users, BTreeSet::from([ALICE.to_owned()]));
    }

    #[test]
    fn a_device_named_like_a_cross_signing_key_is_refused() {
        let good = account::device_keys(&Account::new(), ALICE, "GOOD").unwrap();
        for kind in ["master_keys", "self_signing_keys", "user_signing_keys"] {
            for keys in [r#"{"ed25519:GOOD":"x"}"#, r#"{"ed25519:x":"GOOD"}"#] {
                for (owner, holds) in [(ALICE, false), ("@bob:there", true)] {
                    let text = format!(
                        r#"{{"device_keys":{{"{ALICE}":{{"GOOD":{good}}}}},
                            "{kind}":{{"{owner}":{{"keys":{keys}}}}}}}"#
                    );
                    let answer = judge(&text, &asked()).unwrap();
                    assert_eq!(answer.devices[0].keys.is_ok(), holds, "{kind} {keys} {owner}");
                }
            }
        }
    }

    #[test]
    fn nobody_comes_in_unasked_and_nobody_comes_twice() {
        let answer = judge(r#"{"device_keys":{"@mallory:here":{}}}"#, &asked()).unwrap();
        assert!(answer.users.is_empty());
        let twice = format!(r#"{{"device_keys":{{"{ALICE}":{{}},"{ALICE}":{{}}}}}}"#);
        assert_eq!(judge(&twice, &asked()).unwrap_err().kind, Kind::Answer);
    }

    #[test]
    fn what_cannot_be_read_is_not_an_empty_list() {
        let answer = judge(&format!(r#"{{"device_keys":{{"{ALICE}":[]}}}}"#), &asked()).unwrap();
        assert!(answer.users.is_empty());
        for text in ["", "[]", "null", "{\"device_keys\":7}", "{"] {
            assert!(judge(text, &asked()).is_err(), "{text}");
        }
    }
}
