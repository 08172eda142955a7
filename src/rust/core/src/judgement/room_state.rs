//! State of a room that decides how, and for whom, messages are encrypted.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{identifier, members::Members, unique_map::read_object};
use crate::{
    error::{Kind, OrFail, Result},
    store::records::{Encryption, Membership},
};

/// Beyond these a setting is nonsense: it would switch rotation off.
const MOST_MESSAGES: u64 = 10_000;
const LONGEST_PERIOD: i64 = 365 * 24 * 60 * 60 * 1000;
const SHORTEST_PERIOD: i64 = 1000;

const ENCRYPTION: &str = "m.room.encryption";

/// What a state event says of a room, of all that is used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// How it is encrypted.
    Encryption(Encryption),
    /// Who may read its history; none where the event does not say so.
    HistoryVisibility(Option<String>),
    /// Its name.
    Name(Option<String>),
    /// Its main alias.
    Alias(Option<String>),
    /// The membership of a user; none where it cannot be read.
    Member(String, Option<Membership>),
    /// The room that took its place; none where the event names no room.
    Tombstone(Option<String>),
}

impl StateChange {
    /// Reads the content of a state event. None when it is of no use here.
    pub fn read(event_type: &str, state_key: &str, content: &Members<'_>) -> Option<Self> {
        let text = |name: &str| content.text(name).map(Cow::into_owned);
        Some(match (event_type, state_key) {
            (ENCRYPTION, "") => Self::Encryption(encryption(content)),
            ("m.room.history_visibility", "") => {
                Self::HistoryVisibility(text("history_visibility"))
            }
            ("m.room.tombstone", "") => {
                let successor = text("replacement_room");
                Self::Tombstone(successor.filter(|id| identifier::is_room_id(id)))
            }
            ("m.room.name", "") => Self::Name(text("name")),
            ("m.room.canonical_alias", "") => Self::Alias(text("alias")),
            ("m.room.member", user_id) if identifier::is_user_id(user_id) => {
                let membership = content.text("membership");
                let membership = membership.map(|membership| Membership::parse(&membership));
                Self::Member(user_id.to_owned(), membership)
            }
            _ => return None,
        })
    }
}

/// The encryption that an event which cannot be read switches on, if it is of that type.
pub fn unreadable_encryption(event: &str) -> Option<Encryption> {
    let event = Members::read(event).ok()?;
    (event.text("type")? == ENCRYPTION).then(|| encryption(&Members::default()))
}

/// Reads the content of an `m.room.encryption` event from its text.
///
/// # Errors
/// [`Kind::Json`] when it is no JSON object.
pub fn read_encryption(content: &str) -> Result<Encryption> {
    Members::read(content).map(|content| encryption(&content))
}

/// Reads the response to `GET /rooms/…/state/m.room.history_visibility`.
///
/// # Errors
/// [`Kind::Answer`] when it is no JSON object.
pub fn history_visibility(body: &str) -> Result<Option<String>> {
    let content = Members::read(body).or_fail(Kind::Answer, "The visibility")?;
    Ok(content.text("history_visibility").map(Cow::into_owned))
}

/// Reads the content of an `m.room.encryption` event. What is missing, of another type or out of
/// range takes its default or the nearest sensible value, never one that loosens it.
///
/// Specification: client-server API, end-to-end encryption, `m.room.encryption`.
fn encryption(content: &Members<'_>) -> Encryption {
    let positive = |name: &str| content.integer(name).filter(|value| *value > 0);
    let defaults = Encryption::default();
    Encryption {
        algorithm: content.text("algorithm").unwrap_or("(none)".into()).into_owned(),
        rotation_messages: positive("rotation_period_msgs")
            .map_or(defaults.rotation_messages, |value| (value as u64).min(MOST_MESSAGES)),
        rotation_period: positive("rotation_period_ms")
            .map_or(defaults.rotation_period, |value| value.clamp(SHORTEST_PERIOD, LONGEST_PERIOD)),
    }
}

/// What holds once `new` was seen in a room encrypted like `old`: encryption stays on, and a
/// session lives no longer than either says.
pub fn tighten(old: Option<Encryption>, new: Encryption) -> Encryption {
    match old {
        None => new,
        Some(old) => Encryption {
            algorithm: new.algorithm,
            rotation_messages: old.rotation_messages.min(new.rotation_messages),
            rotation_period: old.rotation_period.min(new.rotation_period),
        },
    }
}

#[derive(Deserialize)]
struct MembersBody<'a> {
    #[serde(borrow)]
    chunk: Vec<&'a RawValue>,
}

/// The members that the response to `GET /rooms/…/members` lists. An event that cannot be read
/// costs itself alone; one that contradicts another leaves the user out of the room.
///
/// # Errors
/// [`Kind::Answer`] when it has no list at all.
pub fn members(body: &str) -> Result<BTreeMap<String, Membership>> {
    let body: MembersBody<'_> = read_object(body).or_fail(Kind::Answer, "The members")?;
    let mut members = BTreeMap::new();
    for event in body.chunk {
        let Some((user_id, membership)) = member(event.get()) else { continue };
        let known = members.insert(user_id.clone(), membership);
        if known.is_some_and(|known| known != membership) {
            members.insert(user_id, Membership::Leave);
        }
    }
    Ok(members)
}

fn member(event: &str) -> Option<(String, Membership)> {
    let event = Members::read(event).ok()?;
    let user_id = event.text("state_key").filter(|id| identifier::is_user_id(id))?;
    let membership = event.object("content")?.text("membership")?;
    (event.text("type")? == "m.room.member")
        .then(|| (user_id.into_owned(), Membership::parse(&membership)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_cannot_be_read_costs_nobody_else() {
        let event = |user: &str, content: &str| {
            format!(r#"{{"type":"m.room.member","state_key":"{user}","content":{content}}}"#)
        };
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let odd = format!(r#"{{"membership":"join","odd":{deep}}}"#);
        let chunk = [
            event("@a:b", r#"{"membership":"join"}"#),
            event("@odd:b", &odd),
            event("@gone:b", "[]"),
            event("@two:b", r#"{"membership":"join"}"#),
            event("@two:b", r#"{"membership":"ban"}"#),
            "7".to_owned(),
        ];
        let found = members(&format!(r#"{{"chunk":[{}]}}"#, chunk.join(","))).unwrap();
        let expected = [
            ("@a:b", Membership::Join),
            ("@odd:b", Membership::Join),
            ("@two:b", Membership::Leave),
        ];
        assert_eq!(found, expected.map(|(user, m)| (user.to_owned(), m)).into());
        for text in ["", "{}", r#"{"chunk":null}"#, r#"{"chunk":"x"}"#, "[]"] {
            assert!(members(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_is_read_from_the_state_key_that_it_belongs_to() {
        let read = |event_type: &str, state_key: &str, content: &str| {
            StateChange::read(event_type, state_key, &Members::read(content).unwrap())
        };
        assert_eq!(
            read("m.room.name", "", r#"{"name":"A"}"#),
            Some(StateChange::Name(Some("A".into())))
        );
        assert_eq!(read("m.room.canonical_alias", "", "{}"), Some(StateChange::Alias(None)));
        assert_eq!(
            read("m.room.history_visibility", "", r#"{"history_visibility":7}"#),
            Some(StateChange::HistoryVisibility(None))
        );
        let member = |membership| Some(StateChange::Member("@a:b".into(), membership));
        let join = r#"{"membership":"join"}"#;
        assert_eq!(read("m.room.member", "@a:b", join), member(Some(Membership::Join)));
        assert_eq!(read("m.room.member", "@a:b", "{}"), member(None));
        assert_eq!(read("m.room.member", "", join), None);
        assert_eq!(read("m.room.encryption", "x", "{}"), None);
        assert!(matches!(
            read("m.room.encryption", "", "{}"),
            Some(StateChange::Encryption(Encryption { algorithm, .. })) if algorithm == "(none)"
        ));
    }

    #[test]
    fn encryption_is_switched_on_by_an_event_that_cannot_be_read() {
        assert!(unreadable_encryption(r#"{"type":"m.room.encryption","content":7}"#).is_some());
        for other in ["", r#"{"type":"m.room.name"}"#, r#"{"type":7}"#] {
            assert!(unreadable_encryption(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_response_about_the_visibility_is_an_object() {
        let known = history_visibility(r#"{"history_visibility":"shared"}"#).unwrap();
        assert_eq!(known.as_deref(), Some("shared"));
        assert_eq!(history_visibility("{}").unwrap(), None);
        assert_eq!(history_visibility("<html>").unwrap_err().kind, Kind::Answer);
    }

    fn read(text: &str) -> (u64, i64) {
        let settings = encryption(&Members::read(text).unwrap());
        (settings.rotation_messages, settings.rotation_period)
    }

    #[test]
    fn nonsense_takes_the_default_and_extremes_are_clamped() {
        let usual = (100, 7 * 24 * 60 * 60 * 1000);
        assert_eq!(read("{}"), usual);
        for nonsense in ["0", "-1", "\"5\"", "1.5", "null", "[]", "1e3", "99999999999999999999"] {
            let text =
                format!(r#"{{"rotation_period_msgs":{nonsense},"rotation_period_ms":{nonsense}}}"#);
            assert_eq!(read(&text), usual, "{nonsense}");
        }
        let extreme =
            r#"{"rotation_period_msgs":9007199254740991,"rotation_period_ms":9007199254740991}"#;
        assert_eq!(read(extreme), (MOST_MESSAGES, LONGEST_PERIOD));
        let small = r#"{"rotation_period_msgs":1,"rotation_period_ms":1}"#;
        assert_eq!(read(small), (1, SHORTEST_PERIOD));
    }

    #[test]
    fn settings_never_loosen() {
        let strict = Encryption { algorithm: "a".into(), rotation_messages: 5, rotation_period: 9 };
        let loose = Encryption { algorithm: "b".into(), rotation_messages: 50, rotation_period: 7 };
        let both = tighten(Some(strict), loose);
        assert_eq!((both.rotation_messages, both.rotation_period), (5, 7));
        assert_eq!(both.algorithm, "b");
    }
}
