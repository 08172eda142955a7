//! A JSON object, read one level deep.
//!
//! Anybody can put anything into the parts of an event that nobody uses. A reader that judges those
//! too can be made to skip the event: a member could hide that they were banned. So each member stays
//! text until somebody needs it, and limits apply to what is used.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::unique_map::{UniqueMap, read_object};
use crate::error::{Kind, OrFail, Result};

/// The members of an object, each as text. No name stands twice.
#[derive(Debug, Clone, Default)]
pub struct Members<'a>(pub BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Json`] when it is no object, or names a member twice.
    pub fn read(text: &'a str) -> Result<Self> {
        read_object(text).or_fail(Kind::Json, "This is no JSON object")
    }

    /// A member, as text.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// A member that is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).and_then(string)
    }

    /// A member that is an integer.
    pub fn integer(&self, name: &str) -> Option<i64> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<Members<'a>> {
        Members::read(self.raw(name)?.get()).ok()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UniqueMap::deserialize(deserializer).map(|members| Self(members.0))
    }
}

/// The string that `raw` is, if it is one.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    match serde_json::from_str(raw.get()) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        // One with escapes cannot be borrowed.
        Err(_) => serde_json::from_str(raw.get()).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_is_not_judged() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let text = format!(
            r#"{{"a":"\u0041b","deep":{deep},"number":1e999,"odd":"\ud800","i":7,"o":{{"x":1}}}}"#
        );
        let members = Members::read(&text).unwrap();
        assert_eq!(members.text("a").as_deref(), Some("Ab"));
        assert_eq!(members.integer("i"), Some(7));
        assert_eq!(members.object("o").unwrap().integer("x"), Some(1));
        assert!(members.text("odd").is_none() && members.text("deep").is_none());
        assert!(members.object("deep").is_none() && members.integer("number").is_none());
        assert!(members.text("absent").is_none());
    }

    #[test]
    fn what_is_no_object_or_has_two_meanings_is_refused() {
        for text in ["", "[]", "null", "7", r#"{"a":1,"a":2}"#, r#"{"a":}"#] {
            assert_eq!(Members::read(text).unwrap_err().kind, Kind::Json, "{text}");
        }
    }
}
