//! An event of a room, and what is inside an encrypted one.
//!
//! Specification: client-server API, "Room event format"; end-to-end encryption,
//! "`m.megolm.v1.aes-sha2`".

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{identifier, unique_map::read_object};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        account::MEGOLM,
        canonical_json::{Json, Object},
    },
    store::records::Unreadable,
};

/// The type of an encrypted event.
pub const ENCRYPTED: &str = "m.room.encrypted";
/// The member of a content that relates an event to another. It stands outside of the ciphertext,
/// so that the server can group events; one inside is ignored.
pub const RELATES_TO: &str = "m.relates_to";

/// An event as the server sent it.
#[derive(Debug, Clone)]
pub struct RoomEvent {
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// Who the server says sent it.
    pub sender: String,
    /// When it was sent, by the sender's server, in milliseconds since 1970.
    pub origin_server_ts: i64,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// Its content.
    pub content: Object,
    /// The content as it came.
    pub content_text: String,
    /// The transaction id, where we sent it ourselves.
    pub transaction_id: Option<String>,
    /// It was redacted.
    pub redacted: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    sender: String,
    #[serde(default)]
    origin_server_ts: Option<Json>,
    #[serde(default)]
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(default)]
    unsigned: Option<Json>,
}

impl RoomEvent {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Json`] when it is no event.
    pub fn read(text: &str) -> Result<Self> {
        let wire: Wire<'_> = read_object(text).or_fail(Kind::Json, "This is no event")?;
        if !identifier::is_sound(&wire.event_id) || !identifier::is_sound(&wire.sender) {
            return Err(Error::new(Kind::Json, "The event's id or sender is no identifier."));
        }
        let unsigned = wire.unsigned.as_ref().and_then(Json::as_object);
        let unsigned = |name: &str| unsigned.and_then(|members| members.get(name));
        Ok(Self {
            event_id: wire.event_id,
            event_type: wire.event_type,
            sender: wire.sender,
            origin_server_ts: wire.origin_server_ts.and_then(|ts| ts.as_integer()).unwrap_or(0),
            state_key: wire.state_key,
            content: Json::parse_object(wire.content.get())?,
            content_text: wire.content.get().to_owned(),
            transaction_id: unsigned("transaction_id").and_then(Json::as_str).map(str::to_owned),
            redacted: unsigned("redacted_because").is_some(),
        })
    }

    /// Whether this is an encrypted event that is still there to be read.
    pub fn is_encrypted(&self) -> bool {
        self.event_type == ENCRYPTED && !self.redacted
    }
}

/// The content of an event encrypted with Megolm. `sender_key` and `device_id` are not read: they
/// must be used neither to find a session nor to judge it.
#[derive(Debug, Clone, Copy)]
pub struct MegolmContent<'a> {
    /// The session.
    pub session_id: &'a str,
    /// The message.
    pub ciphertext: &'a str,
}

/// Why an event cannot be read, as a code and a sentence.
pub fn unreadable(code: &str, message: impl Into<String>) -> Unreadable {
    Unreadable { code: code.to_owned(), message: message.into() }
}

impl<'a> MegolmContent<'a> {
    /// Reads the content of `event`.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    pub fn read(event: &'a RoomEvent) -> Result<Self, Unreadable> {
        let text = |name: &str| event.content.get(name).and_then(Json::as_str);
        if event.state_key.is_some() {
            return Err(unreadable("state_event", "State of a room is never encrypted."));
        }
        match text("algorithm") {
            Some(MEGOLM) => {}
            Some(other) => {
                return Err(unreadable(
                    "unknown_algorithm",
                    format!("It is encrypted with {other}, which is not known here."),
                ));
            }
            None => return Err(malformed("it names no algorithm")),
        }
        let session_id = text("session_id").filter(|id| identifier::is_sound(id));
        Ok(Self {
            session_id: session_id.ok_or_else(|| malformed("it names no session"))?,
            ciphertext: text("ciphertext").ok_or_else(|| malformed("it has no ciphertext"))?,
        })
    }
}

fn malformed(what: &str) -> Unreadable {
    unreadable("malformed_event", format!("It is not a Megolm message: {what}."))
}

/// What was inside an encrypted event.
#[derive(Debug)]
pub struct Payload {
    /// The type of the event.
    pub event_type: String,
    /// Its content as JSON text, with the relation of the outer event.
    pub content_text: String,
}

#[derive(Deserialize)]
struct PayloadWire<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow)]
    content: &'a RawValue,
    room_id: String,
}

impl Payload {
    /// Judges `plaintext`, found inside `outer` in the room `room_id`.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn judge(plaintext: &[u8], room_id: &str, outer: &RoomEvent) -> Result<Self, Unreadable> {
        let not_json =
            || unreadable("payload_not_json", "What was inside is not an event in JSON.");
        let text = std::str::from_utf8(plaintext).map_err(|_| not_json())?;
        let wire: PayloadWire<'_> = read_object(text).map_err(|_| not_json())?;
        let mut content = Json::parse_object(wire.content.get()).map_err(|_| not_json())?;
        // Otherwise the server could show a message in a room it was not written in.
        if wire.room_id != room_id {
            return Err(unreadable("room_mismatch", "It was written for another room."));
        }
        let inner = content.remove(RELATES_TO);
        let outer = outer.content.get(RELATES_TO);
        let content_text = if inner.is_none() && outer.is_none() {
            wire.content.get().to_owned()
        } else {
            if let Some(relation) = outer {
                content.insert(RELATES_TO.into(), relation.clone());
            }
            serde_json::to_string(&content).map_err(|_| not_json())?
        };
        Ok(Self { event_type: wire.event_type, content_text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(content: &str) -> RoomEvent {
        RoomEvent::read(&format!(
            r#"{{"event_id":"$1","type":"m.room.encrypted","sender":"@a:b","origin_server_ts":5,
                "content":{content}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn events_that_are_none_are_errors() {
        for text in [
            "",
            "[]",
            r#"["$1","m","@a:b",5,null,{},null]"#,
            r#"{"type":"m","sender":"@a:b","content":{}}"#,
            r#"{"event_id":"$\u0000","type":"m","sender":"@a:b","content":{}}"#,
            r#"{"event_id":"$1","type":"m","sender":"@a:b","content":[]}"#,
            r#"{"event_id":"$1","type":"m","sender":"@a:b","content":{"a":1,"a":2}}"#,
            r#"{"event_id":"$1","event_id":"$2","type":"m","sender":"@a:b","content":{}}"#,
            r#"{"event_id":"$1","type":7,"sender":"@a:b","content":{}}"#,
        ] {
            assert!(RoomEvent::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn odd_optional_members_do_not_cost_the_event() {
        let text = r#"{"event_id":"$1","type":"m","sender":"@a:b","content":{},
            "origin_server_ts":"yesterday","unsigned":7}"#;
        assert_eq!(RoomEvent::read(text).unwrap().origin_server_ts, 0);
    }

    #[test]
    fn other_algorithms_and_missing_parts_have_reasons() {
        let code = |content: &str| MegolmContent::read(&event(content)).unwrap_err().code;
        assert_eq!(code("{}"), "malformed_event");
        assert_eq!(code(r#"{"algorithm":"m.x"}"#), "unknown_algorithm");
        assert_eq!(code(r#"{"algorithm":"m.megolm.v1.aes-sha2"}"#), "malformed_event");
        let only_id = r#"{"algorithm":"m.megolm.v1.aes-sha2","session_id":"x"}"#;
        assert_eq!(code(only_id), "malformed_event");
    }

    #[test]
    fn encrypted_state_is_refused() {
        let mut outer = event("{}");
        outer.state_key = Some(String::new());
        assert_eq!(MegolmContent::read(&outer).unwrap_err().code, "state_event");
    }

    #[test]
    fn a_payload_belongs_to_its_room() {
        let outer = event("{}");
        let judge = |text: &str| Payload::judge(text.as_bytes(), "!r", &outer);
        assert!(judge(r#"{"type":"m","content":{},"room_id":"!r"}"#).is_ok());
        let code = |text: &str| judge(text).unwrap_err().code;
        assert_eq!(code(r#"{"type":"m","content":{},"room_id":"!other"}"#), "room_mismatch");
        assert_eq!(code(r#"{"type":"m","content":{}}"#), "payload_not_json");
        assert_eq!(code(r#"{"type":"m","content":[],"room_id":"!r"}"#), "payload_not_json");
        assert_eq!(code("\u{0}"), "payload_not_json");
    }

    #[test]
    fn the_relation_outside_counts_and_the_one_inside_does_not() {
        let relation = r#"{"m.relates_to":{"event_id":"$outer"}}"#;
        let inside =
            r#"{"type":"m","content":{"m.relates_to":{"event_id":"$inner"}},"room_id":"!r"}"#;
        let with = Payload::judge(inside.as_bytes(), "!r", &event(relation)).unwrap();
        assert_eq!(with.content_text, relation);
        let without = Payload::judge(inside.as_bytes(), "!r", &event("{}")).unwrap();
        assert_eq!(without.content_text, "{}");
    }
}
