use serde_json::{Value, json};

use crate::support::*;

fn device_keys(who: &Device, key: &str) -> Value {
    json!({
        "user_id": who.user,
        "device_id": who.id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {format!("ed25519:{}", who.id): key},
        "signatures": {&who.user: {format!("ed25519:{}", who.id): "sig"}},
    })
}

fn claim(world: &mut World, who: &Device, whom: &Device) -> Value {
    let body = json!({"one_time_keys": {&whom.user: {&whom.id: "signed_curve25519"}}});
    world.post(who, "keys/claim", body)["one_time_keys"][&whom.user][&whom.id].clone()
}

#[test]
fn uploaded_keys_are_found() {
    let mut world = World::new();
    let alice = device(&{
        world.register("alice");
        world.log_in("alice", json!({"initial_device_display_name": "laptop"}))
    });
    let bob = world.register("bob");
    let keys = device_keys(&alice, "k");
    let answer = world.post(&alice, "keys/upload", json!({"device_keys": keys}));
    assert_eq!(answer, json!({"one_time_key_counts": {}}));

    let query =
        json!({"device_keys": {&alice.user: [], &bob.user: [], "@no:demo": [], "@x:y.org": []}});
    let found = world.post(&bob, "keys/query", query);
    let mut expected = keys;
    expected["unsigned"] = json!({"device_display_name": "laptop"});
    assert_eq!(found["device_keys"], json!({&alice.user: {&alice.id: expected}, &bob.user: {}}));
    assert_eq!(found["failures"].as_object().unwrap().keys().collect::<Vec<_>>(), ["y.org"]);
    let listed = |world: &mut World, ids: Value| {
        let found = world.post(&bob, "keys/query", json!({"device_keys": {&alice.user: ids}}));
        found["device_keys"][&alice.user].as_object().unwrap().len()
    };
    assert_eq!(listed(&mut world, json!([alice.id, "OTHER"])), 1);
    assert_eq!(listed(&mut world, json!(["OTHER"])), 0);

    let foreign =
        world.fails(&bob, "POST", "keys/upload", json!({"device_keys": device_keys(&alice, "k")}));
    assert_eq!(foreign, refused(400, "M_INVALID_PARAM"));
    let odd = world.fails(&bob, "POST", "keys/query", json!({"device_keys": {&alice.user: {}}}));
    assert_eq!(odd, refused(400, "M_BAD_JSON"));
}

#[test]
fn one_time_keys_run_out_into_the_fallback() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let since = world.token(&alice);
    let upload = |world: &mut World, body: Value| world.post(&alice, "keys/upload", body);
    upload(&mut world, json!({"one_time_keys": {"signed_curve25519:ZZ": {"key": "1"}}}));
    let counts = upload(
        &mut world,
        json!({
            "one_time_keys": {"signed_curve25519:AA": {"key": "2"}},
            "fallback_keys": {"signed_curve25519:FF": {"key": "f", "fallback": true}},
        }),
    );
    assert_eq!(counts["one_time_key_counts"], json!({"signed_curve25519": 2}));
    let sync = world.sync_since(&alice, &since);
    assert_eq!(sync["device_one_time_keys_count"], json!({"signed_curve25519": 2}));
    assert_eq!(sync["device_unused_fallback_key_types"], json!(["signed_curve25519"]));

    assert_eq!(claim(&mut world, &bob, &alice), json!({"signed_curve25519:ZZ": {"key": "1"}}));
    assert_eq!(claim(&mut world, &bob, &alice), json!({"signed_curve25519:AA": {"key": "2"}}));
    let sync = world.sync_since(&alice, &since);
    assert_eq!(sync["device_one_time_keys_count"], json!({}));
    assert_eq!(sync["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    let fallback = json!({"signed_curve25519:FF": {"key": "f", "fallback": true}});
    assert_eq!(claim(&mut world, &bob, &alice), fallback);
    assert_eq!(claim(&mut world, &bob, &alice), fallback);
    assert_eq!(world.sync(&alice, "")["device_unused_fallback_key_types"], json!([]));
    assert_eq!(claim(&mut world, &alice, &bob), Value::Null);
    let body = json!({"one_time_keys": {"@x:y.org": {"A": "signed_curve25519"}}});
    assert!(world.post(&bob, "keys/claim", body)["failures"]["y.org"].is_object());
}

#[test]
fn a_key_id_is_not_used_for_two_keys() {
    let mut world = World::new();
    let alice = world.register("alice");
    let upload = |key: &str| json!({"one_time_keys": {"signed_curve25519:AAAAAA": {"key": key}}});
    for _ in 0..2 {
        let answer = world.post(&alice, "keys/upload", upload("x"));
        assert_eq!(answer["one_time_key_counts"], json!({"signed_curve25519": 1}));
    }
    let mut body = upload("y");
    body["one_time_keys"]["signed_curve25519:BBBBBB"] = json!({"key": "z"});
    let (status, error) = world.ask(&alice, "POST", "keys/upload", body);
    assert_eq!((status, &error["errcode"]), (400, &json!("M_UNKNOWN")));
    let expected = "One time key signed_curve25519:AAAAAA already exists. Old key: ";
    assert!(text(&error["error"]).starts_with(expected));
    assert!(text(&error["error"]).contains("; new key: "));
    let counts = world.sync(&alice, "")["device_one_time_keys_count"].clone();
    assert_eq!(counts, json!({"signed_curve25519": 1}));
}
