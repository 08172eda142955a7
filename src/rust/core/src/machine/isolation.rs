//! Which devices of those who may read are given room keys, and what the others are told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Machine, Work, withheld::WITHHELD};
use crate::{
    error::Result,
    judgement::trust::{self, Trust},
    primitives::account::MEGOLM,
    store::records::{
        Device, Isolation, IsolationMode, LocalTrust, OutboundSession, OutboxBody, Room,
    },
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
        self.work(0, |work| work.isolation())
    }

    /// Sets the isolation mode.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_isolation(&mut self, mode: Isolation) -> Result<()> {
        self.work(0, |work| work.tx.put_single(&IsolationMode { mode }))
    }

    /// The devices that the isolation mode keeps from the key of a room, as user and device ids.
    ///
    /// # Errors
    /// Those of the store.
    pub fn withheld(&mut self, room_id: &str) -> Result<Vec<(String, String)>> {
        self.work(0, |work| {
            let Some(room) = work.tx.get::<Room>(&[room_id.into()])? else { return Ok(Vec::new()) };
            let session = work.tx.get::<OutboundSession>(&[room_id.into()])?;
            let audience = session.and_then(|session| session.audience);
            let users = work.recipients(&room, audience.as_ref())?;
            let isolated = work.isolated(&users, work.isolation()?)?;
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

impl Work<'_> {
    pub(super) fn isolation(&self) -> Result<Isolation> {
        Ok(self.tx.get_single::<IsolationMode>()?.unwrap_or_default().mode)
    }

    /// Divides the devices of `users` into those that get a room key and those that do not.
    pub(super) fn isolated(
        &self,
        users: &BTreeSet<String>,
        isolation: Isolation,
    ) -> Result<Isolated> {
        let mut isolated =
            Isolated { admitted: Vec::new(), unsigned: Vec::new(), blocked: Vec::new() };
        for device in self.recipient_devices(users)? {
            let owner = self.owner(&device.user_id)?;
            // Whoever can make up a device could hide it in this way (MSC3814). It is nobody's mistake
            // either, for which a mode would raise an error.
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
        &self,
        session: &mut OutboundSession,
        isolated: &Isolated,
    ) -> Result<()> {
        let unsigned = (&isolated.unsigned, &mut session.withheld, UNVERIFIED);
        let blocked = (&isolated.blocked, &mut session.blocked, BLACKLISTED);
        let mut messages: BTreeMap<&str, BTreeMap<&str, serde_json::Value>> = BTreeMap::new();
        for (devices, told_to, (code, reason)) in [unsigned, blocked] {
            let told = std::mem::replace(told_to, names(devices));
            for device in devices {
                if !told.contains(&(device.user_id.clone(), device.device_id.clone())) {
                    let content = json!({
                        "algorithm": MEGOLM,
                        "room_id": session.room_id,
                        "session_id": session.session_id,
                        "sender_key": self.own.identity_key,
                        "code": code,
                        "reason": reason,
                    });
                    messages.entry(&device.user_id).or_default().insert(&device.device_id, content);
                }
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        let content = json!({ "messages": messages }).to_string();
        let event_type = WITHHELD.to_owned();
        self.enqueue(&session.room_id, OutboxBody::ToDevice { event_type, content }).map(drop)
    }
}

fn names(devices: &[Device]) -> BTreeSet<(String, String)> {
    devices.iter().map(|device| (device.user_id.clone(), device.device_id.clone())).collect()
}
