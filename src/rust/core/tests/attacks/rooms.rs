//! What a server says of a room: never allowed to take protection away.

use mxcrypt_core::{
    Kind,
    machine::{Message, Outcome, Reply},
    store::records::Membership,
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene, encoded, parse};

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
    let path = format!("rooms/{}/state/m.room.encryption", encoded(&room_id));
    let content = json!({"algorithm": MEGOLM});
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
    // The message is given to the transport, and no response comes.
    for _ in 0..2 {
        for request in alice.machine.requests(scene.now).unwrap().requests {
            let reply = match request.kind {
                "encryption" => Reply::Answer { status: 404, body: NOT_FOUND.into() },
                _ => Reply::NoAnswer,
            };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    let content = json!({"algorithm": MEGOLM}).to_string();
    alice.machine.note_encryption(scene.now, &room_id, &content).unwrap();
    alice.pump(&mut scene);
    assert!(!sent_in_the_clear(&scene, "said once"));
    let outcome = outcome(&mut alice, number);
    assert!(matches!(outcome, Outcome::Refused { code, .. } if code == "MXCRYPT_NOW_ENCRYPTED"));
}

/// The room turns encrypted while a long queue goes out in the clear. What stands behind a redaction or a
/// reaction, which always go out so, was allowed to before that.
#[test]
fn what_stands_behind_a_redaction_does_not_go_out_in_the_clear_with_it() {
    for reacts in [false, true] {
        let mut scene = Scene::new();
        let mut alice = scene.person("alice");
        let room_id = scene.room_with(&mut [&mut alice], Value::Null);
        for n in 0..100 {
            alice.queue(&scene, &room_id, &format!("for all {n}"));
        }
        if reacts {
            alice.machine.react(scene.now, &room_id, "$1", "yes").unwrap();
        } else {
            alice.machine.redact(scene.now, &room_id, "$1", "{}").unwrap();
        }
        alice.queue(&scene, &room_id, "a secret");
        let path = format!("rooms/{}/state/m.room.encryption", encoded(&room_id));
        let content = json!({"algorithm": MEGOLM});
        let mut left = 100;
        while left > 0 {
            for request in alice.machine.requests(scene.now).unwrap().requests {
                left -= i32::from(request.kind == "send");
                let body = request.body.map_or(Value::Null, |body| parse(&body));
                let path = request.path.replace("/_matrix/client/v3/", "");
                let answer = scene.call(Some(&alice.token), request.method, &path, body);
                let reply = Reply::Answer { status: answer.status, body: answer.body };
                alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
            }
        }
        assert!(sent_in_the_clear(&scene, "for all 99"));
        assert_eq!(scene.call(Some(&alice.token), "PUT", &path, content).status, 200);
        alice.sync(&mut scene);
        alice.pump(&mut scene);
        assert!(!sent_in_the_clear(&scene, "a secret"));
    }
}

/// A message that must be encrypted anywhere stands behind one that need not be.
#[test]
fn demanded_encryption_holds_behind_a_plain_message() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], Value::Null);
    alice.queue(&scene, &room_id, "for all");
    let demanded = message(&room_id, "m.room.message", json!({"body": "a secret"}));
    let demanded = Message { demand_encryption: true, ..demanded };
    alice.machine.send(scene.now, vec![demanded]).unwrap();
    assert_eq!(alice.pump(&mut scene), []);
    assert!(sent_in_the_clear(&scene, "for all"));
    assert!(!sent_in_the_clear(&scene, "a secret"));
    assert_eq!(bob.reads(&mut scene), ["a secret"]);
}

fn message(room_id: &str, event_type: &str, content: Value) -> Message {
    Message {
        room_id: room_id.to_owned(),
        event_type: event_type.to_owned(),
        content: content.to_string(),
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    }
}

/// A reaction goes out in the clear by its own way alone; a message that says it is one does not.
#[test]
fn only_a_reaction_goes_out_in_the_clear_into_an_encrypted_room() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    let content = json!({"body": "a secret"});
    let types = ["m.reaction", "m.room.message", "m.sticker", "org.example.reaction"];
    let messages = types.map(|event_type| message(&room_id, event_type, content.clone()));
    let number = alice.machine.react(scene.now, &room_id, "$1", "a thumb").unwrap();
    alice.machine.send(scene.now, messages.to_vec()).unwrap();
    alice.machine.react(scene.now, &room_id, "$2", "another").unwrap();
    assert_eq!(alice.pump(&mut scene), []);
    assert!(!sent_in_the_clear(&scene, "a secret"));
    assert!(matches!(outcome(&mut alice, number), Outcome::Sent { .. }));
    bob.sync(&mut scene);
    bob.pump(&mut scene);
    let events = bob.events();
    let events: Vec<_> = events.iter().rev().take(6).rev().map(|row| &row.event).collect();
    let expected = [("m.reaction", false), ("m.reaction", true), ("m.room.message", true)];
    let seen: Vec<_> = events.iter().map(|e| (e.event_type.as_str(), e.encrypted)).collect();
    assert_eq!(seen[..3], expected);
    assert_eq!(seen[5], ("m.reaction", false));
    let relation = json!({"rel_type": "m.annotation", "event_id": "$1", "key": "a thumb"});
    assert_eq!(parse(&events[0].content), json!({"m.relates_to": relation}));
}

/// A redaction that is sent like any other event is one: encrypted, it would take nothing back.
#[test]
fn a_redaction_is_never_encrypted() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "not done");
    bob.sync(&mut scene);
    let event_id = bob.events().pop().unwrap().event.event_id.unwrap();
    let content = json!({"redacts": event_id, "reason": "too early"});
    let redaction = message(&room_id, "m.room.redaction", content);
    let redaction = Message { transaction_id: Some("mine".into()), ..redaction };
    alice.machine.send(scene.now, vec![redaction]).unwrap();
    let requests = alice.machine.requests(scene.now).unwrap().requests;
    let path = format!("/redact/{}/mine", encoded(&event_id));
    assert!(requests[0].path.ends_with(&path), "{}", requests[0].path);
    scene.now += 60_000;
    assert_eq!(alice.pump(&mut scene), []);
    bob.sync(&mut scene);
    let row = bob.events().pop().unwrap();
    assert_eq!(row.event.event_type, "m.room.redaction");
    assert_eq!(row.event.redacts.as_deref(), Some(event_id.as_str()));
    assert!(!row.event.encrypted);
    for odd in [json!({}), json!({"redacts": 7}), json!({"redacts": null})] {
        let redaction = message(&room_id, "m.room.redaction", odd);
        let error = alice.machine.send(scene.now, vec![redaction]).unwrap_err();
        assert_eq!(error.kind, Kind::Argument);
    }
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
            let body = request.body.as_deref().map_or(Value::Null, parse);
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

/// The invitations that a person was given: the inviter, and whether the room is a direct one.
fn invitations(person: &mut Person) -> Vec<(String, bool)> {
    let rows = person.events();
    let own = rows.iter().filter(|row| row.event.event_type == "m.room.member");
    own.map(|row| {
        let content = parse(&row.event.content);
        assert_eq!(content["membership"], "invite");
        (row.event.sender.clone(), content["is_direct"] == true)
    })
    .collect()
}

fn invite_state(person: &Person, inviter: &str, content: Value, name: &str) -> Value {
    json!({"invite_state": {"events": [
        {"type": "m.room.name", "state_key": "", "sender": inviter, "content": {"name": name}},
        {"type": "m.room.member", "state_key": person.user, "sender": inviter,
            "content": content}]}})
}

/// A server may send an invitation with each sync: with the same state, with another name, or without
/// the event that invites.
#[test]
fn an_invitation_is_delivered_once() {
    let mut scene = Scene::new();
    let mut bob = scene.person("bob");
    let invite = json!({"membership": "invite", "is_direct": true});
    let with = |sync: &mut Value, state: Value| sync["rooms"]["invite"]["!r:here"] = state;
    let state = invite_state(&bob, "@alice:here", invite.clone(), "One");
    bob.sync_with(&mut scene, |sync| with(sync, state.clone()));
    assert_eq!(invitations(&mut bob), [("@alice:here".to_owned(), true)]);
    let renamed = invite_state(&bob, "@alice:here", json!({"membership": "invite"}), "Two");
    for again in [state.clone(), renamed, json!({}), json!({"invite_state": {"events": [{}]}})] {
        bob.restart();
        bob.sync_with(&mut scene, |sync| with(sync, again.clone()));
        assert_eq!(invitations(&mut bob), [], "{again}");
    }
    let room = bob.machine.rooms().unwrap().remove(0);
    assert_eq!((room.name.as_deref(), room.direct), (Some("Two"), true));
    // Somebody else invites: that is another invitation.
    let of_carol = invite_state(&bob, "@carol:here", json!({"membership": "invite"}), "Two");
    bob.sync_with(&mut scene, |sync| with(sync, of_carol.clone()));
    assert_eq!(invitations(&mut bob), [("@carol:here".to_owned(), false)]);
    // After a leave, by a sync or of our own, an invitation is a new one.
    bob.sync_with(&mut scene, |sync| sync["rooms"]["leave"]["!r:here"] = json!({}));
    bob.sync_with(&mut scene, |sync| with(sync, of_carol.clone()));
    assert_eq!(invitations(&mut bob).len(), 1);
    bob.machine.note_own_membership(bob.now, "!r:here", Membership::Leave).unwrap();
    bob.sync_with(&mut scene, |sync| with(sync, of_carol));
    assert_eq!(invitations(&mut bob).len(), 1);
}

/// One sync, in which the invitation stands twice, or no event says who invites.
#[test]
fn an_odd_invitation_is_one_event_too() {
    for (events, inviter) in [
        (json!([]), ""),
        (json!([5, {"type": "m.room.member", "state_key": "@bob:here", "sender": 5}]), ""),
        (json!([{"type": "m.room.member", "state_key": "@bob:here", "sender": "alice"}]), ""),
        (
            json!([
                {"type": "m.room.member", "state_key": "@bob:here", "sender": "@alice:here",
                    "content": {"membership": "invite", "is_direct": "yes"}},
                {"type": "m.room.member", "state_key": "@bob:here", "sender": "@alice:here",
                    "content": {"membership": "invite", "is_direct": 1}}]),
            "@alice:here",
        ),
    ] {
        let mut scene = Scene::new();
        let mut bob = scene.person("bob");
        bob.sync_with(&mut scene, |sync| {
            sync["rooms"]["invite"]["!r:here"] = json!({"invite_state": {"events": events}});
        });
        assert_eq!(invitations(&mut bob), [(inviter.to_owned(), false)], "{events}");
    }
}
