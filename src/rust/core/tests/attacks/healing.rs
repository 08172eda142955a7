//! Olm sessions break, and room keys are withheld.

use mxcrypt_core::store::records::LocalTrust;
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene};

const HOUR: i64 = 60 * 60 * 1000;

fn pair() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    (scene, alice, bob, room_id)
}

/// Damages the Olm messages of a sync.
fn damage(answer: &mut Value) {
    for event in answer["to_device"]["events"].as_array_mut().unwrap() {
        let parts = event["content"]["ciphertext"].as_object_mut().unwrap();
        for part in parts.values_mut() {
            let body = part["body"].as_str().unwrap();
            let (head, tail) = body.split_at(body.len() - 4);
            let tail = if tail == "AAAA" { "BBBB" } else { "AAAA" };
            part["body"] = format!("{head}{tail}").into();
        }
    }
}

/// What a person asks of the server, by kind, until nothing is due.
fn asks(scene: &mut Scene, person: &mut Person) -> Vec<String> {
    let mut kinds = Vec::new();
    person.pump_with(scene, |kind, response| {
        kinds.push(kind.to_owned());
        response
    });
    kinds
}

#[test]
fn a_broken_session_is_replaced_and_the_key_given_again() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    bob.sync_with(&mut scene, damage);
    // He opens a session of his own and says so.
    let mut asked = asks(&mut scene, &mut bob);
    asked.retain(|kind| kind != "keys_upload");
    assert_eq!(asked, ["keys_query", "keys_claim", "send"]);
    assert_eq!(bob.new_texts(), ["(unknown_session)"]);
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "two");
    assert_eq!(bob.reads(&mut scene), ["two"]);
    // It is the same room session: nobody was lost, and nobody left.
    alice.sync(&mut scene);
    let sessions: Vec<_> = alice
        .events()
        .into_iter()
        .filter(|row| row.event.encrypted)
        .map(|row| row.event.session_id)
        .collect();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0], sessions[1]);
}

/// Anyone who can send garbage must not make us claim one-time keys all day.
#[test]
fn a_session_is_replaced_once_an_hour_at_most() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let broken = |scene: &mut Scene, alice: &mut Person, bob: &mut Person| {
        alice.machine.rotate_room_key(scene.now, &room_id).unwrap();
        alice.say(scene, &room_id, "x");
        bob.sync_with(scene, damage);
        asks(scene, bob).contains(&"keys_claim".to_owned())
    };
    assert!(broken(&mut scene, &mut alice, &mut bob));
    scene.now += HOUR / 2;
    assert!(!broken(&mut scene, &mut alice, &mut bob));
    scene.now += HOUR;
    assert!(broken(&mut scene, &mut alice, &mut bob));
}

/// A device that is blocked gets no session of ours, whatever it sends; and gets one when it is not
/// blocked any more.
#[test]
fn no_session_is_made_with_a_blocked_device() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    bob.say(&mut scene, &room_id, "hello");
    alice.say(&mut scene, &room_id, "hello");
    let block = |bob: &mut Person, trust| {
        bob.machine.set_local_trust(bob.now, &alice.user, &alice.device_id, None, trust).unwrap();
    };
    block(&mut bob, LocalTrust::Blocked);
    bob.sync_with(&mut scene, damage);
    assert!(!asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()));
    block(&mut bob, LocalTrust::Unset);
    assert!(asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()));
}

/// A replayed message cannot be read a second time, and no session is broken.
#[test]
fn a_replay_is_no_broken_session() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    let mut seen = Value::Null;
    bob.sync_with(&mut scene, |answer| seen = answer["to_device"].clone());
    bob.pump(&mut scene);
    // Also after the sender's next message, and a restart.
    alice.machine.rotate_room_key(scene.now, &room_id).unwrap();
    alice.say(&mut scene, &room_id, "two");
    bob.sync(&mut scene);
    bob.restart();
    let report = bob.sync_with(&mut scene, |answer| answer["to_device"] = seen.clone());
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].contains("read before"), "{:?}", report.problems);
    assert!(!asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()));
}

#[test]
fn whoever_cannot_be_reached_is_told_once() {
    let (mut scene, mut alice, bob, room_id) = pair();
    let mut told = 0;
    for _ in 0..3 {
        alice.queue(&scene, &room_id, "x");
        scene.now += HOUR;
        alice.pump_with(&mut scene, |kind, mut response| {
            if kind == "keys_claim" {
                response.body = json!({"one_time_keys": {}, "failures": {}}).to_string();
            }
            response
        });
    }
    scene.call(Some(&bob.token), "GET", "sync", Value::Null);
    for body in scene.server.seen() {
        told += String::from_utf8_lossy(body).matches("m.no_olm").count();
    }
    assert_eq!(told, 1);
}

/// Gives `to` a to-device event in the clear.
fn tell(scene: &mut Scene, from: &Person, to: &Person, event_type: &str, content: &Value) {
    let body = json!({"messages": {&to.user: {&to.device_id: content}}});
    scene.now += 1;
    let path = format!("sendToDevice/{event_type}/t{}", scene.now);
    let token = from.token.clone();
    assert_eq!(scene.call(Some(&token), "PUT", &path, body).status, 200);
}

fn notice(room_id: &str, session_id: &str, code: &str) -> Value {
    json!({"algorithm": MEGOLM, "room_id": room_id, "session_id": session_id, "code": code,
        "sender_key": "x", "reason": "\u{1b}[2Jclear"})
}

#[test]
fn a_withheld_key_is_a_reason_and_not_a_strangers_word() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let mallory = scene.person("mallory");
    alice.say(&mut scene, &room_id, "one");
    // The key is lost on the way.
    let take_away = |answer: &mut Value| answer["to_device"]["events"] = json!([]);
    bob.sync_with(&mut scene, take_away);
    let session_id =
        bob.machine.undecrypted(scene.now).unwrap()[0].event.session_id.clone().unwrap();
    let reason = |bob: &mut Person| {
        let waiting = bob.machine.undecrypted(bob.now).unwrap();
        waiting[0].event.unreadable.clone().unwrap()
    };
    assert_eq!(reason(&mut bob).code, "unknown_session");
    let withheld = "m.room_key.withheld";
    tell(&mut scene, &mallory, &bob, withheld, &notice(&room_id, &session_id, "m.blacklisted"));
    assert!(bob.sync(&mut scene).problems.is_empty());
    assert_eq!(reason(&mut bob).code, "unknown_session");
    // What lacks a part, or could steer a terminal, is left out and told.
    for bad in [
        json!({"code": "m.unverified", "session_id": session_id}),
        json!({"room_id": room_id, "session_id": session_id}),
        json!({"room_id": room_id, "session_id": session_id, "code": 5}),
        notice(&room_id, &session_id, "m.\u{7}bell"),
        json!({"code": "m.no_olm"}),
    ] {
        tell(&mut scene, &alice, &bob, withheld, &bad);
        assert_eq!(bob.sync(&mut scene).problems.len(), 1);
    }
    assert_eq!(reason(&mut bob).code, "unknown_session");
    for (code, expected) in [
        ("m.unverified", "withheld_unverified"),
        ("org.example.mood", "withheld_other"),
        ("m.blacklisted", "withheld_blacklisted"),
    ] {
        tell(&mut scene, &alice, &bob, withheld, &notice(&room_id, &session_id, code));
        bob.sync(&mut scene);
        let reason = reason(&mut bob);
        assert_eq!(reason.code, expected);
        assert!(!reason.message.contains('\u{1b}'));
    }
}

#[test]
fn whoever_could_open_no_session_with_us_is_offered_one() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    bob.say(&mut scene, &room_id, "hello");
    alice.reads(&mut scene);
    bob.reads(&mut scene);
    let content = json!({"algorithm": MEGOLM, "code": "m.no_olm",
        "sender_key": alice.identity_key()});
    tell(&mut scene, &alice, &bob, "m.room_key.withheld", &content);
    bob.sync(&mut scene);
    assert_eq!(asks(&mut scene, &mut bob), ["keys_claim", "send"]);
    // Not again within the hour.
    tell(&mut scene, &alice, &bob, "m.room_key.withheld", &content);
    bob.sync(&mut scene);
    assert_eq!(asks(&mut scene, &mut bob), [""; 0]);
}

/// A stranger's garbage is worth one question about them, and no place in our memory.
#[test]
fn garbage_of_strangers_is_forgotten() {
    let (mut scene, alice, mut bob, _) = pair();
    let mallory = scene.person("mallory");
    let _ = alice;
    let content = json!({"algorithm": MEGOLM, "code": "m.no_olm",
        "sender_key": "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI"});
    tell(&mut scene, &mallory, &bob, "m.room_key.withheld", &content);
    bob.sync(&mut scene);
    assert!(!asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()));
    assert_eq!(bob.machine.outdated(std::slice::from_ref(&mallory.user)).unwrap().len(), 1);
    assert_eq!(asks(&mut scene, &mut bob), [""; 0]);
}
