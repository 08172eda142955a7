use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    error::OrFail,
    primitives::{account, keys},
};
use vodozemac::{
    KeyId,
    olm::{Account, AccountPickle},
};

use crate::{
    answer::{answer, record, string, strings},
    arguments,
    handle::{Held, keep, with},
};

impl Held for Account {
    const NAME: &'static str = "an Olm account";
}

/// 32 bytes, as a pickle key must have.
pub(crate) fn pickle_key(key: &Robj) -> Result<&[u8; 32]> {
    arguments::bytes(key, "key")?
        .try_into()
        .map_err(|_| Error::new(Kind::Argument, "`key` must be a raw vector of 32 bytes."))
}

/// Ids and keys as a named list, in the order in which they were made.
fn named(keys: impl IntoIterator<Item = (KeyId, vodozemac::Curve25519PublicKey)>) -> Robj {
    let mut keys: Vec<_> =
        keys.into_iter().map(|(id, key)| (id.to_base64(), key.to_base64())).collect();
    keys.sort();
    let values = keys.iter().map(|(_, key)| string(key));
    let mut list: Robj = List::from_values(values).into();
    let _ = list.set_attrib("names", strings(keys.iter().map(|(id, _)| Some(id.as_str()))));
    list
}

#[extendr]
fn account_new() -> Robj {
    answer(|| Ok(keep(Account::new())))
}

#[extendr]
fn account_identity_keys(account: Robj) -> Robj {
    answer(|| {
        with(&account, |account: &mut Account| {
            Ok(record([
                ("curve25519", string(&account.curve25519_key().to_base64())),
                ("ed25519", string(&account.ed25519_key().to_base64())),
            ]))
        })
    })
}

#[extendr]
fn account_sign(account: Robj, messages: Robj) -> Robj {
    answer(|| {
        let messages = arguments::plaintexts(&messages, "message")?;
        with(&account, |account: &mut Account| {
            let signatures: Vec<String> =
                messages.iter().map(|message| account.sign(message).to_base64()).collect();
            Ok(strings(signatures.iter().map(|text| Some(text.as_str()))))
        })
    })
}

#[extendr]
fn account_generate_one_time_keys(account: Robj, n: Robj) -> Robj {
    answer(|| {
        let n = usize::try_from(arguments::whole(&n, "n")?)
            .ok()
            .filter(|n| *n <= 5000)
            .ok_or_else(|| Error::new(Kind::Argument, "`n` must be between 0 and 5000."))?;
        with(&account, |account: &mut Account| {
            account.generate_one_time_keys(n);
            Ok(())
        })
    })
}

#[extendr]
fn account_one_time_keys(account: Robj) -> Robj {
    answer(|| with(&account, |account: &mut Account| Ok(named(account.one_time_keys()))))
}

#[extendr]
fn account_mark_published(account: Robj) -> Robj {
    answer(|| {
        with(&account, |account: &mut Account| {
            account.mark_keys_as_published();
            Ok(())
        })
    })
}

#[extendr]
fn account_fallback_key(account: Robj) -> Robj {
    answer(|| {
        with(&account, |account: &mut Account| {
            account.generate_fallback_key();
            let key = account.fallback_key().into_iter().next();
            let (id, key) =
                key.ok_or_else(|| Error::new(Kind::Internal, "A fallback key was not made."))?;
            Ok(record([
                ("key_id", string(&id.to_base64())),
                ("curve25519", string(&key.to_base64())),
            ]))
        })
    })
}

#[extendr]
fn account_forget_fallback_key(account: Robj) -> Robj {
    answer(|| with(&account, |account: &mut Account| Ok(account.forget_fallback_key())))
}

#[extendr]
fn account_device_keys(account: Robj, user_id: Robj, device_id: Robj) -> Robj {
    answer(|| {
        let user_id = arguments::text(&user_id, "user_id")?;
        let device_id = arguments::text(&device_id, "device_id")?;
        with(&account, |account: &mut Account| {
            Ok(string(&account::device_keys(account, &user_id, &device_id)?))
        })
    })
}

#[extendr]
fn account_sign_one_time_key(
    account: Robj,
    key: Robj,
    fallback: Robj,
    user_id: Robj,
    device_id: Robj,
) -> Robj {
    answer(|| {
        let key = keys::curve25519(&arguments::text(&key, "key")?)?;
        let fallback = arguments::flag(&fallback, "fallback")?;
        let user_id = arguments::text(&user_id, "user_id")?;
        let device_id = arguments::text(&device_id, "device_id")?;
        with(&account, |account: &mut Account| {
            let signed = account::one_time_key(account, key, fallback, &user_id, &device_id)?;
            Ok(string(&signed))
        })
    })
}

#[extendr]
fn account_pickle(account: Robj, key: Robj) -> Robj {
    answer(|| {
        let key = pickle_key(&key)?;
        with(&account, |account: &mut Account| Ok(string(&account.pickle().encrypt(key))))
    })
}

#[extendr]
fn account_unpickle(blob: Robj, key: Robj) -> Robj {
    answer(|| {
        let blob = arguments::text(&blob, "blob")?;
        let pickle = AccountPickle::from_encrypted(&blob, pickle_key(&key)?)
            .or_fail(Kind::Pickle, "The account cannot be unpickled")?;
        Ok(keep(Account::from_pickle(pickle)))
    })
}

extendr_module! {
    mod account;
    fn account_new;
    fn account_identity_keys;
    fn account_sign;
    fn account_generate_one_time_keys;
    fn account_one_time_keys;
    fn account_mark_published;
    fn account_fallback_key;
    fn account_forget_fallback_key;
    fn account_device_keys;
    fn account_sign_one_time_key;
    fn account_pickle;
    fn account_unpickle;
}
