//! Broken Olm sessions are replaced, and what they lost is given again.
//!
//! Specification: client-server API, end-to-end encryption, "Recovering from undecryptable
//! messages".

use serde_json::{json, value::to_raw_value};
use sha2::{Digest, Sha256};

use super::{
    HOUR, Millis, Work,
    effects::{self, Effect},
    key_requests::LIFETIME,
    olm_sessions,
    pump::Pump,
    send_to_devices, tracking,
};
use crate::{
    error::{Kind, OrFail, Result},
    primitives::keys::encode_base64,
    store::{
        Query, Record,
        records::{
            Device, DeviceList, KeyShare, Lane, LocalTrust, Member, OlmMessageSeen, OlmRepair,
        },
    },
};

/// How many messages are remembered to tell a replay from a broken session.
const REMEMBERED: i64 = 20_000;
/// How many repairs are kept for one user: anybody may send what cannot be read, and name any key.
const MOST_OF_USER: usize = 50;
/// How many are kept for all users together who are tracked for nothing else.
const MOST_OF_STRANGERS: usize = 100;
/// The pause between two repairs of one device, in which its record is kept.
const PAUSE: Millis = HOUR;

/// Whether an Olm message was read before.
pub(super) fn was_read(work: &Work<'_>, tag: &str) -> Result<bool> {
    Ok(work.tx.get::<OlmMessageSeen>(&[tag.into()])?.is_some())
}

/// Remembers that an Olm message was read.
pub(super) fn remember_read(work: &Work<'_>, tag: String) -> Result<()> {
    let number = work.tx.take_number("olm message")?;
    work.tx.put(&OlmMessageSeen { tag, number })
}

/// Forgets the oldest of the messages that were read.
pub(super) fn forget_oldest(work: &Work<'_>) -> Result<()> {
    let last = work.tx.last_number("olm message")?;
    let old = Query::all().until("number", last - REMEMBERED);
    work.tx.delete_where::<OlmMessageSeen>(&old).map(drop)
}

/// Notes that our sessions with a device, which `user_id` claims to own, are broken: a new one is
/// made, at most once an hour.
pub(super) fn olm_is_broken(work: &mut Work<'_>, user_id: &str, identity_key: &str) -> Result<()> {
    let known: Option<OlmRepair> = work.tx.get(&[user_id.into(), identity_key.into()])?;
    if known.is_some_and(|repair| repair.is_due || was_repaired_lately(work, &repair)) {
        return Ok(());
    }
    let of_user = Query::equal("user_id", user_id);
    // A stranger who is tracked for one repair is still a stranger.
    let another = work.tx.select::<OlmRepair>(&of_user.clone().limit(1))?.pop();
    let is_stranger = match another {
        Some(another) => another.is_stranger,
        None => is_stranger(work, user_id)?,
    };
    let of_strangers = Query::equal("is_stranger", 1);
    if work.tx.count::<OlmRepair>(&of_user)? >= MOST_OF_USER
        || is_stranger && work.tx.count::<OlmRepair>(&of_strangers)? >= MOST_OF_STRANGERS
    {
        return Ok(());
    }
    // Whose device it is must be known before a session with it is opened.
    tracking::track(work, user_id)?;
    work.tx.put(&OlmRepair {
        user_id: user_id.to_owned(),
        identity_key: identity_key.to_owned(),
        is_stranger,
        is_due: true,
        broken_at: work.now,
        repaired_at: 0,
    })
}

/// Whether a session was made lately for this reason. A clock that was set back prolongs nothing.
fn was_repaired_lately(work: &Work<'_>, repair: &OlmRepair) -> bool {
    (work.now - repair.repaired_at).abs() < PAUSE
}

/// Whether nothing but a repair makes us ask for the devices of a user.
pub(super) fn is_stranger(work: &Work<'_>, user_id: &str) -> Result<bool> {
    let is_known = user_id == work.own.user_id
        || work.tx.get::<DeviceList>(&[user_id.into()])?.is_some()
        || work.tx.count::<Member>(&Query::equal("user_id", user_id))? > 0;
    Ok(!is_known)
}

/// Forgets a repair: it was made, there is no such device, or it cannot be reached. A user who was
/// tracked for it is tracked no more.
fn forget_repair(work: &Work<'_>, repair: &OlmRepair) -> Result<()> {
    work.tx.delete::<OlmRepair>(&repair.key())?;
    let in_rooms = Query::equal("user_id", repair.user_id.as_str());
    if !repair.is_stranger || work.tx.count::<Member>(&in_rooms)? > 0 {
        return Ok(());
    }
    tracking::untrack(work, &repair.user_id)
}

/// Ends the repair of a device with which a new session was opened: tells it of the session, and
/// lets it have the keys of our current room sessions once more.
pub(super) fn olm_is_repaired(work: &mut Work<'_>, device: &Device) -> Result<()> {
    let key = [device.user_id.as_str().into(), device.identity_key.as_str().into()];
    let repair = work.tx.get::<OlmRepair>(&key)?;
    let Some(repair) = repair.filter(|repair| repair.is_due) else { return Ok(()) };
    work.tx.put(&OlmRepair { is_due: false, repaired_at: work.now, ..repair })?;
    let nothing = to_raw_value(&json!({})).or_fail(Kind::Internal, "An empty content")?;
    send_to_devices::send_to_device(work, device, "m.dummy", &nothing)?;
    keys_were_lost(work, device)
}

/// Lets a device have the keys of our current room sessions once more: it may have lost them.
pub(super) fn keys_were_lost(work: &mut Work<'_>, device: &Device) -> Result<()> {
    let user_id = device.user_id.as_str();
    let shares = work.tx.select::<KeyShare>(&Query::equal("user_id", user_id))?;
    let lost = |share: &KeyShare| {
        let is_its = share.device_id == device.device_id;
        is_its && share.identity_key == device.identity_key && !share.lost
    };
    let lost: Vec<KeyShare> = shares.into_iter().filter(lost).collect();
    if lost.is_empty() {
        return Ok(());
    }
    for share in lost {
        // It stays on record: a device that may have a key is not forgotten.
        work.tx.put(&KeyShare { lost: true, ..share })?;
    }
    effects::push(work, Effect::RecipientsChanged { user_id: user_id.to_owned() });
    Ok(())
}

/// Claims one-time keys of devices whose sessions with us are broken.
pub(super) fn repair_olm_sessions(pump: &mut Pump<'_, '_>) -> Result<()> {
    let mut wanted = Vec::new();
    for repair in pump.work.tx.select::<OlmRepair>(&Query::all())? {
        if !repair.is_due {
            if !was_repaired_lately(pump.work, &repair) {
                forget_repair(pump.work, &repair)?;
            }
            continue;
        }
        let owned = Query::equal("identity_key", repair.identity_key.as_str())
            .and("user_id", repair.user_id.as_str());
        let mut devices = pump.work.tx.select::<Device>(&owned)?;
        devices.retain(|device| !device.deleted && !device.dehydrated);
        let list = pump.work.tx.get::<DeviceList>(&[repair.user_id.as_str().into()])?;
        let is_unknown = devices.is_empty() && !list.is_some_and(|list| list.outdated);
        if is_unknown || repair.broken_at + LIFETIME < pump.work.now {
            forget_repair(pump.work, &repair)?;
            continue;
        }
        devices.retain(|device| {
            device.local != LocalTrust::Blocked
                && tracking::is_due(device.claim_retry_at, pump.work.now)
        });
        wanted.extend(devices.into_iter().map(|device| (device.user_id, device.device_id)));
    }
    olm_sessions::claim_one_time_keys(pump, &Lane::Side, wanted)
}

/// What a message is remembered by.
pub(super) fn tag(sender_key: &str, message_type: i64, body: &str) -> String {
    encode_base64(&Sha256::digest(format!("{sender_key} {message_type} {body}")))
}
