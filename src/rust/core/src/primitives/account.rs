//! What an Olm account publishes: device keys, one-time keys and a fallback key, signed.
//!
//! Specification: client-server API, end-to-end encryption, "Key algorithms" and "Device keys".

use std::collections::HashMap;

use vodozemac::{Curve25519PublicKey, KeyId, olm::Account};
use zeroize::Zeroizing;

use super::{
    canonical_json::{Json, Numbers, Object, canonical_object},
    seal::random_bytes,
    signing,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The messaging algorithm between two devices.
pub const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
/// The messaging algorithm of a room.
pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";
/// The algorithm of one-time and fallback keys.
pub const SIGNED_CURVE25519: &str = "signed_curve25519";

/// The account once more, with all of its keys: to try with, not to keep.
pub fn copy(account: &Account) -> Account {
    Account::from_pickle(account.pickle())
}

/// The account, which names the one-time keys that it makes from now on with other ids than it would have: of two
/// accounts that were one, each makes other keys, and a server refuses a second key under the id of the first for
/// ever.
///
/// # Errors
/// [`Kind::Internal`] when the pickle of an account is not what it was.
pub fn with_other_key_ids(account: &Account) -> Result<Account> {
    const NEXT: &str = "\"next_key_id\":";
    let broken = || Error::new(Kind::Internal, "An account does not say which key is its next.");
    // Growing would leave copies of secrets behind.
    let mut pickle = Zeroizing::new(Vec::with_capacity(1 << 20));
    serde_json::to_writer(&mut *pickle, &account.pickle()).or_fail(Kind::Internal, "An account")?;
    let pickle = str::from_utf8(&pickle).or_fail(Kind::Internal, "An account")?;
    let (before, after) = pickle.split_once(NEXT).ok_or_else(broken)?;
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    // Behind the ids of all keys that were ever counted, with room for as many again.
    let id = u64::from_be_bytes(random_bytes()?) >> 3 | 1 << 61;
    let mut altered = Zeroizing::new(String::with_capacity(pickle.len() + 20));
    for part in [before, NEXT, &id.to_string(), rest] {
        altered.push_str(part);
    }
    let pickle = serde_json::from_str(&altered).or_fail(Kind::Internal, "An account")?;
    Ok(Account::from_pickle(pickle))
}

/// The signed `device_keys` object of this account, as canonical JSON.
///
/// # Errors
/// Never in practice: all it signs is text.
pub fn device_keys(account: &Account, user_id: &str, device_id: &str) -> Result<String> {
    canonical_object(
        &signed_device_keys(account, user_id, device_id, Object::new())?,
        Numbers::Canonical,
    )
}

/// The signed `device_keys` object of an account that is to be dehydrated, whose name is its
/// Curve25519 key (MSC3814).
///
/// # Errors
/// Never in practice: all it signs is text.
pub fn dehydrated_device_keys(account: &Account, user_id: &str) -> Result<Object> {
    let marked = Object::from([("dehydrated".into(), Json::Bool(true))]);
    signed_device_keys(account, user_id, &account.curve25519_key().to_base64(), marked)
}

fn signed_device_keys(
    account: &Account,
    user_id: &str,
    device_id: &str,
    mut object: Object,
) -> Result<Object> {
    let text = |text: &str| Json::String(text.to_owned());
    object.extend([
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

/// The one-time keys and the fallback key that are not published yet, signed: `one_time_keys` and
/// `fallback_keys` of an upload, those of which there are none left out.
///
/// # Errors
/// Never in practice: all it signs is text.
pub fn unpublished_keys(account: &Account, user_id: &str, device_id: &str) -> Result<Object> {
    let signed = |keys: HashMap<KeyId, Curve25519PublicKey>, fallback| {
        let sign = |(id, key): (KeyId, _)| {
            let object = signed_key(account, key, fallback, user_id, device_id)?;
            Ok((format!("{SIGNED_CURVE25519}:{}", id.to_base64()), Json::Object(object)))
        };
        keys.into_iter().map(sign).collect::<Result<Object>>()
    };
    let parts = [
        ("one_time_keys", signed(account.one_time_keys(), false)?),
        ("fallback_keys", signed(account.fallback_key(), true)?),
    ];
    let parts = parts.into_iter().filter(|(_, keys)| !keys.is_empty());
    Ok(parts.map(|(name, keys)| (name.to_owned(), Json::Object(keys))).collect())
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
    canonical_object(&signed_key(account, key, fallback, user_id, device_id)?, Numbers::Canonical)
}

fn signed_key(
    account: &Account,
    key: Curve25519PublicKey,
    fallback: bool,
    user_id: &str,
    device_id: &str,
) -> Result<Object> {
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
) -> Result<Object> {
    let key_id = format!("ed25519:{device_id}");
    signing::sign(&mut object, user_id, &key_id, |bytes| account.sign(bytes))?;
    Ok(object)
}
