//! Our requests for room keys, to our own verified devices.
//!
//! Specification: client-server API, end-to-end encryption, "Key requests".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    HOUR, Millis, SECOND, Work, devices,
    effects::{self, Effect},
    inbound_sessions, outbox,
    pump::Pump,
    user_trust,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        olm_payload::OlmPayload,
        trust::{self, Trust},
    },
    primitives::{account::MEGOLM, keys::encode_base64, megolm, seal::random_bytes},
    store::{
        Query, Record,
        records::{BackupRequest, Device, InboundSession, KeyRequest, KeySource, WaitingEvent},
    },
};

/// The type of the event.
pub(super) const REQUEST: &str = "m.room_key_request";
/// Most keys come by themselves, a little later than what they read.
const PATIENCE: Millis = 10 * SECOND;
/// After so long a request is neither expected to be answered nor answered.
pub(super) const LIFETIME: Millis = 7 * 24 * HOUR;

/// Requests a key that an event of `sender` waits for, some time from now.
pub(super) fn want_key(
    work: &mut Work<'_>,
    room_id: &str,
    session_id: &str,
    sender: &str,
) -> Result<()> {
    let known: Option<KeyRequest> = work.tx.get(&[room_id.into(), session_id.into()])?;
    if known.is_some() {
        return Ok(());
    }
    effects::push(work, Effect::StoredFrom { sender: sender.to_owned() });
    work.tx.put(&KeyRequest {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        sender: sender.to_owned(),
        request_id: encode_base64(&random_bytes::<12>()?),
        due_at: work.now + PATIENCE,
        asked: Vec::new(),
    })
}

/// Takes requests back for keys that came, once nothing waits for them any more. `awaited` are the sessions that events
/// waited for, by room and id.
pub(super) fn keys_came(
    work: &Work<'_>,
    batch: &(&str, Vec<&str>),
    awaited: &BTreeSet<(&str, &str)>,
) -> Result<()> {
    let (room_id, session_ids) = batch;
    let mut done = Vec::with_capacity(session_ids.len());
    for session_id in session_ids {
        let waiting = Query::equal("room_id", *room_id).and("session_id", *session_id);
        let is_awaited = awaited.contains(&(*room_id, *session_id));
        if !is_awaited || work.tx.count::<WaitingEvent>(&waiting)? == 0 {
            done.push(*session_id);
        }
    }
    let done = inbound_sessions::of_batch(&(*room_id, done));
    work.tx.delete_where::<BackupRequest>(&done)?;
    for request in work.tx.select::<KeyRequest>(&done)? {
        work.tx.delete::<KeyRequest>(&request.key())?;
        let content = json!({
            "action": "request_cancellation",
            "requesting_device_id": work.own.device_id,
            "request_id": request.request_id,
        });
        tell_own_devices(work, REQUEST, &request.asked, &content)?;
    }
    Ok(())
}

/// Sends `content` to other devices of ours, in the clear.
pub(super) fn tell_own_devices(
    work: &Work<'_>,
    event_type: &str,
    device_ids: &[String],
    content: &serde_json::Value,
) -> Result<()> {
    if device_ids.is_empty() {
        return Ok(());
    }
    let to: BTreeMap<&str, _> = device_ids.iter().map(|id| (id.as_str(), content)).collect();
    outbox::tell_devices(work, event_type, &BTreeMap::from([(work.own.user_id.as_str(), to)]))
}

/// Our other devices that are verified and can answer.
pub(super) fn own_verified_devices(work: &Work<'_>) -> Result<Vec<Device>> {
    let owner = user_trust::owner(work, &work.own.user_id)?;
    let mut devices = devices::devices_of(work, &work.own.user_id)?;
    devices.retain(|device| {
        device.device_id != work.own.device_id
            && !device.dehydrated
            && trust::of_device(device, &owner) == Trust::Verified
    });
    Ok(devices)
}

/// The device of ours that sent `payload`, over Olm from the device that owns `sender_key`, if it
/// is verified and among those that were asked.
pub(super) fn asked_sender(
    work: &Work<'_>,
    payload: &OlmPayload,
    sender_key: &str,
    asked: &[String],
) -> Result<Option<Device>> {
    if payload.sender != work.own.user_id {
        return Ok(None);
    }
    let signing_key = payload.signing_key.to_base64();
    Ok(own_verified_devices(work)?.into_iter().find(|device| {
        device.identity_key == sender_key
            && device.signing_key == signing_key
            && asked.contains(&device.device_id)
    }))
}

/// Accepts a key that one of our own devices forwards: only one that we requested, and from that
/// device.
pub(super) fn receive_forwarded_key(
    work: &mut Work<'_>,
    payload: &OlmPayload,
    sender_key: &str,
) -> Result<()> {
    let text =
        |name: &str| payload.text(name).ok_or_else(|| discarded(&format!("it has no {name}")));
    let (room_id, session_id) = (text("room_id")?, text("session_id")?);
    let request: Option<KeyRequest> = work.tx.get(&[room_id.into(), session_id.into()])?;
    let request = request.ok_or_else(|| discarded("nobody asked for it"))?;
    let forwarder = asked_sender(work, payload, sender_key, &request.asked)?;
    let forwarder =
        forwarder.ok_or_else(|| discarded("it does not come from a device that was asked"))?;
    if text("algorithm")? != MEGOLM {
        return Err(discarded("it is not for Megolm"));
    }
    let session = megolm::imported(text("session_key")?)?;
    if session.session_id() != session_id {
        return Err(discarded("it is not of its session"));
    }
    // Without a sender: the event it was asked for may be of anybody who names the session.
    let session = InboundSession {
        sender_key: text("sender_key")?.to_owned(),
        sender_signing_key: text("sender_claimed_ed25519_key")?.to_owned(),
        forwarder: Some(forwarder.device_id),
        ..InboundSession::new(room_id.to_owned(), session, KeySource::Forwarded)
    };
    inbound_sessions::keep_session(work, session).map(drop)
}

/// Asks our verified devices for the keys that are still missing.
pub(super) fn ask_for_keys(pump: &mut Pump<'_, '_>) -> Result<()> {
    let requests = pump.work.tx.select::<KeyRequest>(&Query::all())?;
    if requests.is_empty() {
        return Ok(());
    }
    let devices = own_verified_devices(pump.work)?;
    for mut request in requests {
        if request.due_at + LIFETIME < pump.work.now {
            pump.work.tx.delete::<KeyRequest>(&request.key())?;
            continue;
        }
        if request.due_at > pump.work.now || !request.asked.is_empty() || devices.is_empty() {
            continue;
        }
        request.asked = devices.iter().map(|device| device.device_id.clone()).collect();
        let content = json!({
            "action": "request",
            "body": {
                "algorithm": MEGOLM,
                "room_id": request.room_id,
                "session_id": request.session_id,
            },
            "requesting_device_id": pump.work.own.device_id,
            "request_id": request.request_id,
        });
        tell_own_devices(pump.work, REQUEST, &request.asked, &content)?;
        pump.work.tx.put(&request)?;
    }
    Ok(())
}

fn discarded(what: &str) -> Error {
    Error::new(Kind::Megolm, format!("A forwarded room key is discarded: {what}."))
}
