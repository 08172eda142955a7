//! A key, a device, a clock or an endpoint that fails keeps no other message from being sent.

use mxcrypt_core::machine::{Awaited, Machine, Outcome, Reply, Requests};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    identities::ask_about,
    pair::{FIRST, Pair, SECOND},
    scene::{MEGOLM, Scene, handle, parse, two},
};

/// Bob's server shows his master key with a number that canonical JSON does not know. Alice verifies
/// him; nothing of hers is ever sent again.
#[test]
fn a_master_key_that_cannot_be_signed_stops_nothing() {
    let mut pair = Pair::users();
    let bob = pair.people[SECOND].user.clone();
    let odd = |response: Response| {
        let mut answer = parse(&response.body);
        answer["master_keys"][&bob]["x"] = json!(1.5);
        Response { body: answer.to_string(), ..response }
    };
    ask_about(&mut pair.scene, &mut pair.people[FIRST], &[&bob], odd);
    pair.come_to_done();
    for days in [0, 1, 30] {
        pair.scene.now += days * 86_400_000;
        let now = pair.scene.now;
        let due = pair.people[FIRST].machine.requests(now);
        assert!(due.is_ok(), "after {days} days: {due:?}");
    }
}

fn sync(scene: &mut Scene, token: &str, machine: &mut Machine) {
    let since = machine.sync_token().unwrap();
    let query = since.as_ref().map_or_else(String::new, |since| format!("?since={since}"));
    let answer = scene.call(Some(token), "GET", &format!("sync{query}"), Value::Null);
    machine.receive_sync(scene.now, since.as_deref(), &answer.body).unwrap();
}

/// When the responses to a batch of requests come, and which.
type Batch = (i64, Vec<(i64, Reply)>);

/// Two processes on one store wait for the same message. A query of devices takes longer than a lease,
/// as it does when a server in the room is slow.
fn sent_within_ten_minutes(processes: usize, slow: i64) -> bool {
    let (mut scene, mut alice, bob, room_id) = two(json!({"algorithm": MEGOLM}));
    let number = alice.queue(&scene, &room_id, "hello");
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    let token = alice.token.clone();
    let mut machines: Vec<Machine> = (0..processes).map(|_| alice.another()).collect();
    let mut under_way: Vec<Option<Batch>> = (0..processes).map(|_| None).collect();
    for _ in 0..3_000 {
        // R looks again after 0.2 seconds.
        scene.now += 200;
        for (machine, round) in machines.iter_mut().zip(&mut under_way) {
            match round.take() {
                Some((at, replies)) if at <= scene.now => {
                    machine.replies(scene.now, replies).unwrap();
                }
                Some(waits) => {
                    *round = Some(waits);
                    continue;
                }
                None => {}
            }
            let Requests { requests, sync_first, .. } = machine.requests(scene.now).unwrap();
            if sync_first {
                sync(&mut scene, &token, machine);
            }
            if requests.is_empty() {
                continue;
            }
            let mut at = scene.now;
            let mut replies = Vec::new();
            for request in requests {
                at += if request.kind == "keys_query" { slow } else { 50 };
                let reply = handle(&mut scene, &token, request.method, &request.path, request.body);
                replies.push((request.number, reply));
            }
            *round = Some((at, replies));
        }
        let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
        if matches!(outcome, Outcome::Sent { .. }) {
            return true;
        }
    }
    false
}

#[test]
fn two_processes_do_not_take_each_others_answers_away() {
    assert!(sent_within_ten_minutes(1, 12_000), "one process");
    assert!(sent_within_ten_minutes(2, 2_000), "two processes, quick");
    assert!(sent_within_ten_minutes(2, 12_000), "two processes, slow");
}

/// Anyone who may set the encryption of a room sets a period in which no key can be shared. What it
/// says holds all the same: the next message has a key of its own.
#[test]
fn a_short_rotation_period_does_not_silence_a_room() {
    let encryption = json!({"algorithm": MEGOLM, "rotation_period_ms": 1});
    let (mut scene, mut alice, _, room_id) = two(encryption);
    let number = alice.queue(&scene, &room_id, "hello");
    let token = alice.token.clone();
    let mut keys = 0;
    for _ in 0..300 {
        let Requests { requests, sync_first, .. } = alice.machine.requests(scene.now).unwrap();
        if sync_first {
            alice.sync(&mut scene);
        }
        for request in requests {
            keys += usize::from(request.path.contains("/sendToDevice/"));
            let reply = handle(&mut scene, &token, request.method, &request.path, request.body);
            // The server takes a little more than a second.
            scene.now += 1_100;
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(
        matches!(outcome, Outcome::Sent { .. }),
        "{outcome:?}, after {keys} requests with keys"
    );
}

/// A process died when the clock was a day ahead. Now the clock is right.
#[test]
fn a_lease_of_a_clock_that_was_ahead_ends() {
    let (mut scene, mut alice, _, room_id) = two(json!({"algorithm": MEGOLM}));
    alice.say(&mut scene, &room_id, "one");
    let number = alice.queue(&scene, &room_id, "two");
    scene.now += 24 * 3_600_000;
    alice.sync(&mut scene);
    let due = alice.machine.requests(scene.now).unwrap().requests;
    assert!(!due.is_empty());
    // Killed here.
    alice.restart();
    scene.now -= 24 * 3_600_000;
    for _ in 0..20 {
        scene.now += 60_000;
        alice.sync(&mut scene);
        alice.pump(&mut scene);
    }
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
}

/// Bob's server was away when the clock was a day ahead.
#[test]
fn a_pause_of_a_clock_that_was_ahead_ends() {
    let (mut scene, mut alice, mut bob, room_id) = two(json!({"algorithm": MEGOLM}));
    let mut carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    scene.now += 24 * 3_600_000;
    alice.sync(&mut scene);
    alice.queue(&scene, &room_id, "one");
    let away = bob.user.clone();
    alice.pump_with(&mut scene, |kind, response| {
        if kind != "keys_query" {
            return response;
        }
        let mut answer = parse(&response.body);
        answer["device_keys"].as_object_mut().unwrap().remove(&away);
        Response { body: answer.to_string(), ..response }
    });
    assert_eq!(carol.reads(&mut scene).len(), 1);
    scene.now -= 24 * 3_600_000;
    for _ in 0..20 {
        scene.now += 60_000;
        alice.sync(&mut scene);
        alice.pump(&mut scene);
    }
    alice.say(&mut scene, &room_id, "two");
    let texts = bob.reads(&mut scene);
    assert!(texts.contains(&"two".to_owned()), "{texts:?}");
}

/// The server took a message and its response was lost. The network stays away for two days, in which it is
/// tried again and again; by then the server has forgotten the transaction.
#[test]
fn an_old_message_is_looked_for_however_often_it_was_tried() {
    let (mut scene, mut alice, _, room_id) = two(json!({"algorithm": MEGOLM}));
    alice.say(&mut scene, &room_id, "one");
    alice.sync(&mut scene);
    alice.queue(&scene, &room_id, "two");
    let awaited = Awaited { room_id: Some(room_id.clone()), ..Awaited::default() };
    let mut reached = false;
    for _ in 0..5 {
        for request in alice.machine.requests_for(scene.now, &awaited).unwrap().requests {
            let reply =
                handle(&mut scene, &alice.token, request.method, &request.path, request.body);
            let is_event = request.kind == "send" && request.path.contains("/rooms/");
            reached |= is_event;
            let reply = if is_event { Reply::NoAnswer } else { reply };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
        if reached {
            break;
        }
    }
    assert!(reached);
    // No network, and a try each quarter of an hour.
    for _ in 0..200 {
        scene.now += 15 * 60_000;
        for request in alice.machine.requests(scene.now).unwrap().requests {
            alice.machine.replies(scene.now, vec![(request.number, Reply::NoAnswer)]).unwrap();
        }
    }
    scene.now += 15 * 60_000;
    let due = alice.machine.requests(scene.now).unwrap();
    let sends = due.requests.iter().filter(|r| r.path.contains("/rooms/")).count();
    assert!(due.sync_first && sends == 0, "sync first: {}, events sent: {sends}", due.sync_first);
}

/// The same for the devices of one member.
#[test]
fn a_member_whose_devices_are_never_told_keeps_no_message_from_being_sent() {
    let (mut scene, mut alice, _, room_id) = two(json!({"algorithm": MEGOLM}));
    let carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    alice.sync(&mut scene);
    let number = alice.queue(&scene, &room_id, "hello");
    for _ in 0..24 {
        scene.now += 3_600_000;
        alice.sync(&mut scene);
        alice.pump_for(&mut scene, Awaited::default(), |kind, response| {
            if kind == "keys_query" && response.body.contains("@carol:here") {
                return Response { status: 0, body: String::new() };
            }
            response
        });
    }
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
}

/// The server fails with whatever is for one device of a room.
#[test]
fn a_device_that_the_server_cannot_serve_silences_no_room() {
    let (mut scene, mut alice, _, room_id) = two(json!({"algorithm": MEGOLM}));
    let carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    alice.sync(&mut scene);
    let number = alice.queue(&scene, &room_id, "hello");
    for _ in 0..500 {
        scene.now += 60_000;
        alice.sync(&mut scene);
        for _ in 0..5 {
            for request in alice.machine.requests(scene.now).unwrap().requests {
                let for_carol = request.path.contains("/sendToDevice/")
                    && request.body.as_ref().unwrap().contains("@carol:here");
                let reply = if for_carol {
                    let body = r#"{"errcode":"M_UNKNOWN","error":"Internal server error"}"#;
                    Reply::Answer { status: 500, body: body.into() }
                } else {
                    handle(&mut scene, &alice.token, request.method, &request.path, request.body)
                };
                alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
            }
        }
    }
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
}

/// The device keys are to be published again while one-time keys are under way.
#[test]
fn an_upload_without_device_keys_does_not_publish_them() {
    let (scene, mut alice, ..) = two(json!({"algorithm": MEGOLM}));
    alice.machine.set_one_time_key_target(scene.now, 60).unwrap();
    let requests = alice.machine.requests(scene.now).unwrap().requests;
    let upload = requests.iter().find(|request| request.kind == "keys_upload").unwrap();
    assert!(!upload.body.as_ref().unwrap().contains("device_keys"));
    alice.machine.publish_anew(scene.now).unwrap();
    let body = r#"{"one_time_key_counts":{"signed_curve25519":60}}"#;
    let reply = Reply::Answer { status: 200, body: body.into() };
    alice.machine.replies(scene.now, vec![(upload.number, reply)]).unwrap();
    assert!(!alice.machine.key_upload().unwrap().published);
}

/// A message is refused for its readers. What goes out in the clear in any case stood behind it.
#[test]
fn a_refused_message_takes_no_reaction_with_it() {
    let (mut scene, mut alice, _, room_id) = two(json!({"algorithm": MEGOLM}));
    alice
        .machine
        .set_isolation(scene.now, mxcrypt_core::store::records::Isolation::Signed)
        .unwrap();
    let message = alice.queue(&scene, &room_id, "hello");
    let reaction = alice.machine.react(scene.now, &room_id, "$1", "yes").unwrap();
    alice.pump(&mut scene);
    let outcomes = alice.machine.outcomes(&[message, reaction]).unwrap();
    assert!(matches!(outcomes[0], Outcome::Refused { .. }), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Sent { .. }), "{outcomes:?}");
}

/// How late a verification of our own devices helps.
#[test]
fn own_master_key_that_cannot_be_signed() {
    let mut pair = Pair::devices();
    let alice = pair.people[FIRST].user.clone();
    let odd = |response: Response| {
        let mut answer = parse(&response.body);
        answer["master_keys"][&alice]["x"] = json!(1.5);
        Response { body: answer.to_string(), ..response }
    };
    ask_about(&mut pair.scene, &mut pair.people[SECOND], &[&alice], odd);
    pair.come_to_done();
    let now = pair.scene.now;
    let due = pair.people[SECOND].machine.requests(now);
    assert!(due.is_ok(), "{due:?}");
}
