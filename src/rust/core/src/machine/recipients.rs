//! Who is given the key of a room: the devices of its members.

use std::collections::BTreeSet;

use super::{Work, devices};
use crate::{
    error::Result,
    store::{
        Query,
        records::{Device, Member, Membership, Room},
    },
};

/// How many devices share one to-device request. Servers bound the size of a request, and a batch
/// that fails is sent again whole.
pub(super) const DEVICES_PER_REQUEST: usize = 250;

/// Makes every room of this user work out again who gets its key.
pub(super) fn recipients_changed(work: &Work<'_>, user_id: &str) -> Result<()> {
    for member in work.tx.select::<Member>(&Query::equal("user_id", user_id))? {
        if let Some(mut room) = work.tx.get::<Room>(&[member.room_id.as_str().into()])? {
            room.recipients_generation += 1;
            work.tx.put(&room)?;
        }
    }
    Ok(())
}

/// The users who may read: those in the room, those invited where history lets them read from
/// their invitation on, and ourselves. An audience narrows the others and never adds.
pub(super) fn recipients(
    work: &Work<'_>,
    room: &Room,
    audience: Option<&BTreeSet<String>>,
) -> Result<BTreeSet<String>> {
    let invited_read = room.history_visibility.as_deref() != Some("joined");
    let may_read = |member: Member| match member.membership {
        Membership::Join => Some(member.user_id),
        Membership::Invite if invited_read => Some(member.user_id),
        _ => None,
    };
    let in_room = Query::equal("room_id", room.room_id.as_str());
    let mut users: BTreeSet<String> = work
        .tx
        .select_map(&in_room, may_read)?
        .into_iter()
        .flatten()
        .filter(|user| audience.is_none_or(|audience| audience.contains(user)))
        .collect();
    users.insert(work.own.user_id.clone());
    Ok(users)
}

pub(super) fn recipient_devices(work: &Work<'_>, users: &BTreeSet<String>) -> Result<Vec<Device>> {
    let mut devices = devices::devices_of_all(work, users)?;
    devices.retain(|d| d.user_id != work.own.user_id || d.device_id != work.own.device_id);
    Ok(devices)
}
