//! Room keys that a device should have been given, and could not be, come later: to whom they were owed, and to
//! nobody else.

use mxcrypt_core::{
    machine::{Message, Reply, Unsigned},
    store::{
        Query,
        records::{Device, Isolation, LocalTrust, OutboundSession, OwedKey},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    pair::{FIRST, Pair, SECOND},
    scene::{MEGOLM, Person, Scene, encoded, handle, parse, text_of, two},
    to_device::invite,
};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// Alice, Bob and Carol in a room; Alice knows the devices of both, and has said "before" to Bob.
fn three() -> (Scene, Person, Person, Person, String) {
    let (mut scene, mut alice, bob, room_id) = two(json!({"algorithm": MEGOLM}));
    alice.say(&mut scene, &room_id, "before");
    let carol = scene.person("carol");
    invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    alice.sync(&mut scene);
    (scene, alice, bob, carol, room_id)
}

/// What is for Carol fails, so often that Alice's message goes to the others.
fn say_without_carol(scene: &mut Scene, alice: &mut Person, room_id: &str, kind: &str, text: &str) {
    alice.queue(scene, room_id, text);
    for _ in 0..8 {
        scene.now += 5_000;
        alice.sync(scene);
        alice.pump_with(scene, |asked, real| {
            let fails = asked == kind && real.body.contains("@carol:here");
            if fails { Response { status: 500, body: String::new() } } else { real }
        });
    }
    assert_eq!(alice.machine.waiting_to_send().unwrap(), 0);
}

fn owed(person: &Person) -> usize {
    person.look(|tx| tx.count::<OwedKey>(&Query::all()))
}

/// The new messages that somebody can read.
fn readable(scene: &mut Scene, person: &mut Person) -> Vec<String> {
    let mut texts = person.reads(scene);
    texts.retain(|text| !text.starts_with('('));
    texts
}

/// What somebody can read of all that was said in a room, in the eyes of `witness`.
fn readable_history(
    scene: &mut Scene,
    person: &mut Person,
    witness: &Person,
    room_id: &str,
) -> Vec<String> {
    let path = format!("rooms/{}/messages?dir=f&limit=50", encoded(room_id));
    let page = scene.call(Some(&witness.token), "GET", &path, Value::Null);
    let mode = Unsigned::AsTheModeSays;
    let history = person.machine.read_history(scene.now, room_id, &page.body, mode).unwrap();
    let read = history.events.iter().filter(|row| row.event.encrypted).map(text_of);
    read.filter(|text| !text.starts_with('(')).collect()
}

fn after_a_while(scene: &mut Scene, person: &mut Person) {
    scene.now += 20 * MINUTE;
    person.sync(scene);
    person.pump(scene);
}

/// Nobody says another word: whoever missed a message is given its key all the same, from there on.
#[test]
fn whoever_missed_messages_is_given_their_key_and_no_earlier_one() {
    for kind in ["keys_claim", "keys_query"] {
        let (mut scene, mut alice, mut bob, mut carol, room_id) = three();
        if kind == "keys_query" {
            let carol = carol.user.clone();
            alice.machine.refresh_devices(scene.now, &[carol]).unwrap();
        }
        say_without_carol(&mut scene, &mut alice, &room_id, kind, "one");
        say_without_carol(&mut scene, &mut alice, &room_id, kind, "two");
        assert_eq!(bob.reads(&mut scene), ["before", "one", "two"], "{kind}");
        assert_eq!(readable(&mut scene, &mut carol), [""; 0], "{kind}");
        after_a_while(&mut scene, &mut alice);
        after_a_while(&mut scene, &mut alice);
        assert_eq!(readable(&mut scene, &mut carol), ["one", "two"], "{kind}");
        let read = readable_history(&mut scene, &mut carol, &bob, &room_id);
        assert_eq!(read, ["one", "two"], "{kind}: not what was said before she came");
        assert_eq!(owed(&alice), 0, "{kind}");
    }
}

/// The session may have ended meanwhile.
#[test]
fn keys_of_earlier_sessions_are_owed_too() {
    let (mut scene, mut alice, _, mut carol, room_id) = three();
    for text in ["one", "two", "three"] {
        say_without_carol(&mut scene, &mut alice, &room_id, "keys_claim", text);
        alice.machine.rotate_room_key(scene.now, &room_id).unwrap();
    }
    alice.restart();
    after_a_while(&mut scene, &mut alice);
    after_a_while(&mut scene, &mut alice);
    assert_eq!(readable(&mut scene, &mut carol), ["one", "two", "three"]);
}

/// Carol's device had no key to claim, was told so, and opens a session itself.
#[test]
fn who_opens_a_session_is_given_what_it_missed_at_once() {
    let (mut scene, mut alice, _, mut carol, room_id) = three();
    alice.queue(&scene, &room_id, "one");
    alice.pump_with(&mut scene, |kind, real| match kind {
        "keys_claim" => Response { body: r#"{"one_time_keys":{},"failures":{}}"#.into(), ..real },
        _ => real,
    });
    carol.reads(&mut scene);
    carol.sync(&mut scene);
    carol.pump(&mut scene);
    alice.sync(&mut scene);
    alice.pump(&mut scene);
    assert_eq!(readable(&mut scene, &mut carol), ["one"]);
}

/// Blocked, or gone: it is owed nothing any more.
#[test]
fn who_must_not_read_any_more_is_given_nothing() {
    let (mut scene, mut alice, _, mut carol, room_id) = three();
    say_without_carol(&mut scene, &mut alice, &room_id, "keys_claim", "one");
    let (user, device_id) = (carol.user.clone(), carol.device_id.clone());
    alice.machine.set_local_trust(scene.now, &user, &device_id, None, LocalTrust::Blocked).unwrap();
    after_a_while(&mut scene, &mut alice);
    alice.machine.set_local_trust(scene.now, &user, &device_id, None, LocalTrust::Unset).unwrap();
    after_a_while(&mut scene, &mut alice);
    assert_eq!(readable(&mut scene, &mut carol), [""; 0]);
    assert_eq!(owed(&alice), 0);
}

/// Who was given a key late holds it like all others: what comes after is not for a device that is blocked by then.
#[test]
fn what_is_given_late_is_known_when_a_device_is_blocked() {
    let (mut scene, mut alice, bob, mut carol, room_id) = three();
    say_without_carol(&mut scene, &mut alice, &room_id, "keys_claim", "one");
    after_a_while(&mut scene, &mut alice);
    after_a_while(&mut scene, &mut alice);
    assert_eq!(readable(&mut scene, &mut carol), ["one"]);
    let (user, device_id) = (carol.user.clone(), carol.device_id.clone());
    alice.machine.set_local_trust(scene.now, &user, &device_id, None, LocalTrust::Blocked).unwrap();
    alice.say(&mut scene, &room_id, "two");
    assert_eq!(readable(&mut scene, &mut carol), [""; 0]);
    assert_eq!(readable_history(&mut scene, &mut carol, &bob, &room_id), ["one"]);
}

/// A key that is still owed opens all that its session encrypts: what is for Bob alone, or is said when she has left,
/// must not be among it.
#[test]
fn what_others_are_told_meanwhile_is_not_given_with_it() {
    for leaves in [false, true] {
        let (mut scene, mut alice, bob, mut carol, room_id) = three();
        // They share another room, so that Alice still hears of her devices.
        scene.room(&mut [&mut alice, &mut carol]);
        say_without_carol(&mut scene, &mut alice, &room_id, "keys_claim", "one");
        if leaves {
            scene.leave(&carol.token, &room_id);
            say_without_carol(&mut scene, &mut alice, &room_id, "keys_claim", "two");
        } else {
            let message = Message {
                room_id: room_id.clone(),
                event_type: "m.room.message".into(),
                content: json!({"msgtype": "m.text", "body": "two"}).to_string(),
                transaction_id: None,
                demand_encryption: false,
                audience: Some([bob.user.clone()].into()),
            };
            alice.machine.send(scene.now, vec![message]).unwrap();
            alice.pump(&mut scene);
            assert_eq!(alice.machine.waiting_to_send().unwrap(), 0);
        }
        after_a_while(&mut scene, &mut alice);
        after_a_while(&mut scene, &mut alice);
        assert_eq!(owed(&alice), 0);
        carol.sync(&mut scene);
        carol.pump(&mut scene);
        let read = readable_history(&mut scene, &mut carol, &bob, &room_id);
        assert_eq!(read, ["one"], "she leaves: {leaves}");
    }
}

/// The devices of a user are not known while a message is sent, and then the server returns another identity of that
/// user, who was verified, with a device of its own.
#[test]
fn a_new_identity_of_a_verified_user_is_given_nothing() {
    let mut pair = Pair::users();
    pair.come_to_done();
    let (room_id, bob) = (pair.room_id.clone().unwrap(), pair.people[SECOND].user.clone());
    let now = pair.scene.now;
    pair.people[FIRST].machine.refresh_devices(now, std::slice::from_ref(&bob)).unwrap();
    pair.people[FIRST].queue(&pair.scene, &room_id, "one");
    for _ in 0..8 {
        pair.scene.now += 5_000;
        let (scene, alice) = (&mut pair.scene, &mut pair.people[FIRST]);
        alice.sync(scene);
        alice.pump_with(scene, |kind, real| match kind {
            "keys_query" => Response { status: 500, body: String::new() },
            _ => real,
        });
    }
    assert_eq!(owed(&pair.people[FIRST]), 1);
    let mut added = pair.scene.person("bob");
    pair.reset_identity(SECOND);
    for _ in 0..4 {
        after_a_while(&mut pair.scene, &mut pair.people[FIRST]);
    }
    added.sync(&mut pair.scene);
    added.pump(&mut pair.scene);
    let read = readable_history(&mut pair.scene, &mut added, &pair.people[SECOND], &room_id);
    assert_eq!(read, [""; 0]);
}

/// What was said to all devices is owed to devices that nobody knows yet. What is said in a stricter mode must not be
/// among it.
#[test]
fn a_stricter_mode_does_not_go_on_with_a_session_that_is_owed_to_all() {
    let (mut scene, mut alice, _, carol, room_id) = three();
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&carol.user)).unwrap();
    say_without_carol(&mut scene, &mut alice, &room_id, "keys_query", "one");
    let session = |person: &Person| {
        let session = person.look(|tx| tx.get::<OutboundSession>(&[room_id.as_str().into()]));
        session.unwrap().session_id
    };
    let first = session(&alice);
    alice.machine.set_isolation(scene.now, Isolation::VerifiedUsers).unwrap();
    say_without_carol(&mut scene, &mut alice, &room_id, "keys_query", "two");
    assert_ne!(session(&alice), first);
}

/// Owed a key as one of all devices, and before by its name.
#[test]
fn the_earliest_that_is_owed_counts() {
    let (mut scene, mut alice, _, mut carol, room_id) = three();
    say_without_carol(&mut scene, &mut alice, &room_id, "keys_claim", "one");
    alice.look(|tx| {
        let later = scene.now + 10 * MINUTE;
        let owed = tx.select::<OwedKey>(&Query::all())?.remove(0);
        tx.put(&OwedKey { due_at: later, ..owed })
    });
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&carol.user)).unwrap();
    say_without_carol(&mut scene, &mut alice, &room_id, "keys_query", "two");
    for _ in 0..30 {
        scene.now += MINUTE;
        alice.sync(&mut scene);
        alice.pump(&mut scene);
    }
    assert_eq!(readable(&mut scene, &mut carol), ["one", "two"]);
}

/// A server in the room is down for days. It is claimed from less and less often.
#[test]
fn a_server_that_is_down_is_claimed_from_ever_less_often() {
    let (mut scene, mut alice, _, _, room_id) = three();
    let mut claims = 0;
    let mut down = |kind: &str, real: Response| match kind {
        "keys_claim" => {
            claims += 1;
            Response { body: r#"{"one_time_keys":{},"failures":{"here":{}}}"#.into(), ..real }
        }
        _ => real,
    };
    alice.queue(&scene, &room_id, "one");
    alice.pump_with(&mut scene, &mut down);
    for _ in 0..24 * 60 {
        scene.now += MINUTE;
        alice.sync(&mut scene);
        alice.pump_with(&mut scene, &mut down);
    }
    assert!((20..150).contains(&claims), "{claims} in a day");
}

/// A member may have any number of devices that nobody reaches, for as long as they like.
#[test]
fn what_is_owed_to_a_user_is_bounded_and_ends() {
    let (mut scene, mut alice, _, carol, room_id) = three();
    alice.queue(&scene, &room_id, "one");
    let lost = |kind: &str, real: Response| match kind {
        "keys_claim" => Response { body: r#"{"one_time_keys":{},"failures":{}}"#.into(), ..real },
        _ => real,
    };
    alice.pump_with(&mut scene, lost);
    assert_eq!(owed(&alice), 1);
    let mut first = alice.look(|tx| tx.select::<OwedKey>(&Query::all())).remove(0);
    for n in 0..300 {
        first.session_id = format!("session {n}");
        alice.look(|tx| tx.put(&first));
    }
    scene.now += 1_000;
    alice.machine.rotate_room_key(scene.now, &room_id).unwrap();
    alice.queue(&scene, &room_id, "two");
    alice.pump_with(&mut scene, lost);
    let before = owed(&alice);
    assert!(before <= 301, "{before}: each that is added has an older one go");
    // A device list that says so ends nothing, and a week does.
    scene.now += 8 * DAY;
    alice.sync(&mut scene);
    alice.pump_with(&mut scene, lost);
    assert_eq!(owed(&alice), 0);
    let device: Option<Device> =
        alice.look(|tx| tx.get(&[carol.user.as_str().into(), carol.device_id.as_str().into()]));
    assert!(device.is_some());
}

/// The server takes no room key for one device, and calls that a bad request.
#[test]
fn a_device_that_the_server_calls_a_bad_request_ends_no_message_of_others() {
    let (mut scene, mut alice, mut bob, _, room_id) = three();
    alice.queue(&scene, &room_id, "one");
    for _ in 0..60 {
        scene.now += 30_000;
        alice.sync(&mut scene);
        for request in alice.machine.requests(scene.now).unwrap().requests {
            let body = request.body.as_deref().map_or(Value::Null, parse);
            let for_carol = request.path.contains("/sendToDevice/m.room.encrypted/")
                && body["messages"].get("@carol:here").is_some();
            let reply = if for_carol {
                let body = r#"{"errcode":"M_UNKNOWN","error":"No such device"}"#;
                Reply::Answer { status: 400, body: body.into() }
            } else {
                handle(&mut scene, &alice.token, request.method, &request.path, request.body)
            };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    assert_eq!(bob.reads(&mut scene), ["before", "one"]);
}
