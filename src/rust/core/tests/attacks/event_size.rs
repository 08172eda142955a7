//! Events that are too large are refused before anything is asked.

use mxcrypt_core::{Kind, machine::Message};
use serde_json::{Value, json};

use crate::scene::{Person, Scene, parse};

/// What servers accept, less what they add.
const LARGEST: usize = 65_536 - 2_560;

fn content(length: usize, relation: Value) -> String {
    let mut content = json!({"msgtype": "m.text", "body": ""});
    if !relation.is_null() {
        content["m.relates_to"] = relation;
    }
    let empty = content.to_string().len();
    content["body"] = "x".repeat(length - empty).into();
    content.to_string()
}

fn message(room_id: &str, content: String) -> Message {
    Message {
        room_id: room_id.to_owned(),
        event_type: "m.room.message".into(),
        content,
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    }
}

/// How large a content may be, and the body of the request that sends one as large.
fn largest(encryption: Value, relation: Value) -> (usize, Vec<String>) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], encryption);
    let sizes = |alice: &mut Person, length: usize| {
        let contents = [content(length, relation.clone())];
        let sizes = alice.machine.content_sizes(Some(&room_id), "m.room.message", &contents);
        sizes.unwrap()[0]
    };
    let size = sizes(&mut alice, 5000);
    assert_eq!(size.size, 5000);
    assert_eq!(sizes(&mut alice, 100_000).largest, size.largest);

    let too_large = message(&room_id, content(size.largest + 1, relation.clone()));
    let small = message(&room_id, content(5000, relation.clone()));
    let error = alice.machine.send(scene.now, vec![small, too_large]).unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge);
    assert!(error.message.contains(&(size.largest + 1).to_string()), "{}", error.message);
    assert!(alice.machine.requests(scene.now).unwrap().requests.is_empty());

    let fits = message(&room_id, content(size.largest, relation.clone()));
    alice.machine.send(scene.now, vec![fits]).unwrap();
    assert_eq!(alice.pump(&mut scene), Vec::new());
    bob.sync(&mut scene);
    let read = bob.events().pop().unwrap().event;
    assert_eq!(parse(&read.content)["body"].as_str().map(|body| body.len() > 1000), Some(true));
    let seen = scene.server.seen().map(|body| String::from_utf8_lossy(body).into_owned());
    (size.largest, seen.collect())
}

#[test]
fn what_fits_in_the_clear_fits_exactly() {
    assert_eq!(largest(Value::Null, Value::Null).0, LARGEST);
}

#[test]
fn what_fits_in_an_encrypted_room_fits_after_encryption() {
    let long = json!({"rel_type": "m.thread", "event_id": format!("${}", "x".repeat(3000))});
    for relation in [Value::Null, long] {
        let encryption = json!({"algorithm": crate::scene::MEGOLM});
        let (largest, seen) = largest(encryption, relation);
        assert!(largest < LARGEST * 3 / 4 + 3000);
        let sent = seen.iter().filter(|body| body.contains("\"ciphertext\":\"A"));
        let longest = sent.map(String::len).max().unwrap();
        // The whole content, and nothing of it wasted but the rest of a block.
        assert!(longest <= LARGEST, "{longest}");
        assert!(longest > LARGEST - 64, "{longest}");
    }
}
