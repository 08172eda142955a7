//! A one-time key or fallback key that was claimed.
//!
//! Specification: client-server API, end-to-end encryption, "Key algorithms".

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use crate::{
    error::{Error, Kind, Result},
    primitives::{
        account::SIGNED_CURVE25519,
        canonical_json::{Json, Object},
        keys, signing,
    },
};

/// Judges `object` as the key `key_id` (`signed_curve25519:…`) of the device `device_id` of
/// `user_id`, whose Ed25519 key is `signing_key`.
///
/// # Errors
/// [`Kind::Json`], [`Kind::Encoding`] or [`Kind::Signature`] with the reason the key is refused.
pub fn judge(
    key_id: &str,
    object: &Object,
    signing_key: Ed25519PublicKey,
    user_id: &str,
    device_id: &str,
) -> Result<Curve25519PublicKey> {
    let refused = |message: String| Error::new(Kind::Json, message);
    // An unsigned `curve25519` key could be anybody's.
    if !key_id.strip_prefix(SIGNED_CURVE25519).is_some_and(|rest| rest.starts_with(':')) {
        return Err(refused(format!("{key_id} does not start with {SIGNED_CURVE25519}:.")));
    }
    let key = object
        .get("key")
        .and_then(Json::as_str)
        .ok_or_else(|| refused("The one-time key is missing 'key'.".into()))?;
    let key = keys::curve25519(key)?;
    signing::verify(object, user_id, &format!("ed25519:{device_id}"), signing_key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use vodozemac::olm::Account;

    use super::*;
    use crate::primitives::account;

    const USER: &str = "@alice:example.org";
    const KEY_ID: &str = "signed_curve25519:AAAA";

    fn signed(account: &Account, fallback: bool) -> Object {
        let key = Account::new().curve25519_key();
        let text = account::one_time_key(account, key, fallback, USER, "DEV").unwrap();
        Json::parse_object(&text).unwrap()
    }

    #[test]
    fn only_a_key_signed_by_this_device_passes() {
        let device = Account::new();
        let object = signed(&device, false);
        let check = |key_id: &str, object: &Object, signer: &Account, user: &str, dev: &str| {
            judge(key_id, object, signer.ed25519_key(), user, dev)
        };
        assert!(check(KEY_ID, &object, &device, USER, "DEV").is_ok());
        assert!(check("curve25519:AAAA", &object, &device, USER, "DEV").is_err());
        assert!(check("signed_curve25519", &object, &device, USER, "DEV").is_err());
        assert!(check(KEY_ID, &object, &Account::new(), USER, "DEV").is_err());
        assert!(check(KEY_ID, &object, &device, "@bob:example.org", "DEV").is_err());
        assert!(check(KEY_ID, &object, &device, USER, "OTHER").is_err());
    }

    #[test]
    fn whether_it_is_a_fallback_key_is_signed_too() {
        let device = Account::new();
        let mut object = signed(&device, true);
        assert!(judge(KEY_ID, &object, device.ed25519_key(), USER, "DEV").is_ok());
        object.remove("fallback");
        assert!(judge(KEY_ID, &object, device.ed25519_key(), USER, "DEV").is_err());
    }

    #[test]
    fn a_signed_text_that_is_no_key_is_refused() {
        let device = Account::new();
        for (name, value) in [("key", "AAAA"), ("other", "x")] {
            let mut object = Object::from([(name.into(), Json::String(value.into()))]);
            signing::sign(&mut object, USER, "ed25519:DEV", |bytes| device.sign(bytes)).unwrap();
            assert!(judge(KEY_ID, &object, device.ed25519_key(), USER, "DEV").is_err());
        }
    }
}
