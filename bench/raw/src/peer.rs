//! A device that sends to the one that is measured: room keys over Olm, and events.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey,
    megolm::GroupSession,
    olm::{Account, Session, SessionConfig},
};

use crate::wire::{self, Encrypted, Recipient, Sender};

pub(crate) const EVENTS: usize = 10_000;
const USER: &str = "@peer:demo";
/// Sessions that events are encrypted with; any more only lie in the store.
const USED_SESSIONS: usize = 1_000;
/// So many keys come with one sync.
const KEYS_PER_SYNC: usize = 100;
/// So many times more events, after which the growth of the store is steady.
const BATCHES: usize = 5;
const SINGLE_EVENTS: usize = 200;
/// The session of these events is one of the first, which the smallest store holds too.
const SINGLES_SESSION: usize = 50;
/// A sync of so many events each.
const SYNC_SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
/// What a listener hears: so many syncs, of so many events each.
const HEARD_SYNCS: usize = 2_000;
const HEARD_EVENTS: usize = 50;
pub(crate) const MESSAGES_BEFORE_SINGLES: usize = BATCHES * EVENTS / USED_SESSIONS;

/// The device the peer writes to.
pub(crate) struct Receiver<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) ed25519: &'a str,
    pub(crate) curve25519: &'a str,
    pub(crate) one_time_key: &'a str,
}

struct Peer {
    account: Account,
    olm: Session,
    device_keys: Value,
    events: usize,
}

/// Writes sync answers: `keys_0001.json`, ... with all room keys, `one_1.json`, ... with events of
/// one session, `thousand_1.json`, ... with events of a thousand sessions in turn, `singles.jsonl`
/// with one event each, `heard.jsonl` with fifty each, and `events_100.json`, ... with so many.
/// For the limit `session_keys.json`.
pub(crate) fn write(dir: &Path, receiver: &Receiver<'_>, sessions: usize) {
    let key = |text| Curve25519PublicKey::from_base64(text).expect("a key");
    let account = Account::new();
    let olm = account
        .create_outbound_session(
            SessionConfig::version_1(),
            key(receiver.curve25519),
            key(receiver.one_time_key),
        )
        .expect("a session");
    let device_keys = wire::device_keys(&account, USER, "PEER");
    let mut peer = Peer { account, olm, device_keys, events: 0 };

    let write = |name: String, text: String| fs::write(dir.join(name), text).expect("written");
    let mut used = Vec::new();
    for i in 0..sessions / KEYS_PER_SYNC {
        let new: Vec<GroupSession> = (0..KEYS_PER_SYNC).map(|_| wire::megolm()).collect();
        let events = new.iter().map(|session| peer.room_key(receiver, session)).collect();
        write(format!("keys_{:04}.json", i + 1), wire::sync(&format!("keys{i}"), events, vec![]));
        if used.len() < USED_SESSIONS {
            used.extend(new);
        }
    }
    let session_keys: Vec<String> =
        used.iter().map(|session| session.session_key().to_base64()).collect();
    write("session_keys.json".into(), json!(session_keys).to_string());
    for batch in 1..=BATCHES {
        let events = (0..EVENTS).map(|_| peer.event(&mut used[0])).collect();
        write(format!("one_{batch}.json"), wire::sync(&format!("one{batch}"), vec![], events));
    }
    for batch in 1..=BATCHES {
        let events = (0..EVENTS).map(|i| peer.event(&mut used[i % USED_SESSIONS])).collect();
        let answer = wire::sync(&format!("thousand{batch}"), vec![], events);
        write(format!("thousand_{batch}.json"), answer);
    }
    let singles: String = (0..SINGLE_EVENTS)
        .map(|i| {
            let event = peer.event(&mut used[SINGLES_SESSION]);
            wire::sync(&format!("single{i}"), vec![], vec![event]) + "\n"
        })
        .collect();
    write("singles.jsonl".into(), singles);
    let mut several = |name: String, count: usize, session: usize| {
        let events = (0..count).map(|_| peer.event(&mut used[session])).collect();
        wire::sync(&name, vec![], events)
    };
    let heard: String = (0..HEARD_SYNCS)
        .map(|i| several(format!("heard{i}"), HEARD_EVENTS, SINGLES_SESSION + 1) + "\n")
        .collect();
    write("heard.jsonl".into(), heard);
    for size in SYNC_SIZES {
        write(format!("events_{size}.json"), several(format!("events{size}"), size, 0));
    }
}

impl Peer {
    fn room_key(&mut self, receiver: &Receiver<'_>, session: &GroupSession) -> Value {
        let sender =
            Sender { account: &self.account, user_id: USER, device_keys: &self.device_keys };
        let recipient = Recipient {
            user_id: receiver.user_id,
            ed25519: receiver.ed25519,
            curve25519: receiver.curve25519,
        };
        let content =
            sender.encrypt(&mut self.olm, &recipient, "m.room_key", &wire::room_key(session));
        json!({"type": "m.room.encrypted", "sender": USER, "content": content})
    }

    fn event(&mut self, session: &mut GroupSession) -> Value {
        self.events += 1;
        let sender_key = self.account.curve25519_key().to_base64();
        let content: Encrypted = wire::encrypt(session, &wire::payload(), &sender_key);
        json!({
            "type": "m.room.encrypted",
            "event_id": format!("$event{:07}", self.events),
            "sender": USER,
            "origin_server_ts": 1_700_000_000_000_u64 + self.events as u64,
            "content": content,
        })
    }
}
