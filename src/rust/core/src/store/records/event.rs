//! Events on their way to consumers.

use serde::{Deserialize, Serialize};

use super::KeySource;
use crate::store::{Record, Single, Table, Value};

/// Why an event cannot be read: a stable code, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The code, for programs.
    pub code: String,
    /// The sentence, for people.
    pub message: String,
}

/// An event as it is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The room.
    pub room_id: String,
    /// The event; none for a bare invitation.
    pub event_id: Option<String>,
    /// The type, after decryption.
    pub event_type: String,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// Who the server says sent it.
    pub sender: String,
    /// When the sender's server says it was sent, in milliseconds since 1970; negative if it does not.
    pub origin_server_ts: i64,
    /// The content as JSON text, after decryption, with the relation of the outer event.
    pub content: String,
    /// It came encrypted.
    pub encrypted: bool,
    /// Why it cannot be read, if it cannot.
    pub unreadable: Option<Unreadable>,
    /// The Megolm session it was encrypted with.
    pub session_id: Option<String>,
    /// The Curve25519 key of the device that made the session.
    pub sender_key: Option<String>,
    /// The Ed25519 key that device claimed.
    pub sender_signing_key: Option<String>,
    /// How the key of the session came.
    #[serde(default)]
    pub key_source: Option<KeySource>,
    /// The device of ours that handed the key on, if one did.
    #[serde(default)]
    pub forwarder: Option<String>,
    /// It is redacted.
    pub redacted: bool,
    /// The event it takes back, if it is a redaction.
    #[serde(default)]
    pub redacts: Option<String>,
    /// The event it says it replaces. Whether it does is judged at delivery.
    #[serde(default)]
    pub replaces: Option<String>,
}

/// What edits of an event are judged by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Facts {
    /// Who sent it.
    pub sender: String,
    /// Its type, after decryption.
    pub event_type: String,
    /// It came encrypted.
    pub encrypted: bool,
    /// It says it replaces another.
    pub is_edit: bool,
}

impl Facts {
    /// Those of an event that can be edited or is an edit: neither state, nor redacted, nor
    /// unreadable.
    pub fn of(event: &Event) -> Option<Self> {
        let stands = event.state_key.is_none() && event.unreadable.is_none() && !event.redacted;
        stands.then(|| Self {
            sender: event.sender.clone(),
            event_type: event.event_type.clone(),
            encrypted: event.encrypted,
            is_edit: event.replaces.is_some(),
        })
    }
}

/// Facts that events share: few differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFacts {
    /// What stands for them in the rows of events.
    pub number: i64,
    /// The last generation of events that refers to them.
    pub generation: i64,
    /// The facts.
    pub facts: Facts,
}

impl Record for SharedFacts {
    const TABLE: Table = Table { name: "event_facts", key: &["number"], plain: &["generation"] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.generation.into()]
    }
}

/// An event that edits may come of, as stores before schema version 16 remembered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// Its place in the order of reading.
    pub number: i64,
    /// Its facts; none when the server returned two events under one id.
    pub facts: Option<Facts>,
}

impl Record for Original {
    const TABLE: Table =
        Table { name: "original", key: &["room_id", "event_id"], plain: &["number"] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.event_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

/// An event of a timeline that was processed, as stores before schema version 16 remembered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenEvent {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// What it said, as a digest.
    pub digest: String,
    /// Its place in the order of arrival.
    pub number: i64,
}

impl Record for TakenEvent {
    const TABLE: Table =
        Table { name: "taken_event", key: &["room_id", "event_id", "digest"], plain: &["number"] };

    fn key(&self) -> Vec<Value> {
        vec![
            self.room_id.as_str().into(),
            self.event_id.as_str().into(),
            self.digest.as_str().into(),
        ]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

/// An event in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxRow {
    /// The place in the order of delivery.
    pub number: i64,
    /// The event.
    pub event: Event,
}

impl Record for InboxRow {
    const TABLE: Table = Table { name: "inbox", key: &["number"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

/// The last event that anybody was given: what comes after it may still change.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Given {
    /// Its number.
    pub last: i64,
}

impl Single for Given {
    const NAME: &'static str = "given";
}

/// A consumer of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The name.
    pub name: String,
    /// The last event that was dealt with.
    pub cursor: i64,
    /// The last event that was delivered; dealt with once the next ones are asked for.
    pub handed: i64,
    /// The event its handler is working on.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// When it first began, if that matters to it.
    #[serde(default)]
    pub began_at: Option<i64>,
}

/// How often a handler was given an event. Saved before each call of the handler, so that an
/// event that ends the process is counted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The number of the event in the inbox.
    pub number: i64,
    /// How often.
    pub count: u32,
}

impl Record for Consumer {
    const TABLE: Table = Table { name: "consumer", key: &["name"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.name.as_str().into()]
    }
}

/// An event that cannot be read until a key comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingEvent {
    /// The room.
    pub room_id: String,
    /// The session whose key is missing, or known only from a later index on.
    pub session_id: String,
    /// The event.
    pub event_id: String,
    /// Who the server says sent it.
    #[serde(default)]
    pub sender: String,
    /// Its place in the order of arrival.
    pub number: i64,
    /// When it came.
    #[serde(default)]
    pub received_at: i64,
    /// The event as the server sent it.
    pub raw: String,
    /// The number of the inbox row that says it waits; 0 in stores of older versions.
    #[serde(default)]
    pub row: i64,
}

impl Record for WaitingEvent {
    const TABLE: Table = Table {
        name: "waiting_event",
        key: &["room_id", "session_id", "event_id"],
        plain: &["sender", "received_at"],
    };

    fn key(&self) -> Vec<Value> {
        vec![
            self.room_id.as_str().into(),
            self.session_id.as_str().into(),
            self.event_id.as_str().into(),
        ]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.sender.as_str().into(), self.received_at.into()]
    }
}

/// A part of a timeline that cannot be delivered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldPart {
    /// Events between these two tokens are missing.
    Gap {
        /// Where the missing part begins.
        from: String,
        /// Where it ends; empty where the server did not say, and all that is newer is fetched.
        to: String,
        /// How many events were fetched so far.
        fetched: usize,
    },
    /// An event behind a gap, as the server sent it.
    Event {
        /// The event.
        raw: String,
    },
}

/// One part of a held timeline, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTimeline {
    /// The room.
    pub room_id: String,
    /// Its place.
    pub number: i64,
    /// What it is.
    pub part: HeldPart,
}

impl Record for HeldTimeline {
    const TABLE: Table =
        Table { name: "held_timeline", key: &["room_id", "number"], plain: &["is_gap"] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.number.into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![i64::from(matches!(self.part, HeldPart::Gap { .. })).into()]
    }
}
