//! Whoever likes may send to us: what is kept of it has a bound.

use mxcrypt_core::store::{
    Query, Record,
    records::{KeyRequest, OlmMessageSeen, OlmRepair, ReceivedRequest, WithheldKey},
};
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene};

fn pair() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    (scene, alice, bob, room_id)
}

fn kept<R: Record>(person: &Person, query: &Query) -> usize {
    person.look(|tx| tx.count::<R>(query))
}

/// A sync that brings so many to-device events.
fn flood(scene: &mut Scene, to: &mut Person, number: usize, event: impl Fn(usize) -> Value) {
    to.sync_with(scene, |sync| sync["to_device"]["events"] = (0..number).map(event).collect());
}

/// As if `number` others had come meanwhile.
fn later(person: &Person, counter: &'static str, number: usize) {
    person.look(|tx| (0..number).try_for_each(|_| tx.take_number(counter).map(drop)));
}

/// A server may invent events of sessions that do not exist.
#[test]
fn so_many_keys_are_missed_at_a_time() {
    let (mut scene, mut alice, bob, room_id) = pair();
    let now = scene.now;
    alice.sync_with(&mut scene, |sync| {
        let event = |n| {
            json!({"type": "m.room.encrypted", "event_id": format!("${n}"), "sender": bob.user,
                "origin_server_ts": now, "content": {"algorithm": MEGOLM,
                "session_id": format!("s{n}"), "ciphertext": "x"}})
        };
        let events: Value = (0..300).map(event).collect();
        sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": events}});
    });
    assert_eq!(kept::<KeyRequest>(&alice, &Query::all()), 200);
}

/// A server may ask in the name of devices that it invents.
#[test]
fn so_many_requests_wait_at_a_time() {
    let (mut scene, mut alice, _, room_id) = pair();
    let user = alice.user.clone();
    flood(&mut scene, &mut alice, 300, |n| {
        json!({"type": "m.room_key_request", "sender": user, "content": {"action": "request",
            "request_id": format!("r{n}"), "requesting_device_id": "D",
            "body": {"algorithm": MEGOLM, "room_id": room_id, "session_id": "s"}}})
    });
    assert_eq!(kept::<ReceivedRequest>(&alice, &Query::all()), 200);
}

#[test]
fn so_many_olm_sessions_are_repaired_at_a_time() {
    let (mut scene, mut alice, bob, _) = pair();
    flood(&mut scene, &mut alice, 150, |n| {
        json!({"type": "m.room_key.withheld", "sender": bob.user, "content":
            {"algorithm": MEGOLM, "code": "m.no_olm", "sender_key": format!("k{n}")}})
    });
    assert_eq!(kept::<OlmRepair>(&alice, &Query::equal("is_due", 1)), 100);
}

#[test]
fn old_withheld_notices_are_forgotten() {
    let (mut scene, mut alice, bob, room_id) = pair();
    let mut notice = |alice: &mut Person, session_id: &str| {
        flood(&mut scene, alice, 1, |_| {
            json!({"type": "m.room_key.withheld", "sender": bob.user, "content":
                {"algorithm": MEGOLM, "code": "m.unverified", "room_id": room_id,
                "session_id": session_id, "sender_key": "x"}})
        });
        kept::<WithheldKey>(alice, &Query::all())
    };
    assert_eq!((notice(&mut alice, "one"), notice(&mut alice, "two")), (1, 2));
    later(&alice, "withheld key", 10_000);
    assert_eq!(notice(&mut alice, "three"), 1);
}

#[test]
fn old_olm_messages_are_forgotten() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let mut read = |bob: &mut Person| {
        alice.machine.rotate_room_key(&room_id).unwrap();
        alice.say(&mut scene, &room_id, "hello");
        assert_eq!(bob.reads(&mut scene), ["hello"]);
        kept::<OlmMessageSeen>(bob, &Query::all())
    };
    assert_eq!((read(&mut bob), read(&mut bob)), (1, 2));
    later(&bob, "olm message", 20_000);
    assert_eq!(read(&mut bob), 1);
}
