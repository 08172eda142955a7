//! Olm sessions with other devices: opened from claimed keys, used to encrypt and to decrypt. A session
//! belongs to a device of a user with both of its keys ([`Peer`]): only that device is sent to with it.
//!
//! Specification: client-server API, end-to-end encryption, "`m.olm.v1.curve25519-aes-sha2`".

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use vodozemac::{
    Curve25519PublicKey, Ed25519PublicKey,
    megolm::InboundGroupSession,
    olm::{Account, OlmMessage, Session},
};
use zeroize::Zeroizing;

use super::{
    Millis, Work,
    effects::{self, Effect},
    outbox, own_account,
    pump::Pump,
    request_table::Body,
    tracking::pause,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        identifier, keys_claim,
        olm_payload::OlmPayload,
        withheld::{NO_OLM, WITHHELD},
    },
    primitives::{
        account::{MEGOLM, OLM},
        keys, olm, parallel,
    },
    store::{
        BATCH, Query, Record,
        records::{Ask, Device, Lane, OlmSession, Peer},
    },
};

/// How many sessions under one Curve25519 key of a user are kept, whichever devices they are with.
const MOST_OF_KEY: usize = 16;
/// How many sessions with one device are kept. The specification asks for four or more.
pub(super) const MOST_SESSIONS: usize = 8;

/// How many sessions are in memory from when it is known who has one until they are used. Each has 4 KB.
const MOST_IN_MEMORY: usize = 1024;

/// Contents of to-device events by user and device.
pub(super) type Contents = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// The sessions under `identity_key` with devices of `user_id`, and those whose device is not
/// known; the last that was used first.
fn olm_sessions(work: &Work<'_>, user_id: &str, identity_key: &str) -> Result<Vec<OlmSession>> {
    let mut sessions = Vec::new();
    for user_id in [user_id, Peer::Unproven.user_id()] {
        let wanted = Query::equal("identity_key", identity_key).and("user_id", user_id);
        sessions.extend(work.tx.select::<OlmSession>(&wanted)?);
    }
    sessions.sort_by_key(|session| Reverse(session.last_received_at));
    Ok(sessions)
}

pub(super) fn has_olm_session(work: &Work<'_>, device: &Device) -> Result<bool> {
    Ok(channels(work, std::slice::from_ref(device))?.unreached().next().is_none())
}

/// The Olm sessions to send to devices with. Each is read once, unless there are very many.
pub(super) struct Channels<'d> {
    /// By Curve25519 key and id; as many as are kept in memory, and were not used yet.
    sessions: BTreeMap<Name, OlmSession>,
    /// The devices, with the session of each that has one. Two that a user gave the same keys share it.
    devices: Vec<(&'d Device, Option<Name>)>,
    /// How many of the devices had their turn.
    done: usize,
}

type Name = (String, String);

/// Finds the session to send to each of `devices` with.
pub(super) fn channels<'d>(work: &Work<'_>, devices: &'d [Device]) -> Result<Channels<'d>> {
    let mut channels = Channels { sessions: BTreeMap::new(), devices: Vec::new(), done: 0 };
    for batch in devices.chunks(BATCH) {
        let mut found = BTreeMap::<String, Vec<OlmSession>>::new();
        for session in sessions_of_all(work, batch)? {
            found.entry(session.identity_key.clone()).or_default().push(session);
        }
        for device in batch {
            let of_key = found.get(&device.identity_key).map_or(&[][..], Vec::as_slice);
            let mut name = None;
            for session in of_key.iter().filter(|session| !session.receive_only) {
                if leads_to(work, session, device)? {
                    name = Some((device.identity_key.clone(), session.session_id.clone()));
                    break;
                }
            }
            channels.devices.push((device, name));
        }
        let wanted: BTreeMap<&Name, &Device> = channels.devices
            [channels.devices.len() - batch.len()..]
            .iter()
            .filter_map(|(device, name)| Some((name.as_ref()?, *device)))
            .collect();
        for session in found.into_values().flatten() {
            let name = (session.identity_key.clone(), session.session_id.clone());
            if channels.sessions.len() == MOST_IN_MEMORY {
                break;
            }
            if let Some(device) = wanted.get(&name) {
                let session = OlmSession { peer: peer_of(device), ..session };
                channels.sessions.entry(name).or_insert(session);
            }
        }
    }
    Ok(channels)
}

/// The sessions that may lead to one of `devices`, those that were used last first. One statement reads all of them.
fn sessions_of_all(work: &Work<'_>, devices: &[Device]) -> Result<Vec<OlmSession>> {
    let keys: BTreeSet<&str> = devices.iter().map(|d| d.identity_key.as_str()).collect();
    let nobody = Peer::Unproven.user_id();
    let users = devices.iter().map(|device| device.user_id.as_str()).chain([nobody]);
    let users: BTreeSet<&str> = users.collect();
    let wanted = Query::among("identity_key", keys).and_among("user_id", users);
    let mut sessions = work.tx.select_map(&wanted, |session: OlmSession| session)?;
    sessions.sort_by_key(|s| (Reverse(s.last_received_at), s.peer.user_id() == nobody));
    Ok(sessions)
}

impl<'d> Channels<'d> {
    /// The devices that there is no session with.
    pub(super) fn unreached(&self) -> impl Iterator<Item = &'d Device> {
        self.devices.iter().filter(|(_, name)| name.is_none()).map(|(device, _)| *device)
    }

    /// Encrypts an event to the next devices, `most` at a time, and saves the ratchets. Returns the devices, and the
    /// contents of `m.room.encrypted` to-device events by user and device; none when all had their turn.
    pub(super) fn encrypt_next(
        &mut self,
        work: &mut Work<'_>,
        most: usize,
        event_type: &str,
        content: &RawValue,
    ) -> Result<Option<(Vec<&'d Device>, Contents)>> {
        loop {
            let mut by_session = BTreeMap::<&Name, Vec<&'d Device>>::new();
            let mut taken = 0;
            while taken < most
                && let Some((device, name)) = self.devices.get(self.done)
            {
                self.done += 1;
                if let Some(name) = name {
                    by_session.entry(name).or_default().push(device);
                    taken += 1;
                }
            }
            if taken == 0 {
                return Ok(None);
            }
            read_missing(work, &mut self.sessions, &by_session)?;
            let sessions = by_session.into_iter();
            let sessions =
                sessions.filter_map(|(name, to)| Some((self.sessions.remove(name)?, to)));
            let encrypted = encrypt(work, sessions.collect(), event_type, content)?;
            let (mut given, mut contents) = (Vec::new(), Contents::new());
            for (session, to) in encrypted {
                if !to.is_empty() {
                    // The ratchet is saved in the transaction in which its message is put in the outbox.
                    work.tx.put(&session)?;
                }
                for (device, content) in to {
                    let of_user = contents.entry(device.user_id.clone()).or_default();
                    of_user.insert(device.device_id.clone(), content);
                    given.push(device);
                }
            }
            if !given.is_empty() {
                return Ok(Some((given, contents)));
            }
        }
    }
}

/// Reads those of the sessions with these names that are not in memory: because there were too many, or because they
/// were used before.
fn read_missing(
    work: &Work<'_>,
    sessions: &mut BTreeMap<Name, OlmSession>,
    wanted: &BTreeMap<&Name, Vec<&Device>>,
) -> Result<()> {
    let missing: Vec<&Name> =
        wanted.keys().filter(|name| !sessions.contains_key(**name)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let keys: BTreeSet<&str> = missing.iter().map(|(key, _)| key.as_str()).collect();
    let ids: BTreeSet<&str> = missing.iter().map(|(_, id)| id.as_str()).collect();
    let missing = Query::among("identity_key", keys).and_among("session_id", ids);
    for session in work.tx.select_map(&missing, |session: OlmSession| session)? {
        let name = (session.identity_key.clone(), session.session_id.clone());
        if let Some([device, ..]) = wanted.get(&name).map(Vec::as_slice) {
            sessions.insert(name, OlmSession { peer: peer_of(device), ..session });
        }
    }
    Ok(())
}

/// Encrypts an event to devices, each with the session that leads to it, on all cores. Those to which it fails are
/// left out.
#[expect(clippy::type_complexity, reason = "what goes in and what comes out are alike")]
fn encrypt<'d>(
    work: &Work<'_>,
    sessions: Vec<(OlmSession, Vec<&'d Device>)>,
    event_type: &str,
    content: &RawValue,
) -> Result<Vec<(OlmSession, Vec<(&'d Device, Box<RawValue>)>)>> {
    let device_keys: &RawValue = serde_json::from_str(&work.own.device_keys)
        .or_fail(Kind::Internal, "Our own device keys")?;
    let own = &work.own;
    Ok(parallel::map(sessions, |(mut session, devices)| {
        let encrypted = |device: &'d Device| {
            let payload = json_text(&Payload {
                r#type: event_type,
                content,
                sender: &own.user_id,
                keys: SigningKey { ed25519: &own.signing_key },
                recipient: &device.user_id,
                recipient_keys: SigningKey { ed25519: &device.signing_key },
                sender_device_keys: device_keys,
            });
            let message = payload.and_then(|text| olm::encrypt(&mut session.session, &text));
            let (message_type, body) = olm::parts(&message.ok()?);
            let content = content_of(&own.identity_key, &device.identity_key, message_type, &body);
            Some((device, content.ok()?))
        };
        let encrypted = devices.into_iter().filter_map(encrypted).collect();
        (session, encrypted)
    }))
}

/// Whether `device` is at the other end of `session`, which is under its Curve25519 key.
fn leads_to(work: &Work<'_>, session: &OlmSession, device: &Device) -> Result<bool> {
    match &session.peer {
        Peer::Unproven => Ok(false),
        Peer::Device { .. } => Ok(session.peer == peer_of(device)),
        // As long as no other device has published the key.
        Peer::Unrecorded => {
            let same_key = Query::equal("identity_key", device.identity_key.as_str());
            Ok(work.tx.count::<Device>(&same_key)? == 1)
        }
    }
}

/// Claims a one-time key of each of `devices`, user ids and device ids, unless that is under way.
pub(super) fn claim_one_time_keys(
    pump: &mut Pump<'_, '_>,
    lane: &Lane,
    mut devices: Vec<(String, String)>,
) -> Result<()> {
    for ask in &pump.busy {
        if let Ask::KeysClaim { devices: claimed, .. } = ask {
            devices.retain(|device| !claimed.contains(device));
        }
    }
    let claim = |devices: &[_]| Ask::KeysClaim { devices: devices.to_vec(), lane: lane.clone() };
    let most = pump.largest_batch(&claim(&[]))?;
    for devices in devices.chunks(most) {
        // After a failure batches are small, and side work leaves room for what others wait for.
        if *lane == Lane::Side && pump.is_full() {
            break;
        }
        pump.ask(claim(devices), Body::Implied)?;
    }
    Ok(())
}

/// Records that no key of a device could be claimed.
pub(super) fn claim_failed(work: &Work<'_>, user_id: &str, device_id: &str) -> Result<()> {
    if let Some(mut device) = work.tx.get::<Device>(&[user_id.into(), device_id.into()])? {
        device.claim_retry_at = work.now + pause(device.claim_failures);
        device.claim_failures += 1;
        work.tx.put(&device)?;
    }
    Ok(())
}

/// Applies the response to `/keys/claim` about `asked`: opens a session with each device that has a
/// key that holds, and notes when to try the others again.
pub(super) fn keys_claim_answered(
    work: &mut Work<'_>,
    asked: &[(String, String)],
    body: &str,
) -> Result<()> {
    let answer = keys_claim::Answer::read(body)?;
    let users: BTreeSet<&str> = asked.iter().map(|(user_id, _)| user_id.as_str()).collect();
    let known: Vec<Device> = work.tx.select_among("user_id", users)?;
    let name = |device: &Device| (device.user_id.clone(), device.device_id.clone());
    let mut known: BTreeMap<_, Device> = known.into_iter().map(|d| (name(&d), d)).collect();
    let devices: Vec<Device> = asked.iter().filter_map(|name| known.remove(name)).collect();
    let account = own_account::account(work)?;
    let opened = parallel::map(devices, |device| {
        let open = || {
            let signing_key = keys::ed25519(&device.signing_key)?;
            let one_time_key = answer.judge(&device.user_id, &device.device_id, signing_key)?;
            olm::outbound(account, keys::curve25519(&device.identity_key)?, one_time_key)
        };
        let session = open();
        (device, session)
    });
    for (mut device, session) in opened {
        match session {
            Ok(session) => {
                device.claim_failures = 0;
                device.claim_retry_at = 0;
                device.told_no_olm = false;
                work.tx.put(&device)?;
                keep_olm_session(
                    work,
                    &OlmSession {
                        peer: peer_of(&device),
                        ..OlmSession::new(device.identity_key.clone(), session, work.now)
                    },
                )?;
                effects::push(work, Effect::OlmSessionOpened { device: Box::new(device) });
            }
            Err(_) => no_one_time_key(work, device, &answer)?,
        }
    }
    Ok(())
}

fn no_one_time_key(work: &Work<'_>, mut device: Device, answer: &keys_claim::Answer) -> Result<()> {
    let server = identifier::server_name(&device.user_id).unwrap_or_default();
    // A server that could not be reached says nothing about the device.
    let unreachable = answer.failures.contains(server);
    let failures = if unreachable { 0 } else { device.claim_failures };
    if !unreachable && !device.told_no_olm {
        device.told_no_olm = true;
        let content = json!({
            "algorithm": MEGOLM,
            "sender_key": work.own.identity_key,
            "code": NO_OLM,
            "reason": "The sender could open no secure channel to this device.",
        });
        let to = BTreeMap::from([(device.device_id.as_str(), content)]);
        outbox::tell_devices(work, WITHHELD, &BTreeMap::from([(device.user_id.as_str(), to)]))?;
    }
    device.claim_retry_at = work.now + pause(failures);
    device.claim_failures = failures + 1;
    work.tx.put(&device)
}

fn keep_olm_session(work: &Work<'_>, session: &OlmSession) -> Result<()> {
    work.tx.put(session)?;
    let of_key = Query::equal("identity_key", session.identity_key.as_str());
    if work.tx.count::<OlmSession>(&of_key)? <= MOST_SESSIONS.min(MOST_OF_KEY) {
        return Ok(());
    }
    let mut same = olm_sessions(work, session.peer.user_id(), &session.identity_key)?;
    // The least recently used go. They are few, so nothing that is under way is lost. A user may name
    // ever new Ed25519 keys, so that all under one key are bounded too.
    let of_key: Vec<_> = same.iter().skip(MOST_OF_KEY).map(OlmSession::key).collect();
    same.retain(|other| other.peer == session.peer);
    let of_peer = same.iter().skip(MOST_SESSIONS).map(OlmSession::key);
    of_key.into_iter().chain(of_peer).try_for_each(|old| work.tx.delete::<OlmSession>(&old))
}

/// Keeps a session that a message was decrypted with, whose ratchet moved. `payload` is what came over it, where that
/// holds: the session leads to the device that sent it.
pub(super) fn keep_used(
    work: &Work<'_>,
    mut session: OlmSession,
    is_new: bool,
    payload: Option<&OlmPayload>,
) -> Result<()> {
    let peer = payload.map(|payload| Peer::Device {
        user_id: payload.sender.clone(),
        signing_key: payload.signing_key.to_base64(),
    });
    if let Some(peer) = peer
        && session.peer != peer
    {
        effects::push(work, Effect::OlmSessionProven { user_id: peer.user_id().to_owned() });
        session.peer = peer;
        return keep_olm_session(work, &session);
    }
    if is_new { keep_olm_session(work, &session) } else { work.tx.put(&session) }
}

/// Whether a session is kept.
pub(super) fn is_known(work: &Work<'_>, identity_key: &str, session_id: &str) -> Result<bool> {
    let session = Query::equal("identity_key", identity_key).and("session_id", session_id);
    Ok(work.tx.count::<OlmSession>(&session)? > 0)
}

/// Encrypts an event to each device that we have a session with, and saves the ratchets. Returns the
/// contents of `m.room.encrypted` to-device events by user and device; none where there is no session.
pub(super) fn encrypt_to_devices(
    work: &mut Work<'_>,
    devices: &[Device],
    event_type: &str,
    content: &RawValue,
) -> Result<Contents> {
    let encrypted = channels(work, devices)?.encrypt_next(work, usize::MAX, event_type, content)?;
    Ok(encrypted.map(|(_, contents)| contents).unwrap_or_default())
}

/// A session that a message opened ahead, with a copy of our account.
pub(super) struct Opened {
    pub(super) session: Session,
    /// The key of ours that this used up; none if it was a fallback key.
    pub(super) one_time_key: Option<Curve25519PublicKey>,
    /// What the message said, as far as that can be judged without the store.
    pub(super) payload: Result<OlmPayload>,
    /// The session of a room key.
    pub(super) room_key: Option<InboundGroupSession>,
}

/// A message that was decrypted.
pub(super) struct Decrypted {
    /// The session that read it. It is not saved yet: see [`keep_used`].
    pub(super) session: OlmSession,
    /// Whether the message opened it.
    pub(super) is_new: bool,
    pub(super) said: Said,
}

/// What a message said.
pub(super) enum Said {
    Plaintext(Zeroizing<Vec<u8>>),
    /// It was judged ahead: see [`Opened`].
    Judged {
        payload: Result<Box<OlmPayload>>,
        room_key: Option<Box<InboundGroupSession>>,
    },
}

/// Decrypts a message of `sender` from the device that owns `sender_key`. `opened` is the session that it opened
/// ahead.
///
/// # Errors
/// [`Kind::Olm`]; nothing has changed then.
pub(super) fn decrypt_olm(
    work: &mut Work<'_>,
    sender: &str,
    sender_key: Curve25519PublicKey,
    message: &OlmMessage,
    opened: Option<Box<Opened>>,
) -> Result<Decrypted> {
    let identity_key = sender_key.to_base64();
    let mut sessions = match message {
        OlmMessage::PreKey(inner) => {
            let id = inner.session_id();
            let known = work.tx.get(&[identity_key.as_str().into(), id.as_str().into()])?;
            Vec::from_iter(known)
        }
        OlmMessage::Normal(_) => olm_sessions(work, sender, &identity_key)?,
    };
    let (known, now) = (sessions.len(), work.now);
    if let Some(opened) = opened
        && known == 0
        && still_opens(work, &opened)?
    {
        let Opened { session, payload, room_key, .. } = *opened;
        let session = OlmSession::new(identity_key, session, now);
        let said =
            Said::Judged { payload: payload.map(Box::new), room_key: room_key.map(Box::new) };
        return Ok(Decrypted { session, is_new: true, said });
    }
    let (at, plaintext) =
        decrypt(&mut sessions, || own_account::account_mut(work), sender_key, message, now)?;
    let session = sessions.swap_remove(at);
    Ok(Decrypted { session, is_new: at >= known, said: Said::Plaintext(plaintext) })
}

/// Whether our account would open this session now as its copy did. A one-time key opens one session, whichever of two
/// messages that name it comes first; the fallback key does not change while a sync is received.
fn still_opens(work: &mut Work<'_>, opened: &Opened) -> Result<bool> {
    match opened.one_time_key {
        Some(key) => own_account::use_up(work, key),
        None => Ok(true),
    }
}

/// Our own Ed25519 key.
pub(super) fn own_signing_key(work: &Work<'_>) -> Result<Ed25519PublicKey> {
    keys::ed25519(&work.own.signing_key)
}

/// Decrypts a message from the device that owns `sender_key` with one of `sessions`, which are
/// those with it, or with a new one that `account` opens and that is put behind them. Returns the
/// index of that session in `sessions`, and the plaintext.
///
/// # Errors
/// [`Kind::Olm`]; nothing has changed then.
pub(super) fn decrypt<'a>(
    sessions: &mut Vec<OlmSession>,
    account: impl FnOnce() -> Result<&'a mut Account>,
    sender_key: Curve25519PublicKey,
    message: &OlmMessage,
    now: Millis,
) -> Result<(usize, Zeroizing<Vec<u8>>)> {
    let (at, plaintext) = match message {
        // The second message of a session names the same one-time key as the first, which is used up:
        // it must go to the session it belongs to, never open another.
        OlmMessage::PreKey(inner) => {
            match sessions.iter().position(|s| s.session_id == inner.session_id()) {
                Some(at) => (at, olm::decrypt(&mut sessions[at].session, message)?),
                None => {
                    let opened = olm::inbound(account()?, sender_key, inner)?;
                    sessions.push(OlmSession::new(sender_key.to_base64(), opened.session, now));
                    (sessions.len() - 1, opened.plaintext)
                }
            }
        }
        OlmMessage::Normal(_) => {
            let read = |session: &mut OlmSession| olm::decrypt(&mut session.session, message).ok();
            let mut sessions = sessions.iter_mut().enumerate();
            let found = sessions.find_map(|(at, session)| Some((at, read(session)?)));
            let none = || Error::new(Kind::Olm, "No Olm session can decrypt this message.");
            found.ok_or_else(none)?
        }
    };
    sessions[at].last_received_at = now;
    Ok((at, Zeroizing::new(plaintext)))
}

fn peer_of(device: &Device) -> Peer {
    Peer::Device { user_id: device.user_id.clone(), signing_key: device.signing_key.clone() }
}

#[derive(serde::Serialize)]
struct SigningKey<'a> {
    ed25519: &'a str,
}

/// What goes inside an Olm message. Specification: "`m.olm.v1.curve25519-aes-sha2`", `OlmPlaintext`.
#[derive(serde::Serialize)]
struct Payload<'a> {
    r#type: &'a str,
    content: &'a RawValue,
    sender: &'a str,
    keys: SigningKey<'a>,
    recipient: &'a str,
    recipient_keys: SigningKey<'a>,
    sender_device_keys: &'a RawValue,
}

/// What goes around an Olm message.
#[derive(serde::Serialize)]
struct Envelope<'a> {
    algorithm: &'a str,
    sender_key: &'a str,
    ciphertext: BTreeMap<&'a str, Message<'a>>,
}

#[derive(serde::Serialize)]
struct Message<'a> {
    r#type: i64,
    body: &'a str,
}

fn content_of(
    sender_key: &str,
    recipient_key: &str,
    message_type: i64,
    body: &str,
) -> Result<Box<RawValue>> {
    let ciphertext = BTreeMap::from([(recipient_key, Message { r#type: message_type, body })]);
    to_raw_value(&Envelope { algorithm: OLM, sender_key, ciphertext })
        .or_fail(Kind::Internal, "An Olm message")
}

fn json_text(payload: &Payload<'_>) -> Result<Zeroizing<Vec<u8>>> {
    // As long as it can be: a buffer that grows would leave copies of the key behind.
    let length = payload.content.get().len() + payload.sender_device_keys.get().len();
    let mut text = Zeroizing::new(Vec::with_capacity(length + PAYLOAD_FRAME));
    serde_json::to_writer(&mut *text, payload).or_fail(Kind::Internal, "An Olm payload")?;
    Ok(text)
}

/// More bytes than a payload has beside its content and the keys of our device.
const PAYLOAD_FRAME: usize = 1024;
