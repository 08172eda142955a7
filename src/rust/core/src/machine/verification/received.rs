//! Messages of the other side: which verification they are of, and whether it is their turn.

use sha2::{Digest, Sha256};

use super::{MOST_OPEN, PATIENCE, PROMPT, Step};
use crate::{
    error::Result,
    judgement::{
        identifier, relation,
        verification::{Cancel, Message, PREFIX, RECIPROCATE, REQUEST, Request, SAS, Start},
    },
    machine::{MINUTE, Millis, Work, send_to_devices::NO_ROOM},
    primitives::{
        canonical_json::{Json, Numbers, Object, canonical_object},
        keys::encode_base64,
    },
    store::{
        Query,
        records::{DeviceList, Event, OutboxRow, OutboxState, Phase, Verification},
    },
};

/// How far in the future a request may be: clocks differ.
const SKEW: Millis = 5 * MINUTE;
/// How many messages of one verification may wait.
const MOST_WAITING: usize = 5;
/// How many answers to messages of unknown verifications may wait to be sent.
const MOST_ANSWERS: usize = 50;

/// Where a message came, and from whom.
pub(in crate::machine) struct Origin<'a> {
    /// The user.
    pub(in crate::machine) sender: &'a str,
    /// The room, and when the server says it was sent there; none between devices.
    pub(in crate::machine) room: Option<(&'a str, Millis)>,
}

impl Work<'_> {
    /// Takes in an event of a room, if it is of a verification.
    pub(in crate::machine) fn note_verification(&mut self, event: &Event) -> Result<()> {
        let Some(event_id) = &event.event_id else { return Ok(()) };
        let is_message = event.event_type == "m.room.message";
        if event.redacted
            || event.unreadable.is_some()
            || event.state_key.is_some()
            || !(is_message || event.event_type.starts_with(PREFIX))
        {
            return Ok(());
        }
        let Ok(content) = Json::parse_object(&event.content) else { return Ok(()) };
        let origin =
            Origin { sender: &event.sender, room: Some((&event.room_id, event.origin_server_ts)) };
        if !is_message {
            let Some(flow_id) = relation::target(&content, "m.reference") else { return Ok(()) };
            return self.receive_verification(&origin, flow_id, &event.event_type, &content);
        }
        if content.get("msgtype").and_then(Json::as_str) != Some(REQUEST) {
            return Ok(());
        }
        self.receive_verification(&origin, event_id, REQUEST, &content)
    }

    /// Takes in a to-device event of a verification.
    pub(in crate::machine) fn receive_verification_to_device(
        &mut self,
        sender: &str,
        event_type: &str,
        content: &Object,
    ) -> Result<()> {
        let flow_id = content.get("transaction_id").and_then(Json::as_str);
        let Some(flow_id) = flow_id.filter(|id| identifier::is_sound(id)) else { return Ok(()) };
        let origin = Origin { sender, room: None };
        self.receive_verification(&origin, flow_id, event_type, content)
    }

    fn receive_verification(
        &mut self,
        origin: &Origin<'_>,
        flow_id: &str,
        event_type: &str,
        content: &Object,
    ) -> Result<()> {
        let message = Message::read(event_type, content);
        if message == Ok(None) {
            return Ok(());
        }
        let Some(mut flow) = self.flow(origin, flow_id)? else {
            return self.receive_first(origin, flow_id, message, content);
        };
        if origin.sender != flow.user_id {
            return self.our_other_device_says(&mut flow, message.ok().flatten());
        }
        if flow.has_ended() {
            return Ok(());
        }
        // What the server repeats is neither a step nor a reason to end.
        let tag = encode_base64(&Sha256::digest(format!("{event_type} {}", plain(content))));
        if flow.seen.contains(&tag) {
            return Ok(());
        }
        flow.seen.push(tag);
        let done = self.take(&mut flow, message, content);
        self.settle(&mut flow, done)
    }

    /// The verification a message is of.
    fn flow(&self, origin: &Origin<'_>, flow_id: &str) -> Result<Option<Verification>> {
        let flows = self.tx.select::<Verification>(&Query::all())?;
        let is_it = |flow: &Verification| {
            flow.flow_id.as_deref() == Some(flow_id)
                && flow.room_id.as_deref() == origin.room.map(|(room_id, _)| room_id)
                && (flow.user_id == origin.sender
                    || flow.room_id.is_some() && origin.sender == self.own.user_id)
        };
        Ok(flows.into_iter().find(is_it))
    }

    /// A message of a verification that is not known here.
    fn receive_first(
        &mut self,
        origin: &Origin<'_>,
        flow_id: &str,
        message: Result<Option<Message>, Cancel>,
        content: &Object,
    ) -> Result<()> {
        match message {
            Ok(Some(Message::Request(request))) => self.receive_request(origin, flow_id, request),
            // Without a request before it: deprecated, and still to be understood.
            Ok(Some(Message::Start(start))) if origin.room.is_none() => {
                let request = Request {
                    from_device: start.from_device,
                    methods: vec![start.method],
                    timestamp: Some(self.now),
                    to: None,
                };
                self.receive_request(origin, flow_id, request)?;
                let Some(mut flow) = self.flow(origin, flow_id)? else { return Ok(()) };
                flow.waiting
                    .push((format!("{PREFIX}start"), Json::Object(content.clone()).text()?));
                self.keep(&flow)
            }
            Ok(Some(Message::Cancel { .. } | Message::Start(_))) => Ok(()),
            _ if origin.room.is_some() => Ok(()),
            _ => self.unknown_transaction(origin, flow_id),
        }
    }

    /// Somebody wants to verify. Our user is asked; nothing is answered before.
    fn receive_request(
        &mut self,
        origin: &Origin<'_>,
        flow_id: &str,
        request: Request,
    ) -> Result<()> {
        let asked_at = match origin.room {
            Some((_, sent_at)) => Some(sent_at),
            None => request.timestamp,
        };
        let Some(asked_at) = asked_at.filter(|at| self.is_recent(*at)) else { return Ok(()) };
        let is_ours = origin.sender == self.own.user_id;
        let for_us = match origin.room {
            Some(_) => request.to.as_deref() == Some(&self.own.user_id) && !is_ours,
            None => !is_ours || request.from_device != self.own.device_id,
        };
        let flows = self.tx.select::<Verification>(&Query::all())?;
        let open = flows.iter().filter(|flow| !flow.has_ended()).count();
        if !for_us || open >= MOST_OPEN {
            return Ok(());
        }
        let mut flow = Verification {
            number: self.tx.take_number("verification")?,
            flow_id: Some(flow_id.to_owned()),
            user_id: origin.sender.to_owned(),
            device_id: Some(request.from_device),
            room_id: origin.room.map(|(room_id, _)| room_id.to_owned()),
            requested_here: false,
            asked: Vec::new(),
            request: None,
            methods: request.methods,
            deadline: (asked_at + PATIENCE).min(self.now + PROMPT),
            keys: None,
            code: None,
            waiting: Vec::new(),
            seen: Vec::new(),
            phase: Phase::Requested,
            owed: None,
        };
        // A device that asks twice at a time is confused, or somebody plays it.
        let of_same = |other: &&Verification| {
            !other.has_ended()
                && !other.requested_here
                && (&other.user_id, &other.device_id) == (&flow.user_id, &flow.device_id)
        };
        let others: Vec<Verification> = flows.iter().filter(of_same).cloned().collect();
        if !others.is_empty() {
            for mut other in others {
                self.settle(&mut other, Err(Cancel::UnexpectedMessage.into()))?;
            }
            return self.settle(&mut flow, Err(Cancel::UnexpectedMessage.into()));
        }
        self.keep(&flow)
    }

    fn is_recent(&self, asked_at: Millis) -> bool {
        asked_at <= self.now + SKEW && asked_at + PATIENCE >= self.now
    }

    /// Answers a message of a verification that is not known, once, if its sender is somebody we
    /// have to do with.
    fn unknown_transaction(&mut self, origin: &Origin<'_>, flow_id: &str) -> Result<()> {
        let waiting = Query::equal("room_id", NO_ROOM).and("state", OutboxState::Fixed.as_str());
        if self.tx.get::<DeviceList>(&[origin.sender.into()])?.is_none()
            || self.tx.count::<OutboxRow>(&waiting)? >= MOST_ANSWERS
        {
            return Ok(());
        }
        let mut flow = Verification {
            number: self.tx.take_number("verification")?,
            flow_id: Some(flow_id.to_owned()),
            user_id: origin.sender.to_owned(),
            device_id: Some("*".to_owned()),
            room_id: None,
            requested_here: false,
            asked: Vec::new(),
            request: None,
            methods: Vec::new(),
            deadline: self.now,
            keys: None,
            code: None,
            waiting: Vec::new(),
            seen: Vec::new(),
            phase: Phase::Requested,
            owed: None,
        };
        self.settle(&mut flow, Err(Cancel::UnknownTransaction.into()))
    }

    /// In a room our user's other devices see what we see, and may be quicker.
    fn our_other_device_says(
        &mut self,
        flow: &mut Verification,
        message: Option<Message>,
    ) -> Result<()> {
        if flow.requested_here || !matches!(flow.phase, Phase::Requested) {
            return Ok(());
        }
        let code = match message {
            Some(Message::Ready { from_device, .. }) if from_device != self.own.device_id => {
                Cancel::Accepted.code().to_owned()
            }
            Some(Message::Cancel { code }) => code,
            _ => return Ok(()),
        };
        flow.phase = Phase::Cancelled { code, here: false };
        self.keep(flow)
    }

    /// One message of the other side.
    fn take(
        &mut self,
        flow: &mut Verification,
        message: Result<Option<Message>, Cancel>,
        content: &Object,
    ) -> Step {
        let message = message?.ok_or(Cancel::InvalidMessage)?;
        match message {
            Message::Cancel { code } => self.cancelled(flow, code),
            Message::Ready { from_device, methods } => self.ready(flow, from_device, methods),
            Message::Request(_) => Err(Cancel::UnexpectedMessage.into()),
            _ if matches!(flow.phase, Phase::Requested) => Err(Cancel::UnexpectedMessage.into()),
            message if flow.keys.is_none() => {
                if flow.waiting.len() >= MOST_WAITING {
                    return Err(Cancel::UnexpectedMessage.into());
                }
                let content = Json::Object(content.clone()).text()?;
                flow.waiting.push((event_type(&message).to_owned(), content));
                Ok(())
            }
            Message::Start(start) => self.started(flow, &start, content),
            Message::Accept(accept) => self.sas_accepted(flow, accept),
            Message::Key { key } => self.sas_key(flow, &key),
            Message::Mac(mac) => self.sas_mac(flow, &mac),
            Message::Done => match flow.phase {
                Phase::Reciprocated(proven) => self.conclude(flow, proven),
                // Whoever scanned may say so before our user has confirmed.
                Phase::Scanned(_) => Ok(()),
                // Whether it is done here, our own check of its keys says.
                _ => Err(Cancel::UnexpectedMessage.into()),
            },
        }
    }

    /// Takes in what waited for keys, or for our user.
    pub(super) fn take_waiting(&mut self, flow: &mut Verification) -> Step {
        for (event_type, content) in std::mem::take(&mut flow.waiting) {
            let content = Json::parse_object(&content)?;
            self.take(flow, Message::read(&event_type, &content), &content)?;
        }
        Ok(())
    }

    /// The other side agrees to our request.
    fn ready(
        &mut self,
        flow: &mut Verification,
        from_device: String,
        methods: Vec<String>,
    ) -> Step {
        if !flow.requested_here || !matches!(flow.phase, Phase::Requested) {
            return Err(Cancel::UnexpectedMessage.into());
        }
        if flow.room_id.is_none() {
            if !flow.asked.contains(&from_device) {
                return Err(Cancel::UserMismatch.into());
            }
            let others: Vec<String> =
                flow.asked.iter().filter(|id| **id != from_device).cloned().collect();
            self.dismiss(flow, &others, Cancel::Accepted)?;
        }
        flow.device_id = Some(from_device);
        flow.methods = methods;
        flow.phase = Phase::Ready;
        flow.deadline = self.now + PATIENCE;
        if self.methods(flow)?.is_empty() {
            return Err(Cancel::UnknownMethod.into());
        }
        self.fix_keys(flow).map(drop)
    }

    /// The other side begins with a method.
    fn started(&mut self, flow: &mut Verification, start: &Start, content: &Object) -> Step {
        if flow.device_id.as_ref() != Some(&start.from_device) {
            return Err(Cancel::UserMismatch.into());
        }
        if !self.methods(flow)?.contains(&start.method.as_str()) {
            return Err(Cancel::UnknownMethod.into());
        }
        let ours = match &flow.phase {
            Phase::Ready => None,
            Phase::Sas(ours) if ours.started_here && ours.commitment.is_none() => Some(SAS),
            Phase::Reciprocated(_) => Some(RECIPROCATE),
            _ => return Err(Cancel::UnexpectedMessage.into()),
        };
        if let Some(ours) = ours {
            if start.method != ours {
                return Err(Cancel::UnexpectedMessage.into());
            }
            // Both began at once: the smaller user id counts, or device id.
            let us = (&self.own.user_id, &self.own.device_id);
            if us < (&flow.user_id, &start.from_device) {
                return Ok(());
            }
        }
        match (&start.offer, &start.secret) {
            (Some(offer), _) => self.sas_offered(flow, offer, content),
            (None, Some(secret)) => self.our_code_scanned(flow, secret),
            (None, None) => Err(Cancel::UnknownMethod.into()),
        }
    }

    /// The other side gives up.
    fn cancelled(&mut self, flow: &mut Verification, code: String) -> Step {
        if matches!(flow.phase, Phase::Requested) && flow.asked.len() > 1 {
            self.dismiss(flow, &flow.asked, Cancel::User)?;
        }
        flow.phase = Phase::Cancelled { code, here: false };
        Ok(())
    }
}

fn event_type(message: &Message) -> &'static str {
    match message {
        Message::Request(_) => "m.key.verification.request",
        Message::Ready { .. } => "m.key.verification.ready",
        Message::Start(_) => "m.key.verification.start",
        Message::Accept(_) => "m.key.verification.accept",
        Message::Key { .. } => "m.key.verification.key",
        Message::Mac(_) => "m.key.verification.mac",
        Message::Done => "m.key.verification.done",
        Message::Cancel { .. } => "m.key.verification.cancel",
    }
}

fn plain(content: &Object) -> String {
    canonical_object(content, Numbers::Normalised).unwrap_or_default()
}
