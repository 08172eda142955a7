//! What a server says of a room: never allowed to take protection away.

use mxcrypt_core::machine::{Message, Outcome, Reply};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{Person, Scene};

fn sent_in_the_clear(scene: &Scene, text: &str) -> bool {
    scene.server.seen().any(|body| String::from_utf8_lossy(body).contains(text))
}

fn outcome(person: &mut Person, number: i64) -> Outcome {
    person.machine.outcomes(&[number]).unwrap().remove(0)
}

fn answer(status: u16, body: &str) -> Response {
    Response { status, body: body.into() }
}

const NOT_FOUND: &str = r#"{"errcode":"M_NOT_FOUND","error":"no such event"}"#;

/// Rule 22, and fault C23e.
#[test]
fn a_room_that_was_once_encrypted_stays_so() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.restart();
    // The server sends the state again, without an algorithm and with nothing in it.
    alice.sync_with(&mut scene, |sync| {
        sync["rooms"]["join"][&room_id]["state"]["events"] = json!([{
            "event_id": "$e", "type": "m.room.encryption", "sender": "@bob:here",
            "state_key": "", "origin_server_ts": 1, "content": {"algorithm": "none"}}]);
    });
    let number = alice.queue(&scene, &room_id, "a secret");
    alice.pump_with(&mut scene, |kind, response| {
        if kind == "encryption" { answer(404, NOT_FOUND) } else { response }
    });
    assert!(!sent_in_the_clear(&scene, "a secret"));
    let outcome = outcome(&mut alice, number);
    assert!(
        matches!(&outcome, Outcome::Refused { code, .. } if code == "MXCRYPT_UNKNOWN_ALGORITHM"),
        "{outcome:?}"
    );
}

/// Rule 22: an algorithm that is not known is no reason to send in the clear.
#[test]
fn an_unknown_algorithm_is_refused_before_anything_is_sent() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let room_id = scene.room_with(&mut [&mut alice], json!({"algorithm": "m.future"}));
    let number = alice.queue(&scene, &room_id, "a secret");
    alice.pump(&mut scene);
    assert!(!sent_in_the_clear(&scene, "a secret"));
    assert!(matches!(outcome(&mut alice, number), Outcome::Refused { .. }));
}

/// Before anything goes out in the clear, the server is asked, each time.
#[test]
fn a_room_that_turned_encrypted_since_the_last_sync_is_noticed() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], Value::Null);
    alice.say(&mut scene, &room_id, "for all to read");
    assert!(sent_in_the_clear(&scene, "for all to read"));
    let path = format!("rooms/{}/state/m.room.encryption", crate::scene::encoded(&room_id));
    let content = json!({"algorithm": crate::scene::MEGOLM});
    assert_eq!(scene.call(Some(&bob.token), "PUT", &path, content).status, 200);
    alice.say(&mut scene, &room_id, "a secret");
    assert!(!sent_in_the_clear(&scene, "a secret"));
    assert_eq!(bob.reads(&mut scene), ["a secret"]);
}

/// A question that fails is no permission.
#[test]
fn nothing_goes_out_in_the_clear_while_the_server_does_not_say_so() {
    for (status, body) in [
        (500, "{}"),
        (404, "{}"),
        (404, r#"{"errcode":"M_UNRECOGNIZED"}"#),
        (403, r#"{"errcode":"M_FORBIDDEN"}"#),
        (200, "[]"),
        (200, ""),
    ] {
        let mut scene = Scene::new();
        let mut alice = scene.person("alice");
        let room_id = scene.room_with(&mut [&mut alice], Value::Null);
        alice.queue(&scene, &room_id, "a secret");
        alice.pump_with(&mut scene, |kind, response| {
            if kind == "encryption" { answer(status, body) } else { response }
        });
        assert!(!sent_in_the_clear(&scene, "a secret"), "{status} {body}");
    }
}

/// What was given to the server in the clear does not go again once the room is encrypted.
#[test]
fn a_plain_message_of_unknown_fate_is_not_repeated_in_an_encrypted_room() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let room_id = scene.room_with(&mut [&mut alice], Value::Null);
    let number = alice.queue(&scene, &room_id, "said once");
    // The message is given to the transport, and no answer comes.
    for _ in 0..2 {
        for request in alice.machine.requests(scene.now).unwrap().requests {
            let reply = match request.kind {
                "encryption" => Reply::Answer { status: 404, body: NOT_FOUND.into() },
                _ => Reply::NoAnswer,
            };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    let content = json!({"algorithm": crate::scene::MEGOLM}).to_string();
    alice.machine.note_encryption(&room_id, &content).unwrap();
    alice.pump(&mut scene);
    assert!(!sent_in_the_clear(&scene, "said once"));
    let outcome = outcome(&mut alice, number);
    assert!(matches!(outcome, Outcome::Refused { code, .. } if code == "MXCRYPT_NOW_ENCRYPTED"));
}

/// The seed's form encrypts also where the room's state says nothing, and narrows the readers.
#[test]
fn demanded_encryption_and_an_audience() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let mut carol = scene.person("carol");
    let room_id = scene.room_with(&mut [&mut alice, &mut bob, &mut carol], Value::Null);
    let say = |alice: &mut Person, scene: &mut Scene, text: &str, audience: Option<&str>| {
        let message = Message {
            room_id: room_id.clone(),
            event_type: "m.room.message".into(),
            content: json!({"body": text}).to_string(),
            transaction_id: None,
            demand_encryption: true,
            audience: audience.map(|user| [user.to_owned()].into()),
        };
        alice.machine.send(scene.now, vec![message]).unwrap();
        assert_eq!(alice.pump(scene), Vec::new());
    };
    say(&mut alice, &mut scene, "to all", None);
    say(&mut alice, &mut scene, "to bob", Some("@bob:here"));
    say(&mut alice, &mut scene, "to a stranger", Some("@stranger:here"));
    say(&mut alice, &mut scene, "to all again", None);
    assert!(!sent_in_the_clear(&scene, "to all"));
    let none = "(unknown_session)";
    // The session that nobody else held goes on, from where it stood.
    let later = "(unknown_index)";
    assert_eq!(bob.reads(&mut scene), ["to all", "to bob", later, "to all again"]);
    assert_eq!(carol.reads(&mut scene), ["to all", none, later, "to all again"]);
}

/// A message that the server will never take fails alone.
#[test]
fn a_refused_message_does_not_block_the_next() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    let first = alice.queue(&scene, &room_id, "one");
    let second = alice.queue(&scene, &room_id, "two");
    let mut events = 0;
    alice.pump_with(&mut scene, |kind, response| {
        let is_event = kind == "send" && response.body.contains("event_id");
        events += usize::from(is_event);
        let body = r#"{"errcode":"M_TOO_LARGE","error":"too large"}"#;
        if is_event && events == 1 { answer(413, body) } else { response }
    });
    assert!(
        matches!(outcome(&mut alice, first), Outcome::Refused { code, .. } if code == "M_TOO_LARGE")
    );
    assert!(matches!(outcome(&mut alice, second), Outcome::Sent { .. }));
    assert!(bob.reads(&mut scene).contains(&"two".to_owned()));
}

/// A room that we may not ask about refuses what waits for it, and says why.
#[test]
fn a_room_that_cannot_be_asked_about_refuses() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let number = alice.queue(&scene, "!unknown:here", "hello");
    alice.pump(&mut scene);
    let outcome = outcome(&mut alice, number);
    assert!(matches!(&outcome, Outcome::Refused { .. }), "{outcome:?}");
}

/// The permission to send in the clear is for what was queued when the server was asked.
#[test]
fn the_server_is_asked_anew_for_what_was_queued_since() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let room_id = scene.room_with(&mut [&mut alice], Value::Null);
    alice.queue(&scene, &room_id, "one");
    let asked = alice.machine.requests(scene.now).unwrap().requests.remove(0);
    alice.queue(&scene, &room_id, "two");
    let reply = Reply::Answer { status: 404, body: NOT_FOUND.into() };
    alice.machine.replies(scene.now, vec![(asked.number, reply)]).unwrap();
    let due = alice.machine.requests(scene.now).unwrap().requests;
    let bodies: Vec<_> = due.iter().filter_map(|request| request.body.as_deref()).collect();
    assert!(bodies.len() == 1 && bodies[0].contains("one"), "{bodies:?}");
}

/// An event goes out once its readers have been sent the key, and not before.
#[test]
fn events_wait_for_their_key_to_be_delivered() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.queue(&scene, &room_id, "hello");
    for _ in 0..10 {
        let due = alice.machine.requests(scene.now).unwrap().requests;
        let keys = due.iter().filter(|request| request.path.contains("/sendToDevice/")).count();
        let events = due.iter().filter(|request| request.path.contains("/send/")).count();
        if keys > 0 {
            assert_eq!((keys, events), (1, 0));
            let lost = due.iter().map(|request| (request.number, Reply::NoAnswer)).collect();
            alice.machine.replies(scene.now, lost).unwrap();
            break;
        }
        for request in due {
            let body = request.body.as_deref().map_or(Value::Null, crate::scene::parse);
            let path = request.path["/_matrix/client/v3/".len()..].to_owned();
            let token = alice.token.clone();
            let response = scene.call(Some(&token), request.method, &path, body);
            let reply = Reply::Answer { status: response.status, body: response.body };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    alice.pump(&mut scene);
    assert_eq!(bob.reads(&mut scene), ["hello"]);
}
