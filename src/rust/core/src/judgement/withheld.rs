//! The content of `m.room_key.withheld`: another device gives us no key.
//!
//! Specification: client-server API, end-to-end encryption, "Reporting that decryption keys are
//! withheld".

use super::identifier;
use crate::{
    error::{Error, Kind, Result},
    primitives::canonical_json::{Json, Object},
};

/// The type of the event.
pub const WITHHELD: &str = "m.room_key.withheld";

/// The code of a device that could open no Olm session with us.
pub const NO_OLM: &str = "m.no_olm";

/// What another device says. Its `reason` is anybody's text, and not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withheld {
    /// It could open no Olm session with us.
    NoOlm {
        /// Its Curve25519 key.
        sender_key: String,
    },
    /// It gives us no key of a session.
    Session {
        /// The room.
        room_id: String,
        /// The session.
        session_id: String,
        /// The code of the specification, or another.
        code: String,
    },
}

impl Withheld {
    /// Reads `content`.
    ///
    /// # Errors
    /// [`Kind::Json`] when it does not say what is withheld.
    pub fn read(content: &Object) -> Result<Self> {
        let text = |name: &str| {
            let text = content.get(name).and_then(Json::as_str);
            let text = text.filter(|text| identifier::is_sound(text)).map(str::to_owned);
            text.ok_or_else(|| {
                Error::new(Kind::Json, format!("A withheld notice is discarded: it has no {name}."))
            })
        };
        let code = text("code")?;
        if code == NO_OLM {
            return Ok(Self::NoOlm { sender_key: text("sender_key")? });
        }
        Ok(Self::Session { room_id: text("room_id")?, session_id: text("session_id")?, code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_a_session_or_a_device() {
        let read = |text: &str| Withheld::read(&Json::parse_object(text).unwrap());
        let session = r#"{"code":"m.x","room_id":"!r","session_id":"s"}"#;
        let expected =
            Withheld::Session { room_id: "!r".into(), session_id: "s".into(), code: "m.x".into() };
        assert_eq!(read(session).unwrap(), expected);
        let device = r#"{"code":"m.no_olm","sender_key":"k"}"#;
        assert_eq!(read(device).unwrap(), Withheld::NoOlm { sender_key: "k".into() });
        for odd in [
            "{}",
            r#"{"code":"m.no_olm","room_id":"!r","session_id":"s"}"#,
            r#"{"code":"m.x","room_id":"!r","sender_key":"k"}"#,
            r#"{"code":"m.x","room_id":7,"session_id":"s"}"#,
            r#"{"code":"m.\u0007","room_id":"!r","session_id":"s"}"#,
        ] {
            assert_eq!(read(odd).unwrap_err().kind, Kind::Json, "{odd}");
        }
    }
}
