//! Anyone may send to us: what is kept of it has a bound.

use mxcrypt_core::{
    machine::Reply,
    primitives::megolm,
    store::{
        Query, Record,
        records::{
            BackupRequest, DeviceList, KeyRequest, OlmMessageSeen, OlmRepair, ReceivedRequest,
            WaitingEvent, WithheldKey,
        },
    },
};
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene, room_key};

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

/// A sync that brings so many events, each of another session whose key is missing.
fn events_without_keys(
    scene: &mut Scene,
    to: &mut Person,
    room_id: &str,
    sender: &str,
    numbers: std::ops::Range<usize>,
) {
    let now = scene.now;
    to.sync_with(scene, |sync| {
        let event = |n| {
            json!({"type": "m.room.encrypted", "event_id": format!("${n}"), "sender": sender,
                "origin_server_ts": now, "content": {"algorithm": MEGOLM,
                "session_id": format!("s{n}"), "ciphertext": "x"}})
        };
        let events: Value = numbers.map(event).collect();
        sync["rooms"]["join"][room_id] = json!({"timeline": {"events": events}});
    });
}

/// A member may send events of sessions that do not exist. She keeps nobody else from getting keys.
#[test]
fn what_waits_for_keys_is_bounded_for_each_sender() {
    let (mut scene, mut alice, bob, room_id) = pair();
    events_without_keys(&mut scene, &mut alice, &room_id, "@carol:here", 0..1);
    events_without_keys(&mut scene, &mut alice, &room_id, &bob.user, 1..1500);
    events_without_keys(&mut scene, &mut alice, &room_id, "@dora:here", 1500..1501);
    let of = |sender: &str| {
        let sender = Query::equal("sender", sender);
        (
            kept::<WaitingEvent>(&alice, &sender),
            kept::<KeyRequest>(&alice, &sender),
            kept::<BackupRequest>(&alice, &sender),
        )
    };
    assert_eq!(of("@carol:here"), (1, 1, 1));
    assert_eq!(of("@dora:here"), (1, 1, 1));
    let (events, requests, searches) = of(&bob.user);
    assert!((900..=1000).contains(&events), "{events}");
    assert!((90..=100).contains(&requests), "{requests}");
    assert!((180..=200).contains(&searches), "{searches}");
    // His oldest went.
    let oldest = alice
        .look(|tx| tx.get::<WaitingEvent>(&[room_id.as_str().into(), "s1".into(), "$1".into()]));
    assert!(oldest.is_none());
}

/// A server may invent senders too.
#[test]
fn what_waits_for_keys_is_bounded_for_all_senders() {
    let (mut scene, mut alice, _, room_id) = pair();
    for n in 0..12 {
        let sender = format!("@{n}:here");
        events_without_keys(&mut scene, &mut alice, &room_id, &sender, n * 100..(n + 1) * 100);
    }
    assert!(kept::<KeyRequest>(&alice, &Query::all()) <= 1000);
}

/// What nobody gave the key for in a month is read from the history, if at all.
#[test]
fn events_wait_for_so_long() {
    let (mut scene, mut alice, bob, room_id) = pair();
    events_without_keys(&mut scene, &mut alice, &room_id, &bob.user, 0..3);
    scene.now += 29 * 24 * 60 * 60 * 1000;
    events_without_keys(&mut scene, &mut alice, &room_id, &bob.user, 3..4);
    assert_eq!(kept::<WaitingEvent>(&alice, &Query::all()), 1);
}

/// A member may give one key after the other, each a little better than the last.
#[test]
fn each_waiting_event_is_read_once_however_many_keys_come() {
    let (mut scene, mut alice, _, room_id) = pair();
    let mut mallory = scene.forger("mallory");
    let now = scene.now;
    let mut session = megolm::outbound();
    let mut keys = Vec::new();
    for _ in 0..50 {
        keys.push(room_key(&room_id, &session));
        session.encrypt("x");
    }
    // All from before the first key: they wait on, whatever comes.
    let content = json!({"algorithm": MEGOLM, "session_id": session.session_id(),
        "ciphertext": session.encrypt("x").to_base64()});
    alice.sync_with(&mut scene, |sync| {
        let event = |n| {
            json!({"type": "m.room.encrypted", "event_id": format!("${n}"), "sender": "@x:here",
                "origin_server_ts": now, "content": content})
        };
        let events: Value = (0..200).map(event).collect();
        sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": events}});
    });
    let mut read = |keys: &[Value]| {
        for key in keys.iter().rev() {
            mallory.give_key(&mut scene, &mut alice, key.clone(), |_| {});
        }
        let before = alice.disk.rows_read();
        alice.sync(&mut scene);
        alice.disk.rows_read() - before
    };
    let one = read(&keys[45..46]);
    let many = read(&keys[..45]);
    assert!(many < 4 * one, "{one} rows for one key, {many} for 45");
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
    assert_eq!(kept::<ReceivedRequest>(&alice, &Query::all()), 100);
}

#[test]
fn so_many_olm_sessions_are_repaired_at_a_time() {
    let (mut scene, mut alice, bob, _) = pair();
    flood(&mut scene, &mut alice, 150, |n| {
        json!({"type": "m.room_key.withheld", "sender": bob.user, "content":
            {"algorithm": MEGOLM, "code": "m.no_olm", "sender_key": format!("k{n}")}})
    });
    assert_eq!(kept::<OlmRepair>(&alice, &Query::all()), 50);
}

/// Those that are kept are the newest, and another sender's stay.
#[test]
fn withheld_notices_are_bounded_for_each_sender() {
    let (mut scene, mut alice, bob, room_id) = pair();
    let mut notices = |sender: &str, number: usize| {
        flood(&mut scene, &mut alice, number, |n| {
            json!({"type": "m.room_key.withheld", "sender": sender, "content":
                {"algorithm": MEGOLM, "code": "m.unverified", "room_id": room_id,
                "session_id": format!("s{n}"), "sender_key": "x"}})
        });
        let kept = |sender| kept::<WithheldKey>(&alice, &Query::equal("sender", sender));
        (kept(bob.user.as_str()), kept("@mallory:here"))
    };
    assert_eq!(notices(&bob.user, 1), (1, 0));
    let (of_bob, of_mallory) = notices("@mallory:here", 1500);
    assert_eq!(of_bob, 1);
    assert!((900..=1000).contains(&of_mallory));
}

#[test]
fn old_olm_messages_are_forgotten() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let mut read = |bob: &mut Person| {
        alice.machine.rotate_room_key(scene.now, &room_id).unwrap();
        alice.say(&mut scene, &room_id, "hello");
        assert_eq!(bob.reads(&mut scene), ["hello"]);
        kept::<OlmMessageSeen>(bob, &Query::all())
    };
    assert_eq!((read(&mut bob), read(&mut bob)), (1, 2));
    later(&bob, "olm message", 20_000);
    assert_eq!(read(&mut bob), 1);
}

/// A response to a request from before a user was tracked again says nothing of them now.
#[test]
fn a_user_who_is_tracked_again_is_not_answered_for_by_what_was_asked_before() {
    let (mut scene, mut alice, bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "hello");
    let user = bob.user.clone();
    let list = |alice: &Person| alice.look(|tx| tx.get::<DeviceList>(&[user.as_str().into()]));
    alice.machine.refresh_devices(alice.now, std::slice::from_ref(&user)).unwrap();
    let due = alice.machine.requests(scene.now).unwrap().requests;
    let query = due.iter().find(|request| request.kind == "keys_query").unwrap();
    let before = json!({"device_keys": {&user: {}}}).to_string();
    for lists in [json!({"left": [&user]}), json!({})] {
        alice.sync_with(&mut scene, |sync| sync["device_lists"] = lists);
    }
    assert!(list(&alice).is_none());
    alice.machine.refresh_devices(alice.now, std::slice::from_ref(&user)).unwrap();
    let reply = Reply::Answer { status: 200, body: before };
    alice.machine.replies(scene.now, vec![(query.number, reply)]).unwrap();
    assert!(list(&alice).unwrap().outdated);
}
