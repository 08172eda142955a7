//! Requests that fail, for a while or for good, and what they may hold up: what needs them, and nothing
//! else. What the server refuses, and what only seems to be refused.

use std::collections::BTreeMap;

use mxcrypt_core::{
    machine::{Awaited, Outcome, Reply, Trouble, Unsigned},
    store::{
        Query,
        records::{BackupRequest, Device, Failure, OutboxBody, OutboxRow, OutboxState},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    scene::{MEGOLM, Person, Scene, parse, text_of},
    to_device::invite,
};

fn two() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    (scene, alice, bob, room_id)
}

fn error(status: u16, body: &str) -> Response {
    Response { status, body: body.into() }
}

/// Sends and waits for it, as R does; says what became of it and what failed meanwhile.
fn send_with(
    person: &mut Person,
    scene: &mut Scene,
    room_id: &str,
    tamper: impl FnMut(&str, Response) -> Response,
) -> (Outcome, Vec<Trouble>, BTreeMap<String, Trouble>) {
    let number = person.queue(scene, room_id, "hello");
    let since = person.machine.failures().unwrap();
    let awaited = Awaited { room_id: Some(room_id.into()), since, ..Awaited::default() };
    let (troubles, held_up) = person.pump_for(scene, awaited, tamper);
    let outcome = person.machine.outcomes(&[number]).unwrap().remove(0);
    (outcome, troubles, held_up)
}

fn is_sent(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Sent { .. })
}

/// Responses that are no verdict of a homeserver.
fn odd_responses() -> Vec<Response> {
    let html = "<html><body>Blocked by ACME Firewall</body></html>";
    let mut odd: Vec<Response> = [403, 404, 407, 408, 413, 425, 429, 500, 502, 504, 0]
        .map(|status| error(status, html))
        .into();
    odd.push(error(200, "OK"));
    odd.push(error(200, html));
    odd.push(error(404, r#"{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}"#));
    odd.push(error(403, r#"{"errcode":"M_CONSENT_NOT_GIVEN","consent_uri":"https://here/terms"}"#));
    odd.push(error(403, r#"{"errcode":"M_RESOURCE_LIMIT_EXCEEDED"}"#));
    odd.push(error(429, r#"{"errcode":"M_LIMIT_EXCEEDED"}"#));
    odd
}

/// Whatever the responses to the key upload, the backup and the search in it are: messages go out,
/// and what failed is not tried again at once.
#[test]
fn side_requests_that_fail_keep_no_message_from_being_sent() {
    for response in odd_responses() {
        let (mut scene, mut alice, _, room_id) = two();
        // One-time keys are due, and so is a look at the backup.
        alice.machine.set_one_time_key_target(alice.now, 60).unwrap();
        alice.wants_backup_version();
        let mut asked = Vec::new();
        let (outcome, troubles, _) = send_with(&mut alice, &mut scene, &room_id, |kind, real| {
            if ["keys_upload", "backup_version"].contains(&kind) {
                asked.push(kind.to_owned());
                return response.clone();
            }
            real
        });
        assert!(is_sent(&outcome), "{response:?}");
        // A 400 aside, a response with status 200 and nonsense to an upload is unreadable too.
        assert_eq!(asked.len(), 2, "{response:?}: {asked:?}");
        assert_eq!(troubles.len(), 2, "{response:?}");
        // The next call leaves them alone, also after a restart.
        alice.restart();
        let (outcome, troubles, _) = send_with(&mut alice, &mut scene, &room_id, |kind, real| {
            assert!(!["keys_upload", "backup_version"].contains(&kind));
            real
        });
        assert!(is_sent(&outcome));
        assert_eq!(troubles, Vec::new());
        // Later they succeed, and nothing of it is left.
        scene.now += 2_000;
        alice.sync(&mut scene);
        assert_eq!(alice.pump(&mut scene), Vec::new());
        assert_eq!(alice.look(|tx| tx.count::<Failure>(&Query::all())), 0);
    }
}

/// The pause doubles, up to a quarter of an hour.
#[test]
fn a_request_that_always_fails_is_made_ever_less_often() {
    let (mut scene, mut alice, ..) = two();
    alice.wants_backup_version();
    let mut asked = Vec::new();
    for _ in 0..7_200 {
        scene.now += 1_000;
        let now = scene.now;
        alice.pump_for(&mut scene, Awaited::default(), |kind, real| {
            if kind == "backup_version" {
                asked.push(now);
                return error(500, "");
            }
            real
        });
    }
    let pauses: Vec<i64> = asked.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
    assert_eq!(pauses[..6], [1, 2, 4, 8, 16, 32]);
    assert_eq!(pauses.last(), Some(&900));
}

/// What a caller waits for is tried once in each call, however often it failed.
#[test]
fn who_waits_has_it_tried_at_once_and_is_told_what_failed() {
    let (mut scene, mut alice, _, room_id) = two();
    for tries in 1..4 {
        let mut asked = 0;
        let (outcome, _, held_up) = send_with(&mut alice, &mut scene, &room_id, |kind, real| {
            if kind == "members" {
                asked += 1;
                return error(403, "<html>");
            }
            real
        });
        assert_eq!((outcome, asked), (Outcome::Waiting, 1), "{tries}");
        assert_eq!((held_up[&room_id].status, &*held_up[&room_id].kind), (403, "members"));
    }
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, |_, real| real);
    assert!(is_sent(&outcome));
    let sent = alice.look(|tx| tx.count::<OutboxRow>(&Query::equal("state", "sent")));
    assert_eq!(sent, 4);
}

/// A message ends with a verdict of the homeserver, and with nothing else.
#[test]
fn only_a_known_error_code_ends_a_message() {
    for response in odd_responses() {
        let (mut scene, mut alice, mut bob, room_id) = two();
        alice.say(&mut scene, &room_id, "first");
        let (outcome, troubles, held_up) =
            send_with(&mut alice, &mut scene, &room_id, |kind, real| {
                if kind == "send" { response.clone() } else { real }
            });
        assert_eq!(outcome, Outcome::Waiting, "{response:?}");
        assert_eq!((troubles.len(), held_up.len()), (1, 1), "{response:?}");
        assert_eq!(troubles[0].status, response.status);
        assert_eq!(alice.pump(&mut scene), Vec::new());
        assert_eq!(bob.reads(&mut scene), ["first", "hello"], "{response:?}");
    }
    for (status, code) in [
        (403, "M_FORBIDDEN"),
        (413, "M_TOO_LARGE"),
        (400, "M_BAD_JSON"),
        // A bad request, says the homeserver, and not why.
        (400, "M_UNKNOWN"),
    ] {
        let (mut scene, mut alice, _, room_id) = two();
        alice.say(&mut scene, &room_id, "first");
        let body = json!({"errcode": code, "error": "no"}).to_string();
        let (outcome, troubles, _) = send_with(&mut alice, &mut scene, &room_id, |kind, real| {
            if kind == "send" { error(status, &body) } else { real }
        });
        assert_eq!(outcome, Outcome::Refused { code: code.into(), message: "no".into() });
        assert_eq!(troubles, Vec::new());
    }
}

/// The rest of a room's messages wait for the one that failed: they go out in order, once each.
#[test]
fn messages_of_a_room_stay_in_order() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    alice.say(&mut scene, &room_id, "zero");
    for text in ["one", "two", "three"] {
        alice.queue(&scene, &room_id, text);
    }
    let mut sends = 0;
    let troubles = alice.pump_with(&mut scene, |kind, real| {
        sends += usize::from(kind == "send");
        if kind == "send" && sends == 2 { error(502, "") } else { real }
    });
    assert_eq!((troubles.len(), sends), (1, 2));
    assert_eq!(alice.pump(&mut scene), Vec::new());
    assert_eq!(bob.reads(&mut scene), ["zero", "one", "two", "three"]);
}

/// Nothing waits until a device was told that it gets no key.
#[test]
fn a_withheld_notice_that_is_not_taken_holds_up_nothing() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    let mut carol = scene.person("carol");
    invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    alice.reads(&mut scene);
    alice
        .machine
        .set_local_trust(
            scene.now,
            &carol.user,
            &carol.device_id,
            None,
            mxcrypt_core::store::records::LocalTrust::Blocked,
        )
        .or_else(|_| {
            alice.machine.refresh_devices(alice.now, &[carol.user.clone()])?;
            alice.pump(&mut scene);
            alice.machine.set_local_trust(
                alice.now,
                &carol.user,
                &carol.device_id,
                None,
                mxcrypt_core::store::records::LocalTrust::Blocked,
            )
        })
        .unwrap();
    let mut notices = 0;
    for _ in 0..3 {
        let number = alice.queue(&scene, &room_id, "hello");
        let since = alice.machine.failures().unwrap();
        let awaited = Awaited { room_id: Some(room_id.clone()), since, ..Awaited::default() };
        for _ in 0..100 {
            let due = alice.machine.requests_for(scene.now, &awaited).unwrap();
            if due.requests.is_empty() {
                break;
            }
            for request in due.requests {
                let response = if request.path.contains("m.room_key.withheld") {
                    notices += 1;
                    error(500, "")
                } else {
                    let http = mxcrypt_model_server::Request {
                        method: request.method.into(),
                        path: request.path.clone(),
                        token: Some(alice.token.clone()),
                        body: request.body.clone().unwrap_or_default().into_bytes(),
                    };
                    scene.server.handle(scene.now as u64, &http)
                };
                let reply = Reply::Answer { status: response.status, body: response.body };
                alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
            }
        }
        assert!(is_sent(&alice.machine.outcomes(&[number]).unwrap()[0]));
    }
    assert_eq!(notices, 1, "it waits, and by itself");
    assert_eq!(bob.reads(&mut scene), ["hello", "hello", "hello"]);
    assert_eq!(carol.reads(&mut scene), ["(unknown_session)"; 3]);
    // Nobody waits for it, so it does not stay for ever.
    scene.now += 8 * 24 * 3_600_000;
    alice.sync(&mut scene);
    alice.pump_with(&mut scene, |kind, real| if kind == "send" { error(500, "") } else { real });
    assert_eq!(alice.look(|tx| tx.count::<OutboxRow>(&Query::equal("state", "fixed"))), 0);
}

/// A server that fails for one user: the others are requested without that user.
#[test]
fn a_user_whose_devices_cannot_be_asked_for_holds_up_only_that_users_rooms() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    let mut carol = scene.person("carol");
    let other = scene.room(&mut [&mut alice, &mut carol]);
    let poisoned = |request: &str| request.contains("@carol:here");
    // The responses tell which requests were made.
    let tamper = move |kind: &str, real: Response| {
        if kind == "keys_query" && poisoned(&real.body) { error(500, "") } else { real }
    };
    for person in [&mut bob, &mut carol] {
        person.sync(&mut scene);
    }
    // Messages wait in both rooms.
    alice.queue(&scene, &other, "to carol");
    let (outcome, troubles, held_up) = send_with(&mut alice, &mut scene, &room_id, tamper);
    assert!(is_sent(&outcome));
    assert_eq!(troubles.len(), 1);
    assert_eq!(held_up.keys().collect::<Vec<_>>(), [&other]);
    assert_eq!(bob.reads(&mut scene), ["hello"]);
    // In a room with both, Bob reads in the end; Carol is named as not reached.
    invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    alice.sync(&mut scene);
    let mut outcomes = Vec::new();
    for _ in 0..8 {
        scene.now += 60_000;
        alice.sync(&mut scene);
        outcomes.push(send_with(&mut alice, &mut scene, &room_id, tamper).0);
    }
    let Outcome::Sent { unreached, .. } = outcomes.last().unwrap() else { panic!("{outcomes:?}") };
    assert_eq!(unreached, &[(carol.user.clone(), "*".to_owned())]);
    assert_eq!(bob.reads(&mut scene).len(), 8);
    // To her alone nothing is refused: nobody has said that she cannot be reached.
    let waiting = alice.look(|tx| tx.count::<OutboxRow>(&Query::equal("room_id", &*other)));
    let refused = alice.look(|tx| tx.count::<OutboxRow>(&Query::equal("state", "refused")));
    assert_eq!((waiting, refused), (1, 0));
    scene.now += 3_600_000;
    alice.sync(&mut scene);
    assert_eq!(alice.pump(&mut scene), Vec::new());
    assert!(carol.reads(&mut scene).contains(&"to carol".to_owned()));
}

/// The same of one-time keys of a device.
#[test]
fn a_device_whose_claim_fails_does_not_hold_up_the_others_for_ever() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    let carol = scene.person("carol");
    invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token, &room_id);
    alice.sync(&mut scene);
    let tamper = |kind: &str, real: Response| {
        let poisoned = kind == "keys_claim" && real.body.contains("@carol:here");
        if poisoned { error(500, "") } else { real }
    };
    let mut outcome = Outcome::Waiting;
    for _ in 0..8 {
        scene.now += 5_000;
        outcome = send_with(&mut alice, &mut scene, &room_id, tamper).0;
    }
    let Outcome::Sent { unreached, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(unreached, [(carol.user.clone(), carol.device_id.clone())]);
    assert_eq!(bob.reads(&mut scene).len(), 8);
    let device: Option<Device> =
        alice.look(|tx| tx.get(&[carol.user.as_str().into(), carol.device_id.as_str().into()]));
    assert!(!device.unwrap().told_no_olm, "it was not the device that had no key");
}

/// A gap that cannot be fetched keeps no message from going out; in the end it is told and given up, and
/// what stood behind it comes.
#[test]
fn a_gap_that_cannot_be_fetched_is_given_up_after_hours() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    alice.say(&mut scene, &room_id, "lost");
    alice.say(&mut scene, &room_id, "behind");
    bob.sync_with(&mut scene, |sync| {
        let timeline = &mut sync["rooms"]["join"][&room_id]["timeline"];
        timeline["limited"] = json!(true);
        let events = timeline["events"].as_array_mut().unwrap();
        events.drain(..events.len() - 1);
    });
    bob.events();
    let fails = |kind: &str, real: Response| {
        if kind == "gap" { error(403, "<html>") } else { real }
    };
    let (outcome, troubles, _) = send_with(&mut bob, &mut scene, &room_id, fails);
    assert!(is_sent(&outcome));
    assert_eq!(troubles.len(), 1);
    let started = scene.now;
    let mut told = Vec::new();
    while told.is_empty() {
        scene.now += 60_000;
        assert!(scene.now - started < 24 * 3_600_000, "the room is held back for ever");
        bob.pump_for(&mut scene, Awaited::default(), fails);
        told = bob.events();
    }
    assert!(scene.now - started > 3 * 3_600_000, "given up too soon");
    assert_eq!(told[0].event.unreadable.as_ref().unwrap().code, "gap");
    assert_eq!(
        told.iter().filter(|row| row.event.encrypted).map(text_of).collect::<Vec<_>>(),
        ["behind"]
    );
    // No response at all is no reason.
    assert_eq!(bob.look(|tx| tx.count::<OutboxRow>(&Query::equal("state", "refused"))), 0);
}

/// Uploads end, whatever the server counts.
#[test]
fn a_server_that_counts_no_keys_is_not_given_keys_for_ever() {
    for counts in [
        json!({}),
        json!({"one_time_key_counts": null}),
        json!({"one_time_key_counts": []}),
        json!({"one_time_key_counts": {}}),
        json!({"one_time_key_counts": {"signed_curve25519": 0}}),
        json!({"one_time_key_counts": {"signed_curve25519": -3}}),
        json!({"one_time_key_counts": {"signed_curve25519": "many"}}),
    ] {
        let mut scene = Scene::new();
        let mut alice = scene.person("alice");
        alice.machine.set_one_time_key_target(alice.now, 60).unwrap();
        let mut uploads = 0;
        for _ in 0..10 {
            scene.now += 60_000;
            alice.sync_with(&mut scene, |sync| sync["device_one_time_keys_count"] = json!({}));
            alice.pump_with(&mut scene, |kind, real| {
                if kind != "keys_upload" {
                    return real;
                }
                uploads += 1;
                error(200, &counts.to_string())
            });
        }
        assert!((1..=10).contains(&uploads), "{counts}: {uploads}");
    }
}

/// A 400 of a proxy must not take this device's keys for refused.
#[test]
fn a_proxy_that_refuses_the_upload_does_not_end_the_device() {
    let (mut scene, mut alice, _, room_id) = two();
    alice.machine.set_one_time_key_target(alice.now, 60).unwrap();
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, |kind, real| {
        if kind == "keys_upload" { error(400, "<html>") } else { real }
    });
    assert!(is_sent(&outcome));
    scene.now += 2_000;
    assert_eq!(alice.pump(&mut scene), Vec::new());
}

/// A peer names a session so that its search would ask something else of the server.
#[test]
fn what_would_lead_to_another_path_is_never_asked() {
    for session_id in ["..", ".", "%2e%2e", "..%2f..", "%252E%252E", "../x", "..\\x"] {
        let (mut scene, mut alice, bob, room_id) = two();
        alice.events();
        let content = json!({"algorithm": MEGOLM, "session_id": session_id, "ciphertext": "AwgA",
            "sender_key": "A", "device_id": "B"});
        let path = format!("rooms/{}/send/m.room.encrypted/odd", crate::scene::encoded(&room_id));
        assert_eq!(scene.call(Some(&bob.token), "PUT", &path, content).status, 200);
        alice.sync(&mut scene);
        alice.machine.take(alice.now, "test", 10, Unsigned::AsTheModeSays).unwrap();
        assert_eq!(alice.look(|tx| tx.count::<BackupRequest>(&Query::all())), 0, "{session_id}");
    }
    let (scene, mut alice, _, room_id) = two();
    let message =
        |room_id: &str, event_type: &str, id: Option<&str>| mxcrypt_core::machine::Message {
            room_id: room_id.into(),
            event_type: event_type.into(),
            content: "{}".into(),
            transaction_id: id.map(str::to_owned),
            demand_encryption: false,
            audience: None,
        };
    for odd in ["..", "%2E%2E", "."] {
        for bad in [message(&room_id, odd, None), message(&room_id, "m.x", Some(odd))] {
            assert!(alice.machine.send(scene.now, vec![bad]).is_err(), "{odd}");
        }
        let redaction = mxcrypt_core::machine::Message {
            content: json!({ "redacts": odd }).to_string(),
            ..message(&room_id, "m.room.redaction", None)
        };
        assert!(alice.machine.send(scene.now, vec![redaction]).is_err(), "{odd}");
        assert!(alice.machine.redact(scene.now, &room_id, odd, "{}").is_err());
    }
    assert!(alice.machine.send(scene.now, vec![message("!a/../b", "m.x", None)]).is_err());
    assert_eq!(alice.machine.waiting_to_send().unwrap(), 0);
}

/// What stands in the outbox although no request can be made of it stops nothing else: a verification in a
/// room that a server named so, or a row of an earlier version.
#[test]
fn what_no_request_can_be_made_of_stops_nothing() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    let good = alice.machine.react(scene.now, &room_id, "$event", "x").unwrap();
    alice.look(|tx| {
        let good: OutboxRow = tx.get(&[good.into()])?.unwrap();
        let redaction = OutboxBody::Redaction { event_id: "..".into(), content: "{}".into() };
        for (room_id, body) in [
            (room_id.as_str(), redaction),
            ("!a/../b", OutboxBody::Reaction { content: "{}".into() }),
        ] {
            let number = tx.take_number("outbox")?;
            let transaction_id = format!("odd {number}");
            let room_id = room_id.to_owned();
            tx.put(&OutboxRow { number, transaction_id, room_id, body, ..good.clone() })?;
        }
        Ok(())
    });
    let number = alice.queue(&scene, &room_id, "hello");
    assert_eq!(alice.pump(&mut scene), Vec::new());
    for odd in [good + 1, good + 2] {
        let outcome = alice.machine.outcomes(&[odd]).unwrap().remove(0);
        let is_refused = |code: &str| code == "MXCRYPT_UNADDRESSABLE";
        assert!(matches!(outcome, Outcome::Refused { code, .. } if is_refused(&code)), "{odd}");
    }
    assert!(is_sent(&alice.machine.outcomes(&[number]).unwrap()[0]));
    assert_eq!(bob.reads(&mut scene), ["hello"]);
}

/// A proxy takes small requests only.
#[test]
fn room_keys_that_are_too_large_go_in_halves() {
    for (most, body) in [(1, "<html>"), (3, r#"{"errcode":"M_TOO_LARGE"}"#)] {
        let mut scene = Scene::new();
        let mut alice = scene.person("alice");
        // Five devices of one user, and one of another.
        let mut bobs: Vec<Person> = (0..5).map(|_| scene.person("bob")).collect();
        let mut carol = scene.person("carol");
        let room_id = scene.room(&mut [&mut alice, &mut carol]);
        invite(&mut scene, &alice.token, &room_id, "@bob:here");
        scene.enter(&bobs[0].token.clone(), &room_id);
        alice.sync(&mut scene);
        let number = alice.queue(&scene, &room_id, "hello");
        let mut sizes = Vec::new();
        for _ in 0..100 {
            let due = alice.machine.requests(scene.now).unwrap();
            if due.requests.is_empty() {
                break;
            }
            for request in due.requests {
                let messages = request.body.as_deref().map_or(Value::Null, parse);
                let users = messages["messages"].as_object();
                let devices = users.map_or(0, |users| {
                    users.values().map(|devices| devices.as_object().unwrap().len()).sum()
                });
                let response = if devices > most {
                    error(413, body)
                } else {
                    let http = mxcrypt_model_server::Request {
                        method: request.method.into(),
                        path: request.path.clone(),
                        token: Some(alice.token.clone()),
                        body: request.body.clone().unwrap_or_default().into_bytes(),
                    };
                    scene.server.handle(scene.now as u64, &http)
                };
                if devices > 0 {
                    sizes.push(devices);
                }
                let reply = Reply::Answer { status: response.status, body: response.body };
                let troubles = alice.machine.replies(scene.now, vec![(request.number, reply)]);
                assert_eq!(troubles.unwrap(), Vec::new());
            }
        }
        assert!(is_sent(&alice.machine.outcomes(&[number]).unwrap()[0]), "{sizes:?}");
        assert_eq!(sizes[0], 6);
        for reader in bobs.iter_mut().chain([&mut carol]) {
            assert_eq!(reader.reads(&mut scene), ["hello"]);
        }
    }
}

fn refuse(kind: &str, real: Response) -> Response {
    if kind == "send" && real.body.contains("event_id") {
        return error(403, r#"{"errcode":"M_FORBIDDEN","error":"You are not in this room."}"#);
    }
    real
}

/// A message that is refused after its call has ended is told by an event, once, and stays until
/// somebody decides about it.
#[test]
fn a_refusal_that_nobody_waits_for_is_told() {
    let (mut scene, mut alice, mut bob, room_id) = two();
    alice.events();
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, |kind, real| {
        if kind == "members" { error(0, "") } else { real }
    });
    assert_eq!(outcome, Outcome::Waiting);
    let waiting = alice.machine.unsent(scene.now).unwrap().remove(0);
    let number = waiting.number;
    assert_eq!((waiting.state, &*waiting.event_type), (OutboxState::Queued, "m.room.message"));
    assert_eq!(waiting.reason.unwrap().1, "The server did not respond.");
    alice.machine.leave(scene.now, &[number]).unwrap();
    // A later call finds it refused.
    alice.sync(&mut scene);
    assert_eq!(alice.pump_with(&mut scene, refuse), Vec::new());
    let told = alice.events();
    let told = told.iter().find(|row| row.event.event_type == "mxcrypt.send_failed").unwrap();
    let content = parse(&told.event.content);
    assert_eq!(content["content"]["body"], "hello");
    assert_eq!((&content["errcode"], &content["number"]), (&json!("M_FORBIDDEN"), &json!(number)));
    assert!(content["body"].as_str().unwrap().contains("You are not in this room."));
    assert_eq!(told.event.room_id, room_id);
    assert_eq!(told.event.event_id, None);
    // Once.
    alice.restart();
    alice.reads(&mut scene);
    assert!(alice.events().iter().all(|row| row.event.event_type != "mxcrypt.send_failed"));
    let refused = alice.machine.unsent(scene.now).unwrap();
    assert_eq!((refused.len(), refused[0].state), (1, OutboxState::Told));
    // It is sent again, and arrives.
    alice.machine.retry(scene.now, &[number]).unwrap();
    assert_eq!(alice.pump(&mut scene), Vec::new());
    assert!(is_sent(&alice.machine.outcomes(&[number]).unwrap()[0]));
    assert_eq!(alice.machine.unsent(scene.now).unwrap(), Vec::new());
    assert!(alice.machine.retry(scene.now, &[number]).is_err());
    assert_eq!(bob.reads(&mut scene), ["hello"]);
}

/// What goes out in the clear is a message too.
#[test]
fn a_refused_reaction_or_redaction_is_told_and_sent_again() {
    let (mut scene, mut alice, _, room_id) = two();
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, |_, real| real);
    let Outcome::Sent { event_id, .. } = outcome else { panic!("{outcome:?}") };
    alice.events();
    let reaction = alice.machine.react(scene.now, &room_id, &event_id, "x").unwrap();
    let redaction = alice.machine.redact(scene.now, &room_id, &event_id, "{}").unwrap();
    let numbers = [reaction, redaction];
    let unsent = alice.machine.unsent(scene.now).unwrap();
    let found: Vec<_> = unsent.iter().map(|row| (row.number, row.event_type.as_str())).collect();
    assert_eq!(found, [(reaction, "m.reaction"), (redaction, "m.room.redaction")]);
    assert_eq!(parse(&unsent[1].content), json!({"redacts": event_id}));
    alice.machine.leave(scene.now, &numbers).unwrap();
    alice.pump_with(&mut scene, refuse);
    let told: Vec<_> = alice
        .events()
        .iter()
        .filter(|row| row.event.event_type == "mxcrypt.send_failed")
        .map(|row| parse(&row.event.content)["number"].as_i64().unwrap())
        .collect();
    assert_eq!(told, numbers);
    alice.machine.retry(scene.now, &numbers).unwrap();
    assert_eq!(alice.pump(&mut scene), Vec::new());
    let outcomes = alice.machine.outcomes(&numbers).unwrap();
    assert!(outcomes.iter().all(is_sent), "{outcomes:?}");
    let large = "x".repeat(70_000);
    assert!(alice.machine.react(scene.now, &room_id, &event_id, &large).is_err());
}

/// A caller who waits is told by the outcome, and by nothing else; a process that died does not
/// wait.
#[test]
fn a_refusal_is_told_once() {
    let (mut scene, mut alice, _, room_id) = two();
    alice.say(&mut scene, &room_id, "first");
    alice.reads(&mut scene);
    let is_told = |alice: &mut Person, scene: &mut Scene| {
        alice.reads(scene);
        alice.events();
        let unsent = alice.machine.unsent(scene.now).unwrap();
        unsent.iter().any(|message| message.state == OutboxState::Told)
    };
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, refuse);
    assert!(matches!(outcome, Outcome::Refused { .. }));
    assert!(!is_told(&mut alice, &mut scene));
    let number = alice.machine.unsent(scene.now).unwrap()[0].number;
    alice.machine.forget(alice.now, &[number]).unwrap();
    scene.now += 120_000;
    assert!(!is_told(&mut alice, &mut scene));
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, refuse);
    assert!(matches!(outcome, Outcome::Refused { .. }));
    scene.now += 120_000;
    assert!(is_told(&mut alice, &mut scene));
    let number = alice.machine.unsent(scene.now).unwrap()[0].number;
    alice.machine.discard(scene.now, &[number]).unwrap();
    assert_eq!(alice.machine.unsent(scene.now).unwrap(), Vec::new());
    assert!(alice.machine.discard(scene.now, &[number]).is_err());
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Refused { code, .. } if code == "MXCRYPT_DISCARDED"));
}

/// The caller learns at the end what became of its messages. What was refused stays until the caller has told
/// its user: a process that ends before that leaves it to the next one.
#[test]
fn a_settled_refusal_stays_until_it_was_told() {
    let (mut scene, mut alice, _, room_id) = two();
    let sent = alice.queue(&scene, &room_id, "first");
    assert_eq!(alice.pump(&mut scene), Vec::new());
    let (outcome, ..) = send_with(&mut alice, &mut scene, &room_id, refuse);
    let refused = alice.machine.unsent(scene.now).unwrap()[0].number;
    for _ in 0..2 {
        let settled = alice.machine.settle(scene.now, &room_id, &[refused]).unwrap();
        assert_eq!(settled.outcomes, std::slice::from_ref(&outcome));
    }
    let mut settle = || alice.machine.settle(scene.now, &room_id, &[sent]).unwrap().outcomes;
    assert!(is_sent(&settle()[0]));
    let forgotten = settle().remove(0);
    assert!(matches!(forgotten, Outcome::Refused { code, .. } if code == "MXCRYPT_DISCARDED"));
    alice.machine.leave(scene.now, &[refused]).unwrap();
    assert_eq!(alice.machine.unsent(scene.now).unwrap()[0].state, OutboxState::Told);
}

/// Content as deep as can be read does not poison the inbox.
#[test]
fn the_deepest_content_can_be_told() {
    let (mut scene, mut alice, _, room_id) = two();
    let depth = 126;
    let content = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let message = mxcrypt_core::machine::Message {
        room_id: room_id.clone(),
        event_type: "org.example".into(),
        content,
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    };
    let number = alice.machine.send(scene.now, vec![message]).unwrap()[0];
    alice.machine.leave(scene.now, &[number]).unwrap();
    alice.pump_with(&mut scene, |kind, real| match kind {
        "members" => error(403, r#"{"errcode":"M_FORBIDDEN"}"#),
        _ => real,
    });
    let told = alice.events();
    let told = told.iter().find(|row| row.event.event_type == "mxcrypt.send_failed").unwrap();
    assert_eq!(parse(&told.event.content)["number"], number);
}

/// Keys that were never published are tried with each sync: without them nothing can be read here.
#[test]
fn a_device_is_published_as_soon_as_the_server_takes_its_keys() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    alice.machine.publish_anew(alice.now).unwrap();
    let flush = |alice: &mut Person| Awaited {
        kinds: vec!["messages".into()],
        since: alice.machine.failures().unwrap(),
        ..Awaited::default()
    };
    for broken in [true, true, false, false] {
        let (awaited, mut asked) = (flush(&mut alice), 0);
        let (troubles, _) = alice.pump_for(&mut scene, awaited, |kind, real| {
            asked += usize::from(kind == "keys_upload");
            if broken { error(502, "") } else { real }
        });
        assert_eq!(troubles.len(), usize::from(broken));
        assert_eq!(asked, usize::from(!alice.machine.key_upload().unwrap().published || asked > 0));
    }
    assert!(alice.machine.key_upload().unwrap().published);
}
