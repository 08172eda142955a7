//! A `device_keys` object: who a device is.
//!
//! Specification: client-server API, end-to-end encryption, "Device keys" and "Uploading keys".
//! Homeservers hand on objects with invalid signatures, so the check here is the only one.

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use super::identifier;
use crate::{
    error::{Error, Kind, Result},
    primitives::{
        account::{MEGOLM, OLM},
        canonical_json::{Json, Object},
        keys, signing,
    },
};

/// The messaging algorithms a device must know to take part in encrypted rooms.
pub const REQUIRED_ALGORITHMS: [&str; 2] = [OLM, MEGOLM];

/// A device that signed its own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// The owner.
    pub user_id: String,
    /// The name of the device.
    pub device_id: String,
    /// The identity key.
    pub identity_key: Curve25519PublicKey,
    /// The signing key, or fingerprint.
    pub signing_key: Ed25519PublicKey,
    /// What the owner calls it. Not signed; the server may write anything here.
    pub display_name: Option<String>,
    /// It waits on the server for the next device of its owner, and says nothing (MSC3814).
    pub dehydrated: bool,
}

/// Judges `text` as the keys of the device `device_id` of `user_id`.
///
/// # Errors
/// [`Kind::Json`], [`Kind::Encoding`] or [`Kind::Signature`] with the reason the device is refused.
pub fn judge(text: &str, user_id: &str, device_id: &str) -> Result<DeviceKeys> {
    judge_object(&Json::parse_object(text)?, user_id, device_id, &REQUIRED_ALGORITHMS)
}

/// Judges an object that is read already, and asks for the algorithms in `required`.
///
/// # Errors
/// As [`judge`].
pub fn judge_object(
    object: &Object,
    user_id: &str,
    device_id: &str,
    required: &[&str],
) -> Result<DeviceKeys> {
    // An object returned under another name than its own would let one device pass for another.
    expect_text(object, "user_id", user_id)?;
    expect_text(object, "device_id", device_id)?;
    if !identifier::is_sound(device_id) {
        return Err(refused("The device id is not a sound identifier."));
    }
    expect_algorithms(object, required)?;
    let identity_key = keys::curve25519(key(object, "curve25519", device_id)?)?;
    let signing_key = keys::ed25519(key(object, "ed25519", device_id)?)?;
    signing::verify(object, user_id, &format!("ed25519:{device_id}"), signing_key)?;
    let display_name = object
        .get("unsigned")
        .and_then(Json::as_object)
        .and_then(|unsigned| unsigned.get("device_display_name"))
        .and_then(Json::as_str)
        .map(str::to_owned);
    Ok(DeviceKeys {
        user_id: user_id.to_owned(),
        device_id: device_id.to_owned(),
        identity_key,
        signing_key,
        display_name,
        dehydrated: object.get("dehydrated") == Some(&Json::Bool(true)),
    })
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Json, message)
}

fn expect_text(object: &Object, name: &str, expected: &str) -> Result<()> {
    match object.get(name).and_then(Json::as_str) {
        Some(found) if found == expected => Ok(()),
        Some(found) => {
            Err(refused(format!("{name} mismatch: expected {expected}, found {found}.")))
        }
        None => Err(refused(format!("{name} mismatch: expected {expected}, found none."))),
    }
}

fn expect_algorithms(object: &Object, required: &[&str]) -> Result<()> {
    if required.is_empty() {
        return Ok(());
    }
    let algorithms = object
        .get("algorithms")
        .and_then(Json::as_array)
        .ok_or_else(|| refused("The device keys are missing 'algorithms'."))?;
    let missing: Vec<_> = required
        .iter()
        .filter(|name| !algorithms.iter().any(|found| found.as_str() == Some(name)))
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(refused(format!("'algorithms' is missing required entries: {}.", missing.join(", "))))
}

fn key<'a>(object: &'a Object, algorithm: &str, device_id: &str) -> Result<&'a str> {
    object
        .get("keys")
        .and_then(Json::as_object)
        .and_then(|keys| keys.get(&format!("{algorithm}:{device_id}")))
        .and_then(Json::as_str)
        .filter(|key| !key.is_empty())
        .ok_or_else(|| {
            refused(format!(
                "The device keys are missing {algorithm}: there must be a non-empty key."
            ))
        })
}

#[cfg(test)]
mod tests {
    use vodozemac::olm::Account;

    use super::*;
    use crate::primitives::account;

    const USER: &str = "@alice:example.org";

    fn good() -> Object {
        let text = account::device_keys(&Account::new(), USER, "DEV").unwrap();
        Json::parse_object(&text).unwrap()
    }

    fn refusal(object: &Object) -> String {
        judge_object(object, USER, "DEV", &REQUIRED_ALGORITHMS).unwrap_err().message
    }

    #[test]
    fn a_device_that_signed_its_keys_is_accepted() {
        let mut object = good();
        let name = Object::from([("device_display_name".into(), Json::String("bot".into()))]);
        object.insert("unsigned".into(), Json::Object(name));
        let keys = judge_object(&object, USER, "DEV", &REQUIRED_ALGORITHMS).unwrap();
        assert_eq!(keys.display_name.as_deref(), Some("bot"));
    }

    #[test]
    fn each_way_to_be_wrong_has_its_reason() {
        let change = |name: &str, value: Option<Json>| {
            let mut object = good();
            match value {
                Some(value) => object.insert(name.into(), value),
                None => object.remove(name),
            };
            refusal(&object)
        };
        let text = |text: &str| Some(Json::String(text.into()));
        assert!(change("user_id", text("@mallory:example.org")).contains("user_id mismatch"));
        assert!(change("device_id", text("OTHER")).contains("device_id mismatch"));
        assert!(change("device_id", None).contains("device_id mismatch"));
        assert!(change("algorithms", None).contains("missing 'algorithms'"));
        assert!(
            change("algorithms", Some(Json::Array(vec![]))).contains("missing required entries")
        );
        assert!(change("keys", None).contains("missing curve25519"));
        assert!(change("signatures", None).contains("unsigned"));
        assert!(change("signatures", Some(Json::Object(Object::new()))).contains("unsigned"));
        assert!(change("extra", Some(Json::Null)).contains("did not verify"));
    }

    #[test]
    fn a_key_of_another_device_does_not_pass() {
        let (mut object, other) = (good(), good());
        object.insert("keys".into(), other["keys"].clone());
        assert!(refusal(&object).contains("did not verify"));
    }

    #[test]
    fn small_order_signing_keys_are_refused() {
        let mut object = good();
        let keys = Object::from([
            (
                "curve25519:DEV".into(),
                good()["keys"].as_object().unwrap()["curve25519:DEV"].clone(),
            ),
            ("ed25519:DEV".into(), Json::String("A".repeat(43))),
        ]);
        object.insert("keys".into(), Json::Object(keys));
        assert!(judge_object(&object, USER, "DEV", &REQUIRED_ALGORITHMS).is_err());
    }

    #[test]
    fn text_with_two_readings_is_refused() {
        let text = account::device_keys(&Account::new(), USER, "DEV").unwrap();
        let doubled = text.replacen('{', r#"{"user_id":"@mallory:example.org","#, 1);
        assert_eq!(judge(&doubled, USER, "DEV").unwrap_err().kind, Kind::Json);
    }
}
