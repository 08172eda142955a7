//! What the server must never have seen.

use std::collections::{BTreeMap, BTreeSet};

use mxcrypt_core::{
    primitives::{keys::decode_base64, megolm},
    store::{
        Query,
        records::{InboundSession, OutboundSession},
    },
};
use mxcrypt_model_server::ModelServer;
use serde_json::Value;

use crate::device::Device;

pub fn check_what_the_server_saw<'a>(
    server: &ModelServer,
    plaintexts: impl Iterator<Item = &'a str>,
    devices: &[Device],
) {
    let bodies: Vec<String> =
        server.seen().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    let everything = bodies.join("\n");
    for text in plaintexts {
        assert!(!everything.contains(text), "the server saw the plaintext {text:?}");
    }
    let keys: BTreeSet<String> = devices.iter().flat_map(session_keys).collect();
    for key in keys {
        assert!(!everything.contains(key.as_str()), "the server saw a session key");
    }
    let mut used = Ratchets::default();
    for body in &bodies {
        if let Ok(body) = serde_json::from_str::<Value>(body) {
            used.note(&body);
        }
    }
}

/// The ratchets of a device's sessions, as the text in which a leak would hold them.
fn session_keys(device: &Device) -> Vec<String> {
    device.look(|tx| {
        let own = tx.select::<OutboundSession>(&Query::all())?;
        let mut keys: Vec<String> =
            own.iter().map(|session| session.session.session_key().to_base64()).collect();
        for session in tx.select::<InboundSession>(&Query::all())? {
            keys.push(session.session.export_at_first_known_index().to_base64());
        }
        // The first bytes are version and index; what follows is the ratchet.
        Ok(keys.iter().map(|key| key[8..100].to_owned()).collect())
    })
}

/// Every ratchet index that was used, and the ciphertext it was used for.
#[derive(Default)]
struct Ratchets {
    used: BTreeMap<(String, u64), String>,
}

impl Ratchets {
    fn note(&mut self, body: &Value) {
        match body {
            Value::Object(members) => {
                let text = |name: &str| members.get(name).and_then(Value::as_str);
                match (text("session_id"), text("ciphertext")) {
                    (Some(session), Some(ciphertext)) => self.note_megolm(session, ciphertext),
                    _ => members.values().for_each(|value| self.note(value)),
                }
                if let (Some(message_type), Some(body)) = (members.get("type"), text("body"))
                    && let Some(message_type) = message_type.as_i64()
                {
                    self.note_olm(message_type, body);
                }
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.note(value)),
            _ => {}
        }
    }

    fn note_megolm(&mut self, session: &str, ciphertext: &str) {
        let index = megolm::message(ciphertext).unwrap().message_index();
        self.use_once(format!("megolm {session}"), u64::from(index), ciphertext);
    }

    fn note_olm(&mut self, message_type: i64, body: &str) {
        let bytes = decode_base64(body).unwrap();
        let message =
            vodozemac::olm::OlmMessage::from_parts(message_type as usize, &bytes).unwrap();
        let inner = match &message {
            vodozemac::olm::OlmMessage::Normal(message) => message,
            vodozemac::olm::OlmMessage::PreKey(message) => message.message(),
        };
        let chain = format!("olm {}", inner.ratchet_key().to_base64());
        self.use_once(chain, inner.chain_index(), body);
    }

    fn use_once(&mut self, ratchet: String, index: u64, ciphertext: &str) {
        let name = format!("{ratchet} at {index}");
        let before = self.used.insert((ratchet, index), ciphertext.to_owned());
        if let Some(before) = before {
            assert_eq!(before, ciphertext, "{name} was used for two plaintexts");
        }
    }
}
