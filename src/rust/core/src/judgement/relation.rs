//! Relations of events, and which edits count.
//!
//! Specification: client-server API, "Forming relationships between events", "Event replacements",
//! "Aggregations of child events".

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::{members::Members, room_event::RELATES_TO};
use crate::{
    error::Result,
    store::records::{Event, Facts},
};

/// The relation of an edit to what it replaces.
pub const REPLACE: &str = "m.replace";
/// The relation of a message of a thread to the thread's beginning.
pub const THREAD: &str = "m.thread";
const NEW_CONTENT: &str = "m.new_content";

/// The event to which `content` stands in the relation `rel_type`.
pub fn target<'a>(content: &Members<'a>, rel_type: &str) -> Option<Cow<'a, str>> {
    let relation = content.object(RELATES_TO)?;
    relation.text("event_id").filter(|_| relation.text("rel_type").as_deref() == Some(rel_type))
}

/// As [`target`], of content as JSON text.
pub fn target_in(content: &str, rel_type: &str) -> Option<String> {
    target(&Members::read(content).ok()?, rel_type).map(Cow::into_owned)
}

/// Why an edit by `editor` of something that is `event_type` by now would not count for an event.
pub fn refusal(
    original: Option<&Facts>,
    editor: &str,
    event_type: &str,
    encrypted: bool,
) -> Option<&'static str> {
    let Some(original) = original else { return Some("unknown_original") };
    // CVE-2026-45057.
    if original.sender != editor {
        return Some("other_sender");
    }
    if original.is_edit {
        return Some("edit_of_edit");
    }
    if original.event_type != event_type {
        return Some("other_type");
    }
    // The server could write it, in the name of the original's author.
    if original.encrypted && !encrypted {
        return Some("not_encrypted");
    }
    None
}

/// Judges an edit that can be read: its new content, or why it does not count. That both are of one
/// room is for the caller to see to.
///
/// # Errors
/// The reason, as a code.
pub fn judge<'a>(edit: &'a Event, original: Option<&Facts>) -> Result<Members<'a>, &'static str> {
    if edit.state_key.is_some() {
        return Err("state_event");
    }
    let reason = refusal(original, &edit.sender, &edit.event_type, edit.encrypted);
    if let Some(reason) = reason {
        return Err(reason);
    }
    let content = Members::read(&edit.content).unwrap_or_default();
    content.object(NEW_CONTENT).ok_or("no_new_content")
}

/// The content of an event that is replaced by `new`. Its relation stays what it was.
///
/// # Errors
/// The reason, as a code.
pub fn replaced(original: &str, new: Members<'_>) -> Result<String, &'static str> {
    let mut content: BTreeMap<&str, &RawValue> =
        new.0.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    content.remove(RELATES_TO);
    let original = Members::read(original).map_err(|_| "unknown_original")?;
    content.extend(original.raw(RELATES_TO).map(|relation| (RELATES_TO, relation)));
    serde_json::to_string(&content).map_err(|_| "no_new_content")
}

/// Events that the server sent along with an event they relate to, as they came: each is judged
/// like any other.
#[derive(Debug, Default)]
pub struct Bundled<'a> {
    /// The newest edit.
    pub edit: Option<&'a str>,
    /// The newest message of the thread that begins here.
    pub latest_in_thread: Option<&'a str>,
}

impl<'a> Bundled<'a> {
    /// Reads what came with an event, in its `unsigned`. Anything malformed is ignored: the event
    /// is read without it.
    pub fn of(unsigned: &Members<'a>) -> Self {
        let relations = unsigned.object("m.relations").unwrap_or_default();
        let latest = relations.object(THREAD).and_then(|thread| thread.raw("latest_event"));
        Self {
            edit: relations.raw(REPLACE).map(RawValue::get),
            latest_in_thread: latest.map(RawValue::get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::Unreadable;

    fn event(sender: &str, content: &str) -> Event {
        let parsed = Members::read(content).unwrap();
        Event {
            room_id: "!r".into(),
            event_id: Some("$1".into()),
            event_type: "m.room.message".into(),
            sender: sender.into(),
            origin_server_ts: 1,
            content: content.into(),
            encrypted: true,
            replaces: target(&parsed, REPLACE).map(Cow::into_owned),
            ..Event::default()
        }
    }

    fn edit() -> Event {
        let content = r#"{"body":"* b","m.new_content":{"body":"b","m.relates_to":1},
            "m.relates_to":{"rel_type":"m.replace","event_id":"$1"}}"#;
        event("@a:b", content)
    }

    fn verdict(original: &Event, edit: &Event) -> Result<String, &'static str> {
        judge(edit, Facts::of(original).as_ref())
            .map(|new| replaced(&original.content, new).unwrap())
    }

    #[test]
    fn each_rule_refuses_an_edit() {
        let original = event("@a:b", r#"{"body":"a"}"#);
        assert_eq!(verdict(&original, &edit()).unwrap(), r#"{"body":"b"}"#);
        let refused = |change: fn(&mut Event, &mut Event)| {
            let (mut original, mut edit) = (original.clone(), edit());
            change(&mut original, &mut edit);
            verdict(&original, &edit).unwrap_err()
        };
        assert_eq!(refused(|_, edit| edit.sender = "@mallory:b".into()), "other_sender");
        assert_eq!(refused(|_, edit| edit.event_type = "m.sticker".into()), "other_type");
        assert_eq!(refused(|_, edit| edit.encrypted = false), "not_encrypted");
        assert_eq!(refused(|_, edit| edit.state_key = Some(String::new())), "state_event");
        assert_eq!(refused(|_, edit| edit.content = "{}".into()), "no_new_content");
        let odd = |_: &mut Event, edit: &mut Event| {
            edit.content = r#"{"m.new_content":"b"}"#.into();
        };
        assert_eq!(refused(odd), "no_new_content");
        assert_eq!(refused(|original, _| original.replaces = Some("$0".into())), "edit_of_edit");
        assert_eq!(refused(|original, _| original.redacted = true), "unknown_original");
        let state = |original: &mut Event, _: &mut Event| original.state_key = Some("".into());
        assert_eq!(refused(state), "unknown_original");
        let unreadable = |original: &mut Event, _: &mut Event| {
            original.unreadable = Some(Unreadable { code: "x".into(), message: "x".into() });
        };
        assert_eq!(refused(unreadable), "unknown_original");
    }

    #[test]
    fn what_was_said_in_the_open_may_be_edited_in_either_way() {
        let mut original = event("@a:b", r#"{"body":"a"}"#);
        original.encrypted = false;
        assert!(verdict(&original, &edit()).is_ok());
        let mut open = edit();
        open.encrypted = false;
        assert!(verdict(&original, &open).is_ok());
    }

    #[test]
    fn the_relation_of_the_original_stays_and_the_rest_goes() {
        let relation = r#""m.relates_to":{"event_id":"$t","rel_type":"m.thread"}"#;
        let original =
            event("@a:b", &format!(r#"{{"body":"a","formatted_body":"<b>a</b>",{relation}}}"#));
        let expected = format!(r#"{{"body":"b",{relation}}}"#);
        assert_eq!(verdict(&original, &edit()).unwrap(), expected);
    }

    #[test]
    fn odd_relations_are_none() {
        for relation in [
            "7",
            "{}",
            r#"{"rel_type":"m.replace"}"#,
            r#"{"rel_type":"m.replace","event_id":7}"#,
            r#"{"rel_type":"m.thread","event_id":"$1"}"#,
        ] {
            let content = format!(r#"{{"m.relates_to":{relation}}}"#);
            assert_eq!(target_in(&content, REPLACE), None, "{relation}");
        }
    }

    #[test]
    fn odd_bundles_are_none() {
        let read = |unsigned: &str| {
            let bundled = Bundled::of(&Members::read(unsigned).unwrap_or_default());
            (bundled.edit.map(str::to_owned), bundled.latest_in_thread.map(str::to_owned))
        };
        let good = r#"{"m.relations":{"m.replace":{"a":1},"m.thread":{"latest_event":[]}}}"#;
        assert_eq!(read(good), (Some(r#"{"a":1}"#.into()), Some("[]".into())));
        for odd in ["7", "null", r#"{"m.relations":[]}"#, r#"{"m.relations":{"m.thread":"x"}}"#] {
            assert_eq!(read(odd), (None, None), "{odd}");
        }
        let twice = r#"{"m.relations":{"m.replace":{},"m.replace":{}}}"#;
        assert_eq!(read(twice), (None, None));
    }
}
