//! A sync with so many Olm messages that the sessions they begin are opened ahead, on all cores: each is judged as if it
//! had come alone.

use mxcrypt_core::{
    primitives::{account, canonical_json::Json, olm},
    store::{
        Query,
        records::{InboundSession, OlmSession, Peer},
    },
};
use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey,
    megolm::{GroupSession, SessionConfig},
    olm::{Account, OlmMessage},
};

use crate::{
    scene::{Forger, Person, Scene, parse, room_key},
    to_device::invite,
};

/// More than the one-time keys of a device, so that some write to its fallback key.
const CROWD: usize = 80;
const ROOM: &str = "!room:here";

fn to_device(sender: &str, content: &Value) -> Value {
    json!({"type": "m.room.encrypted", "sender": sender, "content": content})
}

fn new_key() -> Value {
    room_key(ROOM, &GroupSession::new(SessionConfig::version_1()))
}

/// Bob, and people of whom each gives him a room key.
fn crowd() -> (Scene, Person, Vec<Forger>, Vec<Value>) {
    let mut scene = Scene::new();
    let mut bob = scene.person("bob");
    let (mut people, mut events) = (Vec::new(), Vec::new());
    for i in 0..CROWD {
        let mut one = scene.forger(&format!("user{i}"));
        events.push(gives_key(&mut scene, &mut bob, &mut one));
        people.push(one);
    }
    (scene, bob, people, events)
}

fn gives_key(scene: &mut Scene, bob: &mut Person, one: &mut Forger) -> Value {
    let payload = one.payload(bob, "m.room_key", new_key());
    let content = one.encrypt(scene, bob, payload.to_string().as_bytes());
    to_device(&one.user, &content)
}

fn sync(scene: &mut Scene, bob: &mut Person, events: &[Value]) -> Vec<String> {
    scene.now += 1;
    bob.sync_with(scene, |sync| sync["to_device"] = json!({"events": events})).problems
}

fn kept(bob: &Person) -> (usize, usize) {
    bob.look(|tx| {
        let keys = tx.count::<InboundSession>(&Query::all())?;
        Ok((keys, tx.count::<OlmSession>(&Query::all())?))
    })
}

#[test]
fn the_keys_of_a_crowd_are_kept_and_none_is_taken_twice() {
    let (mut scene, mut bob, people, events) = crowd();
    assert_eq!(sync(&mut scene, &mut bob, &events), Vec::<String>::new());
    assert_eq!(kept(&bob), (CROWD, CROWD));
    let sessions = bob.look(|tx| tx.select::<OlmSession>(&Query::all()));
    for one in people {
        let key = one.account.curve25519_key().to_base64();
        let session = sessions.iter().find(|session| session.identity_key == key).unwrap();
        let signing_key = one.account.ed25519_key().to_base64();
        assert_eq!(session.peer, Peer::Device { user_id: one.user, signing_key });
    }
    let problems = sync(&mut scene, &mut bob, &events);
    assert_eq!(problems.len(), CROWD, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.contains("read before")), "{problems:?}");
    assert_eq!(kept(&bob), (CROWD, CROWD));
}

#[test]
fn a_bad_message_in_a_crowd_hurts_itself_alone() {
    let (mut scene, mut bob, mut people, mut events) = crowd();
    let second = gives_key(&mut scene, &mut bob, &mut people[9]);
    events[3]["sender"] = json!("@somebody:here");
    let parts = events[5]["content"]["ciphertext"].as_object_mut().unwrap();
    for part in parts.values_mut() {
        let body = part["body"].as_str().unwrap();
        let tail = if body.ends_with("AAAA") { "BBBB" } else { "AAAA" };
        part["body"] = format!("{}{tail}", &body[..body.len() - 4]).into();
    }
    let mut misled = scene.forger("misled");
    let mut payload = misled.payload(&mut bob, "m.room_key", new_key());
    payload["recipient"] = json!("@alice:here");
    let content = misled.encrypt(&mut scene, &mut bob, payload.to_string().as_bytes());
    events.push(to_device(&misled.user, &content));
    let again = events[7].clone();
    events.extend([again, second]);
    let problems = sync(&mut scene, &mut bob, &events);
    assert_eq!(problems.len(), 4, "{problems:?}");
    // Two are spoiled, and one gave two keys. What a session says may be refused, its ratchet is kept.
    assert_eq!(kept(&bob), (CROWD - 2 + 1, CROWD - 1 + 1));
}

/// A server hands one key to two devices. The message that comes first has it, wherever it stands in the crowd.
#[test]
fn a_one_time_key_opens_one_session_in_a_crowd() {
    for first in [0, CROWD / 2] {
        let mut scene = Scene::new();
        let mut bob = scene.person("bob");
        let (mut one, mut other) = (scene.forger("one"), scene.forger("other"));
        let body = json!({"one_time_keys": {&bob.user: {&bob.device_id: "signed_curve25519"}}});
        let answer = scene.call(Some(&one.token), "POST", "keys/claim", body);
        let answer = parse(&answer.body);
        let claimed = answer["one_time_keys"][&bob.user][&bob.device_id].as_object().unwrap();
        let claimed = claimed.values().next().unwrap()["key"].as_str().unwrap().to_owned();
        let mut events = Vec::new();
        for i in 0..CROWD {
            let mut someone = scene.forger(&format!("user{i}"));
            events.push(gives_key(&mut scene, &mut bob, &mut someone));
        }
        let mut with_claimed = |from: &mut Forger| {
            let key = Curve25519PublicKey::from_base64(&claimed).unwrap();
            let identity_key = Curve25519PublicKey::from_base64(&bob.identity_key()).unwrap();
            let session = olm::outbound(&from.account, identity_key, key).unwrap();
            from.sessions.insert(bob.user.clone(), session);
            gives_key(&mut scene, &mut bob, from)
        };
        let (won, lost) = (with_claimed(&mut one), with_claimed(&mut other));
        events.insert(first, won);
        events.push(lost);
        let problems = sync(&mut scene, &mut bob, &events);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(kept(&bob), (CROWD + 1, CROWD + 1));
        let sessions = bob.look(|tx| tx.select::<OlmSession>(&Query::all()));
        let has = |forger: &Forger| {
            let key = forger.account.curve25519_key().to_base64();
            sessions.iter().any(|session| session.identity_key == key)
        };
        assert!(has(&one) && !has(&other), "{first}");
    }
}

fn publish(scene: &mut Scene, account: &Account, user: &str, device_id: &str, token: &str) {
    let keys = account::device_keys(account, user, device_id).unwrap();
    let one_time = account::unpublished_keys(account, user, device_id).unwrap();
    let mut body = parse(&Json::Object(one_time).text().unwrap());
    body["device_keys"] = parse(&keys);
    assert_eq!(scene.call(Some(token), "POST", "keys/upload", body).status, 200);
}

/// The only Olm message that a device was sent.
fn sent_to(scene: &mut Scene, account: &Account, token: &str) -> OlmMessage {
    let answer = parse(&scene.call(Some(token), "GET", "sync", Value::Null).body);
    let events = answer["to_device"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{answer}");
    let part = &events[0]["content"]["ciphertext"][account.curve25519_key().to_base64()];
    olm::message(part["type"].as_i64().unwrap(), part["body"].as_str().unwrap()).unwrap()
}

/// More devices than there are sessions in memory while a key is shared.
#[test]
fn a_key_reaches_all_of_very_many_devices() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let room_id = scene.room(&mut [&mut alice]);
    let mut devices = Vec::new();
    let mut user = String::new();
    for _ in 0..1100 {
        let (name, device_id, token) = scene.login("many");
        let mut account = Account::new();
        account.generate_one_time_keys(1);
        publish(&mut scene, &account, &name, &device_id, &token);
        devices.push((account, token));
        user = name;
    }
    invite(&mut scene, &alice.token, &room_id, &user);
    scene.enter(&devices[0].1, &room_id);
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "one");
    let sender = Curve25519PublicKey::from_base64(&alice.identity_key()).unwrap();
    for (account, token) in &mut devices {
        let OlmMessage::PreKey(message) = sent_to(&mut scene, account, token) else { panic!() };
        let said = olm::inbound(account, sender, &message).unwrap().plaintext;
        assert_eq!(parse(str::from_utf8(&said).unwrap())["type"], "m.room_key");
    }
}

/// Somebody publishes two devices with the same keys. What is encrypted to the second continues the ratchet of the
/// first: no message key is used for two messages.
#[test]
fn devices_with_the_same_keys_are_not_encrypted_to_with_the_same_message_key() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let mallory = scene.forger("mallory");
    let room_id = scene.room(&mut [&mut alice]);
    invite(&mut scene, &alice.token, &room_id, &mallory.user);
    scene.enter(&mallory.token, &room_id);
    let mut account = mallory.account;
    account.generate_one_time_keys(2);
    let (_, second, second_token) = scene.login("mallory");
    publish(&mut scene, &account, &mallory.user, &mallory.device_id, &mallory.token);
    publish(&mut scene, &account, &mallory.user, &second, &second_token);
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "one");
    let first = sent_to(&mut scene, &account, &mallory.token);
    let second = sent_to(&mut scene, &account, &second_token);
    let OlmMessage::PreKey(inner) = &first else { panic!("{first:?}") };
    let sender = Curve25519PublicKey::from_base64(&alice.identity_key()).unwrap();
    let mut session = olm::inbound(&mut account, sender, inner).unwrap().session;
    olm::decrypt(&mut session, &second).unwrap();
}
