//! Messages to the other side: between devices, or in a room.

use std::collections::BTreeMap;

use super::Step;
use crate::{
    error::Result,
    judgement::{
        room_event::RELATES_TO,
        verification::{Cancel, PREFIX, REQUEST},
    },
    machine::Work,
    primitives::canonical_json::{Json, Object},
    store::records::{OutboxBody, Phase, Verification},
};

/// What is shown where verification is not known.
const FALLBACK: &str =
    "A verification is requested, which your client does not support. Compare keys in another way.";

impl Work<'_> {
    /// Sends the request. In a room its event id becomes known when it was sent.
    pub(super) fn send_request(&mut self, flow: &mut Verification) -> Result<()> {
        let mut content = self.introduction(self.our_methods(&flow.user_id)?);
        if flow.room_id.is_none() {
            content.insert("timestamp".into(), Json::Integer(self.now));
            return self.message(flow, &flow.asked, "request", content);
        }
        content.insert("msgtype".into(), text(REQUEST));
        content.insert("body".into(), text(FALLBACK));
        content.insert("to".into(), text(&flow.user_id));
        flow.request = self.say(flow, "m.room.message", content)?;
        Ok(())
    }

    /// Agrees to a request.
    pub(super) fn send_ready(&mut self, flow: &Verification) -> Step {
        let content = self.introduction(self.methods(flow)?);
        Ok(self.send_message(flow, "ready", content)?)
    }

    /// This device, and what it can do.
    fn introduction(&self, methods: impl IntoIterator<Item = &'static str>) -> Object {
        let methods = methods.into_iter().map(text).collect();
        Object::from([
            ("from_device".into(), text(&self.own.device_id)),
            ("methods".into(), Json::Array(methods)),
        ])
    }

    /// Sends a message of a verification whose other side is known.
    pub(super) fn send_message(
        &mut self,
        flow: &Verification,
        name: &str,
        content: Object,
    ) -> Result<()> {
        if flow.room_id.is_none() {
            return self.message(flow, flow.device_id.as_slice(), name, content);
        }
        self.say(flow, &format!("{PREFIX}{name}"), content).map(drop)
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
    pub(super) fn end(&mut self, flow: &mut Verification, cancel: Cancel) -> Result<()> {
        if flow.room_id.is_some() {
            // A request without an event id was not sent, or not seen yet: it runs out.
            if flow.flow_id.is_some() {
                self.say(flow, &format!("{PREFIX}cancel"), farewell(cancel))?;
            }
        } else {
            let everybody = match &flow.device_id {
                Some(device_id) => std::slice::from_ref(device_id),
                None => &flow.asked,
            };
            self.message(flow, everybody, "cancel", farewell(cancel))?;
        }
        flow.phase = Phase::Cancelled { code: cancel.code().to_owned(), here: true };
        Ok(())
    }

    /// Tells `devices` of the other user that it is over for them.
    pub(super) fn dismiss(
        &self,
        flow: &Verification,
        devices: &[String],
        cancel: Cancel,
    ) -> Result<()> {
        self.message(flow, devices, "cancel", farewell(cancel))
    }

    fn message(
        &self,
        flow: &Verification,
        devices: &[String],
        name: &str,
        content: Object,
    ) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let content = Json::Object(Self::addressed(flow, content));
        let to: BTreeMap<&str, &Json> = devices.iter().map(|id| (id.as_str(), &content)).collect();
        let messages = BTreeMap::from([(flow.user_id.as_str(), to)]);
        self.tell_devices(&format!("{PREFIX}{name}"), &messages)
    }

    /// Puts an event of a verification in the outbox of its room. All devices there are given the
    /// key: those that nobody signed may be the very ones that verify.
    fn say(&self, flow: &Verification, event_type: &str, content: Object) -> Result<Option<i64>> {
        let Some(room_id) = &flow.room_id else { return Ok(None) };
        let demand_encryption = self.room(room_id)?.encryption.is_some();
        let body = OutboxBody::Event {
            event_type: event_type.to_owned(),
            content: Json::Object(Self::addressed(flow, content)).text()?,
            demand_encryption,
            audience: None,
            plain_allowed: false,
            verifies: true,
        };
        self.enqueue(room_id, body).map(Some)
    }
}

fn farewell(cancel: Cancel) -> Object {
    Object::from([("code".into(), text(cancel.code())), ("reason".into(), text(cancel.reason()))])
}

pub(super) fn text(text: &str) -> Json {
    Json::String(text.to_owned())
}
