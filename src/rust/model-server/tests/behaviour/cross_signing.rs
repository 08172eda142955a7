use serde_json::{Value, json};

use crate::support::*;

fn key(who: &Device, usage: &str, public: &str) -> Value {
    json!({"user_id": who.user, "usage": [usage], "keys": {format!("ed25519:{public}"): public}})
}

fn upload(world: &mut World, who: &Device, prefix: &str) -> (u16, Value) {
    let named = |usage: &str| key(who, usage, &format!("{prefix}{usage}"));
    let body = json!({
        "master_key": named("master"),
        "self_signing_key": named("self_signing"),
        "user_signing_key": named("user_signing"),
    });
    world.ask(who, "POST", "keys/device_signing/upload", body)
}

fn query(world: &mut World, who: &Device, whom: &Device) -> Value {
    world.post(who, "keys/query", json!({"device_keys": {&whom.user: []}}))
}

#[test]
fn the_first_upload_is_free_and_another_takes_the_password() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.encrypted_room_of(&[&alice, &bob]);
    let since = world.token(&bob);
    expect_ok(upload(&mut world, &alice, "a_"));
    let sync = world.sync_since(&bob, &since);
    assert_eq!(sync["device_lists"]["changed"], json!([alice.user]));
    assert_eq!(sync["rooms"]["join"].get(&room), None);
    // The same keys again are no news.
    expect_ok(upload(&mut world, &alice, "a_"));
    assert_eq!(world.token(&bob), next_batch(&sync));

    let (status, challenge) = upload(&mut world, &alice, "b_");
    assert_eq!((status, &challenge["flows"]), (401, &json!([{"stages": ["m.login.password"]}])));
    assert_eq!(
        query(&mut world, &bob, &alice)["master_keys"][&alice.user],
        key(&alice, "master", "a_master")
    );
    let auth = json!({"type": "m.login.password", "user": "alice", "password": "pw", "session": challenge["session"]});
    let body = json!({"master_key": key(&alice, "master", "b_master"), "auth": auth});
    world.post(&alice, "keys/device_signing/upload", body);
    assert_eq!(
        query(&mut world, &bob, &alice)["master_keys"][&alice.user],
        key(&alice, "master", "b_master")
    );
}

#[test]
fn the_user_signing_key_is_for_its_owner() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    expect_ok(upload(&mut world, &alice, "a_"));
    let own = query(&mut world, &alice, &alice);
    let others = query(&mut world, &bob, &alice);
    assert!(own["user_signing_keys"][&alice.user].is_object());
    assert_eq!(others.get("user_signing_keys"), None);
    for found in [own, others] {
        assert!(found["self_signing_keys"][&alice.user].is_object());
    }
}

#[test]
fn malformed_keys_are_refused() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    for (body, errcode) in [
        (json!({"master_key": key(&bob, "master", "m")}), "M_INVALID_PARAM"),
        (json!({"master_key": key(&alice, "self_signing", "m")}), "M_INVALID_PARAM"),
        (
            json!({"master_key": {"user_id": alice.user, "usage": ["master"], "keys": {}}}),
            "M_INVALID_PARAM",
        ),
        (json!({"self_signing_key": key(&alice, "self_signing", "m")}), "M_MISSING_PARAM"),
        (json!({"master_key": 1}), "M_BAD_JSON"),
    ] {
        let refusal = world.fails(&alice, "POST", "keys/device_signing/upload", body);
        assert_eq!(refusal, refused(400, errcode));
    }
}

#[test]
fn signatures_are_merged_and_shown_to_those_concerned() {
    let mut world = World::new();
    let (alice, bob, carol) =
        (world.register("alice"), world.register("bob"), world.register("carol"));
    world.encrypted_room_of(&[&alice, &bob, &carol]);
    expect_ok(upload(&mut world, &alice, "a_"));
    let keys = json!({"user_id": alice.user, "device_id": alice.id, "signatures": {&alice.user: {"ed25519:D": "own"}}});
    world.post(&alice, "keys/upload", json!({"device_keys": keys}));
    let (of_bob, of_carol) = (world.token(&bob), world.token(&carol));

    let mut signed = keys.clone();
    signed["signatures"] = json!({&alice.user: {"ed25519:a_self_signing": "cross"}});
    let mut master = key(&alice, "master", "a_master");
    master["signatures"] = json!({&alice.user: {"ed25519:D": "mine"}});
    let body = json!({&alice.user: {&alice.id: signed, "a_master": master}});
    assert_eq!(world.post(&alice, "keys/signatures/upload", body.clone()), json!({"failures": {}}));
    let sync = world.sync_since(&bob, &of_bob);
    assert_eq!(sync["device_lists"]["changed"], json!([alice.user]));
    world.post(&alice, "keys/signatures/upload", body);
    assert_eq!(world.token(&bob), next_batch(&sync));
    let found = query(&mut world, &bob, &alice);
    let signatures = &found["device_keys"][&alice.user][&alice.id]["signatures"];
    assert_eq!(
        *signatures,
        json!({&alice.user: {"ed25519:D": "own", "ed25519:a_self_signing": "cross"}})
    );

    let of_carol_now = world.sync_since(&carol, &of_carol);
    let (of_bob, of_carol) = (next_batch(&sync), next_batch(&of_carol_now));
    master["signatures"] = json!({&bob.user: {"ed25519:b": "trust"}});
    let body =
        json!({&alice.user: {"a_master": master, "NONE": {}, &alice.id: keys}, "@x:y": {"Z": {}}});
    let failures = world.post(&bob, "keys/signatures/upload", body)["failures"].clone();
    assert_eq!(failures["@x:y"]["Z"]["errcode"], "M_NOT_FOUND");
    assert_eq!(failures[&alice.user].as_object().unwrap().keys().count(), 2);
    let master_seen_by = |world: &mut World, who: &Device| {
        query(world, who, &alice)["master_keys"][&alice.user]["signatures"].clone()
    };
    let own = json!({&alice.user: {"ed25519:D": "mine"}});
    let both = json!({&alice.user: {"ed25519:D": "mine"}, &bob.user: {"ed25519:b": "trust"}});
    assert_eq!(master_seen_by(&mut world, &bob), both);
    assert_eq!(master_seen_by(&mut world, &carol), own);
    assert_eq!(world.sync_since(&bob, &of_bob)["device_lists"]["changed"], json!([alice.user]));
    assert_eq!(world.sync_since(&carol, &of_carol)["device_lists"]["changed"], json!([]));

    let mut wrong = key(&alice, "master", "a_master");
    wrong["usage"] = json!(["other"]);
    wrong["signatures"] = json!({&bob.user: {"ed25519:b": "x"}});
    let failures =
        world.post(&bob, "keys/signatures/upload", json!({&alice.user: {"a_master": wrong}}));
    assert_eq!(failures["failures"][&alice.user]["a_master"]["errcode"], "M_INVALID_SIGNATURE");
}
