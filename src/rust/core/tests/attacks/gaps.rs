//! Events that a sync left out, and what only seems to be left out.

use mxcrypt_core::machine::Awaited;
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene, parse, two};

fn missing(person: &mut Person) -> Vec<String> {
    let events = person.events();
    let told = events.iter().filter(|row| row.event.event_type == "mxcrypt.missing");
    told.filter_map(|row| row.event.unreadable.as_ref().map(|why| why.message.clone())).collect()
}

/// As mx_room_join() does: the response to the join is noted before the next sync.
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
