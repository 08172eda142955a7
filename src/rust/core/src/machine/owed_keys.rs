//! Room keys that a device should have been given, and could not be: no one-time key of it could be claimed, or
//! the devices of its owner could not be requested, and the messages went to the others. It is given them once
//! there is an Olm session with it, each from the first message that it missed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{
    HOUR, Millis, SECOND, Work, isolation, olm_sessions, outbox,
    pump::Pump,
    recipients::DEVICES_PER_REQUEST,
    tracking::{self, LONGEST_PAUSE},
};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::room_event::ENCRYPTED,
    store::{
        Query, Record,
        records::{Device, DeviceList, KeyShare, Lane, OutboundSession, OwedKey},
    },
};

/// Stands for the devices of a user that could not be requested.
pub(super) const ALL_DEVICES: &str = "*";
/// How long a key is owed.
const LIFETIME: Millis = 7 * 24 * HOUR;
/// How many keys are owed to the devices of one user, the latest: anybody may have devices that nobody reaches.
const MOST_OF_USER: usize = 200;

/// Remembers that these devices, user and device ids, miss what `session` encrypts from now on, until they are
/// given `content`, which is its key.
pub(super) fn owe(
    work: &Work<'_>,
    session: &OutboundSession,
    content: &RawValue,
    unreached: &[(String, String)],
) -> Result<()> {
    for (user_id, device_id) in unreached {
        let owed = OwedKey {
            user_id: user_id.clone(),
            device_id: device_id.clone(),
            session_id: session.session_id.clone(),
            room_id: session.room_id.clone(),
            message_index: session.session.message_index(),
            isolation: session.isolation,
            content: content.get().to_owned(),
            owed_since: work.now,
            due_at: work.now,
        };
        // What it missed first is the earlier part of the session.
        if work.tx.get::<OwedKey>(&owed.key())?.is_none() {
            work.tx.put(&owed)?;
            forget_oldest(work, user_id)?;
        }
    }
    Ok(())
}

/// Whether the key of a session is owed to somebody who is not among `users`, or to a device that is not among
/// `devices`, user and device ids. Who is given it can read all that the session encrypts from there on.
pub(super) fn is_owed_to_others(
    work: &Work<'_>,
    session_id: &str,
    users: &BTreeSet<String>,
    devices: &BTreeSet<(&str, &str)>,
) -> Result<bool> {
    let owed = work.tx.select::<OwedKey>(&Query::equal("session_id", session_id))?;
    let is_left_out = |owed: &OwedKey| {
        let named = (owed.user_id.as_str(), owed.device_id.as_str());
        !users.contains(&owed.user_id) || named.1 != ALL_DEVICES && !devices.contains(&named)
    };
    Ok(owed.iter().any(is_left_out))
}

fn forget_oldest(work: &Work<'_>, user_id: &str) -> Result<()> {
    let of_user = Query::equal("user_id", user_id);
    if work.tx.count::<OwedKey>(&of_user)? <= MOST_OF_USER {
        return Ok(());
    }
    let oldest = work.tx.select::<OwedKey>(&of_user)?.into_iter().min_by_key(|o| o.owed_since);
    oldest.map_or(Ok(()), |oldest| work.tx.delete::<OwedKey>(&oldest.key()))
}

/// Gives the keys that can be given now, and claims one-time keys of the devices that are due.
pub(super) fn give_owed_keys(pump: &mut Pump<'_, '_>) -> Result<()> {
    if pump.work.tx.count::<OwedKey>(&Query::all())? == 0 {
        return Ok(());
    }
    let (mut ready, mut wanted) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
    for owed in due(pump.work)? {
        for (owed, device) in entitled(pump.work, owed)? {
            if olm_sessions::has_olm_session(pump.work, &device)? {
                ready.entry(owed.content.clone()).or_default().push((owed, device));
            } else if tracking::is_due(device.claim_retry_at, pump.work.now) {
                wanted.insert((device.user_id, device.device_id));
            } else {
                pump.work.tx.put(&OwedKey { due_at: device.claim_retry_at, ..owed })?;
            }
        }
    }
    for (content, owed) in ready {
        let content = RawValue::from_string(content).or_fail(Kind::Internal, "A room key")?;
        for batch in owed.chunks(DEVICES_PER_REQUEST) {
            give(pump.work, &content, batch)?;
        }
    }
    olm_sessions::claim_one_time_keys(pump, &Lane::Side, wanted.into_iter().collect())
}

/// Gives the devices of a user what they are owed with the next requests: there is a new session with one.
pub(super) fn is_reached(work: &Work<'_>, user_id: &str) -> Result<()> {
    for owed in work.tx.select::<OwedKey>(&Query::equal("user_id", user_id))? {
        work.tx.put(&OwedKey { due_at: work.now, ..owed })?;
    }
    Ok(())
}

/// Those to look at now. A clock that was ahead for a while must not stop any for as long.
fn due(work: &Work<'_>) -> Result<Vec<OwedKey>> {
    let mut due = work.tx.select::<OwedKey>(&Query::all().until("due_at", work.now))?;
    let too_late = Query::all().after("due_at", work.now + LONGEST_PAUSE);
    due.extend(work.tx.select::<OwedKey>(&too_late)?);
    Ok(due)
}

/// The devices that may be given what is owed, as of now. What nobody may be given is forgotten.
fn entitled(work: &Work<'_>, owed: OwedKey) -> Result<Vec<(OwedKey, Device)>> {
    let list = work.tx.get::<DeviceList>(&[owed.user_id.as_str().into()])?;
    let is_old = (work.now - owed.owed_since).abs() > LIFETIME;
    if let Some(list) = list.as_ref().filter(|list| list.outdated && !is_old) {
        // A device that is gone, or is not trusted any more, is not known yet.
        let due_at = list.retry_at.max(work.now + SECOND);
        work.tx.put(&OwedKey { due_at, ..owed })?;
        return Ok(Vec::new());
    }
    work.tx.delete::<OwedKey>(&owed.key())?;
    if is_old || list.is_none() {
        return Ok(Vec::new());
    }
    let users = BTreeSet::from([owed.user_id.clone()]);
    let mut devices = isolation::isolated(work, &users, owed.isolation)?.admitted;
    devices.retain(|device| [ALL_DEVICES, &device.device_id].contains(&owed.device_id.as_str()));
    let mut entitled = Vec::new();
    for device in devices {
        let owed = OwedKey { device_id: device.device_id.clone(), ..owed.clone() };
        let share = work.tx.get::<KeyShare>(&share(&owed, &device).key())?;
        if !share.is_some_and(|share| share.message_index <= owed.message_index && !share.lost) {
            work.tx.put(&owed)?;
            entitled.push((owed, device));
        }
    }
    Ok(entitled)
}

/// Gives devices the key that all of them are owed. No message waits for that.
fn give(work: &mut Work<'_>, content: &RawValue, owed: &[(OwedKey, Device)]) -> Result<()> {
    let devices: Vec<Device> = owed.iter().map(|(_, device)| device.clone()).collect();
    let messages = olm_sessions::encrypt_to_devices(work, &devices, "m.room_key", content)?;
    for (owed, device) in owed {
        if messages.get(&device.user_id).is_some_and(|to| to.contains_key(&device.device_id)) {
            work.tx.delete::<OwedKey>(&owed.key())?;
            note_share(work, owed, device)?;
        }
    }
    if messages.is_empty() { Ok(()) } else { outbox::tell_devices(work, ENCRYPTED, &messages) }
}

/// Who has the key of a session that still encrypts must be known when somebody leaves.
fn note_share(work: &Work<'_>, owed: &OwedKey, device: &Device) -> Result<()> {
    let current = work.tx.get::<OutboundSession>(&[owed.room_id.as_str().into()])?;
    let is_current = current.is_some_and(|session| session.session_id == owed.session_id);
    if is_current { work.tx.put(&share(owed, device)) } else { Ok(()) }
}

fn share(owed: &OwedKey, device: &Device) -> KeyShare {
    KeyShare {
        session_id: owed.session_id.clone(),
        user_id: device.user_id.clone(),
        device_id: device.device_id.clone(),
        identity_key: device.identity_key.clone(),
        message_index: owed.message_index,
        lost: false,
    }
}
