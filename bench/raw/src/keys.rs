//! W6 and W9: room keys to and from a file, and a key backup, without a store. The forms are those of
//! the specification; what is in memory is what a store would hold.

use std::{fs, path::Path};

use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use vodozemac::{
    Curve25519PublicKey, base64_decode, base64_encode,
    megolm::{ExportedSessionKey, InboundGroupSession, SessionConfig},
    pk_encryption::{Message, PkDecryption, PkEncryption},
};

use crate::{
    meter::measure,
    wire::{self, MEGOLM, ROOM},
};

const ROUNDS: u32 = 500_000;
const SALT: [u8; 16] = [3; 16];
/// Version, salt, IV, and rounds.
const HEADER: usize = 1 + 16 + 16 + 4;
const MAC: usize = 32;

fn sessions(size: usize) -> Vec<InboundGroupSession> {
    let session =
        |_| InboundGroupSession::new(&wire::megolm().session_key(), SessionConfig::version_1());
    (0..size).map(session).collect()
}

/// What is kept of a key outside of the store.
fn row(session: &InboundGroupSession) -> Value {
    let sender_key = "w7iHq6ACpZHDfDrWazAT7EBf30BHZWZf/OD+cruj5RQ";
    json!({
        "algorithm": MEGOLM,
        "forwarding_curve25519_key_chain": [],
        "sender_key": sender_key,
        "sender_claimed_keys": {"ed25519": sender_key},
        "session_key": session.export_at_first_known_index().to_base64(),
    })
}

fn import(row: &Value) -> InboundGroupSession {
    let key = ExportedSessionKey::from_base64(wire::text(&row["session_key"])).expect("a key");
    InboundGroupSession::import(&key, SessionConfig::version_1())
}

// --- W6 ----------------------------------------------------------------------

pub(crate) fn export(size: usize, dir: &Path) {
    let (stored, file) = (sessions(size), dir.join("w6-limit"));
    measure("w6-export", 1, || {
        let export = |session: &InboundGroupSession| {
            let mut row = row(session);
            row["room_id"] = ROOM.into();
            row["session_id"] = session.session_id().into();
            row
        };
        let rows: Vec<Value> = stored.iter().map(export).collect();
        fs::write(&file, seal(json!(rows).to_string().into_bytes())).expect("written");
    });
    let imported: Vec<InboundGroupSession> = measure("w6-import", 1, || {
        let text = fs::read_to_string(&file).expect("read");
        let rows: Vec<Value> = serde_json::from_slice(&open(&text)).expect("keys");
        rows.iter().map(import).collect()
    });
    assert_eq!(imported.len(), size);
    fs::remove_file(file).expect("removed");
}

fn keyed() -> (Ctr128BE<Aes256>, Hmac<Sha256>) {
    let mut keys = [0; 64];
    pbkdf2::pbkdf2_hmac::<Sha512>(b"correct horse", &SALT, ROUNDS, &mut keys);
    let (aes, mac) = keys.split_at(32);
    let cipher = Ctr128BE::new_from_slices(aes, &[0; 16]).expect("a key");
    (cipher, Hmac::new_from_slice(mac).expect("a key"))
}

fn seal(mut plain: Vec<u8>) -> String {
    let (mut cipher, mut mac) = keyed();
    cipher.apply_keystream(&mut plain);
    let mut file = [&[1][..], &SALT, &[0; 16], &ROUNDS.to_be_bytes(), &plain].concat();
    mac.update(&file);
    file.extend_from_slice(&mac.finalize().into_bytes());
    base64_encode(file)
}

fn open(text: &str) -> Vec<u8> {
    let (mut cipher, mut mac) = keyed();
    let mut file = base64_decode(text).expect("base64");
    let (bytes, tag) = file.split_at(file.len() - MAC);
    mac.update(bytes);
    mac.verify_slice(tag).expect("it holds");
    let end = bytes.len();
    cipher.apply_keystream(&mut file[HEADER..end]);
    file[HEADER..end].to_vec()
}

// --- W9 ----------------------------------------------------------------------

pub(crate) fn back_up(size: usize) {
    let stored = sessions(size);
    let decryption = PkDecryption::new();
    let encryption = PkEncryption::from_key(decryption.public_key());
    let backup = measure("w9-backup", 1, || {
        let mut keys = json!({});
        for session in &stored {
            let sealed = encryption.encrypt(row(session).to_string().as_bytes()).expect("sealed");
            keys[session.session_id()] = json!({
                "ciphertext": base64_encode(sealed.ciphertext),
                "ephemeral": sealed.ephemeral_key.to_base64(),
                "mac": base64_encode(sealed.mac),
            });
        }
        json!({"rooms": {ROOM: {"sessions": keys}}}).to_string()
    });
    let restored: Vec<InboundGroupSession> = measure("w9-restore", 1, || {
        let backup: Value = serde_json::from_str(&backup).expect("an answer");
        let keys = backup["rooms"][ROOM]["sessions"].as_object().expect("sessions");
        let restore = |sealed: &Value| {
            let bytes = |name: &str| base64_decode(wire::text(&sealed[name])).expect("base64");
            let key = Curve25519PublicKey::from_base64(wire::text(&sealed["ephemeral"]));
            let message = Message {
                ciphertext: bytes("ciphertext"),
                mac: bytes("mac"),
                ephemeral_key: key.expect("a key"),
            };
            let row = decryption.decrypt(&message).expect("opened");
            import(&serde_json::from_slice(&row).expect("a key"))
        };
        keys.values().map(restore).collect()
    });
    assert_eq!(restored.len(), size);
}
