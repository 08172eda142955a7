//! State of a room that decides how, and for whom, messages are encrypted.

use crate::{
    primitives::canonical_json::{Json, Object},
    store::records::Encryption,
};

/// Beyond these a setting is nonsense: it would switch rotation off.
const MOST_MESSAGES: u64 = 10_000;
const LONGEST_PERIOD: i64 = 365 * 24 * 60 * 60 * 1000;
/// Below this a session would be over before it could be shared.
const SHORTEST_PERIOD: i64 = 1000;

/// Reads the content of an `m.room.encryption` event. What is missing, of another type or out of
/// range takes its default or the nearest sensible value, never one that loosens it.
///
/// Specification: client-server API, end-to-end encryption, `m.room.encryption`.
pub fn encryption(content: &Object) -> Encryption {
    let positive =
        |name: &str| content.get(name).and_then(Json::as_integer).filter(|value| *value > 0);
    let defaults = Encryption::default();
    Encryption {
        algorithm: content.get("algorithm").and_then(Json::as_str).unwrap_or("(none)").to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u64, i64) {
        let settings = encryption(&Json::parse_object(text).unwrap());
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
