use serde_json::{Value, json};

use crate::support::*;

fn upload(world: &mut World, who: &Device, key: &str) {
    let keys = json!({"user_id": who.user, "device_id": who.id, "keys": {"ed25519:X": key}});
    world.post(who, "keys/upload", json!({"device_keys": keys}));
}

/// What the next sync says, which starts where the last one ended.
fn news(world: &mut World, who: &Device, since: &mut String) -> (Value, Value) {
    let sync = world.sync_since(who, since);
    let changes = world.get(who, &format!("keys/changes?from={since}&to={}", next_batch(&sync)));
    assert_eq!(changes, sync["device_lists"]);
    *since = next_batch(&sync);
    (sync["device_lists"]["changed"].clone(), sync["device_lists"]["left"].clone())
}

#[test]
fn only_incremental_syncs_have_device_lists() {
    let mut world = World::new();
    let alice = world.register("alice");
    let sync = world.sync(&alice, "");
    assert_eq!(sync.get("device_lists"), None);
    assert_eq!(
        world.sync_since(&alice, &next_batch(&sync))["device_lists"],
        json!({"changed": [], "left": []})
    );
}

#[test]
fn changes_reach_those_who_share_an_encrypted_room() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let plain = world.room_of(&[&alice, &bob], json!({}));
    let mut since = world.token(&alice);
    upload(&mut world, &bob, "k");
    assert_eq!(news(&mut world, &alice, &mut since), (json!([]), json!([])));
    upload(&mut world, &alice, "k");
    assert_eq!(news(&mut world, &alice, &mut since), (json!([alice.user]), json!([])));

    world.set_state(
        &bob,
        &plain,
        "m.room.encryption",
        json!({"algorithm": "m.megolm.v1.aes-sha2"}),
    );
    assert_eq!(news(&mut world, &alice, &mut since), (json!([bob.user]), json!([])));
    assert_eq!(news(&mut world, &alice, &mut since), (json!([]), json!([])));
    upload(&mut world, &bob, "k");
    assert_eq!(news(&mut world, &alice, &mut since), (json!([]), json!([])));
    upload(&mut world, &bob, "l");
    assert_eq!(news(&mut world, &alice, &mut since), (json!([bob.user]), json!([])));
    world.put(&bob, &format!("devices/{}", bob.id), json!({"display_name": "b"}));
    assert_eq!(news(&mut world, &alice, &mut since), (json!([bob.user]), json!([])));
    world.post(&bob, "logout", Value::Null);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([bob.user]), json!([])));
}

#[test]
fn those_who_come_are_changed_and_those_who_go_are_left() {
    let mut world = World::new();
    let (alice, bob, carol) =
        (world.register("alice"), world.register("bob"), world.register("carol"));
    let one = world.encrypted_room_of(&[&alice]);
    let mut since = world.token(&alice);
    world.join(&bob, &one);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([bob.user]), json!([])));
    world.invite(&bob, &one, &carol.user);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([carol.user]), json!([])));

    let two = world.encrypted_room_of(&[&carol, &bob]);
    world.join(&alice, &two);
    // Bob was known already; that he came to one more room may be told, and is.
    assert_eq!(news(&mut world, &alice, &mut since).0, json!([bob.user, carol.user]));
    world.leave(&bob, &one);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([]), json!([])));
    world.leave(&bob, &two);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([]), json!([bob.user])));
    world.leave(&alice, &two);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([]), json!([carol.user])));
}

#[test]
fn someone_who_left_and_came_back_is_changed() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.encrypted_room_of(&[&alice, &bob]);
    let mut since = world.token(&alice);
    world.leave(&bob, &room);
    upload(&mut world, &bob, "new");
    world.join(&bob, &room);
    assert_eq!(news(&mut world, &alice, &mut since), (json!([bob.user]), json!([])));
}

#[test]
fn changes_need_two_tokens() {
    let mut world = World::new();
    let alice = world.register("alice");
    for (query, errcode) in [
        ("", "M_MISSING_PARAM"),
        ("?from=s0", "M_MISSING_PARAM"),
        ("?from=s0&to=x", "M_INVALID_PARAM"),
    ] {
        let refusal = world.fails(&alice, "GET", &format!("keys/changes{query}"), Value::Null);
        assert_eq!(refusal, refused(400, errcode));
    }
}
