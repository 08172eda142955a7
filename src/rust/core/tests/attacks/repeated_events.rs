//! A server that repeats events.

use serde_json::{Value, json};

use crate::scene::{MEGOLM, encrypted_events, two};

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
