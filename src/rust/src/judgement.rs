//! Verdicts on keys, a row each.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    judgement::{device_keys, keys_claim::Answer, keys_query, one_time_key},
    primitives::{canonical_json::Json, keys, parallel},
};

use crate::{
    answer::{answer, record, strings},
    arguments,
};

fn same_length(lengths: &[usize]) -> Result<()> {
    if lengths.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, "All arguments must be of the same length."))
}

fn messages<T>(results: &[Result<T>]) -> Robj {
    strings(results.iter().map(|result| result.as_ref().err().map(|error| error.message.as_str())))
}

/// Judges device keys: identity and signing keys, or the reason, a row each.
#[extendr]
fn judge_device_keys(texts: Robj, user_ids: Robj, device_ids: Robj, required: Robj) -> Robj {
    answer(|| {
        let texts = arguments::texts(&texts, "device_keys")?;
        let user_ids = arguments::texts(&user_ids, "expected_user_id")?;
        let device_ids = arguments::texts(&device_ids, "expected_device_id")?;
        let required = arguments::texts(&required, "required_algorithms")?;
        let required: Vec<&str> = required.iter().map(String::as_str).collect();
        same_length(&[texts.len(), user_ids.len(), device_ids.len()])?;
        let rows = texts.into_iter().zip(user_ids).zip(device_ids).collect();
        let verdicts: Vec<Result<(String, String)>> =
            parallel::map(rows, |((text, user_id), device_id)| {
                let object = Json::parse_object(&text)?;
                let keys = device_keys::judge_object(&object, &user_id, &device_id, &required)?;
                Ok((keys.identity_key.to_base64(), keys.signing_key.to_base64()))
            });
        let good = |pick: fn(&(String, String)) -> &str| {
            strings(verdicts.iter().map(|verdict| verdict.as_ref().ok().map(pick)))
        };
        Ok(record([
            ("curve25519", good(|keys| keys.0.as_str())),
            ("ed25519", good(|keys| keys.1.as_str())),
            ("error", messages(&verdicts)),
        ]))
    })
}

/// Judges a one-time key: the key, or the reason, a row each.
#[extendr]
fn judge_one_time_keys(
    key_ids: Robj,
    texts: Robj,
    signing_keys: Robj,
    user_ids: Robj,
    device_ids: Robj,
) -> Robj {
    answer(|| {
        let key_ids = arguments::texts(&key_ids, "algorithm_key_id")?;
        let texts = arguments::texts(&texts, "key_object")?;
        let signing_keys = arguments::texts(&signing_keys, "signing_ed25519")?;
        let user_ids = arguments::texts(&user_ids, "expected_user_id")?;
        let device_ids = arguments::texts(&device_ids, "expected_device_id")?;
        same_length(&[
            key_ids.len(),
            texts.len(),
            signing_keys.len(),
            user_ids.len(),
            device_ids.len(),
        ])?;
        let rows = key_ids.into_iter().zip(texts).zip(signing_keys).zip(user_ids).zip(device_ids);
        let verdicts = parallel::map(rows.collect(), |row| {
            let ((((key_id, text), signing_key), user_id), device_id) = row;
            let object = Json::parse_object(&text)?;
            let signing_key = keys::ed25519(&signing_key)?;
            one_time_key::judge(&key_id, &object, signing_key, &user_id, &device_id)
                .map(|key| key.to_base64())
        });
        keys_and_errors(&verdicts)
    })
}

/// Judges the response to `/keys/claim` about some devices: a key, or the reason, a row each.
#[extendr]
fn judge_keys_claim(body: Robj, user_ids: Robj, device_ids: Robj, signing_keys: Robj) -> Robj {
    answer(|| {
        let claimed = Answer::read(&arguments::body(&body, "body")?)?;
        let user_ids = arguments::texts(&user_ids, "user_ids")?;
        let device_ids = arguments::texts(&device_ids, "device_ids")?;
        let signing_keys = arguments::texts(&signing_keys, "signing_keys")?;
        same_length(&[user_ids.len(), device_ids.len(), signing_keys.len()])?;
        let rows = user_ids.into_iter().zip(device_ids).zip(signing_keys).collect();
        let verdicts = parallel::map(rows, |((user_id, device_id), signing_key)| {
            let key = claimed.judge(&user_id, &device_id, keys::ed25519(&signing_key)?)?;
            Ok(key.to_base64())
        });
        keys_and_errors(&verdicts)
    })
}

/// Whether the response to `/keys/query` names a device, good or not.
#[extendr]
fn judge_known_device(body: Robj, user_id: Robj, device_id: Robj) -> Robj {
    answer(|| {
        let user_id = arguments::text(&user_id, "user_id")?;
        let device_id = arguments::text(&device_id, "device_id")?;
        let body = arguments::body(&body, "body")?;
        let told = keys_query::judge(&body, &[user_id].into())?;
        Ok(told.devices.iter().any(|device| device.device_id == device_id))
    })
}

fn keys_and_errors(verdicts: &[Result<String>]) -> Result<Robj> {
    let good = verdicts.iter().map(|verdict| verdict.as_ref().ok().map(String::as_str));
    Ok(record([("key", strings(good)), ("error", messages(verdicts))]))
}

extendr_module! {
    mod judgement;
    fn judge_device_keys;
    fn judge_one_time_keys;
    fn judge_keys_claim;
    fn judge_known_device;
}
