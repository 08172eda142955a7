//! Messages to the other side: between devices, or in a room.

use std::collections::BTreeMap;

use super::{Step, methods};
use crate::{
    error::Result,
    judgement::{
        room_event::RELATES_TO,
        verification::{Cancel, PREFIX, REQUEST},
    },
    machine::{Work, outbox, rooms},
    primitives::canonical_json::{Json, Object},
    store::records::{OutboxBody, Phase, Verification},
};

/// What is shown where verification is not known.
const FALLBACK: &str =
    "A verification is requested, which your client does not support. Compare keys in another way.";

/// Sends the request. In a room its event id becomes known when it was sent.
pub(super) fn send_request(work: &mut Work<'_>, flow: &mut Verification) -> Result<()> {
    let mut content = introduction(work, methods::our_methods(work, &flow.user_id)?);
    if flow.room_id.is_none() {
        content.insert("timestamp".into(), Json::Integer(work.now));
        return message(work, flow, &flow.asked, "request", content);
    }
    content.insert("msgtype".into(), text(REQUEST));
    content.insert("body".into(), text(FALLBACK));
    content.insert("to".into(), text(&flow.user_id));
    flow.request = say(work, flow, "m.room.message", content)?;
    Ok(())
}

/// Agrees to a request.
pub(super) fn send_ready(work: &mut Work<'_>, flow: &Verification) -> Step {
    let content = introduction(work, methods::methods(work, flow)?);
    Ok(send_message(work, flow, "ready", content)?)
}

/// This device, and what it can do.
fn introduction(work: &Work<'_>, methods: impl IntoIterator<Item = &'static str>) -> Object {
    let methods = methods.into_iter().map(text).collect();
    Object::from([
        ("from_device".into(), text(&work.own.device_id)),
        ("methods".into(), Json::Array(methods)),
    ])
}

/// Sends a message of a verification whose other side is known.
pub(super) fn send_message(
    work: &mut Work<'_>,
    flow: &Verification,
    name: &str,
    content: Object,
) -> Result<()> {
    if flow.room_id.is_none() {
        return message(work, flow, flow.device_id.as_slice(), name, content);
    }
    say(work, flow, &format!("{PREFIX}{name}"), content).map(drop)
}

/// The content as it is sent: with what says which verification it is of.
pub(super) fn addressed(flow: &Verification, mut content: Object) -> Object {
    let Some(flow_id) = &flow.flow_id else { return content };
    if flow.room_id.is_some() {
        let relation =
            [("rel_type".into(), text("m.reference")), ("event_id".into(), text(flow_id))];
        content.insert(RELATES_TO.into(), Json::Object(Object::from(relation)));
    } else {
        content.insert("transaction_id".into(), text(flow_id));
    }
    content
}

/// Ends a verification, and tells the other side.
pub(super) fn end(work: &mut Work<'_>, flow: &mut Verification, cancel: Cancel) -> Result<()> {
    if flow.room_id.is_some() {
        // A request without an event id was not sent, or not seen yet: it runs out.
        if flow.flow_id.is_some() {
            say(work, flow, &format!("{PREFIX}cancel"), farewell(cancel))?;
        }
    } else {
        let everybody = match &flow.device_id {
            Some(device_id) => std::slice::from_ref(device_id),
            None => &flow.asked,
        };
        message(work, flow, everybody, "cancel", farewell(cancel))?;
    }
    flow.phase = Phase::Cancelled { code: cancel.code().to_owned(), here: true, message: None };
    Ok(())
}

/// Tells `devices` of the other user that it is over for them.
pub(super) fn dismiss(
    work: &Work<'_>,
    flow: &Verification,
    devices: &[String],
    cancel: Cancel,
) -> Result<()> {
    message(work, flow, devices, "cancel", farewell(cancel))
}

fn message(
    work: &Work<'_>,
    flow: &Verification,
    devices: &[String],
    name: &str,
    content: Object,
) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let content = Json::Object(addressed(flow, content));
    let to: BTreeMap<&str, &Json> = devices.iter().map(|id| (id.as_str(), &content)).collect();
    let messages = BTreeMap::from([(flow.user_id.as_str(), to)]);
    outbox::tell_devices(work, &format!("{PREFIX}{name}"), &messages)
}

/// Puts an event of a verification in the outbox of its room. All devices there are given the
/// key: those that nobody signed may be the very ones that verify.
fn say(
    work: &Work<'_>,
    flow: &Verification,
    event_type: &str,
    content: Object,
) -> Result<Option<i64>> {
    let Some(room_id) = &flow.room_id else { return Ok(None) };
    let demand_encryption = rooms::room(work, room_id)?.encryption.is_some();
    let body = OutboxBody::Event {
        event_type: event_type.to_owned(),
        content: Json::Object(addressed(flow, content)).text()?,
        demand_encryption,
        audience: None,
        plain_allowed: false,
        verifies: true,
        uploads: Vec::new(),
        delay: None,
    };
    outbox::enqueue(work, room_id, body).map(Some)
}

fn farewell(cancel: Cancel) -> Object {
    Object::from([("code".into(), text(cancel.code())), ("reason".into(), text(cancel.reason()))])
}

pub(super) fn text(text: &str) -> Json {
    Json::String(text.to_owned())
}
