//! What was inside an Olm message.
//!
//! Specification: client-server API, end-to-end encryption, "Validation of incoming decrypted
//! events". Olm proves which identity key a message came from, and nothing else: whose key that is,
//! and that the message was meant for us, is proven by these checks.

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use super::device_keys::{self, DeviceKeys};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        canonical_json::{Json, Object},
        keys,
    },
};

/// The device a message was encrypted to: our own.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// Our user id.
    pub user_id: &'a str,
    /// Our Ed25519 key.
    pub signing_key: Ed25519PublicKey,
}

/// A message whose sender and recipient hold.
#[derive(Debug)]
pub struct OlmPayload {
    /// The type of the event.
    pub event_type: String,
    /// Its content.
    pub content: Object,
    /// The user who sent it: what the envelope says and the sender's device says too.
    pub sender: String,
    /// The Ed25519 key the sending device claims.
    pub signing_key: Ed25519PublicKey,
    /// The sending device, where it introduced itself.
    pub device_keys: Option<(DeviceKeys, String)>,
}

impl OlmPayload {
    /// A member of its content that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.content.get(name).and_then(Json::as_str)
    }
}

/// Judges `plaintext`, which came in an event of `sender` from the device that owns `sender_key`.
///
/// # Errors
/// [`Kind::Olm`] with the check that failed. The message must then be discarded.
pub fn judge(
    plaintext: &[u8],
    sender: &str,
    sender_key: Curve25519PublicKey,
    recipient: Recipient<'_>,
) -> Result<OlmPayload> {
    let text = std::str::from_utf8(plaintext).or_fail(Kind::Olm, "The payload is not UTF-8")?;
    let mut payload = Json::parse_object(text).or_fail(Kind::Olm, "The payload")?;
    if text_of(&payload, "sender")? != sender {
        return Err(refused("the sender inside is not the sender outside"));
    }
    if text_of(&payload, "recipient")? != recipient.user_id {
        return Err(refused("it was meant for another user"));
    }
    if signing_key_of(&payload, "recipient_keys")? != recipient.signing_key {
        return Err(refused("it was meant for another device"));
    }
    let signing_key = signing_key_of(&payload, "keys")?;
    let device_keys = payload
        .get("sender_device_keys")
        .map(|found| judge_device_keys(found, sender, sender_key, signing_key))
        .transpose()?;
    let event_type = text_of(&payload, "type")?.to_owned();
    let Some(Json::Object(content)) = payload.remove("content") else {
        return Err(refused("it has no content"));
    };
    Ok(OlmPayload { event_type, content, sender: sender.to_owned(), signing_key, device_keys })
}

fn judge_device_keys(
    found: &Json,
    sender: &str,
    sender_key: Curve25519PublicKey,
    signing_key: Ed25519PublicKey,
) -> Result<(DeviceKeys, String)> {
    let object = found.as_object().ok_or_else(|| refused("sender_device_keys is not an object"))?;
    let device_id = text_of(object, "device_id")?;
    let keys = device_keys::judge_object(object, sender, device_id, &[])
        .or_fail(Kind::Olm, "sender_device_keys")?;
    if keys.identity_key != sender_key || keys.signing_key != signing_key {
        return Err(refused("sender_device_keys are of another device"));
    }
    let text = found.canonical(crate::primitives::canonical_json::Numbers::Canonical)?;
    Ok((keys, text))
}

fn refused(what: &str) -> Error {
    Error::new(Kind::Olm, format!("The Olm message is discarded: {what}."))
}

fn text_of<'a>(object: &'a Object, name: &str) -> Result<&'a str> {
    object.get(name).and_then(Json::as_str).ok_or_else(|| refused(&format!("{name} is missing")))
}

fn signing_key_of(payload: &Object, name: &str) -> Result<Ed25519PublicKey> {
    let text = payload
        .get(name)
        .and_then(Json::as_object)
        .and_then(|found| found.get("ed25519"))
        .and_then(Json::as_str)
        .ok_or_else(|| refused(&format!("{name} is missing")))?;
    keys::ed25519(text).or_fail(Kind::Olm, name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vodozemac::olm::Account;

    use super::*;
    use crate::primitives::account;

    const ALICE: &str = "@alice:here";
    const BOB: &str = "@bob:here";

    struct Scene {
        alice: Account,
        bob: Account,
    }

    impl Scene {
        fn new() -> Self {
            Self { alice: Account::new(), bob: Account::new() }
        }

        fn payload(&self) -> Value {
            let device_keys = account::device_keys(&self.alice, ALICE, "A").unwrap();
            json!({
                "type": "m.room_key", "content": {},
                "sender": ALICE, "recipient": BOB,
                "keys": {"ed25519": self.alice.ed25519_key().to_base64()},
                "recipient_keys": {"ed25519": self.bob.ed25519_key().to_base64()},
                "sender_device_keys": serde_json::from_str::<Value>(&device_keys).unwrap(),
            })
        }

        fn judge(&self, payload: &Value) -> Result<OlmPayload> {
            let recipient = Recipient { user_id: BOB, signing_key: self.bob.ed25519_key() };
            let sender_key = self.alice.curve25519_key();
            judge(payload.to_string().as_bytes(), ALICE, sender_key, recipient)
        }

        fn refuses(&self, change: impl Fn(&mut Value)) -> bool {
            let mut payload = self.payload();
            change(&mut payload);
            self.judge(&payload).is_err()
        }
    }

    #[test]
    fn what_holds_is_accepted_with_or_without_device_keys() {
        let scene = Scene::new();
        let mut payload = scene.payload();
        assert_eq!(scene.judge(&payload).unwrap().device_keys.unwrap().0.device_id, "A");
        payload.as_object_mut().unwrap().remove("sender_device_keys");
        payload["org.matrix.msgid"] = json!("unknown members are no reason to refuse");
        assert!(scene.judge(&payload).unwrap().device_keys.is_none());
    }

    #[test]
    fn every_check_of_the_specification_refuses() {
        let scene = Scene::new();
        let other = Account::new().ed25519_key().to_base64();
        for name in ["type", "content", "sender", "recipient", "recipient_keys", "keys"] {
            assert!(scene.refuses(|p| drop(p.as_object_mut().unwrap().remove(name))), "{name}");
        }
        assert!(scene.refuses(|p| p["sender"] = json!("@mallory:here")));
        assert!(scene.refuses(|p| p["recipient"] = json!("@mallory:here")));
        assert!(scene.refuses(|p| p["recipient_keys"]["ed25519"] = json!(other)));
        assert!(scene.refuses(|p| p["keys"]["ed25519"] = json!(other)));
        assert!(scene.refuses(|p| p["keys"]["ed25519"] = json!("not a key")));
        assert!(scene.refuses(|p| p["content"] = json!([])));
    }

    #[test]
    fn device_keys_must_be_those_of_the_sending_device() {
        let scene = Scene::new();
        let keys_of = |account: &Account, user: &str| -> Value {
            serde_json::from_str(&account::device_keys(account, user, "A").unwrap()).unwrap()
        };
        assert!(scene.refuses(|p| p["sender_device_keys"] = keys_of(&Account::new(), ALICE)));
        assert!(scene.refuses(|p| p["sender_device_keys"] = keys_of(&scene.alice, "@eve:here")));
        assert!(scene.refuses(|p| p["sender_device_keys"]["device_id"] = json!("B")));
        assert!(scene.refuses(|p| p["sender_device_keys"]["signatures"] = json!({})));
        assert!(scene.refuses(|p| p["sender_device_keys"] = json!("text")));
    }

    #[test]
    fn payloads_that_are_no_json_are_errors() {
        let scene = Scene::new();
        let recipient = Recipient { user_id: BOB, signing_key: scene.bob.ed25519_key() };
        for bytes in [&b"\xff\xfe"[..], b"", b"null", b"{\"type\":\"a\",\"type\":\"b\"}"] {
            assert!(judge(bytes, ALICE, scene.alice.curve25519_key(), recipient).is_err());
        }
    }
}
