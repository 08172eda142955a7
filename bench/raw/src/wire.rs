//! Matrix's JSON, as far as the workloads need it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vodozemac::{
    Ed25519PublicKey, Ed25519Signature,
    megolm::{GroupSession, SessionConfig},
    olm::Account,
};

pub(crate) const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
pub(crate) const MEGOLM: &str = "m.megolm.v1.aes-sha2";
pub(crate) const ROOM: &str = "!bench:demo";

/// The canonical form that is signed. `Value` keeps members in order, and there are no numbers.
fn signed_bytes(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("signatures");
        members.remove("unsigned");
    }
    object.to_string()
}

pub(crate) fn sign(mut object: Value, account: &Account, user_id: &str, device_id: &str) -> Value {
    let signature = account.sign(signed_bytes(&object)).to_base64();
    object["signatures"] = json!({user_id: {format!("ed25519:{device_id}"): signature}});
    object
}

/// Panics unless `object` bears a good signature of the device.
pub(crate) fn verify(object: &Value, user_id: &str, device_id: &str, key: Ed25519PublicKey) {
    let signature = &object["signatures"][user_id][format!("ed25519:{device_id}")];
    let signature = Ed25519Signature::from_base64(text(signature)).expect("a signature");
    key.verify(signed_bytes(object).as_bytes(), &signature).expect("it holds");
}

pub(crate) fn device_keys(account: &Account, user_id: &str, device_id: &str) -> Value {
    let object = json!({
        "algorithms": [OLM, MEGOLM],
        "device_id": device_id,
        "keys": {
            format!("curve25519:{device_id}"): account.curve25519_key().to_base64(),
            format!("ed25519:{device_id}"): account.ed25519_key().to_base64(),
        },
        "user_id": user_id,
    });
    sign(object, account, user_id, device_id)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

pub(crate) fn megolm() -> GroupSession {
    GroupSession::new(SessionConfig::version_1())
}

/// What is inside of an encrypted event: a text message of 200 bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) r#type: String,
    pub(crate) content: Value,
    pub(crate) room_id: String,
}

pub(crate) fn payload() -> String {
    let body = "x".repeat(200);
    let payload = Payload {
        r#type: "m.room.message".into(),
        content: json!({"msgtype": "m.text", "body": body, "m.mentions": {}}),
        room_id: ROOM.into(),
    };
    serde_json::to_string(&payload).expect("JSON")
}

/// The content of an encrypted event.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encrypted {
    pub(crate) algorithm: String,
    pub(crate) ciphertext: String,
    pub(crate) device_id: String,
    pub(crate) sender_key: String,
    pub(crate) session_id: String,
}

pub(crate) fn encrypt(session: &mut GroupSession, payload: &str, sender_key: &str) -> Encrypted {
    Encrypted {
        algorithm: MEGOLM.into(),
        ciphertext: session.encrypt(payload).to_base64(),
        device_id: "PEER".into(),
        sender_key: sender_key.to_owned(),
        session_id: session.session_id(),
    }
}

/// The content of the event inside of Olm that hands on a room key.
pub(crate) fn room_key(session: &GroupSession) -> Value {
    json!({
        "algorithm": MEGOLM,
        "room_id": ROOM,
        "session_id": session.session_id(),
        "session_key": session.session_key().to_base64(),
    })
}

/// A device, as seen by the one that encrypts to it.
pub(crate) struct Recipient<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) ed25519: &'a str,
    pub(crate) curve25519: &'a str,
}

/// The device that encrypts.
pub(crate) struct Sender<'a> {
    pub(crate) account: &'a Account,
    pub(crate) user_id: &'a str,
    pub(crate) device_keys: &'a Value,
}

impl Sender<'_> {
    /// The content of a to-device event that carries `content` over an Olm session.
    pub(crate) fn encrypt(
        &self,
        session: &mut vodozemac::olm::Session,
        recipient: &Recipient<'_>,
        event_type: &str,
        content: &Value,
    ) -> Value {
        let payload = json!({
            "type": event_type,
            "content": content,
            "sender": self.user_id,
            "keys": {"ed25519": self.account.ed25519_key().to_base64()},
            "recipient": recipient.user_id,
            "recipient_keys": {"ed25519": recipient.ed25519},
            "sender_device_keys": self.device_keys,
        });
        let (kind, body) = session.encrypt(payload.to_string()).expect("encrypted").to_parts();
        json!({
            "algorithm": OLM,
            "sender_key": self.account.curve25519_key().to_base64(),
            "ciphertext": {
                recipient.curve25519: {"type": kind, "body": vodozemac::base64_encode(body)},
            },
        })
    }
}

/// An answer to `GET /sync`.
pub(crate) fn sync(next_batch: &str, to_device: Vec<Value>, timeline: Vec<Value>) -> String {
    let mut answer = json!({
        "next_batch": next_batch,
        "to_device": {"events": to_device},
        "device_one_time_keys_count": {"signed_curve25519": 50},
        "device_unused_fallback_key_types": ["signed_curve25519"],
    });
    if !timeline.is_empty() {
        answer["rooms"] = json!({"join": {ROOM: {"timeline": {"events": timeline}}}});
    }
    answer.to_string()
}
