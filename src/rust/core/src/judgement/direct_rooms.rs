//! The account data `m.direct`: which rooms are direct ones, and with whom.
//!
//! All clients of a user write to it, so it may hold anything. What is not understood is kept as the
//! text it is.
//!
//! Specification: client-server API, "Direct Messaging".

use serde_json::value::RawValue;

use super::{
    identifier,
    unique_map::{UniqueMap, read_object},
};
use crate::error::{Kind, OrFail, Result};

/// The users and their rooms. Entries that are no lists, and rooms that are no text, are left out.
///
/// # Errors
/// [`Kind::Answer`] when `content` is no JSON object.
pub fn read(content: &str) -> Result<Vec<(String, String)>> {
    let entries: UniqueMap<&RawValue> = read_object(content).or_fail(Kind::Answer, "m.direct")?;
    let mut rooms = Vec::new();
    for (user_id, entry) in entries.0 {
        for element in elements(entry) {
            let room_id = serde_json::from_str::<String>(element.get());
            if let Ok(room_id) = room_id
                && identifier::is_sound(&room_id)
            {
                rooms.push((user_id.clone(), room_id));
            }
        }
    }
    Ok(rooms)
}

/// `content` with a room added for each of `user_ids`; none if it is there already. An entry that is
/// no list becomes the first element of one.
///
/// # Errors
/// [`Kind::Answer`] when `content` is no JSON object.
pub fn with_room(content: &str, user_ids: &[String], room_id: &str) -> Result<Option<String>> {
    let entries: UniqueMap<&RawValue> = read_object(content).or_fail(Kind::Answer, "m.direct")?;
    let mut entries = entries.0;
    let room = serde_json::value::to_raw_value(room_id).or_fail(Kind::Internal, "A room id")?;
    let mut changed = Vec::new();
    for user_id in user_ids {
        let mut rooms = match entries.get(user_id) {
            None => Vec::new(),
            Some(entry) if entry.get() == "null" => Vec::new(),
            Some(entry) if entry.get().starts_with('[') => elements(entry),
            Some(entry) => vec![*entry],
        };
        let is_it = |element: &&RawValue| {
            serde_json::from_str::<String>(element.get()).is_ok_and(|known| known == room_id)
        };
        if !rooms.iter().any(is_it) {
            rooms.push(&room);
            let list = serde_json::value::to_raw_value(&rooms);
            changed.push((user_id.clone(), list.or_fail(Kind::Internal, "A list of rooms")?));
        }
    }
    if changed.is_empty() {
        return Ok(None);
    }
    entries.extend(changed.iter().map(|(user_id, list)| (user_id.clone(), &**list)));
    serde_json::to_string(&entries).map(Some).or_fail(Kind::Internal, "m.direct")
}

fn elements(list: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(list.get()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(user_id: &str, room_id: &str) -> (String, String) {
        (user_id.to_owned(), room_id.to_owned())
    }

    fn with(content: &str, user_ids: &[&str]) -> Option<String> {
        let user_ids: Vec<String> = user_ids.iter().map(|id| (*id).to_owned()).collect();
        with_room(content, &user_ids, "!new").unwrap()
    }

    #[test]
    fn rooms_are_read_and_what_is_none_is_left_out() {
        let content = r#"{"@a:b":["!1",5,null,["!2"],"","!3"],"@c:d":"!4","@e:f":{"x":["!5"]},
            "mailto:x":["!6"]}"#;
        let rooms = [pair("@a:b", "!1"), pair("@a:b", "!3"), pair("mailto:x", "!6")];
        assert_eq!(read(content).unwrap(), rooms);
        assert_eq!(read("{}").unwrap(), []);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for content in ["", "[]", "null", "5", "{", r#"{"a":[],"a":[]}"#] {
            assert_eq!(read(content).unwrap_err().kind, Kind::Answer, "{content}");
            assert!(with_room(content, &["@a:b".into()], "!new").is_err(), "{content}");
        }
    }

    #[test]
    fn a_room_is_added_and_all_else_is_kept_as_it_is() {
        let content = r#"{"@a:b":["!1", 1.50,{"b":1,"a":2}],"@c:d":{"x" : [1e3]},"@e:f":"!4"}"#;
        let after = with(content, &["@a:b"]).unwrap();
        let kept = r#""@c:d":{"x" : [1e3]},"@e:f":"!4"}"#;
        assert_eq!(after, format!(r#"{{"@a:b":["!1",1.50,{{"b":1,"a":2}},"!new"],{kept}"#));
        assert_eq!(with(&after, &["@a:b"]), None);
        let deep = format!(r#"{{"@x:y":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(with(&deep, &["@a:b"]).unwrap().contains(&"[".repeat(5000)));
    }

    #[test]
    fn an_entry_that_is_no_list_becomes_one() {
        for (entry, list) in [
            ("null", r#"["!new"]"#),
            (r#""!old""#, r#"["!old","!new"]"#),
            (r#"{"a":1}"#, r#"[{"a":1},"!new"]"#),
            ("[]", r#"["!new"]"#),
        ] {
            let after = with(&format!(r#"{{"@a:b":{entry}}}"#), &["@a:b"]).unwrap();
            assert_eq!(after, format!(r#"{{"@a:b":{list}}}"#));
        }
        let both = with("{}", &["@a:b", "@c:d"]).unwrap();
        assert_eq!(both, r#"{"@a:b":["!new"],"@c:d":["!new"]}"#);
    }
}
