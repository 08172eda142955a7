//! Events as a client is shown them.

use serde_json::{Value, json};

use crate::event::{Event, REDACTION};
use crate::json::Object;
use crate::room::Room;
use crate::token::Caller;

/// State that tells someone invited what the room is.
const STRIPPED: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

impl Room {
    /// An event for a response that names the room elsewhere.
    pub(crate) fn render(&self, event: &Event, reader: &Caller) -> Value {
        let mut shown = bare(event);
        shown["unsigned"] = self.unsigned(event, reader);
        shown
    }

    /// An event for a response that does not, with its bundled aggregations.
    pub(crate) fn render_whole(&self, event: &Event, reader: &Caller) -> Value {
        let mut shown = self.render(event, reader);
        shown["room_id"] = Value::from(self.id.as_str());
        let relations = self.aggregations(event, reader);
        if !relations.is_empty() {
            shown["unsigned"]["m.relations"] = Value::Object(relations);
        }
        shown
    }

    /// The newest edit of an event, and the thread that begins with it.
    fn aggregations(&self, event: &Event, reader: &Caller) -> Object {
        let children = |rel_type: &str| -> Vec<&Event> {
            // An id can be guessed: what relates to a later event is no child of it.
            let counts = |child: &&Event| {
                child.position > event.position && self.is_visible(child, &reader.user)
            };
            self.children(&event.id, rel_type).filter(counts).collect()
        };
        let mut relations = Object::new();
        let mut edits = children("m.replace");
        edits.retain(|edit| {
            (&edit.sender, &edit.kind) == (&event.sender, &event.kind)
                && event.redacted_by.is_none()
                && event.state_key.is_none()
        });
        if let Some(edit) = edits.into_iter().max_by_key(|edit| (edit.sent_at, &edit.id)) {
            relations.insert("m.replace".to_owned(), self.render_whole(edit, reader));
        }
        let thread = children("m.thread");
        if let Some(latest) = thread.last() {
            let mut senders = thread.iter().map(|child| &child.sender).chain([&event.sender]);
            let summary = json!({
                "latest_event": self.render_whole(latest, reader),
                "count": thread.len(),
                "current_user_participated": senders.any(|sender| *sender == reader.user),
            });
            relations.insert("m.thread".to_owned(), summary);
        }
        relations
    }

    pub(crate) fn render_all(&self, events: &[&Event], reader: &Caller) -> Vec<Value> {
        events.iter().map(|event| self.render(event, reader)).collect()
    }

    fn unsigned(&self, event: &Event, reader: &Caller) -> Value {
        let membership = self.membership(&reader.user, event.position);
        let mut unsigned = json!({"membership": membership.name()});
        if let Some((_, transaction)) = event.sent_by.as_ref().filter(|(by, _)| by == reader) {
            unsigned["transaction_id"] = Value::from(transaction.as_str());
        }
        if let Some(id) = event.delay_id.as_ref().filter(|_| event.sender == reader.user) {
            unsigned["org.matrix.msc4140.delay_id"] = Value::from(id.as_str());
        }
        if let Some(key) = &event.state_key
            && let Some(previous) = self.state_event(&event.kind, key, event.position - 1)
        {
            unsigned["replaces_state"] = Value::from(previous.id.as_str());
            if self.is_visible(previous, &reader.user) {
                unsigned["prev_content"] = json!(previous.content);
            }
        }
        if let Some(redaction) = event.redacted_by.as_ref().and_then(|id| self.event(id)) {
            unsigned["redacted_because"] = bare(redaction);
        }
        unsigned
    }

    /// The state of the room that an invitation carries.
    pub(crate) fn stripped_state(&self, invitation: &Event) -> Vec<Value> {
        let at = invitation.position;
        let state = STRIPPED.iter().filter_map(|kind| self.state_event(kind, "", at));
        state.chain([invitation]).map(stripped).collect()
    }
}

fn stripped(event: &Event) -> Value {
    json!({
        "type": event.kind,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
    })
}

fn bare(event: &Event) -> Value {
    let mut shown = json!({
        "type": event.kind,
        "event_id": event.id,
        "sender": event.sender,
        "origin_server_ts": event.sent_at,
        "content": event.content,
    });
    if let Some(key) = &event.state_key {
        shown["state_key"] = Value::from(key.as_str());
    }
    // Clients made for room versions before 11 look for it here.
    if event.kind == REDACTION
        && let Some(redacts) = event.content.get("redacts")
    {
        shown["redacts"] = redacts.clone();
    }
    shown
}
