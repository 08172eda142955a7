//! Which devices of those who may read are given room keys, and what the others are told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Machine, Millis, Work, outbox,
    recipients::{self, DEVICES_PER_REQUEST},
    user_trust,
};
use crate::{
    error::Result,
    judgement::{
        trust::{self, Trust},
        withheld::WITHHELD,
    },
    primitives::account::MEGOLM,
    store::records::{Device, Isolation, IsolationMode, LocalTrust, OutboundSession, Room},
};

/// Codes of [`WITHHELD`], each with what a person is told.
const UNVERIFIED: (&str, &str) =
    ("m.unverified", "The sender shares keys with devices only that their owner signed.");
const BLACKLISTED: (&str, &str) = ("m.blacklisted", "The sender has blocked this device.");

impl Machine {
    /// The isolation mode of everyday messages.
    ///
    /// # Errors
    /// Those of the store.
    pub fn isolation(&mut self) -> Result<Isolation> {
        self.read(|work| isolation(work))
    }

    /// Sets the isolation mode.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_isolation(&mut self, now: Millis, mode: Isolation) -> Result<()> {
        self.work(now, |work| work.tx.put_single(&IsolationMode { mode }))
    }

    /// The devices that the isolation mode keeps from the key of a room, as user and device ids.
    ///
    /// # Errors
    /// Those of the store.
    pub fn withheld(&mut self, room_id: &str) -> Result<Vec<(String, String)>> {
        self.read(|work| {
            let Some(room) = work.tx.get::<Room>(&[room_id.into()])? else { return Ok(Vec::new()) };
            let session = work.tx.get::<OutboundSession>(&[room_id.into()])?;
            let audience = session.and_then(|session| session.audience);
            let users = recipients::recipients(work, &room, audience.as_ref())?;
            let isolated = isolated(work, &users, isolation(work)?)?;
            Ok(names(&isolated.unsigned).into_iter().collect())
        })
    }
}

/// The devices of those who may read.
pub(super) struct Isolated {
    /// They get the key.
    pub(super) admitted: Vec<Device>,
    /// The isolation mode keeps it from them.
    pub(super) unsigned: Vec<Device>,
    /// Our user keeps it from them.
    pub(super) blocked: Vec<Device>,
}

pub(super) fn isolation(work: &Work<'_>) -> Result<Isolation> {
    Ok(work.tx.get_single::<IsolationMode>()?.unwrap_or_default().mode)
}

/// Divides the devices of `users` into those that get a room key and those that do not.
pub(super) fn isolated(
    work: &Work<'_>,
    users: &BTreeSet<String>,
    isolation: Isolation,
) -> Result<Isolated> {
    let mut isolated = Isolated { admitted: Vec::new(), unsigned: Vec::new(), blocked: Vec::new() };
    user_trust::judge_owners(work, users)?;
    for device in recipients::recipient_devices(work, users)? {
        let owner = user_trust::owner(work, &device.user_id)?;
        // Anyone who can make up a device could hide it in this way (MSC3814). It is nobody's
        // mistake either, for which a mode would raise an error.
        if device.dehydrated && !trust::is_signed(&device, &owner) {
            continue;
        }
        let trust = trust::of_device(&device, &owner);
        let refused = match isolation {
            Isolation::All => false,
            Isolation::VerifiedUsers => owner.verified && trust < Trust::Signed,
            Isolation::Signed => trust < Trust::Signed,
        };
        let part = match () {
            () if device.local == LocalTrust::Blocked => &mut isolated.blocked,
            () if refused => &mut isolated.unsigned,
            () => &mut isolated.admitted,
        };
        part.push(device);
    }
    Ok(isolated)
}

/// Tells devices, once a session, that they get no key. (Specification: "Reporting that
/// decryption keys are withheld".)
pub(super) fn withhold(
    work: &Work<'_>,
    session: &mut OutboundSession,
    isolated: &Isolated,
) -> Result<()> {
    let unsigned = (&isolated.unsigned, &mut session.withheld, UNVERIFIED);
    let blocked = (&isolated.blocked, &mut session.blocked, BLACKLISTED);
    let mut notices = Vec::new();
    for (devices, told_to, (code, reason)) in [unsigned, blocked] {
        let told = std::mem::replace(told_to, names(devices));
        for device in devices {
            if !told.contains(&(device.user_id.clone(), device.device_id.clone())) {
                let content = json!({
                    "algorithm": MEGOLM,
                    "room_id": session.room_id,
                    "session_id": session.session_id,
                    "sender_key": work.own.identity_key,
                    "code": code,
                    "reason": reason,
                });
                notices.push((device, content));
            }
        }
    }
    for batch in notices.chunks(DEVICES_PER_REQUEST) {
        let mut messages: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
        for (device, content) in batch {
            messages.entry(&device.user_id).or_default().insert(&device.device_id, content);
        }
        // Nothing of the room waits until they are told.
        outbox::tell_devices(work, WITHHELD, &messages)?;
    }
    Ok(())
}

fn names(devices: &[Device]) -> BTreeSet<(String, String)> {
    devices.iter().map(|device| (device.user_id.clone(), device.device_id.clone())).collect()
}
