//! Room keys that a device should have been given, and could not be: no one-time key of it could be claimed, or
//! the devices of its owner could not be requested, and the messages went to the others. It is given them once
//! there is an Olm session with it, each from the first message that it missed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{
    HOUR, Millis, SECOND, Work, isolation, olm_sessions, outbox,
    pump::Pump,
    recipients::DEVICES_PER_REQUEST,
    tracking::{self, LONGEST_PAUSE},
    user_trust,
};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::room_event::ENCRYPTED,
    store::{
        Query, Record,
        records::{
            Device, DeviceList, Isolation, KeyShare, Lane, OutboundSession, OwedKey, OwedKeysDue,
        },
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
    let mut users = BTreeSet::new();
    for (user_id, device_id) in unreached {
        let owed = OwedKey {
            user_id: user_id.clone(),
            device_id: device_id.clone(),
            session_id: session.session_id.clone(),
            room_id: session.room_id.clone(),
            message_index: session.session.message_index(),
            isolation: session.isolation,
            content: Zeroizing::new(content.get().to_owned()),
            owed_since: work.now,
            due_at: work.now,
        };
        if misses_more(work, &owed)? {
            work.tx.put(&owed)?;
            users.insert(user_id);
        }
    }
    for user_id in &users {
        forget_surplus(work, user_id)?;
    }
    if users.is_empty() { Ok(()) } else { look_again(work, work.now) }
}

/// Whether a device misses an earlier part of the session than was known.
fn misses_more(work: &Work<'_>, owed: &OwedKey) -> Result<bool> {
    let known = work.tx.get::<OwedKey>(&owed.key())?;
    Ok(known.is_none_or(|known| known.message_index > owed.message_index))
}

fn forget_surplus(work: &Work<'_>, user_id: &str) -> Result<()> {
    let of_user = Query::equal("user_id", user_id);
    if work.tx.count::<OwedKey>(&of_user)? <= MOST_OF_USER {
        return Ok(());
    }
    let mut owed = work.tx.select::<OwedKey>(&of_user)?;
    owed.sort_by_key(|owed| owed.owed_since);
    let surplus = owed.len() - MOST_OF_USER;
    owed[..surplus].iter().try_for_each(|old| work.tx.delete::<OwedKey>(&old.key()))
}

/// Whether the key of a session is owed to somebody who is not among `users`, or to a device that is not among
/// `devices`, user and device ids. Who is given it can read all that the session encrypts from there on. Which
/// devices a user will have is decided by the mode in which they are owed it, which must be that of the next message.
pub(super) fn is_owed_to_others(
    work: &Work<'_>,
    session_id: &str,
    users: &BTreeSet<String>,
    devices: &BTreeSet<(&str, &str)>,
    isolation: Isolation,
) -> Result<bool> {
    let owed = work.tx.select::<OwedKey>(&Query::equal("session_id", session_id))?;
    let is_left_out = |owed: &OwedKey| {
        let is_admitted = match owed.device_id.as_str() {
            ALL_DEVICES => owed.isolation == isolation,
            device_id => devices.contains(&(owed.user_id.as_str(), device_id)),
        };
        !users.contains(&owed.user_id) || !is_admitted
    };
    Ok(owed.iter().any(is_left_out))
}

/// Gives the devices of a user what they are owed with the next requests: there is a new session with one.
pub(super) fn is_reached(work: &Work<'_>, user_id: &str) -> Result<()> {
    let owed = work.tx.select::<OwedKey>(&Query::equal("user_id", user_id))?;
    for owed in &owed {
        work.tx.put(&OwedKey { due_at: work.now, ..owed.clone() })?;
    }
    if owed.is_empty() { Ok(()) } else { look_again(work, work.now) }
}

/// Has the rows be looked at again at that time: until then no call reads them.
fn look_again(work: &Work<'_>, at: Millis) -> Result<()> {
    work.tx.put_single(&OwedKeysDue { at: Some(at) })
}

/// Gives the keys that can be given now, and claims one-time keys of the devices that are due.
pub(super) fn give_owed_keys(pump: &mut Pump<'_, '_>) -> Result<()> {
    let work = &mut *pump.work;
    let due = work.tx.get_single::<OwedKeysDue>()?.and_then(|due| due.at);
    if !due.is_some_and(|at| tracking::is_due(at, work.now)) {
        return Ok(());
    }
    let (mut ready, mut wanted) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
    for (user_id, owed) in due_by_user(work)? {
        for (owed, device) in entitled(work, &user_id, owed)? {
            if olm_sessions::has_olm_session(work, &device)? {
                let content = (owed.session_id.clone(), owed.message_index);
                ready.entry(content).or_default().push((owed, device));
                continue;
            }
            let claims = tracking::is_due(device.claim_retry_at, work.now);
            // A server that is down must not be claimed from with each call: ever less often.
            let pause = ((work.now - owed.owed_since) / 4).clamp(SECOND, LONGEST_PAUSE);
            let due_at = if claims { work.now + pause } else { device.claim_retry_at };
            work.tx.put(&OwedKey { due_at, ..owed })?;
            if claims {
                wanted.insert((device.user_id, device.device_id));
            }
        }
    }
    for owed in ready.values() {
        for batch in owed.chunks(DEVICES_PER_REQUEST) {
            give(work, batch)?;
        }
    }
    let left = work.tx.select::<OwedKey>(&Query::all())?;
    work.tx.put_single(&OwedKeysDue { at: left.iter().map(|owed| owed.due_at).min() })?;
    olm_sessions::claim_one_time_keys(pump, &Lane::Side, wanted.into_iter().collect())
}

fn due_by_user(work: &Work<'_>) -> Result<BTreeMap<String, Vec<OwedKey>>> {
    let mut due = BTreeMap::<_, Vec<_>>::new();
    for owed in work.tx.select::<OwedKey>(&Query::all())? {
        if tracking::is_due(owed.due_at, work.now) {
            due.entry(owed.user_id.clone()).or_default().push(owed);
        }
    }
    Ok(due)
}

/// Of what is owed to devices of a user, what may be given as of now, each with its device. What nobody may be
/// given is forgotten.
fn entitled(work: &Work<'_>, user_id: &str, owed: Vec<OwedKey>) -> Result<Vec<(OwedKey, Device)>> {
    let users = BTreeSet::from([user_id.to_owned()]);
    let list = work.tx.get::<DeviceList>(&[user_id.into()])?;
    let undecided = undecided_until(work, &users, list.as_ref())?;
    let mut admitted: BTreeMap<&str, Vec<Device>> = BTreeMap::new();
    let mut entitled = BTreeMap::new();
    for owed in owed {
        let is_old = (work.now - owed.owed_since).abs() > LIFETIME;
        if let Some(due_at) = undecided.filter(|_| !is_old) {
            work.tx.put(&OwedKey { due_at, ..owed })?;
            continue;
        }
        work.tx.delete::<OwedKey>(&owed.key())?;
        // Of a user who is not tracked any more nothing would be learnt.
        if is_old || list.is_none() {
            continue;
        }
        let mode = owed.isolation;
        if !admitted.contains_key(mode.as_str()) {
            admitted.insert(mode.as_str(), isolation::isolated(work, &users, mode)?.admitted);
        }
        for device in &admitted[mode.as_str()] {
            let is_its = [ALL_DEVICES, &device.device_id].contains(&owed.device_id.as_str());
            // A user may have any number of devices.
            if !is_its || entitled.len() >= MOST_OF_USER {
                continue;
            }
            let owed = OwedKey { device_id: device.device_id.clone(), ..owed.clone() };
            if !has_key(work, &owed, device)? && misses_more(work, &owed)? {
                work.tx.put(&owed)?;
                let key = (device.device_id.clone(), owed.session_id.clone());
                entitled.insert(key, (owed, device.clone()));
            }
        }
    }
    Ok(entitled.into_values().collect())
}

/// Until when it is not known to which devices of a user keys may go, if it is not now.
fn undecided_until(
    work: &Work<'_>,
    users: &BTreeSet<String>,
    list: Option<&DeviceList>,
) -> Result<Option<Millis>> {
    match list {
        // A device that is gone, or is not trusted any more, is not known yet.
        Some(list) if list.outdated => Ok(Some(list.retry_at.max(work.now + SECOND))),
        // Nothing is sent to a user who was verified and has another identity, until somebody decides about it.
        Some(_) if !user_trust::violations(work, users)?.is_empty() => {
            Ok(Some(work.now + LONGEST_PAUSE))
        }
        _ => Ok(None),
    }
}

/// Whether a device was given the key meanwhile, from as early on.
fn has_key(work: &Work<'_>, owed: &OwedKey, device: &Device) -> Result<bool> {
    let share = work.tx.get::<KeyShare>(&share(owed, device).key())?;
    Ok(share.is_some_and(|share| share.message_index <= owed.message_index && !share.lost))
}

/// Gives devices the key that all of them are owed from the same index on. No message waits for that.
fn give(work: &mut Work<'_>, owed: &[(OwedKey, Device)]) -> Result<()> {
    let Some((first, _)) = owed.first() else { return Ok(()) };
    let content = RawValue::from_string(first.content.to_string());
    let content = content.or_fail(Kind::Internal, "A room key")?;
    let devices: Vec<Device> = owed.iter().map(|(_, device)| device.clone()).collect();
    let messages = olm_sessions::encrypt_to_devices(work, &devices, "m.room_key", &content)?;
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
