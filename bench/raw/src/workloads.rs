//! The workloads, each in a process of its own. The names are those of bench/workloads.R.

use std::{collections::HashMap, fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey, Ed25519PublicKey,
    megolm::{
        GroupSession, InboundGroupSession, InboundGroupSessionPickle, MegolmMessage, SessionConfig,
        SessionKey,
    },
    olm::{Account, PreKeyMessage, Session, SessionConfig as OlmConfig},
};

use crate::{
    attachment, crowd,
    devices::{DEVICES, SHARED_WITH, names},
    keys,
    meter::measure,
    peer::{self, EVENTS, Receiver},
    wire::{self, MEGOLM, Payload, ROOM, Recipient, Sender},
};

/// So many devices share one to-device request, as in the package.
const DEVICES_PER_REQUEST: usize = 250;
/// A single message is too short to be measured alone.
const SINGLES: usize = 100;

pub(crate) fn run(workload: &str, dir: &Path) {
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("run the fixtures first");
    match workload {
        "w1-ratchet" => encrypt_ratchet(workload),
        "w1-events" => encrypt_events(workload),
        "w2-ratchet" => decrypt_ratchet(workload, &read("one_1.json"), &read("session_keys.json")),
        "w2-one" => decrypt_sync(workload, &read("one_1.json"), &read("session_keys.json")),
        "w2-thousand" => {
            decrypt_sync(workload, &read("thousand_1.json"), &read("session_keys.json"));
        }
        "w3-share" => share(workload, &read("query.json"), &read("claim.json"), true),
        "w3-again" => share(workload, &read("query.json"), &read("claim.json"), false),
        "w4-crowd" => receive_crowd(workload, 1_000),
        "w5-send" => send_one(workload),
        "w5-receive" => receive_one(workload),
        "w7-verify" => verify(workload, &read("device_keys.jsonl")),
        "w8" => attachment::run(dir),
        other => match other.split_once('-') {
            Some(("w6", size)) => keys::export(size.parse().expect("a number"), dir),
            Some(("w9", size)) => keys::back_up(size.parse().expect("a number")),
            _ => panic!("there is no workload {other}"),
        },
    }
}

fn encrypt_ratchet(workload: &str) {
    let plaintexts = vec![wire::payload(); EVENTS];
    let mut session = wire::megolm();
    let ciphertexts: Vec<String> = measure(workload, 1, || {
        plaintexts.iter().map(|text| session.encrypt(text).to_base64()).collect()
    });
    assert_eq!(ciphertexts.len(), EVENTS);
}

/// Text in, the body of the request out.
fn encrypt_events(workload: &str) {
    let texts = vec!["x".repeat(200); EVENTS];
    let mut session = wire::megolm();
    let sender_key = Account::new().curve25519_key().to_base64();
    let bodies: Vec<String> = measure(workload, 1, || {
        let body = |text: &String| {
            let payload = Payload {
                r#type: "m.room.message".into(),
                content: json!({"msgtype": "m.text", "body": text, "m.mentions": {}}),
                room_id: ROOM.into(),
            };
            let payload = serde_json::to_string(&payload).expect("JSON");
            let content = wire::encrypt(&mut session, &payload, &sender_key);
            serde_json::to_string(&content).expect("JSON")
        };
        texts.iter().map(body).collect()
    });
    assert_eq!(bodies.len(), EVENTS);
}

/// The part of a sync answer that is read here.
#[derive(Deserialize)]
struct Sync<'a> {
    #[serde(borrow)]
    rooms: Rooms<'a>,
}

#[derive(Deserialize)]
struct Rooms<'a> {
    #[serde(borrow)]
    join: HashMap<&'a str, Room<'a>>,
}

#[derive(Deserialize)]
struct Room<'a> {
    #[serde(borrow)]
    timeline: Timeline<'a>,
}

#[derive(Deserialize)]
struct Timeline<'a> {
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    ciphertext: &'a str,
    session_id: &'a str,
}

fn events(text: &str) -> Vec<Event<'_>> {
    let mut sync: Sync<'_> = serde_json::from_str(text).expect("a sync answer");
    sync.rooms.join.remove(ROOM).expect("the room").timeline.events
}

fn inbound_sessions(keys: &str) -> HashMap<String, InboundGroupSession> {
    let keys: Vec<String> = serde_json::from_str(keys).expect("keys");
    let session = |key: String| {
        let key = SessionKey::from_base64(&key).expect("a key");
        let session = InboundGroupSession::new(&key, SessionConfig::version_1());
        (session.session_id(), session)
    };
    keys.into_iter().map(session).collect()
}

fn decrypt(session: &mut InboundGroupSession, ciphertext: &str) -> Vec<u8> {
    let message = MegolmMessage::from_base64(ciphertext).expect("a message");
    session.decrypt(&message).expect("decrypted").plaintext
}

fn decrypt_ratchet(workload: &str, text: &str, keys: &str) {
    let mut sessions = inbound_sessions(keys);
    let events = events(text);
    let session = sessions.get_mut(events[0].content.session_id).expect("a session");
    let plaintexts: Vec<Vec<u8>> = measure(workload, 1, || {
        events.iter().map(|event| decrypt(session, event.content.ciphertext)).collect()
    });
    assert_eq!(plaintexts.len(), EVENTS);
}

fn decrypt_sync(workload: &str, text: &str, keys: &str) {
    let mut sessions = inbound_sessions(keys);
    let payloads: Vec<Payload> = measure(workload, 1, || {
        let read = |event: Event<'_>| {
            let session = sessions.get_mut(event.content.session_id).expect("a session");
            let plaintext = decrypt(session, event.content.ciphertext);
            let payload: Payload = serde_json::from_slice(&plaintext).expect("a payload");
            assert_eq!(payload.room_id, ROOM);
            payload
        };
        events(text).into_iter().map(read).collect()
    });
    assert_eq!(payloads.len(), EVENTS);
}

struct Target {
    user_id: String,
    device_id: String,
    ed25519: String,
    curve25519: String,
    session: Session,
}

/// Shares one room key. `new`: with devices that were never met; else over Olm sessions that are
/// there already.
fn share(workload: &str, query: &str, claim: &str, new: bool) {
    let account = Account::new();
    let device_keys = wire::device_keys(&account, "@alice:demo", "ALICE");
    let sender = Sender { account: &account, user_id: "@alice:demo", device_keys: &device_keys };
    let requests = if new {
        measure(workload, 1, || give_key(&sender, &mut open_sessions(&account, query, claim)))
    } else {
        let mut targets = open_sessions(&account, query, claim);
        measure(workload, 1, || give_key(&sender, &mut targets))
    };
    assert_eq!(requests.len(), SHARED_WITH.div_ceil(DEVICES_PER_REQUEST));
}

fn open_sessions(account: &Account, query: &str, claim: &str) -> Vec<Target> {
    let query: Value = serde_json::from_str(query).expect("an answer");
    let claim: Value = serde_json::from_str(claim).expect("an answer");
    let open = |i: usize| {
        let (user_id, device_id) = names(i);
        let keys = &query["device_keys"][&user_id][&device_id];
        let key = |name: &str| wire::text(&keys["keys"][format!("{name}:{device_id}")]).to_owned();
        let (ed25519, curve25519) = (key("ed25519"), key("curve25519"));
        let signing_key = Ed25519PublicKey::from_base64(&ed25519).expect("a key");
        wire::verify(keys, &user_id, &device_id, signing_key);
        let claimed = claim["one_time_keys"][&user_id][&device_id].as_object().expect("a key");
        let one_time_key = claimed.values().next().expect("a key");
        wire::verify(one_time_key, &user_id, &device_id, signing_key);
        let curve = |text: &str| Curve25519PublicKey::from_base64(text).expect("a key");
        let session = account
            .create_outbound_session(
                OlmConfig::version_1(),
                curve(&curve25519),
                curve(wire::text(&one_time_key["key"])),
            )
            .expect("a session");
        Target { user_id, device_id, ed25519, curve25519, session }
    };
    (0..SHARED_WITH).map(open).collect()
}

/// The bodies of the to-device requests.
fn give_key(sender: &Sender<'_>, targets: &mut [Target]) -> Vec<String> {
    let content = wire::room_key(&wire::megolm());
    let mut requests = Vec::new();
    for batch in targets.chunks_mut(DEVICES_PER_REQUEST) {
        let mut messages = json!({});
        for target in batch {
            let recipient = Recipient {
                user_id: &target.user_id,
                ed25519: &target.ed25519,
                curve25519: &target.curve25519,
            };
            let message = sender.encrypt(&mut target.session, &recipient, "m.room_key", &content);
            messages[&target.user_id] = json!({&target.device_id: message});
        }
        requests.push(json!({"messages": messages}).to_string());
    }
    requests
}

/// A sync answer in, all plaintexts out: an Olm session is opened for each key, and a Megolm session
/// for each event.
fn receive_crowd(workload: &str, size: usize) {
    let mut account = Account::new();
    account.generate_fallback_key();
    let key = account.fallback_key().into_values().next().expect("a key");
    let (ed25519, curve25519) = (account.ed25519_key(), account.curve25519_key());
    let receiver = Receiver {
        user_id: "@alice:demo",
        ed25519: &ed25519.to_base64(),
        curve25519: &curve25519.to_base64(),
        one_time_key: &key.to_base64(),
    };
    let text = crowd::assemble(&receiver, size).sync();
    let payloads: Vec<Payload> = measure(workload, 1, || {
        let sync: Value = serde_json::from_str(&text).expect("a sync answer");
        let keys = sync["to_device"]["events"].as_array().expect("events");
        let mut sessions: HashMap<String, InboundGroupSession> =
            keys.iter().map(|event| receive_key(&mut account, event, &receiver)).collect();
        let events = sync["rooms"]["join"][ROOM]["timeline"]["events"].as_array().expect("events");
        let read = |event: &Value| {
            let content = &event["content"];
            let session = sessions.get_mut(wire::text(&content["session_id"])).expect("a session");
            let plaintext = decrypt(session, wire::text(&content["ciphertext"]));
            serde_json::from_slice(&plaintext).expect("a payload")
        };
        events.iter().map(read).collect()
    });
    assert_eq!(payloads.len(), size);
}

fn receive_key(
    account: &mut Account,
    event: &Value,
    receiver: &Receiver<'_>,
) -> (String, InboundGroupSession) {
    let content = &event["content"];
    let sender_key = Curve25519PublicKey::from_base64(wire::text(&content["sender_key"]));
    let ciphertext = &content["ciphertext"][receiver.curve25519]["body"];
    let message = PreKeyMessage::from_base64(wire::text(ciphertext)).expect("a message");
    let made = account
        .create_inbound_session(OlmConfig::version_1(), sender_key.expect("a key"), &message)
        .expect("a session");
    let payload: Value = serde_json::from_slice(&made.plaintext).expect("a payload");
    assert_eq!(payload["recipient_keys"]["ed25519"], receiver.ed25519);
    let device_keys = &payload["sender_device_keys"];
    let user_id = wire::text(&device_keys["user_id"]);
    let signing_key = Ed25519PublicKey::from_base64(wire::text(&payload["keys"]["ed25519"]));
    wire::verify(device_keys, user_id, "PEER", signing_key.expect("a key"));
    let key = SessionKey::from_base64(wire::text(&payload["content"]["session_key"]));
    let session = InboundGroupSession::new(&key.expect("a key"), SessionConfig::version_1());
    (session.session_id(), session)
}

const PICKLE_KEY: [u8; 32] = [7; 32];

/// Encrypts one event and makes what would be saved.
fn send_one(workload: &str) {
    let mut session: GroupSession = wire::megolm();
    let payload = wire::payload();
    let pickles: Vec<String> = measure(workload, SINGLES, || {
        let send = |_| {
            let content = wire::encrypt(&mut session, &payload, MEGOLM);
            serde_json::to_string(&content).expect("JSON");
            session.pickle().encrypt(&PICKLE_KEY)
        };
        (0..SINGLES).map(send).collect()
    });
    assert_eq!(pickles.len(), SINGLES);
}

/// Opens what was saved and decrypts one event.
fn receive_one(workload: &str) {
    let mut outbound = wire::megolm();
    let inbound = InboundGroupSession::new(&outbound.session_key(), SessionConfig::version_1());
    let pickle = inbound.pickle().encrypt(&PICKLE_KEY);
    let payload = wire::payload();
    // The session that the package reads these with has seen as many.
    for _ in 0..peer::MESSAGES_BEFORE_SINGLES {
        outbound.encrypt(&payload);
    }
    let ciphertexts: Vec<String> =
        (0..SINGLES).map(|_| outbound.encrypt(&payload).to_base64()).collect();
    let plaintexts: Vec<Vec<u8>> = measure(workload, SINGLES, || {
        let receive = |text: &String| {
            let pickle = InboundGroupSessionPickle::from_encrypted(&pickle, &PICKLE_KEY);
            decrypt(&mut InboundGroupSession::from_pickle(pickle.expect("a pickle")), text)
        };
        ciphertexts.iter().map(receive).collect()
    });
    assert_eq!(plaintexts.len(), SINGLES);
}

fn verify(workload: &str, lines: &str) {
    let texts: Vec<&str> = lines.lines().take(DEVICES).collect();
    measure(workload, 1, || {
        for (i, text) in texts.iter().enumerate() {
            let (user_id, device_id) = names(i);
            let keys: Value = serde_json::from_str(text).expect("JSON");
            let key = wire::text(&keys["keys"][format!("ed25519:{device_id}")]);
            let key = Ed25519PublicKey::from_base64(key).expect("a key");
            wire::verify(&keys, &user_id, &device_id, key);
        }
    });
    assert_eq!(texts.len(), DEVICES);
}
