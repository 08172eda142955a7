//! Room keys: ours, who gets them and when they change; and those of others, as they come.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use vodozemac::megolm::InboundGroupSession;

use super::{
    Millis, Work,
    inbound_sessions::{self, Keeping},
    isolation,
    olm_sessions::{self, Channels},
    outbox,
    owed_keys::{self, ALL_DEVICES},
    recipients, rooms, tracking, user_trust,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{identifier, olm_payload::OlmPayload},
    primitives::{
        account::MEGOLM,
        canonical_json::{Json, Object},
        megolm,
    },
    store::{
        Query,
        records::{
            Device, DeviceList, Encryption, InboundSession, Isolation, KeyShare, KeySource, Member,
            OutboundSession, OutboxBody, OutboxRow, Room,
        },
    },
};

/// How many keys of one sender are kept for rooms in which that user was not seen.
const MOST_OF_STRANGER: usize = 500;
/// Whether the current session of a room can encrypt.
pub(super) enum Sharing {
    /// Everyone who should have its key was given it, as far as they could be reached.
    Done {
        /// The session.
        session: Box<OutboundSession>,
        /// Rows of the outbox that bring its key to those who lack it. The caller puts them there.
        staged: Vec<OutboxRow>,
    },
    /// The devices of these users must be requested first.
    WantsDevices(BTreeSet<String>),
    /// One-time keys of these devices must be claimed first.
    WantsOneTimeKeys(Vec<(String, String)>),
    /// These devices should have it, and none could be given it.
    ReachesNobody(Vec<(String, String)>),
    /// There are devices that could have it, and the isolation mode forbids all of them.
    OnlyUnsigned,
    /// Verified users have devices that are not signed, and the isolation mode makes that an error.
    UnsignedOfVerified,
    /// These users were verified, and the server returns another identity of them.
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

/// Makes sure that everyone entitled to the messages of `room` can read the next one, and
/// nobody else: begins a new session where the old one must not be used any more, and encrypts
/// its key for those who lack it.
///
/// Who gets the key is worked out here, in the transaction that stages it.
pub(super) fn share_room_key(
    work: &mut Work<'_>,
    room: &Room,
    readers: &Readers,
    isolation: Isolation,
) -> Result<Sharing> {
    let audience = readers.audience.as_ref();
    let current = work.tx.get::<OutboundSession>(&[room.room_id.as_str().into()])?;
    let current = current.filter(|session| !must_rotate(work, session, room));
    let current = match current {
        Some(session) if is_shared(work, &session, room, audience, isolation) => {
            return Ok(Sharing::Done { session: Box::new(session), staged: Vec::new() });
        }
        other => other,
    };
    let users = recipients::recipients(work, room, audience)?;
    let lists = tracking::track_all(work, &users)?;
    let unknown =
        lists.iter().filter(|list| list.outdated && tracking::is_due(list.retry_at, work.now));
    let unknown: BTreeSet<String> = unknown.map(|list| list.user_id.clone()).collect();
    if !unknown.is_empty() {
        return Ok(Sharing::WantsDevices(unknown));
    }
    let violations = user_trust::violations(work, &users)?;
    if !violations.is_empty() && !readers.verifies {
        return Ok(Sharing::Violation(violations));
    }
    // A server that is down must not keep everybody else waiting.
    let mut retry_at = lists.iter().filter(|l| l.outdated).map(|l| l.retry_at).min();
    let mut isolated = isolation::isolated(work, &users, isolation)?;
    let devices = std::mem::take(&mut isolated.admitted);
    let mut session = match current {
        Some(session) if !was_given_to_others(work, &session, &users, &devices, isolation)? => {
            session
        }
        _ => new_outbound_session(work, room)?,
    };
    let missing = without_key(work, &session, devices)?;
    let mut wanted = Vec::new();
    let mut unreached: Vec<(String, String)> = lists
        .iter()
        .filter(|list| list.outdated)
        .map(|list| (list.user_id.clone(), ALL_DEVICES.to_owned()))
        .collect();
    let refused = |list: &DeviceList| {
        let named = |device_id: &String| (list.user_id.clone(), device_id.clone());
        list.refused.keys().map(named).collect::<Vec<_>>()
    };
    let refused: Vec<_> = lists.iter().flat_map(refused).collect();
    let channels = olm_sessions::channels(work, &missing)?;
    for device in channels.unreached() {
        let names = (device.user_id.clone(), device.device_id.clone());
        if tracking::is_due(device.claim_retry_at, work.now) {
            wanted.push(names);
        } else {
            let at = device.claim_retry_at;
            retry_at = Some(retry_at.map_or(at, |earlier: Millis| earlier.min(at)));
            unreached.push(names);
        }
    }
    session.audience = audience.cloned();
    session.isolation = isolation;
    if isolation == Isolation::VerifiedUsers && !isolated.unsigned.is_empty() {
        return Ok(Sharing::UnsignedOfVerified);
    }
    if !wanted.is_empty() {
        work.tx.put(&session)?;
        return Ok(Sharing::WantsOneTimeKeys(wanted));
    }
    let content = content_of(&session)?;
    let staged = stage_room_key(work, &session, &content, channels)?;
    isolation::withhold(work, &mut session, &isolated)?;
    let others = |device: &Device| device.user_id != work.own.user_id;
    if isolated.unsigned.iter().any(others) && shares(work, &session)?.is_empty() {
        work.tx.put(&session)?;
        return Ok(Sharing::OnlyUnsigned);
    }
    let reaches_not_all =
        !unreached.is_empty() || refused.iter().any(|(user_id, _)| *user_id != work.own.user_id);
    if reaches_not_all && shares(work, &session)?.is_empty() {
        work.tx.put(&session)?;
        return Ok(Sharing::ReachesNobody(unreached));
    }
    // What is said to users who are verified again opens nothing for the next message.
    session.shared_generation = violations.is_empty().then_some(room.recipients_generation);
    owed_keys::owe(work, &session, &content, &unreached)?;
    unreached.extend(refused);
    session.unreached = unreached;
    session.retry_at = retry_at;
    work.tx.put(&session)?;
    Ok(Sharing::Done { session: Box::new(session), staged })
}

fn must_rotate(work: &Work<'_>, session: &OutboundSession, room: &Room) -> bool {
    let defaults = Encryption::default();
    let limits = room.encryption.as_ref().unwrap_or(&defaults);
    session.rotate
        || u64::from(session.session.message_index()) >= limits.rotation_messages
        // One that has encrypted nothing is not too old for its first message: anyone who may set
        // the encryption of a room could name a period in which no key is shared, and silence it.
        || (session.session.message_index() > 0
            && work.now - session.created_at >= limits.rotation_period)
        // A clock that was set back must not stretch a session's life.
        || work.now < session.created_at
}

fn is_shared(
    work: &Work<'_>,
    session: &OutboundSession,
    room: &Room,
    audience: Option<&BTreeSet<String>>,
    isolation: Isolation,
) -> bool {
    session.shared_generation == Some(room.recipients_generation)
        && session.isolation == isolation
        && session.audience.as_ref() == audience
        && session.retry_at.is_none_or(|at| !tracking::is_due(at, work.now))
}

/// Whether someone holds the key, or is still to be given it, who must not read what comes next: a member
/// who left, a device that is gone, someone outside of a narrower audience.
fn was_given_to_others(
    work: &Work<'_>,
    session: &OutboundSession,
    users: &BTreeSet<String>,
    devices: &[Device],
    isolation: Isolation,
) -> Result<bool> {
    let present: BTreeSet<(&str, &str)> =
        devices.iter().map(|d| (d.user_id.as_str(), d.device_id.as_str())).collect();
    let is_left_out = |share: &KeyShare| {
        !users.contains(&share.user_id)
            || !present.contains(&(share.user_id.as_str(), share.device_id.as_str()))
    };
    Ok(shares(work, session)?.iter().any(is_left_out)
        || owed_keys::is_owed_to_others(work, &session.session_id, users, &present, isolation)?)
}

fn shares(work: &Work<'_>, session: &OutboundSession) -> Result<Vec<KeyShare>> {
    work.tx.select(&Query::equal("session_id", session.session_id.as_str()))
}

fn without_key(
    work: &Work<'_>,
    session: &OutboundSession,
    devices: Vec<Device>,
) -> Result<Vec<Device>> {
    let given: BTreeMap<(String, String), String> = shares(work, session)?
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
fn new_outbound_session(work: &mut Work<'_>, room: &Room) -> Result<OutboundSession> {
    if let Some(old) = work.tx.get::<OutboundSession>(&[room.room_id.as_str().into()])? {
        let of_old = Query::equal("session_id", old.session_id.as_str());
        work.tx.delete_where::<KeyShare>(&of_old)?;
    }
    let session = megolm::outbound();
    let reading = megolm::inbound(&session.session_key().to_base64())?;
    let reading = InboundSession {
        sender: Some(work.own.user_id.clone()),
        sender_key: work.own.identity_key.clone(),
        sender_signing_key: work.own.signing_key.clone(),
        shared_history: rooms::shares_history(room),
        ..InboundSession::new(room.room_id.clone(), reading, KeySource::Own)
    };
    inbound_sessions::keep_session(work, reading)?;
    Ok(OutboundSession {
        room_id: room.room_id.clone(),
        session_id: session.session_id(),
        session,
        created_at: work.now,
        rotate: false,
        shared_generation: None,
        audience: None,
        unreached: Vec::new(),
        retry_at: None,
        isolation: Isolation::All,
        shared_history: rooms::shares_history(room),
        withheld: BTreeSet::new(),
        blocked: BTreeSet::new(),
    })
}

/// The content of `m.room_key`, from the next index of `session` on.
fn content_of(session: &OutboundSession) -> Result<Box<RawValue>> {
    to_raw_value(&json!({
        "algorithm": MEGOLM,
        "room_id": session.room_id,
        "session_id": session.session_id,
        "session_key": session.session.session_key().to_base64(),
        "shared_history": session.shared_history,
        "m.shared_history": session.shared_history,
    }))
    .or_fail(Kind::Internal, "A room key")
}

/// Encrypts `content`, the key of `session`, for all who can be reached. Returns the rows of the outbox that bring it to
/// them, as few as sensible.
fn stage_room_key(
    work: &mut Work<'_>,
    session: &OutboundSession,
    content: &RawValue,
    mut channels: Channels<'_>,
) -> Result<Vec<OutboxRow>> {
    let mut staged = Vec::new();
    while let Some((given, messages)) =
        channels.encrypt_next(work, recipients::DEVICES_PER_REQUEST, "m.room_key", content)?
    {
        for device in given {
            work.tx.put(&KeyShare {
                session_id: session.session_id.clone(),
                user_id: device.user_id.clone(),
                device_id: device.device_id.clone(),
                identity_key: device.identity_key.clone(),
                message_index: session.session.message_index(),
                lost: false,
            })?;
        }
        let content = outbox::to_device_content(&messages)?;
        staged.push(outbox::staged(work, &session.room_id, OutboxBody::RoomKeys { content })?);
    }
    Ok(staged)
}

/// Processes a room key that came over Olm from the device that owns `sender_key`. `session` is what its key was read
/// as, where that was done ahead.
pub(super) fn receive_room_key(
    work: &mut Work<'_>,
    payload: &OlmPayload,
    sender_key: &str,
    session: Option<InboundGroupSession>,
) -> Result<Keeping> {
    let text = |name: &str| {
        payload.text(name).ok_or_else(|| {
            Error::new(Kind::Megolm, format!("A room key is discarded: it has no {name}."))
        })
    };
    if text("algorithm")? != MEGOLM {
        return Err(Error::new(Kind::Megolm, "A room key is discarded: not for Megolm."));
    }
    // A server that cannot store such an id would refuse the whole backup for it.
    if !identifier::is_sound(text("room_id")?) {
        return Err(Error::new(Kind::Megolm, "A room key is discarded: its room id is none."));
    }
    let session = match session {
        Some(session) => session,
        None => megolm::inbound(text("session_key")?)?,
    };
    // The claimed id is what messages are looked up by. If it could differ from the key's own,
    // anybody could take the place of a session that is already there.
    if session.session_id() != text("session_id")? {
        return Err(Error::new(Kind::Megolm, "A room key is discarded: not of its session."));
    }
    let room_id = text("room_id")?;
    let key = [room_id.into(), payload.sender.as_str().into()];
    let is_member = work.tx.get::<Member>(&key)?.is_some();
    let of_sender = Query::equal("sender", payload.sender.as_str());
    if !is_member && work.tx.count::<InboundSession>(&of_sender)? >= MOST_OF_STRANGER {
        return Err(Error::new(Kind::Megolm, "A room key is discarded: its sender is no member."));
    }
    // The devices of a user who gives us keys are needed when their messages are judged.
    tracking::track(work, &payload.sender)?;
    let session = InboundSession {
        sender: Some(payload.sender.clone()),
        sender_key: sender_key.to_owned(),
        sender_signing_key: payload.signing_key.to_base64(),
        shared_history: is_shareable(&payload.content),
        ..InboundSession::new(room_id.to_owned(), session, KeySource::Direct)
    };
    inbound_sessions::keep_session(work, session)
}

/// Whether the sender of a session allows sharing it with users who are invited later. Other
/// clients use names from before version 1.19 of the specification.
fn is_shareable(content: &Object) -> bool {
    let names = ["shared_history", "m.shared_history", "org.matrix.msc3061.shared_history"];
    names.iter().find_map(|name| content.get(*name)) == Some(&Json::Bool(true))
}
