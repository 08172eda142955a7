use serde_json::{Value, json};

use crate::support::*;

fn key(index: u64, verified: bool) -> Value {
    json!({"first_message_index": index, "forwarded_count": 0, "is_verified": verified,
        "session_data": {"ciphertext": "x"}})
}

#[test]
fn keys_are_kept_in_the_current_version_alone() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let none = refused(404, "M_NOT_FOUND");
    assert_eq!(world.fails(&alice, "GET", "room_keys/version", Value::Null), none);
    assert_eq!(world.fails(&alice, "PUT", "room_keys/keys?version=1", json!({"rooms": {}})), none);
    let made = json!({"algorithm": "m.x", "auth_data": {"public_key": "k"}});
    for version in ["1", "2"] {
        let answer = world.post(&alice, "room_keys/version", made.clone());
        assert_eq!(answer, json!({ "version": version }));
    }
    let wrong = refused(403, "M_WRONG_ROOM_KEYS_VERSION");
    let body = json!({"rooms": {"!r:x": {"sessions": {"s": key(3, false)}}}});
    assert_eq!(world.fails(&alice, "PUT", "room_keys/keys?version=1", body.clone()), wrong);
    world.put(&alice, "room_keys/keys?version=2", body);
    world.put(&alice, "room_keys/keys/!r:x/t?version=2", key(0, false));
    let shown = world.get(&alice, "room_keys/version");
    assert_eq!((&shown["version"], &shown["count"]), (&json!("2"), &json!(2)));
    let all = world.get(&alice, "room_keys/keys?version=2");
    assert_eq!(all["rooms"]["!r:x"]["sessions"]["t"], key(0, false));
    assert_eq!(world.get(&alice, "room_keys/keys/!other:x?version=2"), json!({"sessions": {}}));
    assert_eq!(world.fails(&bob, "GET", "room_keys/version", Value::Null), none);

    let deleted = world.ask(&alice, "DELETE", "room_keys/version/2", Value::Null);
    expect_ok(deleted);
    assert_eq!(world.get(&alice, "room_keys/version")["version"], json!("1"));
    let missing = world.fails(&alice, "GET", "room_keys/keys/!r:x/s?version=1", Value::Null);
    assert_eq!(missing, none);
}

#[test]
fn the_better_key_of_a_session_is_kept() {
    let mut world = World::new();
    let alice = world.register("alice");
    world.post(&alice, "room_keys/version", json!({"algorithm": "m.x", "auth_data": {}}));
    let path = "room_keys/keys/!r:x/s?version=1";
    for (offered, kept) in [
        (key(5, false), key(5, false)),
        (key(6, false), key(5, false)),
        (key(4, false), key(4, false)),
        (key(7, true), key(7, true)),
        (key(0, false), key(7, true)),
    ] {
        world.put(&alice, path, offered);
        assert_eq!(world.get(&alice, path), kept);
    }
    let odd = json!({"first_message_index": "x", "forwarded_count": 0, "is_verified": false,
        "session_data": {}});
    assert_eq!(world.fails(&alice, "PUT", path, odd), refused(400, "M_BAD_JSON"));
}
