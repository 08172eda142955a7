//! Devices of users, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    machine::DeviceTrust,
    store::records::{Device, LocalTrust},
};

use crate::{
    answer::{record, strings},
    arguments,
    clock::now,
    machine::on,
};

/// Begins to track the devices of users, or marks them as outdated.
#[extendr]
fn machine_refresh_devices(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| machine.refresh_devices(now(), &arguments::texts(&user_ids, "user_ids")?))
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
        let flags = |pick: fn(&Device) -> bool| -> Robj {
            devices.iter().map(pick).collect::<Vec<bool>>().into()
        };
        let facts = |pick: fn(&DeviceTrust) -> bool| -> Robj {
            trust.iter().map(pick).collect::<Vec<bool>>().into()
        };
        Ok(record([
            ("user_id", column(|device| Some(&device.user_id))),
            ("device_id", column(|device| Some(&device.device_id))),
            ("display_name", column(|device| device.display_name.as_deref())),
            ("curve25519", column(|device| Some(&device.identity_key))),
            ("ed25519", column(|device| Some(&device.signing_key))),
            ("key_changed", flags(|device| device.key_changed)),
            ("trust", strings(trust.iter().map(|facts| Some(facts.trust.as_str())))),
            ("signed_by_owner", facts(|facts| facts.signed_by_owner)),
            ("cross_signing_verified", facts(|facts| facts.cross_signing_verified)),
            ("locally_verified", flags(|device| device.local == LocalTrust::Verified)),
            ("dehydrated", flags(|device| device.dehydrated)),
            ("blocked", flags(|device| device.local == LocalTrust::Blocked)),
        ]))
    })
}

/// Devices of users whose keys are refused, and why.
#[extendr]
fn machine_refused_devices(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let refused = machine.refused_devices(&arguments::texts(&user_ids, "user_ids")?)?;
        Ok(record([
            ("user_id", strings(refused.iter().map(|row| Some(row.0.as_str())))),
            ("device_id", strings(refused.iter().map(|row| Some(row.1.as_str())))),
            ("problem", strings(refused.iter().map(|row| Some(row.2.as_str())))),
        ]))
    })
}

/// Applies what the user decided about a device: "verified", "blocked" or "unset".
#[extendr]
fn machine_set_local_trust(
    handle: Robj,
    user_id: Robj,
    device_id: Robj,
    fingerprint: Robj,
    local: Robj,
) -> Robj {
    on(&handle, |machine| {
        let local = match arguments::text(&local, "local")?.as_str() {
            "verified" => LocalTrust::Verified,
            "blocked" => LocalTrust::Blocked,
            _ => LocalTrust::Unset,
        };
        let user_id = arguments::text(&user_id, "user_id")?;
        let device_id = arguments::text(&device_id, "device_id")?;
        let fingerprint = arguments::optional_text(&fingerprint, "fingerprint")?;
        machine.set_local_trust(now(), &user_id, &device_id, fingerprint.as_deref(), local)
    })
}

extendr_module! {
    mod devices;
    fn machine_refresh_devices;
    fn machine_outdated_users;
    fn machine_devices;
    fn machine_refused_devices;
    fn machine_set_local_trust;
}
