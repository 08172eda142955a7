//! Dead man's switches: whatever the server, the network and crashes do, an alarm is never sent at once or started
//! by accident, an armed one is never lost, and an old one is cancelled.

use mxcrypt_core::{
    machine::{Awaited, NewHeartbeat, Reply, WireRequest},
    store::records::{Heartbeat, HeartbeatState},
};
use mxcrypt_model_server::{Behaviour, Deviation, Response};
use serde_json::{Value, json};

use crate::{
    database::Kill,
    scene::{MEGOLM, Person, Scene, handle, parse, two},
};

const HOUR: i64 = 3_600_000;

fn new(room_id: &str, text: &str, stable: bool) -> NewHeartbeat {
    NewHeartbeat {
        id: None,
        name: Some("nightly".to_owned()),
        room_id: room_id.to_owned(),
        content: json!({"msgtype": "m.text", "body": text}).to_string(),
        delay: HOUR,
        stable,
        wait: 60_000,
    }
}

fn scene() -> (Scene, Person, Person, String) {
    two(json!({"algorithm": MEGOLM}))
}

fn start(person: &mut Person, scene: &Scene, room_id: &str, text: &str) -> i64 {
    person.machine.start_heartbeat(scene.now, new(room_id, text, false)).unwrap()
}

fn rows(person: &mut Person, scene: &Scene) -> Vec<Heartbeat> {
    person.machine.heartbeats(scene.now).unwrap()
}

fn states(person: &mut Person, scene: &Scene) -> Vec<HeartbeatState> {
    rows(person, scene).iter().map(|row| row.state).collect()
}

/// How many messages the server is to send later.
fn waiting(scene: &mut Scene, person: &Person) -> usize {
    let path = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
    let reply = handle(scene, &person.token, "GET", path, None);
    let Reply::Answer { body, .. } = reply else { panic!() };
    parse(&body)["delayed_events"].as_array().unwrap().len()
}

fn lost(kind: &'static str) -> impl FnMut(&str, Response) -> Response {
    move |asked, response| {
        if asked == kind { Response { status: 0, body: String::new() } } else { response }
    }
}

fn is_delayed(request: &WireRequest) -> bool {
    request.kind == "send" && !request.path.contains("sendToDevice")
}

/// A response is lost, and all retries of the call fail.
fn lost_delayed(person: &mut Person, scene: &mut Scene) {
    let mut sent = 0;
    for _ in 0..5 {
        for request in person.machine.requests(scene.now).unwrap().requests {
            let delayed = is_delayed(&request);
            let reply = handle(scene, &person.token, request.method, &request.path, request.body);
            let reply = if delayed { Reply::NoAnswer } else { reply };
            sent += usize::from(delayed);
            person.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    assert_eq!(sent, 1);
}

#[test]
fn the_message_is_encrypted_beforehand_and_sent_by_the_server() {
    for stable in [false, true] {
        let (mut scene, mut alice, mut bob, room_id) = scene();
        let heartbeat = new(&room_id, "no report", stable);
        alice.machine.start_heartbeat(scene.now, heartbeat).unwrap();
        assert_eq!(alice.pump(&mut scene), Vec::new());
        assert_eq!(states(&mut alice, &scene), [HeartbeatState::Armed]);
        assert!(alice.machine.unsent(scene.now).unwrap().is_empty());
        assert_eq!(alice.machine.waiting_to_send().unwrap(), 0);
        assert!(bob.reads(&mut scene).is_empty());
        let plain = |body: &[u8]| String::from_utf8_lossy(body).contains("no report");
        assert!(!scene.server.seen().any(plain));
        // The ratchet has gone on meanwhile.
        alice.say(&mut scene, &room_id, "one");
        scene.now += HOUR + 1;
        assert_eq!(bob.reads(&mut scene), ["one", "no report"]);
        alice.sync(&mut scene);
        let row = rows(&mut alice, &scene).pop().unwrap();
        assert_eq!(row.state, HeartbeatState::Sent);
        assert!(row.event_id.is_some());
    }
}

#[test]
fn a_restart_prolongs_and_a_stop_prevents() {
    let (mut scene, mut alice, mut bob, room_id) = scene();
    let number = start(&mut alice, &scene, &room_id, "no report");
    alice.pump(&mut scene);
    scene.now += HOUR / 2;
    let path = alice.machine.heartbeat_restart_path(number).unwrap().unwrap();
    handle(&mut scene, &alice.token, "POST", &path, Some("{}".into()));
    alice.machine.heartbeat_restarted(scene.now, number, true).unwrap();
    scene.now += HOUR - 1;
    assert!(bob.reads(&mut scene).is_empty());
    let id = rows(&mut alice, &scene)[0].id.clone();
    // Another process stops it.
    alice.restart();
    alice.machine.stop_heartbeat(scene.now, &id).unwrap();
    alice.pump(&mut scene);
    assert!(rows(&mut alice, &scene).is_empty());
    scene.now += HOUR;
    assert!(bob.reads(&mut scene).is_empty());
}

#[test]
fn one_that_is_started_again_replaces_the_old_one_and_none_is_lost_at_any_crash() {
    for commits in 0..12 {
        for kill in [Kill::BeforeCommit, Kill::AfterCommit] {
            let (mut scene, mut alice, mut bob, room_id) = scene();
            start(&mut alice, &scene, &room_id, "old");
            alice.pump(&mut scene);
            assert_eq!(waiting(&mut scene, &alice), 1);
            alice.disk.arm(commits, kill);
            let dies = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                start(&mut alice, &scene, &room_id, "new");
                alice.pump(&mut scene);
            }));
            alice.disk.disarm();
            assert!(waiting(&mut scene, &alice) > 0, "{commits} {kill:?} {dies:?}");
            // Whoever comes next, however much later, leaves one.
            alice.restart();
            for _ in 0..3 {
                scene.now += 6 * 60_000;
                alice.sync(&mut scene);
                alice.pump(&mut scene);
            }
            assert_eq!(waiting(&mut scene, &alice), 1, "{commits} {kill:?}");
            assert_eq!(states(&mut alice, &scene), [HeartbeatState::Armed]);
            scene.now += HOUR;
            assert_eq!(bob.reads(&mut scene).len(), 1, "{commits} {kill:?}");
        }
    }
}

#[test]
fn what_was_not_given_to_the_server_in_time_never_is() {
    let (mut scene, mut alice, mut bob, room_id) = scene();
    // The process dies before the first request.
    start(&mut alice, &scene, &room_id, "no report");
    alice.restart();
    scene.now += 61_000;
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "later");
    assert!(rows(&mut alice, &scene).is_empty());
    assert_eq!(waiting(&mut scene, &alice), 0);
    // The call ends because the network is down.
    let number = start(&mut alice, &scene, &room_id, "no report");
    alice.machine.abandon_heartbeat(scene.now, number).unwrap();
    alice.say(&mut scene, &room_id, "still later");
    assert_eq!(waiting(&mut scene, &alice), 0);
    assert_eq!(bob.reads(&mut scene), ["later", "still later"]);
}

#[test]
fn a_lost_response_is_found_in_the_list_of_the_server() {
    for encryption in [json!({"algorithm": MEGOLM}), Value::Null] {
        let (mut scene, mut alice, mut bob, room_id) = two(encryption);
        let number = start(&mut alice, &scene, &room_id, "no report");
        lost_delayed(&mut alice, &mut scene);
        assert_eq!(waiting(&mut scene, &alice), 1);
        alice.machine.abandon_heartbeat(scene.now, number).unwrap();
        assert_eq!(states(&mut alice, &scene), [HeartbeatState::InDoubt]);
        // The same bytes are not sent again: the server may have forgotten the transaction.
        alice.restart();
        alice.pump(&mut scene);
        assert_eq!(states(&mut alice, &scene), [HeartbeatState::Armed]);
        assert_eq!(waiting(&mut scene, &alice), 1);
        let id = rows(&mut alice, &scene)[0].id.clone();
        alice.machine.stop_heartbeat(scene.now, &id).unwrap();
        alice.pump(&mut scene);
        assert_eq!(waiting(&mut scene, &alice), 0);
        scene.now += 2 * HOUR;
        bob.sync(&mut scene);
        assert!(bob.events().iter().all(|row| row.event.event_type != "m.room.message"));
    }
}

#[test]
fn one_in_doubt_is_cancelled_where_it_is_to_be_stopped_and_forgotten_where_the_server_has_none() {
    let (mut scene, mut alice, _, room_id) = scene();
    let number = start(&mut alice, &scene, &room_id, "no report");
    lost_delayed(&mut alice, &mut scene);
    alice.machine.abandon_heartbeat(scene.now, number).unwrap();
    let id = rows(&mut alice, &scene)[0].id.clone();
    alice.machine.stop_heartbeat(scene.now, &id).unwrap();
    alice.pump(&mut scene);
    assert_eq!((waiting(&mut scene, &alice), rows(&mut alice, &scene).len()), (0, 0));
    // A request that never arrived.
    let number = start(&mut alice, &scene, &room_id, "no report");
    for _ in 0..3 {
        for request in alice.machine.requests(scene.now).unwrap().requests {
            let reply = match is_delayed(&request) {
                true => Reply::NoAnswer,
                false => {
                    handle(&mut scene, &alice.token, request.method, &request.path, request.body)
                }
            };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    alice.machine.abandon_heartbeat(scene.now, number).unwrap();
    assert_eq!(states(&mut alice, &scene), [HeartbeatState::InDoubt]);
    alice.pump(&mut scene);
    assert!(rows(&mut alice, &scene).is_empty());
}

#[test]
fn a_late_response_arms_what_was_given_up() {
    let (mut scene, mut alice, _, room_id) = scene();
    start(&mut alice, &scene, &room_id, "no report");
    let mut slow = None;
    for _ in 0..5 {
        for request in alice.machine.requests(scene.now).unwrap().requests {
            let delayed = is_delayed(&request);
            let reply =
                handle(&mut scene, &alice.token, request.method, &request.path, request.body);
            if delayed {
                slow = Some((request.number, reply));
            } else {
                alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
            }
        }
    }
    scene.now += 70_000;
    let mut other = alice.another();
    assert_eq!(other.heartbeats(scene.now).unwrap()[0].state, HeartbeatState::InDoubt);
    // The list is not asked for yet, as the request may not have arrived.
    let asked = other.requests(scene.now).unwrap().requests;
    assert!(asked.iter().all(|request| request.kind != "list_delayed" && !is_delayed(request)));
    alice.machine.replies(scene.now, vec![slow.unwrap()]).unwrap();
    assert_eq!(states(&mut alice, &scene), [HeartbeatState::Armed]);
    assert_eq!(waiting(&mut scene, &alice), 1);
}

#[test]
fn a_refusal_leaves_nothing_behind_and_the_old_one_alone() {
    for (code, in_doubt) in [
        ("M_FORBIDDEN", false),
        ("ORG.MATRIX.MSC4140_DELAY_TOO_LARGE", false),
        ("M_UNRECOGNIZED", false),
        ("", true),
    ] {
        let (mut scene, mut alice, _, room_id) = scene();
        start(&mut alice, &scene, &room_id, "old");
        alice.pump(&mut scene);
        let number = start(&mut alice, &scene, &room_id, "new");
        for request in alice.machine.requests(scene.now).unwrap().requests {
            assert!(is_delayed(&request));
            let body = if code.is_empty() { json!({}) } else { json!({"errcode": code}) };
            let reply = Reply::Answer { status: 400, body: body.to_string() };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
        alice.machine.abandon_heartbeat(scene.now, number).unwrap();
        let found = rows(&mut alice, &scene);
        assert_eq!(found[0].state, HeartbeatState::Armed, "{code}");
        assert!(!found[0].cancel, "{code}");
        let doubts = found.iter().any(|row| row.state == HeartbeatState::InDoubt && row.cancel);
        assert_eq!(doubts, in_doubt, "{code}");
        alice.pump(&mut scene);
        assert_eq!(waiting(&mut scene, &alice), 1, "{code}");
    }
}

#[test]
fn a_server_that_does_not_delay_is_found_out() {
    let (mut scene, mut alice, _, room_id) = scene();
    scene.server.behave(Behaviour::new([Deviation::NoDelayedEvents]));
    start(&mut alice, &scene, &room_id, "no report");
    alice.pump(&mut scene);
    assert_eq!(states(&mut alice, &scene), [HeartbeatState::Sent]);
}

#[test]
fn a_page_of_a_proxy_neither_arms_nor_cancels() {
    let (mut scene, mut alice, _, room_id) = scene();
    let number = start(&mut alice, &scene, &room_id, "no report");
    let page = |kind: &str, response: Response| match kind {
        "send" | "cancel_delayed" => Response { status: 200, body: "<html>".into() },
        _ => response,
    };
    // The keys go to Bob.
    let awaited = Awaited { room_id: Some(room_id.clone()), ..Awaited::default() };
    alice.pump(&mut scene);
    assert_eq!(states(&mut alice, &scene), [HeartbeatState::Armed]);
    let id = rows(&mut alice, &scene)[0].id.clone();
    alice.machine.stop_heartbeat(scene.now, &id).unwrap();
    let (troubles, _) = alice.pump_for(&mut scene, awaited, page);
    assert_eq!(troubles[0].kind, "cancel_delayed");
    assert_eq!(rows(&mut alice, &scene)[0].number, number);
    alice.pump_with(&mut scene, lost("cancel_delayed"));
    assert_eq!(waiting(&mut scene, &alice), 0);
    // It is cancelled, and the response was lost: the server does not know it any more.
    alice.pump(&mut scene);
    assert_eq!(states(&mut alice, &scene), [HeartbeatState::Gone]);
}

/// Mallory says what Alice's alarm says: that is not Alice's alarm.
#[test]
fn a_message_of_another_is_not_the_alarm() {
    let (mut scene, mut alice, mut bob, room_id) = scene();
    start(&mut alice, &scene, &room_id, "no report");
    alice.pump(&mut scene);
    bob.say(&mut scene, &room_id, "no report");
    alice.say(&mut scene, &room_id, "no report");
    alice.sync(&mut scene);
    assert_eq!(states(&mut alice, &scene), [HeartbeatState::Armed]);
}

#[test]
fn an_alarm_is_no_message_of_the_outbox() {
    let (mut scene, mut alice, _, room_id) = scene();
    let number = start(&mut alice, &scene, &room_id, "no report");
    assert!(alice.machine.unsent(scene.now).unwrap().is_empty());
    assert!(alice.machine.retry(scene.now, &[number]).is_err());
    assert!(alice.machine.discard(scene.now, &[number]).is_err());
    alice.pump(&mut scene);
}
