//! What a reviewer who had not seen it built did to it, as a hostile server and as a hostile member.

use mxcrypt_core::{
    machine::{Awaited, Machine, Outcome, Reply, Requests},
    primitives::olm,
    store::{
        Query,
        records::{KeyRequest, OlmSession, OutboxRow},
    },
};
use mxcrypt_model_server::{Request, Response};
use serde_json::{Value, json};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::Account;

use crate::{
    identities::ask_about,
    pair::{FIRST, Pair, SECOND},
    scene::{MEGOLM, Person, Scene, encoded, encrypted_events, parse},
};

fn two(encryption: Value) -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], encryption);
    bob.events();
    alice.events();
    (scene, alice, bob, room_id)
}

fn sent_in_the_clear(scene: &Scene, text: &str) -> bool {
    scene.server.seen().any(|body| String::from_utf8_lossy(body).contains(text))
}

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
    pair.come_to_compare(FIRST, FIRST);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange();
    for days in [0, 1, 30] {
        pair.scene.now += days * 86_400_000;
        let now = pair.scene.now;
        let due = pair.people[FIRST].machine.requests(now);
        assert!(due.is_ok(), "after {days} days: {due:?}");
    }
}

/// The server repeats an encrypted message, and adds a member to the part of it that is not encrypted.
#[test]
fn a_message_is_not_delivered_twice() {
    let (mut scene, mut alice, mut bob, room_id) = two(json!({"algorithm": MEGOLM}));
    alice.say(&mut scene, &room_id, "pay 10");
    let mut event = Value::Null;
    bob.sync_with(&mut scene, |sync| event = encrypted_events(sync, &room_id)[0].clone());
    assert_eq!(bob.new_texts(), ["pay 10"]);
    for n in 0..3 {
        event["content"]["n"] = json!(n);
        bob.sync_with(&mut scene, |sync| {
            sync["rooms"]["join"][&room_id]["timeline"]["events"] = json!([event]);
        });
    }
    assert_eq!(bob.new_texts(), Vec::<String>::new());
}

/// Two events take turns under one id.
#[test]
fn two_events_under_one_id_are_delivered_once_each() {
    let (mut scene, mut alice, mut bob, room_id) = two(json!({"algorithm": MEGOLM}));
    alice.say(&mut scene, &room_id, "pay 10");
    let mut event = Value::Null;
    bob.sync_with(&mut scene, |sync| event = encrypted_events(sync, &room_id)[0].clone());
    let mut other = event.clone();
    other["content"] = json!({"algorithm": "m.x"});
    for _ in 0..3 {
        bob.sync_with(&mut scene, |sync| {
            sync["rooms"]["join"][&room_id]["timeline"]["events"] = json!([other, event]);
        });
    }
    assert_eq!(bob.new_texts(), ["pay 10", "(unknown_algorithm)"]);
}

fn handle(scene: &mut Scene, token: &str, method: &str, path: &str, body: Option<String>) -> Reply {
    let http = Request {
        method: method.into(),
        path: path.into(),
        token: Some(token.to_owned()),
        body: body.unwrap_or_default().into_bytes(),
    };
    let response = scene.server.handle(scene.now as u64, &http);
    Reply::Answer { status: response.status, body: response.body }
}

fn sync(scene: &mut Scene, token: &str, machine: &mut Machine) {
    let since = machine.sync_token().unwrap();
    let query = since.as_ref().map_or_else(String::new, |since| format!("?since={since}"));
    let answer = scene.call(Some(token), "GET", &format!("sync{query}"), Value::Null);
    machine.receive_sync(scene.now, since.as_deref(), &answer.body).unwrap();
}

/// When a batch of requests is answered, and how.
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

/// Whoever may set the encryption of a room sets a period in which no key can be shared. What it says
/// holds all the same: the next message has a key of its own.
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

/// A stranger whose device is not published names another Ed25519 key in each session.
#[test]
fn olm_sessions_of_one_key_are_bounded() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let (user, _, token) = scene.login("mallory");
    let account = Account::new();
    let to_keys = alice.machine.identity_keys().unwrap();
    let before = {
        scene.now += 1;
        let rows = alice.disk.rows_read();
        alice.sync(&mut scene);
        alice.disk.rows_read() - rows
    };
    for _ in 0..100 {
        let body = json!({"one_time_keys": {&alice.user: {&alice.device_id: "signed_curve25519"}}});
        let answer = scene.call(Some(&token), "POST", "keys/claim", body);
        let answer = parse(&answer.body);
        let found = answer["one_time_keys"][&alice.user][&alice.device_id].as_object().unwrap();
        let key = found.values().next().unwrap()["key"].as_str().unwrap();
        let key = Curve25519PublicKey::from_base64(key).unwrap();
        let mut session = olm::outbound(&account, to_keys.curve25519, key).unwrap();
        let payload = json!({"type": "m.dummy", "content": {}, "sender": user,
            "recipient": alice.user,
            "keys": {"ed25519": Account::new().ed25519_key().to_base64()},
            "recipient_keys": {"ed25519": to_keys.ed25519.to_base64()}});
        let message = olm::encrypt(&mut session, payload.to_string().as_bytes()).unwrap();
        let (message_type, text) = olm::parts(&message);
        let content = json!({"algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": account.curve25519_key().to_base64(),
            "ciphertext": {to_keys.curve25519.to_base64(): {"type": message_type, "body": text}}});
        scene.now += 1;
        let body = json!({"messages": {&alice.user: {&alice.device_id: content}}});
        let path = format!("sendToDevice/m.room.encrypted/{}", scene.now);
        assert_eq!(scene.call(Some(&token), "PUT", &path, body).status, 200);
        let problems = alice.sync(&mut scene).problems;
        assert_eq!(problems, Vec::<String>::new());
    }
    let of_key = Query::equal("identity_key", &*account.curve25519_key().to_base64());
    let kept = alice.look(|tx| tx.count::<OlmSession>(&of_key));
    // One message more that cannot be read.
    let content = json!({"algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": account.curve25519_key().to_base64(),
        "ciphertext": {to_keys.curve25519.to_base64(): {"type": 1, "body": "AwogAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQACIQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}});
    let rows = alice.disk.rows_read();
    alice.sync_with(&mut scene, |sync| {
        sync["to_device"]["events"] =
            json!([{"type": "m.room.encrypted", "sender": user, "content": content}]);
    });
    let read = alice.disk.rows_read() - rows;
    assert!(
        kept <= 16,
        "{kept} sessions under one key; {before} rows for an empty sync, {read} for one message"
    );
}

/// Mallory names a session before the event of Bob that needs its key, and then many others.
#[test]
fn a_flood_does_not_take_away_the_search_for_another_senders_key() {
    let (mut scene, mut alice, bob, room_id) = two(json!({"algorithm": MEGOLM}));
    let now = scene.now;
    let mut event = |sender: &str, id: String, session: String| {
        alice.sync_with(&mut scene, |sync| {
            sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": [
                {"type": "m.room.encrypted", "event_id": id, "sender": sender,
                "origin_server_ts": now, "content": {"algorithm": MEGOLM,
                "session_id": session, "ciphertext": "x"}}]}});
        });
    };
    event("@mallory:here", "$m".into(), "bobs".into());
    event(&bob.user, "$b".into(), "bobs".into());
    for n in 0..120 {
        event("@mallory:here", format!("${n}"), format!("s{n}"));
    }
    let key = [room_id.as_str().into(), "bobs".into()];
    let request = alice.look(|tx| tx.get::<KeyRequest>(&key));
    assert!(request.is_some(), "nobody is asked for the key of Bob's event any more");
}

/// The server said once that a room is not encrypted. What was certainly not sent then goes out in the
/// clear long after the room was encrypted.
#[test]
fn a_permission_to_send_in_the_clear_does_not_last() {
    let (mut scene, mut alice, bob, room_id) = two(Value::Null);
    alice.queue(&scene, &room_id, "one");
    let second = alice.queue(&scene, &room_id, "a secret");
    // The network fails with the first; the second is not tried.
    let awaited = Awaited { room_id: Some(room_id.clone()), ..Awaited::default() };
    let mut round = 0;
    for _ in 0..3 {
        let requests = alice.machine.requests_for(scene.now, &awaited).unwrap().requests;
        let mut failed = false;
        for request in requests {
            let reply = match request.kind {
                "send" if failed => Reply::NotTried,
                "send" => {
                    failed = true;
                    round += 1;
                    Reply::Answer { status: 502, body: "<html>".into() }
                }
                _ => handle(&mut scene, &alice.token, request.method, &request.path, request.body),
            };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
        if failed {
            break;
        }
    }
    assert_eq!(round, 1);
    let row: Option<OutboxRow> = alice.look(|tx| tx.get(&[second.into()]));
    assert_eq!(row.unwrap().attempts, 0);
    // Bob encrypts the room; hours pass.
    let path = format!("rooms/{}/state/m.room.encryption", encoded(&room_id));
    let content = json!({"algorithm": MEGOLM});
    assert_eq!(scene.call(Some(&bob.token), "PUT", &path, content).status, 200);
    scene.now += 6 * 3_600_000;
    alice.pump(&mut scene);
    assert!(!sent_in_the_clear(&scene, "a secret"));
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

/// Mallory hands Bob's session on in her own name before his event comes, and his key never does. Alice's
/// other devices may have it.
#[test]
fn a_key_that_is_handed_on_does_not_keep_ours_from_being_asked_for() {
    let (mut scene, mut alice, bob, room_id) = two(json!({"algorithm": MEGOLM}));
    let mut mallory = scene.forger("mallory");
    let mut session = mxcrypt_core::primitives::megolm::outbound();
    let key = crate::scene::room_key(&room_id, &session);
    mallory.give_key(&mut scene, &mut alice, key, |_| {});
    alice.sync(&mut scene);
    let content = crate::scene::megolm_event(&mut session, &room_id, "hello");
    let (now, id) = (scene.now, session.session_id());
    alice.sync_with(&mut scene, |sync| {
        sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": [
            {"type": "m.room.encrypted", "event_id": "$b", "sender": bob.user,
            "origin_server_ts": now, "content": content}]}});
    });
    assert_eq!(alice.new_texts(), ["(sender_mismatch)"]);
    let request =
        alice.look(|tx| tx.get::<KeyRequest>(&[room_id.as_str().into(), id.as_str().into()]));
    assert!(request.is_some());
}

fn missing(person: &mut Person) -> Vec<String> {
    let events = person.events();
    let told = events.iter().filter(|row| row.event.event_type == "mxcrypt.missing");
    told.filter_map(|row| row.event.unreadable.as_ref().map(|why| why.message.clone())).collect()
}

/// As mx_room_join() does: the answer to the join is noted before the next sync.
#[test]
fn what_was_before_a_noted_join_is_no_gap() {
    use mxcrypt_core::store::records::Membership;
    for before in [0, 3, 60] {
        let mut scene = Scene::new();
        let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
        let room_id = scene.room_with(&mut [&mut alice], Value::Null);
        for n in 0..before {
            alice.queue(&scene, &room_id, &format!("before {n}"));
        }
        alice.pump(&mut scene);
        crate::to_device::invite(&mut scene, &alice.token, &room_id, &bob.user);
        bob.sync(&mut scene);
        bob.pump(&mut scene);
        bob.events();
        scene.enter(&bob.token, &room_id);
        bob.machine.note_own_membership(scene.now, &room_id, Membership::Join).unwrap();
        bob.sync(&mut scene);
        bob.pump(&mut scene);
        assert_eq!(missing(&mut bob), Vec::<String>::new(), "{before}");
    }
}

/// As mx_room_create() does.
#[test]
fn a_room_that_was_just_made_has_no_gap() {
    use mxcrypt_core::store::records::Membership;
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let body = json!({"preset": "private_chat"});
    let token = alice.token.clone();
    let made = parse(&scene.call(Some(&token), "POST", "createRoom", body).body);
    let room_id = made["room_id"].as_str().unwrap();
    alice.machine.note_own_membership(scene.now, room_id, Membership::Join).unwrap();
    alice.sync(&mut scene);
    alice.pump(&mut scene);
    assert_eq!(missing(&mut alice), Vec::<String>::new());
}

/// The event that encrypts a room stands in a gap. The server shows it there, and says later that there is
/// none.
#[test]
fn a_room_that_was_seen_encrypted_in_a_gap_stays_so() {
    let (mut scene, mut alice, mut bob, room_id) = two(Value::Null);
    for n in 0..60 {
        bob.queue(&scene, &room_id, &n.to_string());
    }
    bob.pump(&mut scene);
    alice.sync(&mut scene);
    let tamper = |kind: &str, response: Response| match kind {
        "gap" => {
            let mut page = parse(&response.body);
            let event = json!({"event_id": "$e", "type": "m.room.encryption", "state_key": "",
                "sender": "@bob:here", "origin_server_ts": 1, "content": {"algorithm": MEGOLM}});
            page["chunk"].as_array_mut().unwrap().push(event);
            Response { body: page.to_string(), ..response }
        }
        "encryption" => Response { status: 404, body: r#"{"errcode":"M_NOT_FOUND"}"#.into() },
        _ => response,
    };
    alice.pump_with(&mut scene, tamper);
    let seen = alice.events();
    assert!(seen.iter().any(|row| row.event.event_type == "m.room.encryption"));
    alice.queue(&scene, &room_id, "a secret");
    alice.pump_with(&mut scene, tamper);
    assert!(!sent_in_the_clear(&scene, "a secret"));
}

/// The same with an event that cannot be read whole.
#[test]
fn an_encryption_that_cannot_be_read_is_not_none() {
    let (mut scene, mut alice, _, room_id) = two(Value::Null);
    let (since, mut answer) = alice.sync_answer(&mut scene);
    answer["rooms"]["join"][&room_id] = json!({"timeline": {"events": ["HERE"]}});
    let event = r#"{"event_id":"$e","type":"m.room.encryption","state_key":"","sender":"@bob:here",
        "origin_server_ts":1,"content":{"algorithm":"m.megolm.v1.aes-sha2","a":1,"a":2}}"#;
    let answer = answer.to_string().replace("\"HERE\"", event);
    alice.machine.receive_sync(scene.now, since.as_deref(), &answer).unwrap();
    alice.queue(&scene, &room_id, "a secret");
    alice.pump_with(&mut scene, |kind, response| match kind {
        "encryption" => Response { status: 404, body: r#"{"errcode":"M_NOT_FOUND"}"#.into() },
        _ => response,
    });
    assert!(!sent_in_the_clear(&scene, "a secret"));
}

/// The server took a message and its answer was lost. The network stays away for two days, in which it is
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

/// A page that the server never gives (it takes longer than a client waits), while everything else works.
#[test]
fn a_gap_that_is_never_answered_is_given_up() {
    let (mut scene, mut alice, mut bob, room_id) = two(json!({"algorithm": MEGOLM}));
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    let mut asked = 0;
    for _ in 0..30 * 24 {
        scene.now += 3_600_000;
        bob.sync(&mut scene);
        bob.pump_for(&mut scene, Awaited::default(), |kind, response| {
            if kind != "gap" {
                return response;
            }
            asked += 1;
            Response { status: 0, body: String::new() }
        });
    }
    let events = bob.events().len();
    assert!(events > 0, "after a month and {asked} questions nothing of the room was handed over");
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

/// The device keys are to be published anew while one-time keys are under way.
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

/// A stranger gives keys of rooms that we are not in.
#[test]
fn room_keys_of_strangers_are_bounded() {
    use mxcrypt_core::store::records::InboundSession;
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let mut mallory = scene.forger("mallory");
    for n in 0..3_000 {
        let session = mxcrypt_core::primitives::megolm::outbound();
        let key = crate::scene::room_key(&format!("!{n}:evil"), &session);
        mallory.give_key(&mut scene, &mut alice, key, |_| {});
        if n % 50 == 49 {
            alice.sync(&mut scene);
        }
    }
    let kept = alice.look(|tx| tx.count::<InboundSession>(&Query::all()));
    assert!(kept < 3_000, "{kept}");
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
    pair.come_to_compare(FIRST, FIRST);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange();
    let now = pair.scene.now;
    let due = pair.people[SECOND].machine.requests(now);
    assert!(due.is_ok(), "{due:?}");
}

/// What a join that was noted brings of the time before.
#[test]
fn what_was_before_a_noted_join_is_not_delivered() {
    use mxcrypt_core::store::records::Membership;
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice], Value::Null);
    bob.sync(&mut scene);
    // Bob's program syncs seldom.
    for n in 0..60 {
        alice.queue(&scene, &room_id, &format!("before {n}"));
    }
    alice.pump(&mut scene);
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &bob.user);
    scene.enter(&bob.token, &room_id);
    bob.machine.note_own_membership(scene.now, &room_id, Membership::Join).unwrap();
    bob.sync(&mut scene);
    bob.pump(&mut scene);
    let events = bob.events();
    let before = events.iter().filter(|row| row.event.content.contains("before ")).count();
    assert!(before <= 50, "{before} messages from before the join are news");
}

/// Twenty strangers ask for verifications, and nobody else can.
#[test]
fn strangers_do_not_keep_a_member_from_asking_for_a_verification() {
    let (mut scene, mut alice, bob, _) = two(json!({"algorithm": MEGOLM}));
    let now = scene.now;
    let request = |sender: String, device: String| {
        json!({"type": "m.key.verification.request", "sender": sender, "content": {
            "transaction_id": format!("t{sender}{device}"), "from_device": device,
            "methods": ["m.sas.v1"], "timestamp": now}})
    };
    alice.sync_with(&mut scene, |sync| {
        let all = (0..200).map(|n| request(format!("@s{}:evil", n / 10), format!("D{n}")));
        sync["to_device"]["events"] = all.collect();
    });
    alice.sync_with(&mut scene, |sync| {
        sync["to_device"]["events"] = json!([request(bob.user.clone(), bob.device_id.clone())]);
    });
    let asks = alice.machine.verifications().unwrap();
    assert!(asks.iter().any(|flow| flow.user_id == bob.user), "{} ask, and not Bob", asks.len());
}
