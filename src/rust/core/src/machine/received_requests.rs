//! Requests of other devices for room keys.
//!
//! Specification: client-server API, end-to-end encryption, "Key requests". The key reveals what
//! was said in a room; so only devices that are verified as our own get it, and those that were
//! given the very key before.

use std::collections::BTreeMap;

use serde_json::{json, value::to_raw_value};

use super::{
    Work, inbound_sessions, key_requests::LIFETIME, olm_sessions, outbox, pump::Pump,
    send_to_devices, tracking, user_trust,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        identifier,
        trust::{self, Trust},
        withheld::WITHHELD,
    },
    primitives::{
        account::MEGOLM,
        canonical_json::{Json, Object},
    },
    store::{
        Query, Record,
        records::{Device, InboundSession, KeyShare, KeySource, Lane, ReceivedRequest},
    },
};

/// How many requests of one user wait. Only users who were given keys may ask.
const MOST_OF_USER: usize = 100;

/// Records a request of another device, or cancels it. A request for a key that the device can
/// never get is ignored.
pub(super) fn receive_key_request(work: &Work<'_>, sender: &str, content: &Object) -> Result<()> {
    let text = |object: &Object, name: &str| {
        let text = object.get(name).and_then(Json::as_str);
        text.filter(|text| identifier::is_sound(text)).map(str::to_owned)
    };
    let (Some(action), Some(device_id), Some(request_id)) = (
        text(content, "action"),
        text(content, "requesting_device_id"),
        text(content, "request_id"),
    ) else {
        return Err(Error::new(Kind::Json, "A key request is discarded: it is malformed."));
    };
    let key = [sender.into(), device_id.as_str().into(), request_id.as_str().into()];
    if action == "request_cancellation" {
        return work.tx.delete::<ReceivedRequest>(&key);
    }
    let body = content.get("body").and_then(Json::as_object);
    let wanted = |name: &str| body.and_then(|body| text(body, name));
    let (Some(room_id), Some(session_id)) = (wanted("room_id"), wanted("session_id")) else {
        return Err(Error::new(Kind::Json, "A key request is discarded: for no session."));
    };
    let given = [session_id.as_str().into(), sender.into(), device_id.as_str().into()];
    let is_own = sender == work.own.user_id && device_id != work.own.device_id;
    let may_ask = is_own || work.tx.get::<KeyShare>(&given)?.is_some();
    if action != "request"
        || !may_ask
        || wanted("algorithm").as_deref() != Some(MEGOLM)
        || work.tx.count::<ReceivedRequest>(&Query::equal("user_id", sender))? >= MOST_OF_USER
    {
        return Ok(());
    }
    work.tx.put(&ReceivedRequest {
        user_id: sender.to_owned(),
        device_id,
        request_id,
        room_id,
        session_id,
        received_at: work.now,
    })
}

/// From which index on a device may have the key it asks for; the code for why it may not.
fn may_have(
    work: &Work<'_>,
    request: &ReceivedRequest,
    device: &Device,
    session: &InboundSession,
) -> Result<Result<u32, &'static str>> {
    let first = session.session.first_known_index();
    if request.user_id == work.own.user_id {
        let owner = user_trust::owner(work, &device.user_id)?;
        let verified = trust::of_device(device, &owner) == Trust::Verified;
        return Ok(if verified { Ok(first) } else { Err("m.unverified") });
    }
    let share: Option<KeyShare> = work.tx.get(&[
        request.session_id.as_str().into(),
        request.user_id.as_str().into(),
        request.device_id.as_str().into(),
    ])?;
    let same = share.filter(|share| share.identity_key == device.identity_key);
    let ours = session.source == KeySource::Own;
    Ok(match same {
        Some(share) if ours => Ok(share.message_index.max(first)),
        _ => Err("m.unauthorised"),
    })
}

fn forward(
    work: &mut Work<'_>,
    device: &Device,
    session: &mut InboundSession,
    index: u32,
) -> Result<()> {
    let Some(key) = session.session.export_at(index) else { return Ok(()) };
    let content = to_raw_value(&json!({
        "algorithm": MEGOLM,
        "room_id": session.room_id,
        "session_id": session.session_id,
        "session_key": key.to_base64(),
        "sender_key": session.sender_key,
        "sender_claimed_ed25519_key": session.sender_signing_key,
        "forwarding_curve25519_key_chain": [],
    }))
    .or_fail(Kind::Internal, "A forwarded room key")?;
    send_to_devices::send_to_device(work, device, "m.forwarded_room_key", &content)
}

fn refuse_request(work: &Work<'_>, request: &ReceivedRequest, code: &str) -> Result<()> {
    let content = json!({
        "algorithm": MEGOLM,
        "room_id": request.room_id,
        "session_id": request.session_id,
        "sender_key": work.own.identity_key,
        "code": code,
    });
    let to = BTreeMap::from([(request.device_id.as_str(), content)]);
    outbox::tell_devices(work, WITHHELD, &BTreeMap::from([(request.user_id.as_str(), to)]))
}

/// Answers the requests of other devices.
pub(super) fn answer_key_requests(pump: &mut Pump<'_, '_>) -> Result<()> {
    let mut wanted = Vec::new();
    for request in pump.work.tx.select::<ReceivedRequest>(&Query::all())? {
        let list = tracking::track(pump.work, &request.user_id)?;
        if list.outdated && request.received_at + LIFETIME >= pump.work.now {
            continue;
        }
        let device: Option<Device> = pump
            .work
            .tx
            .get(&[request.user_id.as_str().into(), request.device_id.as_str().into()])?;
        if let Some(device) = device.filter(|device| !device.deleted && !device.dehydrated)
            && request.received_at + LIFETIME >= pump.work.now
            && !answered(pump, &request, &device)?
        {
            if tracking::is_due(device.claim_retry_at, pump.work.now) {
                wanted.push((device.user_id, device.device_id));
            }
            continue;
        }
        pump.work.tx.delete::<ReceivedRequest>(&request.key())?;
    }
    olm_sessions::claim_one_time_keys(pump, &Lane::Side, wanted)
}

/// Answers a request. False when a session with the device must be opened first.
fn answered(pump: &mut Pump<'_, '_>, request: &ReceivedRequest, device: &Device) -> Result<bool> {
    let session = inbound_sessions::best_session(pump.work, &request.room_id, &request.session_id)?;
    let Some(mut session) = session else {
        refuse_request(pump.work, request, "m.unavailable")?;
        return Ok(true);
    };
    match may_have(pump.work, request, device, &session)? {
        Err(code) => refuse_request(pump.work, request, code).map(|()| true),
        Ok(_) if !olm_sessions::has_olm_session(pump.work, device)? => Ok(false),
        Ok(index) => forward(pump.work, device, &mut session, index).map(|()| true),
    }
}
