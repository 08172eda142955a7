//! Whether the tombstone of a room counts, and what the room that replaces it says of it.
//!
//! The state of a room is the word of servers. These rules stop a member without the power to
//! upgrade the room from sending others elsewhere; they do not stop our own server.
//!
//! Specification: client-server API, "Room Upgrades", `m.room.power_levels`; room version 12,
//! "Authorisation rules".

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    identifier,
    members::{Members, string},
};
use crate::error::{Error, Kind, OrFail, Result};

const TOMBSTONE: &str = "m.room.tombstone";

/// What the current state of a room says of its upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The room that replaces it.
    pub successor: Option<String>,
    /// Who said so.
    pub sender: String,
    /// The sender may upgrade the room, by its power levels.
    pub allowed: bool,
}

/// A state event with an empty state key.
struct State<'a> {
    sender: String,
    content: Members<'a>,
}

/// The tombstone in `body`, the response to `GET /rooms/{roomId}/state`; none where there is none.
///
/// # Errors
/// [`Kind::Answer`] when it is no list of events, or when an event that decides is there twice or
/// cannot be read.
pub fn upgrade(body: &str) -> Result<Option<Upgrade>> {
    let state = deciding_state(body)?;
    let Some(tombstone) = state.get(TOMBSTONE) else { return Ok(None) };
    let successor = tombstone.content.text("replacement_room");
    Ok(Some(Upgrade {
        successor: successor.filter(|id| identifier::is_room_id(id)).map(|id| id.into_owned()),
        allowed: may_send(&state, &tombstone.sender, TOMBSTONE).unwrap_or(false),
        sender: tombstone.sender.clone(),
    }))
}

/// The room that a room says it replaces, by the content of its `m.room.create`.
///
/// # Errors
/// [`Kind::Answer`] when `content` is no JSON object.
pub fn predecessor(content: &str) -> Result<Option<String>> {
    let content = Members::read(content).or_fail(Kind::Answer, "m.room.create")?;
    let room_id = content.object("predecessor").and_then(|room| {
        room.text("room_id").filter(|id| identifier::is_room_id(id)).map(|id| id.into_owned())
    });
    Ok(room_id)
}

fn deciding_state(body: &str) -> Result<BTreeMap<String, State<'_>>> {
    let events: Vec<&RawValue> =
        serde_json::from_str(body).or_fail(Kind::Answer, "The state of the room")?;
    let mut state = BTreeMap::new();
    for event in events {
        let Ok(event) = Members::read(event.get()) else { continue };
        let is_one = event.text("state_key").is_some_and(|key| key.is_empty());
        let kind = event.text("type").filter(|kind| {
            matches!(kind.as_ref(), "m.room.create" | "m.room.power_levels" | TOMBSTONE)
        });
        let Some(kind) = kind.filter(|_| is_one) else { continue };
        let sender = event.text("sender").filter(|sender| identifier::is_user_id(sender));
        let (Some(sender), Some(content)) = (sender, event.object("content")) else {
            let message = format!("The {kind} of the room cannot be read.");
            return Err(Error::new(Kind::Answer, message));
        };
        let read = State { sender: sender.into_owned(), content };
        if state.insert(kind.clone().into_owned(), read).is_some() {
            let message = format!("The state of the room holds {kind} twice.");
            return Err(Error::new(Kind::Answer, message));
        }
    }
    Ok(state)
}

/// Whether a user may send a state event; none where what decides it cannot be read.
fn may_send(state: &BTreeMap<String, State<'_>>, user_id: &str, kind: &str) -> Option<bool> {
    let create = state.get("m.room.create")?;
    let version = create.content.text("room_version").unwrap_or("1".into());
    let number: Option<u32> = version.parse().ok();
    // Before version 12 the field means nothing, and the creator is a user like others.
    if number.is_some_and(|number| number >= 12) && is_creator(create, user_id) {
        return Some(true);
    }
    let Some(levels) = state.get("m.room.power_levels") else {
        let named = create.content.text("creator").filter(|_| number.is_some_and(|n| n <= 10));
        let creator = named.as_deref().unwrap_or(&create.sender);
        return Some(creator == user_id && number.is_none_or(|number| number < 12));
    };
    // Up to version 9 a level may be text.
    let may_be_text = number.is_some_and(|number| number <= 9);
    let level_in = |levels: &Members<'_>, name: &str| match levels.raw(name) {
        None => Some(None),
        Some(raw) => level(raw, may_be_text).map(Some),
    };
    let among = |group: &str, name: &str| match levels.content.raw(group) {
        None => Some(None),
        Some(_) => level_in(&levels.content.object(group)?, name),
    };
    let own = match among("users", user_id)? {
        Some(level) => level,
        None => level_in(&levels.content, "users_default")?.unwrap_or(0),
    };
    let needed = match among("events", kind)? {
        Some(level) => level,
        None => level_in(&levels.content, "state_default")?.unwrap_or(50),
    };
    Some(own >= needed)
}

fn is_creator(create: &State<'_>, user_id: &str) -> bool {
    let others = create.content.raw("additional_creators");
    let others: Vec<&RawValue> =
        others.and_then(|others| serde_json::from_str(others.get()).ok()).unwrap_or_default();
    create.sender == user_id
        || others.iter().any(|other| string(other).is_some_and(|other| other == user_id))
}

fn level(raw: &RawValue, may_be_text: bool) -> Option<i64> {
    let number = serde_json::from_str(raw.get()).ok();
    number.or_else(|| string(raw).filter(|_| may_be_text)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, sender: &str, content: &str) -> String {
        format!(r#"{{"type":"{kind}","state_key":"","sender":"{sender}","content":{content}}}"#)
    }

    fn create(version: &str) -> String {
        event("m.room.create", "@maker:b", &format!(r#"{{"room_version":"{version}"}}"#))
    }

    fn judged(create: &str, levels: Option<&str>, sender: &str) -> bool {
        let tombstone = event(TOMBSTONE, sender, r#"{"replacement_room":"!new:b","body":""}"#);
        let mut events = vec![create.to_owned(), tombstone];
        events.extend(levels.map(|levels| event("m.room.power_levels", "@maker:b", levels)));
        let found = upgrade(&format!("[{}]", events.join(","))).unwrap().unwrap();
        assert_eq!((found.successor.as_deref(), &*found.sender), (Some("!new:b"), sender));
        found.allowed
    }

    #[test]
    fn who_may_send_it_is_said_by_the_power_levels() {
        let v11 = create("11");
        let judged = |levels: &str, sender: &str| judged(&v11, Some(levels), sender);
        assert!(judged(r#"{"users":{"@a:b":50}}"#, "@a:b"));
        assert!(!judged(r#"{"users":{"@a:b":49}}"#, "@a:b"));
        assert!(!judged("{}", "@a:b") && judged(r#"{"users_default":50}"#, "@a:b"));
        // Before version 12 a creator has no power but the one that is written down.
        assert!(!judged("{}", "@maker:b"));
        let own = r#"{"users":{"@a:b":60},"events":{"m.room.tombstone":100}}"#;
        assert!(!judged(own, "@a:b"));
        assert!(judged(r#"{"users":{"@a:b":10},"state_default":10}"#, "@a:b"));
        // A member's own entry comes before the default, also if it is lower.
        assert!(!judged(r#"{"users":{"@a:b":0},"users_default":100}"#, "@a:b"));
    }

    #[test]
    fn levels_that_cannot_be_read_allow_nothing() {
        let v11 = create("11");
        for levels in [
            r#"{"users":{"@a:b":"100"}}"#,
            r#"{"users":{"@a:b":1e9}}"#,
            r#"{"users":{"@a:b":null},"users_default":100}"#,
            r#"{"users":[],"users_default":100}"#,
            r#"{"users":{"@a:b":100,"@a:b":100}}"#,
            r#"{"users":{"@a:b":100},"events":{"m.room.tombstone":"0"}}"#,
            r#"{"users":{"@a:b":100},"events":7}"#,
            r#"{"users":{"@a:b":100},"state_default":[]}"#,
            r#"{"users_default":"100"}"#,
        ] {
            assert!(!judged(&v11, Some(levels), "@a:b"), "{levels}");
        }
        // Up to version 9 a level may be text.
        assert!(judged(&create("9"), Some(r#"{"users":{"@a:b":" 100"}}"#), "@a:b"));
        assert!(!judged(&create("10"), Some(r#"{"users":{"@a:b":"100"}}"#), "@a:b"));
    }

    #[test]
    fn from_version_12_on_creators_may_do_everything() {
        let others = |version: &str| {
            let content =
                format!(r#"{{"room_version":"{version}","additional_creators":["@a:b",7]}}"#);
            event("m.room.create", "@maker:b", &content)
        };
        let strict = Some(r#"{"events":{"m.room.tombstone":150},"users":{"@c:b":100}}"#);
        for sender in ["@maker:b", "@a:b"] {
            assert!(judged(&others("12"), strict, sender) && judged(&others("12"), None, sender));
            assert!(!judged(&others("11"), strict, sender), "{sender}");
        }
        assert!(!judged(&others("12"), strict, "@c:b") && !judged(&others("12"), None, "@c:b"));
        // In a version that is not known the power levels alone count.
        assert!(!judged(&others("org.example.12"), strict, "@maker:b"));
        assert!(judged(&others("13"), strict, "@a:b"));
    }

    #[test]
    fn without_power_levels_the_creator_alone_may() {
        assert!(judged(&create("11"), None, "@maker:b") && !judged(&create("11"), None, "@a:b"));
        let named = |version: &str| {
            let content = format!(r#"{{"room_version":"{version}","creator":"@a:b"}}"#);
            event("m.room.create", "@maker:b", &content)
        };
        assert!(judged(&named("10"), None, "@a:b") && !judged(&named("10"), None, "@maker:b"));
        assert!(judged(&named("11"), None, "@maker:b") && !judged(&named("11"), None, "@a:b"));
        assert!(judged(&event("m.room.create", "@maker:b", "{}"), None, "@maker:b"));
    }

    #[test]
    fn state_that_does_not_say_one_thing_is_an_error_or_allows_nothing() {
        let tombstone = |to: &str| {
            event(TOMBSTONE, "@a:b", &format!(r#"{{"replacement_room":{to},"body":""}}"#))
        };
        let found = |events: &[&str]| upgrade(&format!("[{}]", events.join(",")));
        let good = tombstone(r#""!new:b""#);
        assert_eq!(found(&[]).unwrap(), None);
        assert_eq!(found(&[&create("11"), "7", "{}"]).unwrap(), None);
        // Without a create event nobody may.
        assert!(!found(&[&good]).unwrap().unwrap().allowed);
        for to in ["7", "null", r##""#x:b""##, r#""""#, r#""!""#, r#""!a\u0000b""#] {
            let upgrade = found(&[&create("11"), &tombstone(to)]).unwrap().unwrap();
            assert_eq!(upgrade.successor, None, "{to}");
        }
        // Room version 12 has ids without a server.
        let id = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
        let upgrade = found(&[&create("12"), &tombstone(&format!("\"{id}\""))]).unwrap().unwrap();
        assert_eq!(upgrade.successor.as_deref(), Some(id));
        let odd = event(TOMBSTONE, "nobody", "{}");
        for events in [&[&*good, &*good][..], &[&*odd], &[&*event(TOMBSTONE, "@a:b", "[]")]] {
            assert_eq!(found(events).unwrap_err().kind, Kind::Answer, "{events:?}");
        }
        // With a state key it is another event.
        let other = good.replace(r#""state_key":"""#, r#""state_key":"x""#);
        assert_eq!(found(&[&other]).unwrap(), None);
        for body in ["", "{}", "null", "[", r#"{"errcode":"M_X"}"#] {
            assert!(super::upgrade(body).is_err(), "{body}");
        }
    }

    #[test]
    fn the_predecessor_is_a_room_id_or_none() {
        let read = |text: &str| predecessor(text).unwrap();
        let good = r#"{"predecessor":{"room_id":"!old:b","event_id":"$x"}}"#;
        assert_eq!(read(good).as_deref(), Some("!old:b"));
        for text in [
            "{}",
            r#"{"predecessor":null}"#,
            r#"{"predecessor":"!old:b"}"#,
            r#"{"predecessor":{"room_id":7}}"#,
            r#"{"predecessor":{"room_id":"!a:b","room_id":"!c:d"}}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(predecessor("[]").is_err());
    }
}
