//! Room keys: ours, who gets them and when they change; and those of others, as they come.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{json, value::to_raw_value};

use super::{Millis, Work, inbound_sessions::Keeping};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::olm_payload::OlmPayload,
    primitives::{
        account::MEGOLM,
        canonical_json::{Json, Object},
        megolm,
    },
    store::{
        Query,
        records::{
            Device, Encryption, InboundSession, Isolation, KeyShare, KeySource, Member, Membership,
            OutboundSession, OutboxBody, Room,
        },
    },
};

/// How many devices share one to-device request. Servers bound the size of a request, and a batch
/// that fails is sent again whole.
const DEVICES_PER_REQUEST: usize = 250;

/// Stands for the devices of a user that could not be asked for.
const ALL_DEVICES: &str = "*";

/// Whether the current session of a room can encrypt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Everyone who should have its key was given it, as far as they could be reached.
    Done,
    /// These users must be asked about their devices first.
    WantsDevices,
    /// One-time keys of these devices must be claimed first.
    WantsOneTimeKeys(Vec<(String, String)>),
    /// There are devices that should have it, and none could be given it.
    ReachesNobody,
    /// There are devices that could have it, and the isolation mode forbids all of them.
    OnlyUnsigned,
    /// Verified users have devices that are not signed, and the isolation mode makes that an error.
    UnsignedOfVerified,
    /// These users were verified, and the server shows another identity of them.
    Violation(Vec<String>),
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readers {
    /// These members only.
    pub(super) audience: Option<BTreeSet<String>>,
    /// Encrypt also where nothing says that the room is encrypted. That form has always been for
    /// all devices.
    pub(super) demanded: bool,
    /// Also users who were verified and have another identity now: they are verified again.
    pub(super) verifies: bool,
}

impl Readers {
    /// Those of a room event in the outbox.
    pub(super) fn of(body: &OutboxBody) -> Option<Self> {
        let OutboxBody::Event { audience, demand_encryption, verifies, .. } = body else {
            return None;
        };
        Some(Self { audience: audience.clone(), demanded: *demand_encryption, verifies: *verifies })
    }
}

impl Work<'_> {
    /// Makes sure that everyone entitled to the messages of `room` can read the next one, and
    /// nobody else: begins a new session where the old one must not be used any more, and puts
    /// its key in the outbox for those who lack it.
    ///
    /// Who gets the key is worked out here, in the transaction that stages it.
    pub(super) fn share_room_key(
        &mut self,
        room: &Room,
        readers: &Readers,
        isolation: Isolation,
    ) -> Result<Sharing> {
        let audience = readers.audience.as_ref();
        let current = self.tx.get::<OutboundSession>(&[room.room_id.as_str().into()])?;
        let current = current.filter(|session| !self.must_rotate(session, room));
        if current
            .as_ref()
            .is_some_and(|session| self.is_shared(session, room, audience, isolation))
        {
            return Ok(Sharing::Done);
        }
        let users = self.recipients(room, audience)?;
        let lists = users.iter().map(|user| self.track(user)).collect::<Result<Vec<_>>>()?;
        if lists.iter().any(|list| list.outdated && list.retry_at <= self.now) {
            return Ok(Sharing::WantsDevices);
        }
        let violations = self.violations(&users)?;
        if !violations.is_empty() && !readers.verifies {
            return Ok(Sharing::Violation(violations));
        }
        // A server that is down must not keep everybody else waiting.
        let mut retry_at = lists.iter().filter(|l| l.outdated).map(|l| l.retry_at).min();
        let mut isolated = self.isolated(&users, isolation)?;
        let devices = std::mem::take(&mut isolated.admitted);
        let mut session = match current {
            Some(session) if !self.was_given_to_others(&session, &users, &devices)? => session,
            _ => self.new_outbound_session(room)?,
        };
        let missing = self.without_key(&session, devices)?;
        let mut wanted = Vec::new();
        let mut unreached: Vec<(String, String)> = lists
            .iter()
            .filter(|list| list.outdated)
            .map(|list| (list.user_id.clone(), ALL_DEVICES.to_owned()))
            .collect();
        for device in &missing {
            if !self.has_olm_session(&device.identity_key)? {
                let names = (device.user_id.clone(), device.device_id.clone());
                if device.claim_retry_at <= self.now {
                    wanted.push(names);
                } else {
                    let at = device.claim_retry_at;
                    retry_at = Some(retry_at.map_or(at, |earlier: Millis| earlier.min(at)));
                    unreached.push(names);
                }
            }
        }
        session.audience = audience.cloned();
        session.isolation = isolation;
        if isolation == Isolation::VerifiedUsers && !isolated.unsigned.is_empty() {
            return Ok(Sharing::UnsignedOfVerified);
        }
        if !wanted.is_empty() {
            self.tx.put(&session)?;
            return Ok(Sharing::WantsOneTimeKeys(wanted));
        }
        self.stage_room_key(&session, &missing)?;
        self.withhold(&mut session, &isolated)?;
        let others = |device: &Device| device.user_id != self.own.user_id;
        if isolated.unsigned.iter().any(others) && self.shares(&session)?.is_empty() {
            self.tx.put(&session)?;
            return Ok(Sharing::OnlyUnsigned);
        }
        if !unreached.is_empty() && self.shares(&session)?.is_empty() {
            self.tx.put(&session)?;
            return Ok(Sharing::ReachesNobody);
        }
        // What is said to users who are verified again opens nothing for the next message.
        session.shared_generation = violations.is_empty().then_some(room.recipients_generation);
        session.unreached = unreached;
        session.retry_at = retry_at;
        self.tx.put(&session)?;
        Ok(Sharing::Done)
    }

    fn must_rotate(&self, session: &OutboundSession, room: &Room) -> bool {
        let defaults = Encryption::default();
        let limits = room.encryption.as_ref().unwrap_or(&defaults);
        session.rotate
            || u64::from(session.session.message_index()) >= limits.rotation_messages
            || self.now - session.created_at >= limits.rotation_period
            // A clock that was set back must not stretch a session's life.
            || self.now < session.created_at
    }

    fn is_shared(
        &self,
        session: &OutboundSession,
        room: &Room,
        audience: Option<&BTreeSet<String>>,
        isolation: Isolation,
    ) -> bool {
        session.shared_generation == Some(room.recipients_generation)
            && session.isolation == isolation
            && session.audience.as_ref() == audience
            && session.retry_at.is_none_or(|at| self.now < at)
    }

    /// The users who may read: those in the room, those invited where history lets them read from
    /// their invitation on, and ourselves. An audience narrows the others and never adds.
    pub(super) fn recipients(
        &self,
        room: &Room,
        audience: Option<&BTreeSet<String>>,
    ) -> Result<BTreeSet<String>> {
        let invited_read = room.history_visibility.as_deref() != Some("joined");
        let members = self.tx.select::<Member>(&Query::equal("room_id", room.room_id.as_str()))?;
        let mut users: BTreeSet<String> = members
            .into_iter()
            .filter(|member| match member.membership {
                Membership::Join => true,
                Membership::Invite => invited_read,
                _ => false,
            })
            .map(|member| member.user_id)
            .filter(|user| audience.is_none_or(|audience| audience.contains(user)))
            .collect();
        users.insert(self.own.user_id.clone());
        Ok(users)
    }

    pub(super) fn recipient_devices(&self, users: &BTreeSet<String>) -> Result<Vec<Device>> {
        let mut devices = Vec::new();
        for user in users {
            devices.extend(self.devices_of(user)?);
        }
        devices.retain(|d| d.user_id != self.own.user_id || d.device_id != self.own.device_id);
        Ok(devices)
    }

    /// Whether someone holds the key who must not read what comes next: a member who left, a
    /// device that is gone, someone outside of a narrower audience.
    fn was_given_to_others(
        &self,
        session: &OutboundSession,
        users: &BTreeSet<String>,
        devices: &[Device],
    ) -> Result<bool> {
        let present: BTreeSet<(&str, &str)> =
            devices.iter().map(|d| (d.user_id.as_str(), d.device_id.as_str())).collect();
        let shares = self.shares(session)?;
        Ok(shares.iter().any(|share| {
            !users.contains(&share.user_id)
                || !present.contains(&(share.user_id.as_str(), share.device_id.as_str()))
        }))
    }

    fn shares(&self, session: &OutboundSession) -> Result<Vec<KeyShare>> {
        self.tx.select(&Query::equal("session_id", session.session_id.as_str()))
    }

    fn without_key(&self, session: &OutboundSession, devices: Vec<Device>) -> Result<Vec<Device>> {
        let given: BTreeMap<(String, String), String> = self
            .shares(session)?
            .into_iter()
            .filter(|share| !share.lost)
            .map(|share| ((share.user_id, share.device_id), share.identity_key))
            .collect();
        let lacks = |device: &Device| {
            let names = (device.user_id.clone(), device.device_id.clone());
            given.get(&names) != Some(&device.identity_key)
        };
        Ok(devices.into_iter().filter(lacks).collect())
    }

    /// Begins a session, and keeps a copy to read our own messages with.
    fn new_outbound_session(&mut self, room: &Room) -> Result<OutboundSession> {
        if let Some(old) = self.tx.get::<OutboundSession>(&[room.room_id.as_str().into()])? {
            let of_old = Query::equal("session_id", old.session_id.as_str());
            self.tx.delete_where::<KeyShare>(&of_old)?;
        }
        let session = megolm::outbound();
        self.keep_session(InboundSession {
            room_id: room.room_id.clone(),
            session_id: session.session_id(),
            number: 0,
            session: megolm::inbound(&session.session_key().to_base64())?,
            sender: Some(self.own.user_id.clone()),
            sender_key: self.own.identity_key.clone(),
            sender_signing_key: self.own.signing_key.clone(),
            source: KeySource::Own,
            forwarder: None,
            shared_history: shares_history(room),
            changed: 0,
        })?;
        Ok(OutboundSession {
            room_id: room.room_id.clone(),
            session_id: session.session_id(),
            session,
            created_at: self.now,
            rotate: false,
            shared_generation: None,
            audience: None,
            unreached: Vec::new(),
            retry_at: None,
            isolation: Isolation::All,
            shared_history: shares_history(room),
            withheld: BTreeSet::new(),
            blocked: BTreeSet::new(),
        })
    }

    /// Encrypts the key for `devices` and puts it in the outbox, in as few requests as sensible.
    fn stage_room_key(&mut self, session: &OutboundSession, devices: &[Device]) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let content = to_raw_value(&json!({
            "algorithm": MEGOLM,
            "room_id": session.room_id,
            "session_id": session.session_id,
            "session_key": session.session.session_key().to_base64(),
            "shared_history": session.shared_history,
            "m.shared_history": session.shared_history,
        }))
        .or_fail(Kind::Internal, "A room key")?;
        for batch in devices.chunks(DEVICES_PER_REQUEST) {
            let encrypted = self.encrypt_to_devices(batch, "m.room_key", &content)?;
            let mut messages: BTreeMap<&str, BTreeMap<&str, Box<serde_json::value::RawValue>>> =
                BTreeMap::new();
            for (device, text) in batch.iter().zip(encrypted) {
                let Some(text) = text else { continue };
                let text = serde_json::value::RawValue::from_string(text)
                    .or_fail(Kind::Internal, "A to-device message")?;
                messages.entry(&device.user_id).or_default().insert(&device.device_id, text);
                self.tx.put(&KeyShare {
                    session_id: session.session_id.clone(),
                    user_id: device.user_id.clone(),
                    device_id: device.device_id.clone(),
                    identity_key: device.identity_key.clone(),
                    message_index: session.session.message_index(),
                    lost: false,
                })?;
            }
            if !messages.is_empty() {
                let content = serde_json::to_string(&json!({ "messages": messages }))
                    .or_fail(Kind::Internal, "A to-device request")?;
                self.enqueue(&session.room_id, OutboxBody::RoomKeys { content })?;
            }
        }
        Ok(())
    }

    /// Lets the session of a room encrypt no more.
    pub(super) fn end_outbound_session(&self, room_id: &str) -> Result<()> {
        if let Some(mut session) = self.tx.get::<OutboundSession>(&[room_id.into()])?
            && !session.rotate
        {
            session.rotate = true;
            self.tx.put(&session)?;
        }
        Ok(())
    }

    /// Takes in a room key that came over Olm from the device that owns `sender_key`.
    pub(super) fn receive_room_key(
        &mut self,
        payload: &OlmPayload,
        sender_key: &str,
    ) -> Result<Keeping> {
        let text = |name: &str| {
            payload.content.get(name).and_then(Json::as_str).ok_or_else(|| {
                Error::new(Kind::Megolm, format!("A room key is discarded: it has no {name}."))
            })
        };
        if text("algorithm")? != MEGOLM {
            return Err(Error::new(Kind::Megolm, "A room key is discarded: not for Megolm."));
        }
        let session = megolm::inbound(text("session_key")?)?;
        // The claimed id is what messages are looked up by. If it could differ from the key's own,
        // anybody could take the place of a session that is already there.
        if session.session_id() != text("session_id")? {
            return Err(Error::new(Kind::Megolm, "A room key is discarded: not of its session."));
        }
        // The devices of whoever gives us keys are wanted when their messages are judged.
        self.track(&payload.sender)?;
        self.keep_session(InboundSession {
            room_id: text("room_id")?.to_owned(),
            session_id: session.session_id(),
            number: 0,
            session,
            sender: Some(payload.sender.clone()),
            sender_key: sender_key.to_owned(),
            sender_signing_key: payload.signing_key.to_base64(),
            source: KeySource::Direct,
            forwarder: None,
            shared_history: is_shareable(&payload.content),
            changed: 0,
        })
    }
}

/// Whether the maker of a session lets it go to those who are invited later. Other clients use names
/// from before version 1.19 of the specification.
fn is_shareable(content: &Object) -> bool {
    let names = ["shared_history", "m.shared_history", "org.matrix.msc3061.shared_history"];
    names.iter().find_map(|name| content.get(*name)) == Some(&Json::Bool(true))
}

/// Whether those who are invited later may be given what is said now. (Specification: "Shareable
/// encryption sessions"; a room that says nothing has the history visibility `shared`.)
pub(super) fn shares_history(room: &Room) -> bool {
    let visibility = room.history_visibility.as_deref().unwrap_or("shared");
    matches!(visibility, "shared" | "world_readable")
}
