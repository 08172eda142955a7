//! Cross-signing and secret storage of one's own user, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    machine::{IdentityStatus, Storage, UnderWay, UserTrust},
    primitives::cross_signing::Usage,
};

use crate::{
    answer::{optional_string, record, string, strings},
    arguments,
    clock::now,
    machine::on,
    secret_storage::{on_storage, passphrase_to_set, types_and_contents},
};

#[extendr]
fn machine_identity_status(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(identity_status(&machine.identity_status()?)))
}

pub(crate) fn identity_status(status: &IdentityStatus) -> Robj {
    let held = Usage::ALL.iter().zip(status.held).filter(|(_, held)| *held);
    record([
        ("master_key", optional_string(status.published.as_deref())),
        ("changed", status.changed.into()),
        ("refused", optional_string(status.refused.as_deref())),
        ("held", strings(held.map(|(usage, _)| Some(usage.as_str())))),
        ("device_signed", status.device_signed.into()),
        ("under_way", optional_string(status.under_way.map(UnderWay::as_str))),
        ("recovery_key", status.recovery_key.into()),
    ])
}

/// Makes an identity, with a new key of secret storage, from the passphrase that was given if there
/// is one, or with the key there is.
#[extendr]
fn machine_make_identity(
    handle: Robj,
    storage: Robj,
    new_key: Robj,
    reset: Robj,
    back_up: Robj,
) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let reset = arguments::flag(&reset, "reset")?;
        let back_up = arguments::flag(&back_up, "back_up")?;
        let storage = if arguments::flag(&new_key, "new_key")? {
            Storage::New { passphrase: storage.passphrase() }
        } else {
            Storage::Existing { storage: &storage.contents, secret: storage.secret()? }
        };
        machine.make_identity(now(), &storage, reset, back_up)
    })
}

/// Makes secret storage for the identity there is.
#[extendr]
fn machine_make_secret_storage(handle: Robj, new_passphrase: Robj) -> Robj {
    on(&handle, |machine| {
        machine.make_secret_storage(now(), passphrase_to_set(&new_passphrase)?.as_ref())
    })
}

#[extendr]
fn machine_abandon_identity(handle: Robj) -> Robj {
    on(&handle, |machine| machine.abandon_identity(now()))
}

#[extendr]
fn machine_identity_account_data(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        Ok(types_and_contents(&machine.identity_account_data(now(), &storage.contents)?))
    })
}

#[extendr]
fn machine_signing_keys_upload(handle: Robj, auth: Robj) -> Robj {
    on(&handle, |machine| {
        let auth = arguments::optional_text(&auth, "auth")?;
        Ok(string(&machine.signing_keys_upload(auth.as_deref())?))
    })
}

#[extendr]
fn machine_identity_published(handle: Robj) -> Robj {
    on(&handle, |machine| machine.identity_published(now()))
}

#[extendr]
fn machine_import_identity(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        machine.import_identity(now(), &storage.contents, storage.secret()?)
    })
}

#[extendr]
fn machine_signatures_upload(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(optional_string(machine.signatures_upload()?.as_deref())))
}

#[extendr]
fn machine_user_trust(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let user_ids = arguments::texts(&user_ids, "user_ids")?;
        let trust = machine.user_trust(&user_ids)?;
        let flags = |pick: fn(&UserTrust) -> bool| -> Robj {
            trust.iter().map(pick).collect::<Vec<bool>>().into()
        };
        Ok(record([
            ("user_id", strings(user_ids.iter().map(|user_id| Some(user_id.as_str())))),
            ("master_key", strings(trust.iter().map(|trust| trust.master_key.as_deref()))),
            ("verified", flags(|trust| trust.verified)),
            ("was_verified", flags(|trust| trust.was_verified)),
            ("needs_approval", flags(|trust| trust.changed)),
        ]))
    })
}

#[extendr]
fn machine_pin_identity(handle: Robj, user_id: Robj) -> Robj {
    on(&handle, |machine| machine.pin_identity(now(), &arguments::text(&user_id, "user_id")?))
}

#[extendr]
fn machine_user_signature_upload(handle: Robj, user_id: Robj, master_key: Robj) -> Robj {
    on(&handle, |machine| {
        let user_id = arguments::text(&user_id, "user_id")?;
        let master_key = arguments::text(&master_key, "master_key")?;
        Ok(string(&machine.user_signature_upload(&user_id, &master_key)?))
    })
}

#[extendr]
fn machine_device_signature_upload(handle: Robj, device_id: Robj, fingerprint: Robj) -> Robj {
    on(&handle, |machine| {
        let device_id = arguments::text(&device_id, "device_id")?;
        let fingerprint = arguments::text(&fingerprint, "fingerprint")?;
        Ok(string(&machine.device_signature_upload(&device_id, &fingerprint)?))
    })
}

#[extendr]
fn machine_recovery_key(handle: Robj) -> Robj {
    on(&handle, |machine| {
        Ok(optional_string(machine.recovery_key()?.as_deref().map(String::as_str)))
    })
}

#[extendr]
fn machine_forget_recovery_key(handle: Robj) -> Robj {
    on(&handle, |machine| machine.forget_recovery_key(now()))
}

extendr_module! {
    mod identity;
    fn machine_identity_status;
    fn machine_make_identity;
    fn machine_make_secret_storage;
    fn machine_abandon_identity;
    fn machine_identity_account_data;
    fn machine_signing_keys_upload;
    fn machine_identity_published;
    fn machine_import_identity;
    fn machine_signatures_upload;
    fn machine_user_trust;
    fn machine_pin_identity;
    fn machine_user_signature_upload;
    fn machine_device_signature_upload;
    fn machine_recovery_key;
    fn machine_forget_recovery_key;
}
