//! What an Olm account publishes: device keys, one-time keys and a fallback key, signed.
//!
//! Specification: client-server API, end-to-end encryption, "Key algorithms" and "Device keys".

use vodozemac::{Curve25519PublicKey, olm::Account};

use super::{
    canonical_json::{Json, Numbers, Object, canonical_object},
    signing,
};
use crate::error::Result;

/// The messaging algorithm between two devices.
pub const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
/// The messaging algorithm of a room.
pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";
/// The algorithm of one-time and fallback keys.
pub const SIGNED_CURVE25519: &str = "signed_curve25519";

/// The signed `device_keys` object of this account, as canonical JSON.
///
/// # Errors
/// Never in practice: all it signs is text.
pub fn device_keys(account: &Account, user_id: &str, device_id: &str) -> Result<String> {
    let text = |text: &str| Json::String(text.to_owned());
    let object = Object::from([
        ("algorithms".into(), Json::Array(vec![text(OLM), text(MEGOLM)])),
        ("device_id".into(), text(device_id)),
        (
            "keys".into(),
            Json::Object(Object::from([
                (format!("curve25519:{device_id}"), text(&account.curve25519_key().to_base64())),
                (format!("ed25519:{device_id}"), text(&account.ed25519_key().to_base64())),
            ])),
        ),
        ("user_id".into(), text(user_id)),
    ]);
    sign_as_device(object, account, user_id, device_id)
}

/// A signed one-time key or, with `fallback`, a signed fallback key, as canonical JSON.
///
/// # Errors
/// Never in practice: all it signs is text.
pub fn one_time_key(
    account: &Account,
    key: Curve25519PublicKey,
    fallback: bool,
    user_id: &str,
    device_id: &str,
) -> Result<String> {
    let mut object = Object::from([("key".into(), Json::String(key.to_base64()))]);
    if fallback {
        object.insert("fallback".into(), Json::Bool(true));
    }
    sign_as_device(object, account, user_id, device_id)
}

fn sign_as_device(
    mut object: Object,
    account: &Account,
    user_id: &str,
    device_id: &str,
) -> Result<String> {
    let key_id = format!("ed25519:{device_id}");
    signing::sign(&mut object, user_id, &key_id, |bytes| account.sign(bytes))?;
    canonical_object(&object, Numbers::Canonical)
}
