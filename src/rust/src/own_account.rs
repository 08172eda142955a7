//! A store's own account and its keys on the server, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{Error, Kind, Result};

use crate::{
    answer::{answer, number, optional_string, record, string, strings},
    arguments,
    clock::now,
    machine::on,
};

#[extendr]
fn machine_identity_keys(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let keys = machine.identity_keys()?;
        Ok(record([
            ("curve25519", string(&keys.curve25519.to_base64())),
            ("ed25519", string(&keys.ed25519.to_base64())),
        ]))
    })
}

#[extendr]
fn machine_sign(handle: Robj, message: Robj) -> Robj {
    on(&handle, |machine| {
        let messages = arguments::plaintexts(&message, "message")?;
        let signatures: Vec<String> =
            messages.iter().map(|message| machine.sign(message)).collect::<Result<_>>()?;
        Ok(strings(signatures.iter().map(|text| Some(text.as_str()))))
    })
}

#[extendr]
fn machine_unpublished_one_time_keys(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let keys = machine.unpublished_one_time_keys()?;
        let mut list: Robj = List::from_values(keys.iter().map(|(_, key)| string(key))).into();
        let _ = list.set_attrib("names", strings(keys.iter().map(|(id, _)| Some(id.as_str()))));
        Ok(list)
    })
}

#[extendr]
fn machine_set_one_time_key_target(handle: Robj, n: Robj) -> Robj {
    on(&handle, |machine| {
        let n = u64::try_from(arguments::whole(&n, "n_otks")?)
            .map_err(|_| Error::new(Kind::Argument, "`n_otks` must not be negative."))?;
        machine.set_one_time_key_target(now(), n)
    })
}

#[extendr]
fn machine_key_upload(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let upload = machine.key_upload()?;
        Ok(record([
            ("published", upload.published.into()),
            ("pending", upload.pending.is_some().into()),
            ("one_time_keys", (upload.one_time_keys as f64).into()),
            ("conflict", optional_string(upload.conflict.as_deref())),
        ]))
    })
}

/// Publishes the device keys again, after a new login.
#[extendr]
fn machine_publish_anew(handle: Robj) -> Robj {
    on(&handle, |machine| machine.publish_anew(now()))
}

/// Leases the right to renew the login: a number, or NULL while another process has it.
#[extendr]
fn machine_lease_login(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(machine.lease_login(now())?.map_or_else(|| ().into(), number)))
}

#[extendr]
fn machine_release_login(handle: Robj, number: Robj) -> Robj {
    on(&handle, |machine| machine.release_login(arguments::whole(&number, "number")?))
}

#[extendr]
fn random_device_id() -> Robj {
    answer(|| Ok(string(&mxcrypt_core::machine::random_device_id()?)))
}

extendr_module! {
    mod own_account;
    fn machine_identity_keys;
    fn machine_sign;
    fn machine_unpublished_one_time_keys;
    fn machine_set_one_time_key_target;
    fn machine_key_upload;
    fn machine_publish_anew;
    fn machine_lease_login;
    fn machine_release_login;
    fn random_device_id;
}
