use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind,
    primitives::{
        canonical_json::{Json, Numbers, canonical_object},
        keys, parallel, signing,
    },
};
use vodozemac::olm::Account;

use crate::{
    answer::{answer, string},
    arguments,
    handle::with,
};

#[extendr]
fn ed25519_verify(public_keys: Robj, messages: Robj, signatures: Robj) -> Robj {
    answer(|| {
        let messages = arguments::plaintexts(&messages, "message")?;
        let public_keys = arguments::texts(&public_keys, "public_key")?;
        let signatures = arguments::texts(&signatures, "signature")?;
        if public_keys.len() != messages.len() || signatures.len() != messages.len() {
            return Err(Error::new(Kind::Argument, "One key and one signature a message."));
        }
        let rows = public_keys.into_iter().zip(messages).zip(signatures).collect();
        let verified = parallel::map(rows, |((key, message), signature)| {
            let (key, signature) = (keys::ed25519(&key)?, keys::signature(&signature)?);
            Ok(key.verify(&message, &signature).is_ok())
        });
        verified.into_iter().collect::<mxcrypt_core::Result<Vec<bool>>>()
    })
}

/// Signs JSON text with the key of an account.
#[extendr]
fn json_sign(text: Robj, account: Robj, entity: Robj, key_id: Robj) -> Robj {
    answer(|| {
        let mut object = Json::parse_object(&arguments::text(&text, "json")?)?;
        let entity = arguments::text(&entity, "entity")?;
        let key_id = arguments::text(&key_id, "key_id")?;
        with(&account, |account: &mut Account| {
            signing::sign(&mut object, &entity, &key_id, |bytes| account.sign(bytes))
        })?;
        Ok(string(&canonical_object(&object, Numbers::Canonical)?))
    })
}

/// Adds a signature that was made elsewhere over `json_signed_bytes`.
#[extendr]
fn json_add_signature(text: Robj, entity: Robj, key_id: Robj, signature: Robj) -> Robj {
    answer(|| {
        let mut object = Json::parse_object(&arguments::text(&text, "json")?)?;
        let entity = arguments::text(&entity, "entity")?;
        let key_id = arguments::text(&key_id, "key_id")?;
        let signature = keys::signature(&arguments::text(&signature, "signature")?)?;
        signing::sign(&mut object, &entity, &key_id, |_| signature)?;
        Ok(string(&canonical_object(&object, Numbers::Canonical)?))
    })
}

/// The bytes a signature of JSON text covers.
#[extendr]
fn json_signed_bytes(text: Robj) -> Robj {
    answer(|| {
        let object = Json::parse_object(&arguments::text(&text, "json")?)?;
        Ok(string(&signing::signed_bytes(&object)?))
    })
}

#[extendr]
fn json_verify(text: Robj, entity: Robj, key_id: Robj, public_key: Robj) -> Robj {
    answer(|| {
        let object = Json::parse_object(&arguments::text(&text, "json")?)?;
        let entity = arguments::text(&entity, "entity")?;
        let key_id = arguments::text(&key_id, "key_id")?;
        let key = keys::ed25519(&arguments::text(&public_key, "public_key")?)?;
        match signing::verify(&object, &entity, &key_id, key) {
            Ok(()) => Ok(true),
            Err(error) if error.kind == Kind::Signature => Ok(false),
            Err(error) => Err(error),
        }
    })
}

extendr_module! {
    mod signing;
    fn ed25519_verify;
    fn json_sign;
    fn json_add_signature;
    fn json_signed_bytes;
    fn json_verify;
}
