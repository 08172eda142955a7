//! A to-device event as a sync brings it, and what an encrypted one holds for this device.
//!
//! Specification: client-server API, "Send-to-Device messaging"; end-to-end encryption,
//! "`m.olm.v1.curve25519-aes-sha2`".

use serde::Deserialize;
use vodozemac::{Curve25519PublicKey, olm::OlmMessage};

use super::{identifier, unique_map::read_object};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        account::OLM,
        canonical_json::{Json, Object},
        keys, olm,
    },
};

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    event_type: String,
    sender: String,
    #[serde(default)]
    content: Option<Json>,
}

/// A to-device event.
#[derive(Debug)]
pub struct ToDeviceEvent {
    /// The type.
    pub event_type: String,
    /// Who the server says sent it.
    pub sender: String,
    /// The content.
    pub content: Object,
}

impl ToDeviceEvent {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Json`], [`Kind::Olm`] when the event must be discarded.
    pub fn read(text: &str) -> Result<Self> {
        let event: Wire = read_object(text).or_fail(Kind::Json, "This is no to-device event")?;
        if !identifier::is_user_id(&event.sender) {
            return Err(discarded("its sender is no user id"));
        }
        let Some(Json::Object(content)) = event.content else {
            return Err(discarded("it has no content"));
        };
        Ok(Self { event_type: event.event_type, sender: event.sender, content })
    }
}

/// What an event holds for a device, still encrypted.
#[derive(Debug)]
pub struct OlmContent<'a> {
    /// The Curve25519 key that the server says it is from.
    pub sender_key: Curve25519PublicKey,
    /// The type of the message.
    pub message_type: i64,
    /// The message as text.
    pub body: &'a str,
    /// The message.
    pub message: OlmMessage,
}

impl<'a> OlmContent<'a> {
    /// Reads the content of an event, of which the device with `identity_key` reads its part.
    ///
    /// # Errors
    /// [`Kind::Olm`], or that of a key or a message which is none. The event must then be discarded.
    pub fn read(content: &'a Object, identity_key: &str) -> Result<Self> {
        let text = |object: &'a Object, name: &str| object.get(name).and_then(Json::as_str);
        if text(content, "algorithm") != Some(OLM) {
            return Err(discarded("its algorithm is not Olm"));
        }
        let sender_key = text(content, "sender_key").ok_or_else(|| discarded("it has no key"))?;
        let sender_key = keys::curve25519(sender_key)?;
        let part = content
            .get("ciphertext")
            .and_then(Json::as_object)
            .and_then(|all| all.get(identity_key))
            .and_then(Json::as_object)
            .ok_or_else(|| discarded("it holds nothing for this device"))?;
        let message_type = part.get("type").and_then(Json::as_integer);
        let message_type = message_type.ok_or_else(|| discarded("its type is no number"))?;
        let body = text(part, "body").ok_or_else(|| discarded("it has no body"))?;
        Ok(Self { sender_key, message_type, body, message: olm::message(message_type, body)? })
    }
}

/// Why a to-device event is discarded.
pub fn discarded(what: &str) -> Error {
    Error::new(Kind::Olm, format!("A to-device event is discarded: {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_event_is_refused() {
        assert!(ToDeviceEvent::read(r#"{"type":"m","sender":"@a:b","content":{}}"#).is_ok());
        for odd in [
            "",
            "[]",
            r#"["m","@a:b",{}]"#,
            r#"{"sender":"@a:b","content":{}}"#,
            r#"{"type":"m","sender":"a","content":{}}"#,
            r#"{"type":"m","sender":"@a:b"}"#,
            r#"{"type":"m","sender":"@a:b","content":[]}"#,
            r#"{"type":"m","type":"n","sender":"@a:b","content":{}}"#,
        ] {
            assert!(ToDeviceEvent::read(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_is_no_olm_message_for_this_device_is_refused() {
        let key = Curve25519PublicKey::from([9; 32]).to_base64();
        let read = |content: &str| {
            let content = content.replace("KEY", &key);
            let content = Json::parse_object(&content).unwrap();
            OlmContent::read(&content, "ME").unwrap_err().message
        };
        let olm = r#"{"algorithm":"m.olm.v1.curve25519-aes-sha2""#;
        for (odd, says) in [
            ("{}".to_owned(), "not Olm"),
            (format!("{olm}}}"), "no key"),
            (format!(r#"{olm},"sender_key":"KEY"}}"#), "nothing for this device"),
            (
                format!(r#"{olm},"sender_key":"KEY","ciphertext":{{"YOU":{{}}}}}}"#),
                "nothing for this device",
            ),
            (format!(r#"{olm},"sender_key":"KEY","ciphertext":{{"ME":{{}}}}}}"#), "no number"),
            (
                format!(r#"{olm},"sender_key":"KEY","ciphertext":{{"ME":{{"type":0}}}}}}"#),
                "no body",
            ),
        ] {
            let message = read(&odd);
            assert!(message.contains(says), "{message}");
        }
    }
}
