//! An event of a room, and what is inside an encrypted one.
//!
//! Specification: client-server API, "Room event format"; end-to-end encryption,
//! "`m.megolm.v1.aes-sha2`".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    identifier,
    members::{Members, string},
    unique_map::read_object,
    utd_reason::UtdReason,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{account::MEGOLM, canonical_json::Json},
    store::records::Unreadable,
};

/// The type of an encrypted event.
pub const ENCRYPTED: &str = "m.room.encrypted";
/// The type of an event that takes another back.
pub const REDACTION: &str = "m.room.redaction";
/// The type of a reaction.
pub const REACTION: &str = "m.reaction";
/// The time of an event that has none which can be read.
pub const NO_TIME: i64 = -1;
/// Types of events that only this device makes: of messages that failed, of trust that changed. An event
/// that somebody sent under such a type must not pass for one of them.
pub const RESERVED: &str = "mxcrypt.";
/// The member of a content that relates an event to another. It stands outside of the ciphertext,
/// so that the server can group events; one inside is ignored.
pub const RELATES_TO: &str = "m.relates_to";

/// An event as the server sent it. What is not used of it was not looked at, see [`Members`].
#[derive(Debug, Clone)]
pub struct RoomEvent<'a> {
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
    pub content: Members<'a>,
    /// The content as it came.
    pub content_text: &'a str,
    /// What the server says about it.
    pub unsigned: Members<'a>,
    /// The transaction id, where we sent it ourselves.
    pub transaction_id: Option<String>,
    /// It was redacted.
    pub redacted: bool,
    /// The event it takes back, if it is a redaction.
    pub redacts: Option<String>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    sender: String,
    #[serde(borrow, default)]
    origin_server_ts: Option<&'a RawValue>,
    #[serde(default)]
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow, default)]
    redacts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    unsigned: Option<&'a RawValue>,
}

/// The event that a redaction takes back: beside the content up to room version 10, in the content
/// from version 11 on, where servers repeat it beside the content.
fn redacted_event(wire: &Wire<'_>, content: &Members<'_>) -> Option<String> {
    let named = wire.redacts.and_then(string).or_else(|| content.text("redacts"));
    let is_named = |id: &Cow<'_, str>| wire.event_type == REDACTION && identifier::is_sound(id);
    named.filter(is_named).map(Cow::into_owned)
}

impl<'a> RoomEvent<'a> {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Json`] when it is no event.
    pub fn read(text: &'a str) -> Result<Self> {
        let wire: Wire<'a> = read_object(text).or_fail(Kind::Json, "This is no event")?;
        if !identifier::is_sound(&wire.event_id) || !identifier::is_sound(&wire.sender) {
            return Err(Error::new(Kind::Json, "The event's id or sender is no identifier."));
        }
        let unsigned = wire.unsigned.and_then(|text| Members::read(text.get()).ok());
        let unsigned = unsigned.unwrap_or_default();
        let content = Members::read(wire.content.get())?;
        let redacts = redacted_event(&wire, &content);
        let sent_at = wire.origin_server_ts.and_then(|ts| Json::parse(ts.get()).ok()?.as_time());
        Ok(Self {
            event_id: wire.event_id,
            redacts,
            event_type: wire.event_type,
            sender: wire.sender,
            origin_server_ts: sent_at.unwrap_or(NO_TIME),
            state_key: wire.state_key,
            content,
            content_text: wire.content.get(),
            transaction_id: unsigned.text("transaction_id").map(Cow::into_owned),
            redacted: unsigned.raw("redacted_because").is_some_and(|raw| raw.get() != "null"),
            unsigned,
        })
    }

    /// Whether `text` may be a state event. One that cannot be read may be.
    pub fn may_be_state(text: &str) -> bool {
        Members::read(text).map_or(true, |event| event.raw("state_key").is_some())
    }

    /// Whether this is an encrypted event that is still there to be read.
    pub fn is_encrypted(&self) -> bool {
        self.event_type == ENCRYPTED && !self.redacted
    }
}

/// The type under which an event is shown that came as `event_type`.
pub fn shown_type(event_type: String) -> String {
    if event_type.starts_with(RESERVED) { format!("remote.{event_type}") } else { event_type }
}

/// The content of an event encrypted with Megolm. `sender_key` and `device_id` are not read: they
/// must be used neither to find a session nor to judge it.
#[derive(Debug, Clone)]
pub struct MegolmContent<'a> {
    /// The session.
    pub session_id: Cow<'a, str>,
    /// The message.
    pub ciphertext: Cow<'a, str>,
}

impl<'a> MegolmContent<'a> {
    /// Reads the content of `event`.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    pub fn read(event: &RoomEvent<'a>) -> Result<Self, Unreadable> {
        let text = |name: &str| event.content.text(name);
        if event.state_key.is_some() {
            return Err(UtdReason::StateEvent.unreadable());
        }
        match text("algorithm").as_deref() {
            Some(MEGOLM) => {}
            Some(other) => {
                let sentence = format!("It is encrypted with {other}, which is not known here.");
                return Err(UtdReason::UnknownAlgorithm.because(sentence));
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
    UtdReason::MalformedEvent.because(format!("It is not a Megolm message: {what}."))
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
    pub fn judge(
        plaintext: &[u8],
        room_id: &str,
        outer: &RoomEvent<'_>,
    ) -> Result<Self, Unreadable> {
        let not_json = || UtdReason::PayloadNotJson.unreadable();
        let text = std::str::from_utf8(plaintext).map_err(|_| not_json())?;
        let wire: PayloadWire<'_> = read_object(text).map_err(|_| not_json())?;
        let mut content = Members::read(wire.content.get()).map_err(|_| not_json())?;
        // Otherwise the server could show a message in a room it was not written in.
        if wire.room_id != room_id {
            return Err(UtdReason::RoomMismatch.unreadable());
        }
        let inner = content.0.remove(RELATES_TO);
        let outer = outer.content.raw(RELATES_TO);
        let content_text = if inner.is_none() && outer.is_none() {
            wire.content.get().to_owned()
        } else {
            content.0.extend(outer.map(|relation| (RELATES_TO.to_owned(), relation)));
            serde_json::to_string(&content.0).map_err(|_| not_json())?
        };
        Ok(Self { event_type: wire.event_type, content_text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> String {
        format!(
            r#"{{"event_id":"$1","type":"m.room.encrypted","sender":"@a:b","origin_server_ts":5,
                "content":{content}}}"#
        )
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
        assert_eq!(RoomEvent::read(text).unwrap().origin_server_ts, NO_TIME);
    }

    #[test]
    fn a_redaction_names_an_event_in_either_place() {
        let redacts = |event_type: &str, beside: &str, content: &str| {
            let text = format!(
                r#"{{"event_id":"$1","type":"{event_type}","sender":"@a:b",{beside}
                    "content":{content}}}"#
            );
            RoomEvent::read(&text).unwrap().redacts
        };
        let found = Some("$2".to_owned());
        assert_eq!(redacts(REDACTION, r#""redacts":"$2","#, "{}"), found);
        assert_eq!(redacts(REDACTION, "", r#"{"redacts":"$2"}"#), found);
        // In a room of an old version a member writes the content, and the server what is beside it.
        assert_eq!(redacts(REDACTION, r#""redacts":"$2","#, r#"{"redacts":"$3"}"#), found);
        assert_eq!(redacts(REDACTION, r#""redacts":7,"#, r#"{"redacts":"$2"}"#), found);
        assert_eq!(redacts(REDACTION, "", r#"{"redacts":{}}"#), None);
        assert_eq!(redacts(REDACTION, "", r#"{"redacts":"\u0000"}"#), None);
        assert_eq!(redacts("m.room.message", r#""redacts":"$2","#, "{}"), None);
    }

    /// Each of these was skipped once, and with it that somebody had left.
    #[test]
    fn what_is_not_used_of_an_event_does_not_cost_it() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let twice = r#"{"a":1,"a":2}"#;
        for odd in [deep.as_str(), twice, r#""\ud800""#, "1e999"] {
            let text = format!(
                r#"{{"event_id":"$1","type":"m.room.member","sender":"@a:b","state_key":"@a:b",
                    "content":{{"membership":"leave","odd":{odd}}},"odd":{odd},
                    "unsigned":{{"prev_content":{odd},"transaction_id":"t"}}}}"#
            );
            let event = RoomEvent::read(&text).unwrap();
            assert_eq!(event.content.text("membership").as_deref(), Some("leave"), "{odd}");
            assert_eq!(event.transaction_id.as_deref(), Some("t"), "{odd}");
        }
    }

    #[test]
    fn what_cannot_be_read_may_be_state() {
        let odd = [r#"{"state_key":7}"#, r#"{"a":1,"a":2}"#, "[]", r#"{"state_key":""}"#];
        assert!(odd.into_iter().all(RoomEvent::may_be_state));
        assert!(!RoomEvent::may_be_state(r#"{"type":7}"#));
    }

    #[test]
    fn other_algorithms_and_missing_parts_have_reasons() {
        let code = |content: &str| {
            let text = text(content);
            MegolmContent::read(&RoomEvent::read(&text).unwrap()).unwrap_err().code
        };
        assert_eq!(code("{}"), "malformed_event");
        assert_eq!(code(r#"{"algorithm":"m.x"}"#), "unknown_algorithm");
        assert_eq!(code(r#"{"algorithm":"m.megolm.v1.aes-sha2"}"#), "malformed_event");
        let only_id = r#"{"algorithm":"m.megolm.v1.aes-sha2","session_id":"x"}"#;
        assert_eq!(code(only_id), "malformed_event");
    }

    #[test]
    fn encrypted_state_is_refused() {
        let text = text("{}");
        let mut outer = RoomEvent::read(&text).unwrap();
        outer.state_key = Some(String::new());
        assert_eq!(MegolmContent::read(&outer).unwrap_err().code, "state_event");
    }

    #[test]
    fn a_payload_belongs_to_its_room() {
        let outer = text("{}");
        let outer = RoomEvent::read(&outer).unwrap();
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
        for (content, expected) in [(relation, relation), ("{}", "{}")] {
            let outer = text(content);
            let outer = RoomEvent::read(&outer).unwrap();
            let payload = Payload::judge(inside.as_bytes(), "!r", &outer).unwrap();
            assert_eq!(payload.content_text, expected);
        }
    }
}
