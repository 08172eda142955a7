//! Many devices that each give a room key to the one that is measured, and send one event: W4.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey,
    olm::{Account, SessionConfig},
};

use crate::{
    peer::Receiver,
    wire::{self, ROOM, Recipient, Sender},
};

/// What a crowd sends: a to-device event with a key each, and an event of the room each.
pub(crate) struct Crowd {
    members: Vec<Value>,
    keys: Vec<Value>,
    events: Vec<Value>,
}

/// All write to the key of `receiver.one_time_key`: a device that has been away has none left but
/// its fallback key.
pub(crate) fn assemble(receiver: &Receiver<'_>, size: usize) -> Crowd {
    let key = |text| Curve25519PublicKey::from_base64(text).expect("a key");
    let (identity, one_time) = (key(receiver.curve25519), key(receiver.one_time_key));
    let recipient = Recipient {
        user_id: receiver.user_id,
        ed25519: receiver.ed25519,
        curve25519: receiver.curve25519,
    };
    let mut crowd = Crowd { members: vec![], keys: vec![], events: vec![] };
    for i in 0..size {
        let user_id = format!("@crowd{i:05}:demo");
        let account = Account::new();
        let device_keys = wire::device_keys(&account, &user_id, "PEER");
        let sender = Sender { account: &account, user_id: &user_id, device_keys: &device_keys };
        let mut olm = account
            .create_outbound_session(SessionConfig::version_1(), identity, one_time)
            .expect("a session");
        let mut megolm = wire::megolm();
        let key = sender.encrypt(&mut olm, &recipient, "m.room_key", &wire::room_key(&megolm));
        crowd.keys.push(json!({"type": "m.room.encrypted", "sender": user_id, "content": key}));
        let sender_key = account.curve25519_key().to_base64();
        crowd.events.push(json!({
            "type": "m.room.encrypted",
            "event_id": format!("$crowd{i}"),
            "sender": user_id,
            "origin_server_ts": 1_700_000_000_000_u64 + i as u64,
            "content": wire::encrypt(&mut megolm, &wire::payload(), &sender_key),
        }));
        crowd.members.push(json!({
            "type": "m.room.member",
            "state_key": user_id,
            "sender": user_id,
            "event_id": format!("$member{i}"),
            "origin_server_ts": 1,
            "content": {"membership": "join"},
        }));
    }
    crowd
}

impl Crowd {
    /// Keys and events in one answer.
    pub(crate) fn sync(self) -> String {
        wire::sync("crowd", self.keys, self.events)
    }
}

/// Writes sync answers: the members of the room, the keys and events in one, and the events and
/// their keys one after the other.
pub(crate) fn write(dir: &Path, receiver: &Receiver<'_>, size: usize) {
    let write = |kind: &str, text: String| {
        fs::write(dir.join(format!("{kind}_{size}.json")), text).expect("written");
    };
    let crowd = assemble(receiver, size);
    let state = json!({"join": {ROOM: {"state": {"events": &crowd.members}}}});
    write("members", json!({"next_batch": "members", "rooms": state}).to_string());
    write("waiting", wire::sync("waiting", vec![], crowd.events.clone()));
    write("awaited", wire::sync("awaited", crowd.keys.clone(), vec![]));
    write("crowd", crowd.sync());
}
