//! Messages of the other side: which verification they are of, and whether it is their turn.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{MOST_OPEN, PATIENCE, PROMPT, Step, messages, methods, outcome, qr, sas};
use crate::{
    error::Result,
    judgement::{
        identifier, relation,
        verification::{Cancel, Message, PREFIX, RECIPROCATE, REQUEST, Request, SAS, Start},
    },
    machine::{MINUTE, Millis, Work, olm_repair, outbox::NO_ROOM, verification},
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
/// How many verifications one user may have asked for at a time, in the name of whatever devices: the
/// names are theirs to invent.
const MOST_OPEN_OF_USER: usize = 10;
/// How many verifications users may have asked for together who share no room with us.
const MOST_OPEN_OF_STRANGERS: usize = 50;
/// How many messages of one verification may wait.
const MOST_WAITING: usize = 5;
/// How many responses to messages of unknown verifications may wait to be sent.
const MOST_ANSWERS: usize = 50;

/// Where a message came, and from whom.
pub(in crate::machine) struct Origin<'a> {
    /// The user.
    pub(in crate::machine) sender: &'a str,
    /// The room, and when the server says it was sent there; none between devices.
    pub(in crate::machine) room: Option<(&'a str, Millis)>,
}

/// Processes an event of a room, if it belongs to a verification.
pub(in crate::machine) fn note_verification(work: &mut Work<'_>, event: &Event) -> Result<()> {
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
        let flow_id = relation::target_in(&event.content, "m.reference");
        let Some(flow_id) = flow_id else { return Ok(()) };
        return receive_verification(work, &origin, &flow_id, &event.event_type, &content);
    }
    if content.get("msgtype").and_then(Json::as_str) != Some(REQUEST) {
        return Ok(());
    }
    receive_verification(work, &origin, event_id, REQUEST, &content)
}

/// Processes a to-device event of a verification.
pub(in crate::machine) fn receive_verification_to_device(
    work: &mut Work<'_>,
    sender: &str,
    event_type: &str,
    content: &Object,
) -> Result<()> {
    let flow_id = content.get("transaction_id").and_then(Json::as_str);
    let Some(flow_id) = flow_id.filter(|id| identifier::is_sound(id)) else { return Ok(()) };
    let origin = Origin { sender, room: None };
    receive_verification(work, &origin, flow_id, event_type, content)
}

fn receive_verification(
    work: &mut Work<'_>,
    origin: &Origin<'_>,
    flow_id: &str,
    event_type: &str,
    content: &Object,
) -> Result<()> {
    let message = Message::read(event_type, content);
    if message == Ok(None) {
        return Ok(());
    }
    let Some(mut flow) = flow(work, origin, flow_id)? else {
        return receive_first(work, origin, flow_id, message, content);
    };
    if origin.sender != flow.user_id {
        return our_other_device_says(work, &mut flow, message.ok().flatten());
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
    let done = take(work, &mut flow, message, content);
    verification::settle(work, &mut flow, done)
}

/// The verification a message is of.
fn flow(work: &Work<'_>, origin: &Origin<'_>, flow_id: &str) -> Result<Option<Verification>> {
    let flows = work.tx.select::<Verification>(&Query::all())?;
    let is_it = |flow: &Verification| {
        flow.flow_id.as_deref() == Some(flow_id)
            && flow.room_id.as_deref() == origin.room.map(|(room_id, _)| room_id)
            && (flow.user_id == origin.sender
                || flow.room_id.is_some() && origin.sender == work.own.user_id)
    };
    Ok(flows.into_iter().find(is_it))
}

/// A message of a verification that is not known here.
fn receive_first(
    work: &mut Work<'_>,
    origin: &Origin<'_>,
    flow_id: &str,
    message: Result<Option<Message>, Cancel>,
    content: &Object,
) -> Result<()> {
    match message {
        Ok(Some(Message::Request(request))) => receive_request(work, origin, flow_id, request),
        // Without a request before it: deprecated, and still to be understood.
        Ok(Some(Message::Start(start))) if origin.room.is_none() => {
            let request = Request {
                from_device: start.from_device,
                methods: vec![start.method],
                timestamp: Some(work.now),
                to: None,
            };
            receive_request(work, origin, flow_id, request)?;
            let Some(mut flow) = flow(work, origin, flow_id)? else { return Ok(()) };
            flow.waiting.push((format!("{PREFIX}start"), Json::Object(content.clone()).text()?));
            verification::keep(work, &flow)
        }
        Ok(Some(Message::Cancel { .. } | Message::Start(_))) => Ok(()),
        _ if origin.room.is_some() => Ok(()),
        _ => unknown_transaction(work, origin, flow_id),
    }
}

/// Somebody wants to verify. Our user is asked; nothing is sent before.
fn receive_request(
    work: &mut Work<'_>,
    origin: &Origin<'_>,
    flow_id: &str,
    request: Request,
) -> Result<()> {
    let asked_at = match origin.room {
        Some((_, sent_at)) => Some(sent_at),
        None => request.timestamp,
    };
    let Some(asked_at) = asked_at.filter(|at| is_recent(work, *at)) else { return Ok(()) };
    let is_ours = origin.sender == work.own.user_id;
    let for_us = match origin.room {
        Some(_) => request.to.as_deref() == Some(&work.own.user_id) && !is_ours,
        None => !is_ours || request.from_device != work.own.device_id,
    };
    let flows = work.tx.select::<Verification>(&Query::all())?;
    let open = flows.iter().filter(|flow| !flow.has_ended());
    let of_user = |flow: &&Verification| flow.user_id == origin.sender && !flow.requested_here;
    let of_user = open.clone().filter(of_user).count();
    // Strangers have a bound of their own, so that they keep nobody else from asking.
    let mut strangers = BTreeMap::new();
    for flow in open.clone().filter(|flow| !flow.requested_here) {
        if !strangers.contains_key(&flow.user_id) {
            let is_stranger = olm_repair::is_stranger(work, &flow.user_id)?;
            strangers.insert(flow.user_id.clone(), is_stranger);
        }
    }
    let is_stranger = !is_ours && olm_repair::is_stranger(work, origin.sender)?;
    let alike = open.filter(|flow| {
        let of_stranger = strangers.get(&flow.user_id).copied().unwrap_or(false);
        !flow.requested_here && of_stranger == is_stranger
    });
    let most = if is_stranger { MOST_OPEN_OF_STRANGERS } else { MOST_OPEN };
    let full = of_user >= MOST_OPEN_OF_USER || !is_ours && alike.count() >= most;
    if !for_us || full {
        return Ok(());
    }
    let number = work.tx.take_number("verification")?;
    let deadline = (asked_at + PATIENCE).min(work.now + PROMPT);
    let mut flow = Verification {
        flow_id: Some(flow_id.to_owned()),
        device_id: Some(request.from_device),
        room_id: origin.room.map(|(room_id, _)| room_id.to_owned()),
        methods: request.methods,
        ..Verification::new(number, origin.sender, deadline)
    };
    // A device that asks twice at a time is confused, or somebody impersonates it.
    let of_same = |other: &&Verification| {
        !other.has_ended()
            && !other.requested_here
            && (&other.user_id, &other.device_id) == (&flow.user_id, &flow.device_id)
    };
    let others: Vec<Verification> = flows.iter().filter(of_same).cloned().collect();
    if !others.is_empty() {
        for mut other in others {
            verification::settle(work, &mut other, Err(Cancel::UnexpectedMessage.into()))?;
        }
        return verification::settle(work, &mut flow, Err(Cancel::UnexpectedMessage.into()));
    }
    verification::keep(work, &flow)
}

fn is_recent(work: &Work<'_>, asked_at: Millis) -> bool {
    asked_at <= work.now + SKEW && asked_at + PATIENCE >= work.now
}

/// Answers a message of a verification that is not known, once, if its sender is somebody we
/// have to do with.
fn unknown_transaction(work: &mut Work<'_>, origin: &Origin<'_>, flow_id: &str) -> Result<()> {
    let waiting = Query::equal("room_id", NO_ROOM).and("state", OutboxState::Fixed.as_str());
    if work.tx.get::<DeviceList>(&[origin.sender.into()])?.is_none()
        || work.tx.count::<OutboxRow>(&waiting)? >= MOST_ANSWERS
    {
        return Ok(());
    }
    let number = work.tx.take_number("verification")?;
    let mut flow = Verification {
        flow_id: Some(flow_id.to_owned()),
        device_id: Some("*".to_owned()),
        ..Verification::new(number, origin.sender, work.now)
    };
    verification::settle(work, &mut flow, Err(Cancel::UnknownTransaction.into()))
}

/// In a room our user's other devices see what we see, and may be quicker.
fn our_other_device_says(
    work: &mut Work<'_>,
    flow: &mut Verification,
    message: Option<Message>,
) -> Result<()> {
    if flow.requested_here || !matches!(flow.phase, Phase::Requested) {
        return Ok(());
    }
    let code = match message {
        Some(Message::Ready { from_device, .. }) if from_device != work.own.device_id => {
            Cancel::Accepted.code().to_owned()
        }
        Some(Message::Cancel { code }) => code,
        _ => return Ok(()),
    };
    flow.phase = Phase::Cancelled { code, here: false, message: None };
    verification::keep(work, flow)
}

/// One message of the other side.
fn take(
    work: &mut Work<'_>,
    flow: &mut Verification,
    message: Result<Option<Message>, Cancel>,
    content: &Object,
) -> Step {
    let message = message?.ok_or(Cancel::InvalidMessage)?;
    match message {
        Message::Cancel { code } => cancelled(work, flow, code),
        Message::Ready { from_device, methods } => ready(work, flow, from_device, methods),
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
        Message::Start(start) => started(work, flow, &start, content),
        Message::Accept(accept) => sas::sas_accepted(work, flow, accept),
        Message::Key { key } => sas::sas_key(work, flow, &key),
        Message::Mac(mac) => sas::sas_mac(work, flow, &mac),
        Message::Done => match flow.phase {
            Phase::Reciprocated(proven) => outcome::conclude(work, flow, proven),
            // The side that scanned may say so before our user has confirmed.
            Phase::Scanned(_) => Ok(()),
            // Whether it is done here is decided by our own check of its keys.
            _ => Err(Cancel::UnexpectedMessage.into()),
        },
    }
}

/// Processes messages that waited for keys, or for our user.
pub(super) fn take_waiting(work: &mut Work<'_>, flow: &mut Verification) -> Step {
    for (event_type, content) in std::mem::take(&mut flow.waiting) {
        let content = Json::parse_object(&content)?;
        take(work, flow, Message::read(&event_type, &content), &content)?;
    }
    Ok(())
}

/// The other side agrees to our request.
fn ready(
    work: &mut Work<'_>,
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
        messages::dismiss(work, flow, &others, Cancel::Accepted)?;
    }
    flow.device_id = Some(from_device);
    flow.methods = methods;
    flow.phase = Phase::Ready;
    flow.deadline = work.now + PATIENCE;
    if methods::methods(work, flow)?.is_empty() {
        return Err(Cancel::UnknownMethod.into());
    }
    verification::fix_keys(work, flow).map(drop)
}

/// The other side begins with a method.
fn started(work: &mut Work<'_>, flow: &mut Verification, start: &Start, content: &Object) -> Step {
    if flow.device_id.as_ref() != Some(&start.from_device) {
        return Err(Cancel::UserMismatch.into());
    }
    if !methods::methods(work, flow)?.contains(&start.method.as_str()) {
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
        let us = (&work.own.user_id, &work.own.device_id);
        if us < (&flow.user_id, &start.from_device) {
            return Ok(());
        }
    }
    match (&start.offer, &start.secret) {
        (Some(offer), _) => sas::sas_offered(work, flow, offer, content),
        (None, Some(secret)) => qr::our_code_scanned(flow, secret),
        (None, None) => Err(Cancel::UnknownMethod.into()),
    }
}

/// The other side gives up.
fn cancelled(work: &mut Work<'_>, flow: &mut Verification, code: String) -> Step {
    if matches!(flow.phase, Phase::Requested) && flow.asked.len() > 1 {
        messages::dismiss(work, flow, &flow.asked, Cancel::User)?;
    }
    flow.phase = Phase::Cancelled { code, here: false, message: None };
    Ok(())
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
