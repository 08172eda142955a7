//! Requests for room keys: ours to our own verified devices, and theirs to us.
//!
//! Specification: client-server API, end-to-end encryption, "Key requests". Whoever answers one
//! hands over what a room has said; so only devices that are verified as our own are answered, and
//! those that were given the very key before.

use std::collections::BTreeMap;

use serde_json::{json, value::to_raw_value};

use super::{HOUR, Millis, SECOND, Work, olm_repair::NO_ROOM, pump::Pump, withheld::WITHHELD};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        identifier,
        olm_payload::OlmPayload,
        trust::{self, Trust},
    },
    primitives::{
        account::MEGOLM,
        canonical_json::{Json, Object},
        keys::encode_base64,
        megolm,
        seal::random_bytes,
    },
    store::{
        Query, Record,
        records::{
            Device, InboundSession, KeyRequest, KeyShare, KeySource, OutboxRow, OutboxState,
            ReceivedRequest, WaitingEvent,
        },
    },
};

/// The type of the event.
pub(super) const REQUEST: &str = "m.room_key_request";
/// Most keys come by themselves, a little later than what they read.
const PATIENCE: Millis = 10 * SECOND;
/// After so long an answer is not to be hoped for, and not to be given.
const LIFETIME: Millis = 7 * 24 * HOUR;
/// How many requests are kept, ours and theirs: a server may invent events and requests.
const MOST: usize = 200;

impl Work<'_> {
    /// Has a key asked for that an event of `sender` waits for, some time from now.
    pub(super) fn want_key(&self, room_id: &str, session_id: &str, sender: &str) -> Result<()> {
        let known: Option<KeyRequest> = self.tx.get(&[room_id.into(), session_id.into()])?;
        if known.is_some() || self.tx.count::<KeyRequest>(&Query::all())? >= MOST {
            return Ok(());
        }
        self.tx.put(&KeyRequest {
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            sender: sender.to_owned(),
            request_id: encode_base64(&random_bytes::<12>()?),
            due_at: self.now + PATIENCE,
            asked: Vec::new(),
        })
    }

    /// Takes a request back once nothing waits for its key any more.
    pub(super) fn key_came(&self, room_id: &str, session_id: &str) -> Result<()> {
        let Some(request) = self.tx.get::<KeyRequest>(&[room_id.into(), session_id.into()])? else {
            return Ok(());
        };
        let waiting = Query::equal("room_id", room_id).and("session_id", session_id);
        if self.tx.count::<WaitingEvent>(&waiting)? > 0 {
            return Ok(());
        }
        self.tx.delete::<KeyRequest>(&request.key())?;
        let content = json!({
            "action": "request_cancellation",
            "requesting_device_id": self.own.device_id,
            "request_id": request.request_id,
        });
        self.tell_own_devices(&request.asked, &content)
    }

    fn tell_own_devices(&self, device_ids: &[String], content: &serde_json::Value) -> Result<()> {
        if device_ids.is_empty() {
            return Ok(());
        }
        let to: BTreeMap<&str, _> = device_ids.iter().map(|id| (id.as_str(), content)).collect();
        self.tell_devices(REQUEST, &BTreeMap::from([(self.own.user_id.as_str(), to)]))
    }

    /// Our other devices that are verified.
    fn own_verified_devices(&self) -> Result<Vec<Device>> {
        let owner = self.owner(&self.own.user_id)?;
        let mut devices = self.devices_of(&self.own.user_id)?;
        devices.retain(|device| {
            device.device_id != self.own.device_id
                && trust::of_device(device, &owner) == Trust::Verified
        });
        Ok(devices)
    }

    /// Takes in a key that one of our own devices hands on: only one we asked for, and asked it.
    pub(super) fn receive_forwarded_key(
        &mut self,
        payload: &OlmPayload,
        sender_key: &str,
    ) -> Result<()> {
        let text = |name: &str| {
            payload
                .content
                .get(name)
                .and_then(Json::as_str)
                .ok_or_else(|| discarded(&format!("it has no {name}")))
        };
        let (room_id, session_id) = (text("room_id")?, text("session_id")?);
        let request: Option<KeyRequest> = self.tx.get(&[room_id.into(), session_id.into()])?;
        let request = request.ok_or_else(|| discarded("nobody asked for it"))?;
        let forwarder = self
            .own_verified_devices()?
            .into_iter()
            .find(|device| device.identity_key == sender_key);
        let asked = |device: &Device| request.asked.contains(&device.device_id);
        if payload.sender != self.own.user_id || !forwarder.as_ref().is_some_and(asked) {
            return Err(discarded("it does not come from a device that was asked"));
        }
        if text("algorithm")? != MEGOLM {
            return Err(discarded("it is not for Megolm"));
        }
        let session = megolm::imported(text("session_key")?)?;
        if session.session_id() != session_id {
            return Err(discarded("it is not of its session"));
        }
        // The devices of whoever made it are wanted when its messages are judged.
        self.track(&request.sender)?;
        self.keep_session(InboundSession {
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            number: 0,
            session,
            sender: request.sender,
            sender_key: text("sender_key")?.to_owned(),
            sender_signing_key: text("sender_claimed_ed25519_key")?.to_owned(),
            source: KeySource::Forwarded,
            forwarder: forwarder.map(|device| device.device_id),
            shared_history: false,
        })
    }

    /// Takes in a request of another device, or takes it back. Whoever asks for nothing they could
    /// be given is not answered.
    pub(super) fn receive_key_request(&self, sender: &str, content: &Object) -> Result<()> {
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
            return self.tx.delete::<ReceivedRequest>(&key);
        }
        let body = content.get("body").and_then(Json::as_object);
        let wanted = |name: &str| body.and_then(|body| text(body, name));
        let (Some(room_id), Some(session_id)) = (wanted("room_id"), wanted("session_id")) else {
            return Err(Error::new(Kind::Json, "A key request is discarded: for no session."));
        };
        let given = [session_id.as_str().into(), sender.into(), device_id.as_str().into()];
        let is_own = sender == self.own.user_id && device_id != self.own.device_id;
        let may_ask = is_own || self.tx.get::<KeyShare>(&given)?.is_some();
        if action != "request"
            || !may_ask
            || wanted("algorithm").as_deref() != Some(MEGOLM)
            || self.tx.count::<ReceivedRequest>(&Query::all())? >= MOST
        {
            return Ok(());
        }
        self.tx.put(&ReceivedRequest {
            user_id: sender.to_owned(),
            device_id,
            request_id,
            room_id,
            session_id,
            received_at: self.now,
        })
    }

    /// From which index on a device may have the key it asks for; the code for why it may not.
    fn may_have(
        &self,
        request: &ReceivedRequest,
        device: &Device,
        session: &InboundSession,
    ) -> Result<Result<u32, &'static str>> {
        let first = session.session.first_known_index();
        if request.user_id == self.own.user_id {
            let owner = self.owner(&device.user_id)?;
            let verified = trust::of_device(device, &owner) == Trust::Verified;
            return Ok(if verified { Ok(first) } else { Err("m.unverified") });
        }
        let share: Option<KeyShare> = self.tx.get(&[
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

    fn forward(&mut self, device: &Device, session: &mut InboundSession, index: u32) -> Result<()> {
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
        self.send_to_device(device, "m.forwarded_room_key", &content)
    }

    fn refuse_request(&self, request: &ReceivedRequest, code: &str) -> Result<()> {
        let content = json!({
            "algorithm": MEGOLM,
            "room_id": request.room_id,
            "session_id": request.session_id,
            "sender_key": self.own.identity_key,
            "code": code,
        });
        let to = BTreeMap::from([(request.device_id.as_str(), content)]);
        self.tell_devices(WITHHELD, &BTreeMap::from([(request.user_id.as_str(), to)]))
    }
}

impl Pump<'_, '_> {
    /// Asks our verified devices for the keys that are still missing.
    pub(super) fn ask_for_keys(&mut self) -> Result<()> {
        let requests = self.work.tx.select::<KeyRequest>(&Query::all())?;
        if requests.is_empty() {
            return Ok(());
        }
        let devices = self.work.own_verified_devices()?;
        for mut request in requests {
            if request.due_at + LIFETIME < self.work.now {
                self.work.tx.delete::<KeyRequest>(&request.key())?;
                continue;
            }
            if request.due_at > self.work.now || !request.asked.is_empty() || devices.is_empty() {
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
                "requesting_device_id": self.work.own.device_id,
                "request_id": request.request_id,
            });
            self.work.tell_own_devices(&request.asked, &content)?;
            self.work.tx.put(&request)?;
        }
        Ok(())
    }

    /// Answers the requests of other devices.
    pub(super) fn answer_key_requests(&mut self) -> Result<()> {
        let mut wanted = Vec::new();
        for request in self.work.tx.select::<ReceivedRequest>(&Query::all())? {
            let list = self.work.track(&request.user_id)?;
            if list.outdated && request.received_at + LIFETIME >= self.work.now {
                continue;
            }
            let device: Option<Device> = self
                .work
                .tx
                .get(&[request.user_id.as_str().into(), request.device_id.as_str().into()])?;
            if let Some(device) = device.filter(|device| !device.deleted)
                && request.received_at + LIFETIME >= self.work.now
                && !self.answered(&request, &device)?
            {
                if device.claim_retry_at <= self.work.now {
                    wanted.push((device.user_id, device.device_id));
                }
                continue;
            }
            self.work.tx.delete::<ReceivedRequest>(&request.key())?;
        }
        self.claim_one_time_keys(wanted)
    }

    /// Answers a request. False when a session with the device must be opened first.
    fn answered(&mut self, request: &ReceivedRequest, device: &Device) -> Result<bool> {
        let of_session = Query::equal("room_id", request.room_id.as_str())
            .and("session_id", request.session_id.as_str());
        let session = self.work.tx.select::<InboundSession>(&of_session)?.into_iter().next();
        let Some(mut session) = session else {
            self.work.refuse_request(request, "m.unavailable")?;
            return Ok(true);
        };
        match self.work.may_have(request, device, &session)? {
            Err(code) => self.work.refuse_request(request, code).map(|()| true),
            Ok(_) if !self.work.has_olm_session(&device.identity_key)? => Ok(false),
            Ok(index) => self.work.forward(device, &mut session, index).map(|()| true),
        }
    }

    /// Sends what belongs to no room.
    pub(super) fn send_to_devices(&mut self) -> Result<()> {
        let rows: Vec<OutboxRow> = self.work.rows(NO_ROOM, OutboxState::Fixed)?;
        self.send_rows(rows)
    }
}

fn discarded(what: &str) -> Error {
    Error::new(Kind::Megolm, format!("A forwarded room key is discarded: {what}."))
}
