//! The response to `POST /keys/claim`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use super::{
    one_time_key,
    unique_map::{UniqueMap, read_object},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::canonical_json::Json,
};

/// The keys the server handed out: still as text, because what they must be signed with is known
/// to the caller only.
#[derive(Debug)]
pub struct Answer {
    keys: BTreeMap<(String, String), String>,
    /// The servers it could not reach.
    pub failures: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    one_time_keys: UniqueMap<&'a RawValue>,
    #[serde(borrow, default)]
    failures: UniqueMap<&'a RawValue>,
}

impl Answer {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is no such response.
    pub fn read(text: &str) -> Result<Self> {
        let body: Body<'_> =
            read_object(text).or_fail(Kind::Answer, "The answer to /keys/claim")?;
        let mut keys = BTreeMap::new();
        for (user_id, of_user) in body.one_time_keys.0 {
            let devices = serde_json::from_str::<UniqueMap<&RawValue>>(of_user.get());
            for (device_id, object) in devices.unwrap_or_default().0 {
                keys.insert((user_id.clone(), device_id), object.get().to_owned());
            }
        }
        Ok(Self { keys, failures: body.failures.0.into_keys().collect() })
    }

    /// Judges the key handed out for a device.
    ///
    /// # Errors
    /// [`Kind::Answer`] when there is none, or not exactly one; else as [`one_time_key::judge`].
    pub fn judge(
        &self,
        user_id: &str,
        device_id: &str,
        signing_key: Ed25519PublicKey,
    ) -> Result<Curve25519PublicKey> {
        let text = self
            .keys
            .get(&(user_id.to_owned(), device_id.to_owned()))
            .ok_or_else(|| Error::new(Kind::Answer, "The server had no one-time key."))?;
        let found = Json::parse_object(text)?;
        let mut found = found.iter();
        match (found.next(), found.next()) {
            (Some((key_id, Json::Object(object))), None) => {
                one_time_key::judge(key_id, object, signing_key, user_id, device_id)
            }
            (None, _) => Err(Error::new(Kind::Answer, "The server had no one-time key.")),
            _ => Err(Error::new(Kind::Answer, "The server must hand out one signed key a device.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use vodozemac::olm::Account;

    use super::*;
    use crate::primitives::account;

    const ALICE: &str = "@alice:here";

    #[test]
    fn each_device_is_judged_alone() {
        let device = Account::new();
        let key = Account::new().curve25519_key();
        let object = account::one_time_key(&device, key, false, ALICE, "GOOD").unwrap();
        let text = format!(
            r#"{{"one_time_keys":{{"{ALICE}":{{
                "GOOD":{{"signed_curve25519:A":{object}}},
                "TWO":{{"signed_curve25519:A":{object},"signed_curve25519:B":{object}}},
                "EMPTY":{{}},"ODD":7}},"@odd:here":[]}},"failures":{{"there":{{}}}}}}"#
        );
        let answer = Answer::read(&text).unwrap();
        let judge = |device_id: &str| answer.judge(ALICE, device_id, device.ed25519_key());
        assert_eq!(judge("GOOD").unwrap(), key);
        for device_id in ["TWO", "EMPTY", "ODD", "ABSENT"] {
            assert!(judge(device_id).is_err(), "{device_id}");
        }
        assert!(answer.failures.contains("there"));
        assert!(Answer::read("[]").is_err());
    }
}
