//! Events between devices.

use serde_json::json;
use vodozemac::megolm::{GroupSession, SessionConfig};

use crate::scene::{Scene, megolm_event, room_key};

fn session() -> GroupSession {
    GroupSession::new(SessionConfig::version_1())
}

/// Rule 14: each check of the specification on what was inside an Olm message.
#[test]
fn a_payload_that_does_not_hold_installs_no_key() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 7] = [
        ("nothing", |_| {}),
        ("sender", |p| p["sender"] = json!("@alice:here")),
        ("recipient", |p| p["recipient"] = json!("@alice:here")),
        ("recipient_keys", |p| p["recipient_keys"]["ed25519"] = p["keys"]["ed25519"].clone()),
        ("keys", |p| drop(p.as_object_mut().unwrap().remove("keys"))),
        ("device keys", |p| p["sender_device_keys"] = json!({"user_id": p["sender"]})),
        ("content", |p| p["content"] = json!("text")),
    ];
    for (what, change) in changes {
        let mut scene = Scene::new();
        let mut bob = scene.person("bob");
        let mut mallory = scene.forger("mallory");
        let room_id = scene.room(&mut [&mut bob]);
        invite(&mut scene, &bob.token, &room_id, &mallory.user);
        scene.enter(&mallory.token.clone(), &room_id);
        bob.sync(&mut scene);
        let mut megolm = session();
        mallory.give_key(&mut scene, &mut bob, room_key(&room_id, &megolm), change);
        let event = megolm_event(&mut megolm, &room_id, "hello");
        mallory.post(&mut scene, &room_id, &event);
        let expected = if what == "nothing" { "hello" } else { "(unknown_session)" };
        assert_eq!(bob.reads(&mut scene), [expected], "{what}");
    }
}

pub fn invite(scene: &mut Scene, token: &str, room_id: &str, user: &str) {
    let path = format!("rooms/{}/invite", crate::scene::encoded(room_id));
    assert_eq!(scene.call(Some(token), "POST", &path, json!({"user_id": user})).status, 200);
}

/// Rule 14, and fault C23: the envelope is the server's word, the payload the device's.
#[test]
fn a_rewritten_envelope_sender_is_noticed() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "hello");
    let report = bob.sync_with(&mut scene, |sync| {
        sync["to_device"]["events"][0]["sender"] = json!("@mallory:here");
    });
    assert_eq!(report.problems.len(), 1);
    assert_eq!(bob.new_texts(), ["(unknown_session)"]);
}

/// Rule 16: a key that comes without Olm around it could be anybody's.
#[test]
fn room_keys_in_the_clear_are_ignored() {
    let mut scene = Scene::new();
    let mut bob = scene.person("bob");
    let mallory = scene.forger("mallory");
    let room_id = scene.room(&mut [&mut bob]);
    let megolm = session();
    for event_type in ["m.room_key", "m.forwarded_room_key"] {
        mallory.send(&mut scene, &bob, event_type, &room_key(&room_id, &megolm));
    }
    bob.sync(&mut scene);
    let key = [
        room_id.as_str().into(),
        megolm.session_id().as_str().into(),
        mallory.user.as_str().into(),
    ];
    let mut store =
        mxcrypt_core::store::Store::new(bob.disk.open(), bob.key.clone(), [1; 16]).unwrap();
    let found = store
        .transaction(|tx| tx.get::<mxcrypt_core::store::records::InboundSession>(&key))
        .unwrap();
    assert!(found.is_none());
}

/// Rule 15, and fault C9: the second message of a session names a one-time key that is used up.
#[test]
fn later_messages_of_one_session_are_read_in_any_order() {
    let mut scene = Scene::new();
    let mut bob = scene.person("bob");
    let mut mallory = scene.forger("mallory");
    let room_id = scene.room(&mut [&mut bob]);
    invite(&mut scene, &bob.token, &room_id, &mallory.user);
    scene.enter(&mallory.token.clone(), &room_id);
    let mut sessions: Vec<GroupSession> = (0..4).map(|_| session()).collect();
    let mut sealed = Vec::new();
    for megolm in &sessions {
        let payload = mallory.payload(&mut bob, "m.room_key", room_key(&room_id, megolm));
        sealed.push(mallory.encrypt(&mut scene, &mut bob, payload.to_string().as_bytes()));
    }
    for content in sealed.iter().rev() {
        mallory.send(&mut scene, &bob, "m.room.encrypted", content);
    }
    for (n, megolm) in sessions.iter_mut().enumerate() {
        let event = megolm_event(megolm, &room_id, &n.to_string());
        mallory.post(&mut scene, &room_id, &event);
    }
    assert_eq!(bob.reads(&mut scene), ["0", "1", "2", "3"]);
}

/// Fault C11: replies come on the session that we opened ourselves.
#[test]
fn replies_on_our_own_session_are_read() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "one");
    assert_eq!(bob.reads(&mut scene), ["one"]);
    // Bob has a session now and claims none: what he sends is of type 1, on Alice's session.
    bob.queue(&scene, &room_id, "two");
    let mut claims = 0;
    bob.pump_with(&mut scene, |kind, response| {
        claims += usize::from(kind == "keys_claim");
        response
    });
    assert_eq!(claims, 0);
    assert_eq!(alice.reads(&mut scene), ["one", "two"]);
}

/// Rules 5 and 15, and fault C10: one malformed event hurts itself alone.
#[test]
fn garbage_among_to_device_events_costs_nothing_else() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let mut mallory = scene.forger("mallory");
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "hello");
    let own = bob.identity_key();
    let other = alice.identity_key();
    let good = mallory.encrypt(&mut scene, &mut bob, b"{}");
    let not_json = mallory.encrypt(&mut scene, &mut bob, b"\xff\0");
    let olm = |ciphertext: serde_json::Value| {
        json!({"type": "m.room.encrypted", "sender": "@mallory:here", "content": {
            "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": other,
            "ciphertext": ciphertext}})
    };
    let mut garbage = vec![
        json!(7),
        json!([]),
        json!({"type": "m.room.encrypted"}),
        json!({"type": "m.room.encrypted", "sender": "@mallory:here"}),
        json!({"type": "m.room.encrypted", "sender": "mallory", "content": {}}),
        json!({"type": "m.room.encrypted", "sender": "@mallory:here", "content": []}),
        json!({"type": "m.room.encrypted", "sender": "@mallory:here", "content": good}),
        json!({"type": "m.room.encrypted", "sender": "@mallory:here", "content": not_json}),
        olm(json!({})),
        olm(json!([])),
        olm(json!({&own: {"type": 2, "body": "AwoE"}})),
        olm(json!({&own: {"type": -1, "body": "AwoE"}})),
        olm(json!({&own: {"type": 0.5, "body": "AwoE"}})),
        olm(json!({&own: {"type": "0", "body": "AwoE"}})),
        olm(json!({&own: {"type": 0, "body": "%%%"}})),
        olm(json!({&own: {"type": 0}})),
        olm(json!({&own: {"type": 1, "body": "AwoE"}})),
        json!({"type": "m.room.encrypted", "sender": "@mallory:here", "content":
            {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "A".repeat(44),
             "ciphertext": {}}}),
    ];
    let number = garbage.len();
    let report = bob.sync_with(&mut scene, |sync| {
        let events = sync["to_device"]["events"].as_array_mut().unwrap();
        garbage.append(events);
        *events = garbage;
    });
    assert_eq!(report.problems.len(), number, "{:#?}", report.problems);
    assert_eq!(bob.new_texts(), ["hello"]);
}

/// Rule 15: a message that is broken must not use up the key that the good one needs.
#[test]
fn a_broken_pre_key_message_keeps_the_one_time_key() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "hello");
    let (since, mut answer) = bob.sync_answer(&mut scene);
    let good = answer["to_device"]["events"][0].clone();
    let own = bob.identity_key();
    let body = good["content"]["ciphertext"][&own]["body"].as_str().unwrap().to_owned();
    let flipped = if body.ends_with('A') { "Q" } else { "A" };
    let broken = format!("{}{flipped}", &body[..body.len() - 1]);
    let mut bad = good.clone();
    bad["content"]["ciphertext"][&own]["body"] = json!(broken);
    answer["to_device"]["events"] = json!([bad, good]);
    bob.machine.receive_sync(scene.now, since.as_deref(), &answer.to_string()).unwrap();
    assert_eq!(bob.new_texts(), ["hello"]);
}

/// Fault C5: a one-time key that was used is used up, also after a restart.
#[test]
fn a_replayed_pre_key_message_opens_no_second_session() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "hello");
    let (since, answer) = bob.sync_answer(&mut scene);
    let replay = answer["to_device"]["events"][0].clone();
    bob.machine.receive_sync(scene.now, since.as_deref(), &answer.to_string()).unwrap();
    bob.restart();
    let report = bob.sync_with(&mut scene, |sync| {
        sync["to_device"]["events"] = json!([replay]);
    });
    assert_eq!(report.problems.len(), 1, "it is refused");
    assert_eq!(bob.new_texts(), ["hello"]);
}

/// Rule 14: where the sending device is known, the key it claims must be its own.
#[test]
fn a_known_device_cannot_claim_another_key() {
    let mut scene = Scene::new();
    let mut bob = scene.person("bob");
    let mut mallory = scene.forger("mallory");
    let room_id = scene.room(&mut [&mut bob]);
    bob.machine.refresh_devices(scene.now, std::slice::from_ref(&mallory.user)).unwrap();
    bob.pump(&mut scene);
    let other = vodozemac::olm::Account::new().ed25519_key().to_base64();
    mallory.give_key(&mut scene, &mut bob, room_key(&room_id, &session()), |payload| {
        payload["keys"]["ed25519"] = json!(other);
    });
    assert_eq!(bob.sync(&mut scene).problems.len(), 1);
}

/// The receiving ratchet is saved with what it decrypted: the same message never decrypts again.
#[test]
fn a_replayed_message_of_a_session_is_refused() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "one");
    assert_eq!(bob.reads(&mut scene), ["one"]);
    bob.say(&mut scene, &room_id, "two");
    let mut events = json!([]);
    let first = alice.sync_with(&mut scene, |sync| events = sync["to_device"]["events"].clone());
    assert_eq!((first.problems.len(), events.as_array().unwrap().len()), (0, 1));
    alice.restart();
    let again = alice.sync_with(&mut scene, |sync| sync["to_device"]["events"] = events);
    assert_eq!(again.problems.len(), 1);
}
