//! The answer to `POST /keys/query`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    device_keys::{self, DeviceKeys},
    unique_map::{UniqueMap, read_object},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{canonical_json::Json, parallel},
};

/// A device the server told of: its keys, or why they are refused.
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
}

/// What the server told.
#[derive(Debug)]
pub struct Answer {
    /// The users it knows something of, or knows to have no devices.
    pub users: BTreeSet<String>,
    /// Their devices.
    pub devices: Vec<Verdict>,
    /// The servers it could not reach: for their users this is no answer.
    pub failures: BTreeSet<String>,
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
    #[serde(borrow, default)]
    failures: UniqueMap<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct CrossSigningKey {
    #[serde(default)]
    keys: UniqueMap<Json>,
}

impl Body<'_> {
    /// The public cross-signing keys of all users. A signature names its key by the name of a
    /// device or by such a key: a device of that name would have its signature taken for the
    /// user's (specification: "Key and signature security").
    fn cross_signing_keys(&self) -> BTreeSet<(String, String)> {
        let kinds = [self.master_keys, self.self_signing_keys, self.user_signing_keys];
        let mut found = BTreeSet::new();
        for kind in kinds.into_iter().flatten() {
            let users: UniqueMap<&RawValue> = serde_json::from_str(kind.get()).unwrap_or_default();
            for (user_id, object) in users.0 {
                let key: CrossSigningKey = serde_json::from_str(object.get()).unwrap_or_default();
                for (id, value) in key.keys.0 {
                    let names = [id.split_once(':').map(|(_, name)| name), value.as_str()];
                    let names = names.into_iter().flatten().map(str::to_owned);
                    found.extend(names.map(|name| (user_id.clone(), name)));
                }
            }
        }
        found
    }
}

/// Judges `text` as an answer about `asked`. Users nobody asked for are left out.
///
/// # Errors
/// [`Kind::Answer`] when it is no such answer at all.
pub fn judge(text: &str, asked: &BTreeSet<String>) -> Result<Answer> {
    let body: Body<'_> = read_object(text).or_fail(Kind::Answer, "The answer to /keys/query")?;
    let cross_signing_keys = body.cross_signing_keys();
    let mut users = BTreeSet::new();
    let mut objects = Vec::new();
    for (user_id, of_user) in body.device_keys.0 {
        if !asked.contains(&user_id) {
            continue;
        }
        // A user whose part cannot be read is not a user without devices.
        if let Ok(devices) = serde_json::from_str::<UniqueMap<&RawValue>>(of_user.get()) {
            for (device_id, object) in devices.0 {
                objects.push((user_id.clone(), device_id, object));
            }
            users.insert(user_id);
        }
    }
    let devices = parallel::map(objects, |(user_id, device_id, object)| {
        let keys = if cross_signing_keys.contains(&(user_id.clone(), device_id.clone())) {
            Err(Error::new(Kind::Signature, "The device has the name of a cross-signing key."))
        } else {
            device_keys::judge(object.get(), &user_id, &device_id)
        };
        Verdict { user_id, device_id, text: object.get().to_owned(), keys }
    });
    Ok(Answer { users, devices, failures: body.failures.0.into_keys().collect() })
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
                "failures":{{"there":{{}}}},"unknown":[]}}"#
        );
        let answer = judge(&text, &asked()).unwrap();
        let accepted: Vec<_> = answer.devices.iter().filter(|d| d.keys.is_ok()).collect();
        assert_eq!((accepted.len(), accepted[0].device_id.as_str()), (1, "GOOD"));
        assert_eq!(answer.devices.len(), 4);
        assert_eq!(answer.users, BTreeSet::from([ALICE.to_owned()]));
        assert!(answer.failures.contains("there"));
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
