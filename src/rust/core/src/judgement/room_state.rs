//! State of a room that decides how, and for whom, messages are encrypted.

use std::collections::BTreeMap;

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

/// Reads the content of an `m.room.encryption` event. What is missing, of another type or out of
/// range takes its default or the nearest sensible value, never one that loosens it.
///
/// Specification: client-server API, end-to-end encryption, `m.room.encryption`.
pub fn encryption(content: &Members<'_>) -> Encryption {
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
