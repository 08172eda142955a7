//! Devices that are known, by their users.

use std::collections::BTreeSet;

use super::Work;
use crate::{
    error::{Error, Kind, Result},
    store::{Query, records::Device},
};

/// The devices of a user that can be given a room key.
pub(super) fn devices_of(work: &Work<'_>, user_id: &str) -> Result<Vec<Device>> {
    let devices = work.tx.select::<Device>(&Query::equal("user_id", user_id))?;
    Ok(devices.into_iter().filter(|device| !device.deleted).collect())
}

/// The same of many users, in their order.
pub(super) fn devices_of_all(work: &Work<'_>, users: &BTreeSet<String>) -> Result<Vec<Device>> {
    let mut devices: Vec<Device> =
        work.tx.select_among("user_id", users.iter().map(String::as_str))?;
    devices.retain(|device| !device.deleted);
    Ok(devices)
}

pub(super) fn own_device(work: &Work<'_>) -> Result<Option<Device>> {
    work.tx.get(&[work.own.user_id.as_str().into(), work.own.device_id.as_str().into()])
}

/// The known device of `user_id` with both of these keys.
pub(super) fn device_with(
    work: &Work<'_>,
    user_id: &str,
    identity_key: &str,
    signing_key: &str,
) -> Result<Option<Device>> {
    let devices = work.tx.select::<Device>(&Query::equal("identity_key", identity_key))?;
    Ok(devices
        .into_iter()
        .find(|device| device.user_id == user_id && device.signing_key == signing_key))
}

pub(super) fn known_device(work: &Work<'_>, user_id: &str, device_id: &str) -> Result<Device> {
    let device: Option<Device> = work.tx.get(&[user_id.into(), device_id.into()])?;
    device
        .filter(|device| !device.deleted)
        .ok_or_else(|| Error::new(Kind::Identity, format!("{user_id} has no device {device_id}.")))
}
