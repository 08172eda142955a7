//! Broken Olm sessions are replaced, and what they lost is given again.
//!
//! Specification: client-server API, end-to-end encryption, "Recovering from undecryptable
//! messages".

use serde_json::{json, value::to_raw_value};
use sha2::{Digest, Sha256};

use super::{HOUR, Work, pump::Pump};
use crate::{
    error::{Kind, OrFail, Result},
    primitives::keys::encode_base64,
    store::{
        Query,
        records::{Device, DeviceList, KeyShare, LocalTrust, Member, OlmMessageSeen, OlmRepair},
    },
};

/// How many messages are remembered to tell a replay from a broken session.
const REMEMBERED: i64 = 20_000;
/// How many repairs may be due: whoever likes may send what cannot be read.
const MOST_DUE: usize = 100;

impl Work<'_> {
    /// Whether an Olm message was read before.
    pub(super) fn was_read(&self, tag: &str) -> Result<bool> {
        Ok(self.tx.get::<OlmMessageSeen>(&[tag.into()])?.is_some())
    }

    /// Remembers that an Olm message was read.
    pub(super) fn remember_read(&self, tag: String) -> Result<()> {
        let number = self.tx.take_number("olm message")?;
        self.tx.put(&OlmMessageSeen { tag, number })?;
        let old = Query::all().until("number", number - REMEMBERED);
        self.tx.delete_where::<OlmMessageSeen>(&old).map(drop)
    }

    /// Notes that a device and we have lost our sessions: a new one is made, at most once an hour.
    pub(super) fn olm_is_broken(&mut self, user_id: &str, identity_key: &str) -> Result<()> {
        let known = self.tx.get::<OlmRepair>(&[identity_key.into()])?;
        let repaired_at = known.as_ref().map_or(0, |repair| repair.repaired_at);
        let lately = repaired_at > 0 && (self.now - repaired_at).abs() < HOUR;
        let due = self.tx.count::<OlmRepair>(&Query::equal("is_due", 1))?;
        if lately || due >= MOST_DUE {
            return Ok(());
        }
        // Whose device it is must be known before a session with it is opened.
        self.track(user_id)?;
        self.tx.put(&OlmRepair {
            identity_key: identity_key.to_owned(),
            user_id: user_id.to_owned(),
            is_due: true,
            repaired_at,
        })
    }

    /// There is no such device. Whoever made it up is not tracked for it.
    fn forget_repair(&self, repair: &OlmRepair) -> Result<()> {
        self.tx.delete::<OlmRepair>(&[repair.identity_key.as_str().into()])?;
        let in_rooms = Query::equal("user_id", repair.user_id.as_str());
        if self.tx.count::<Member>(&in_rooms)? > 0 {
            return Ok(());
        }
        self.untrack(&repair.user_id)
    }

    /// Ends the repair of a device with which a new session was opened: tells it of the session, and
    /// lets it have the keys of our current room sessions once more.
    pub(super) fn olm_is_repaired(&mut self, device: &Device) -> Result<()> {
        let repair = self.tx.get::<OlmRepair>(&[device.identity_key.as_str().into()])?;
        let Some(repair) = repair.filter(|repair| repair.is_due) else { return Ok(()) };
        self.tx.put(&OlmRepair { is_due: false, repaired_at: self.now, ..repair })?;
        let nothing = to_raw_value(&json!({})).or_fail(Kind::Internal, "An empty content")?;
        self.send_to_device(device, "m.dummy", &nothing)?;
        self.keys_were_lost(&device.user_id, &device.identity_key)
    }

    /// Lets a device have the keys of our current room sessions once more: it may have lost them.
    pub(super) fn keys_were_lost(&mut self, user_id: &str, identity_key: &str) -> Result<()> {
        let given = Query::equal("user_id", user_id);
        let shares = self.tx.select::<KeyShare>(&given)?;
        let lost = |share: &KeyShare| share.identity_key == identity_key && !share.lost;
        let lost: Vec<KeyShare> = shares.into_iter().filter(lost).collect();
        if lost.is_empty() {
            return Ok(());
        }
        for share in lost {
            // It stays on record: whoever may have a key is not forgotten.
            self.tx.put(&KeyShare { lost: true, ..share })?;
        }
        self.recipients_changed(user_id)
    }
}

impl Pump<'_, '_> {
    /// Claims one-time keys of devices whose sessions with us are broken.
    pub(super) fn repair_olm_sessions(&mut self) -> Result<()> {
        let mut wanted = Vec::new();
        for repair in self.work.tx.select::<OlmRepair>(&Query::equal("is_due", 1))? {
            let owned = Query::equal("identity_key", repair.identity_key.as_str());
            let mut devices = self.work.tx.select::<Device>(&owned)?;
            devices.retain(|d| d.user_id == repair.user_id && !d.deleted && !d.dehydrated);
            let list = self.work.tx.get::<DeviceList>(&[repair.user_id.as_str().into()])?;
            match devices.first() {
                Some(device) if device.local == LocalTrust::Blocked => {}
                Some(device) if device.claim_retry_at <= self.work.now => {
                    wanted.push((device.user_id.clone(), device.device_id.clone()));
                }
                Some(_) => {}
                None if list.is_some_and(|list| list.outdated) => {}
                None => self.work.forget_repair(&repair)?,
            }
        }
        self.claim_one_time_keys(wanted)
    }
}

/// What a message is remembered by.
pub(super) fn tag(sender_key: &str, message_type: i64, body: &str) -> String {
    encode_base64(&Sha256::digest(format!("{sender_key} {message_type} {body}")))
}
