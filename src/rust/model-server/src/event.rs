//! Room events as they are stored, and the limits on what may become one.

use serde_json::Value;

use crate::error::Error;
use crate::json::Object;
use crate::token::Caller;

pub(crate) const CREATE: &str = "m.room.create";
pub(crate) const ENCRYPTION: &str = "m.room.encryption";
pub(crate) const HISTORY_VISIBILITY: &str = "m.room.history_visibility";
pub(crate) const JOIN_RULES: &str = "m.room.join_rules";
pub(crate) const MEMBER: &str = "m.room.member";
pub(crate) const POWER_LEVELS: &str = "m.room.power_levels";
pub(crate) const REDACTION: &str = "m.room.redaction";

/// The largest event that rooms accept, in bytes.
const MAX_SIZE: usize = 65_536;
/// The largest magnitude of an integer in canonical JSON.
const MAX_INTEGER: u64 = (1 << 53) - 1;

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) position: u64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) state_key: Option<String>,
    pub(crate) sender: String,
    pub(crate) content: Object,
    pub(crate) sent_at: u64,
    /// The device that sent it, and its transaction id.
    pub(crate) sent_by: Option<(Caller, String)>,
    /// The id it had while it waited, if its sender had it sent later.
    pub(crate) delay_id: Option<String>,
    pub(crate) redacted_by: Option<String>,
}

impl Event {
    pub(crate) fn is_membership_of(&self, user: &str) -> bool {
        self.kind == MEMBER && self.state_key.as_deref() == Some(user)
    }

    /// The type of its relation to another event, and that event's id.
    pub(crate) fn relation(&self) -> Option<(&str, &str)> {
        let relation = self.content.get("m.relates_to")?;
        Some((relation.get("rel_type")?.as_str()?, relation.get("event_id")?.as_str()?))
    }

    pub(crate) fn is_membership(&self) -> bool {
        self.kind == MEMBER && self.state_key.is_some()
    }
}

/// An event that has no place in a room yet.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) kind: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Object,
    pub(crate) sent_by: Option<(Caller, String)>,
    pub(crate) delay_id: Option<String>,
}

impl Draft {
    pub(crate) fn state(kind: &str, key: &str, content: Object) -> Self {
        let state_key = Some(key.to_owned());
        Self { kind: kind.to_owned(), state_key, content, ..Self::default() }
    }

    /// The draft, if a room would take its content.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        Ok(Self { content: check_content(self.content)?, ..self })
    }

    pub(crate) fn message(kind: &str, content: Object, me: &Caller, transaction: &str) -> Self {
        let sent_by = Some((me.clone(), transaction.to_owned()));
        Self { kind: kind.to_owned(), content, sent_by, ..Self::default() }
    }
}

/// Refuses content that no room would take: too large, or not canonical JSON.
pub(crate) fn check_content(content: Object) -> Result<Object, Error> {
    let content = Value::Object(content);
    check_numbers(&content)?;
    if content.to_string().len() > MAX_SIZE {
        return Err(Error::new(413, "M_TOO_LARGE", "event too large"));
    }
    match content {
        Value::Object(content) => Ok(content),
        _ => Err(Error::bad_json("Content must be a JSON object.")),
    }
}

fn check_numbers(value: &Value) -> Result<(), Error> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude <= MAX_INTEGER => Ok(()),
                Some(_) => Err(Error::bad_json("JSON integer out of range")),
                None => Err(Error::bad_json("Bad JSON value: float")),
            }
        }
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(fields) => fields.values().try_for_each(check_numbers),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(content: &str) -> bool {
        check_content(serde_json::from_str(content).unwrap()).is_ok()
    }

    #[test]
    fn only_canonical_numbers_are_accepted() {
        assert!(accepts(r#"{"a": [9007199254740991, -9007199254740991, "1.5"]}"#));
        assert!(!accepts(r#"{"a": 9007199254740992}"#));
        assert!(!accepts(r#"{"a": -9223372036854775808}"#));
        assert!(!accepts(r#"{"a": {"b": [1.0]}}"#));
    }

    #[test]
    fn large_content_is_refused() {
        assert!(accepts(&format!(r#"{{"a": "{}"}}"#, "x".repeat(65_000))));
        assert!(!accepts(&format!(r#"{{"a": "{}"}}"#, "x".repeat(66_000))));
    }
}
