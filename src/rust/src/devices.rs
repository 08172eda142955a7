//! Devices of users, for R.

use extendr_api::prelude::*;
use mxcrypt_core::store::records::Device;

use crate::{
    answer::{record, strings},
    arguments,
    machine::on,
};

/// Begins to track the devices of users, or marks them as outdated.
#[extendr]
fn machine_refresh_devices(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| machine.refresh_devices(&arguments::texts(&user_ids, "user_ids")?))
}

/// Those of some users whose devices are not up to date.
#[extendr]
fn machine_outdated_users(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let outdated = machine.outdated(&arguments::texts(&user_ids, "user_ids")?)?;
        Ok(strings(outdated.iter().map(|user_id| Some(user_id.as_str()))))
    })
}

#[extendr]
fn machine_devices(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let devices = machine.devices(&arguments::texts(&user_ids, "user_ids")?)?;
        let column = |pick: fn(&Device) -> Option<&str>| strings(devices.iter().map(pick));
        let trust = machine.trust_in(&devices)?;
        let changed: Vec<bool> = devices.iter().map(|device| device.key_changed).collect();
        Ok(record([
            ("user_id", column(|device| Some(&device.user_id))),
            ("device_id", column(|device| Some(&device.device_id))),
            ("display_name", column(|device| device.display_name.as_deref())),
            ("curve25519", column(|device| Some(&device.identity_key))),
            ("ed25519", column(|device| Some(&device.signing_key))),
            ("key_changed", changed.into()),
            ("trust", strings(trust.into_iter().map(|trust| Some(trust.as_str())))),
        ]))
    })
}

extendr_module! {
    mod devices;
    fn machine_refresh_devices;
    fn machine_outdated_users;
    fn machine_devices;
}
