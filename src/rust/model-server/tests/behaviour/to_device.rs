use serde_json::{Value, json};

use crate::support::*;

fn send(world: &mut World, who: &Device, transaction: &str, messages: Value) {
    let path = format!("sendToDevice/m.test/{transaction}");
    world.put(who, &path, json!({"messages": messages}));
}

fn received(sync: &Value) -> Vec<Value> {
    let events = sync["to_device"]["events"].as_array().unwrap();
    events.iter().map(|event| event["content"]["n"].clone()).collect()
}

#[test]
fn messages_wait_until_they_are_acknowledged() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    send(&mut world, &alice, "1", json!({&bob.user: {&bob.id: {"n": 1}}}));
    let first = world.sync(&bob, "");
    let expected = json!([{"type": "m.test", "sender": alice.user, "content": {"n": 1}}]);
    assert_eq!(first["to_device"]["events"], expected);
    assert_eq!(received(&world.sync(&bob, "")), [1]);

    send(&mut world, &alice, "2", json!({&bob.user: {&bob.id: {"n": 2}}}));
    let since = next_batch(&first);
    assert_eq!(received(&world.sync_since(&bob, &since)), [2]);
    let again = world.sync_since(&bob, &since);
    assert_eq!(received(&again), [2]);
    assert!(received(&world.sync_since(&bob, &next_batch(&again))).is_empty());
    assert!(received(&world.sync(&bob, "")).is_empty());
}

#[test]
fn sending_is_idempotent_and_reaches_all_devices() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let phone = device(&world.log_in("bob", json!({})));
    for _ in 0..2 {
        send(&mut world, &alice, "1", json!({&bob.user: {"*": {"n": 1}}, "@x:y": {"A": {}}}));
        send(&mut world, &bob, "1", json!({&bob.user: {&phone.id: {"n": 2}, "NONE": {}}}));
    }
    assert_eq!(received(&world.sync(&bob, "")), [1]);
    assert_eq!(received(&world.sync(&phone, "")), [1, 2]);
    assert!(received(&world.sync(&alice, "")).is_empty());
}

#[test]
fn a_long_queue_comes_in_batches_beside_newer_events() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    for n in 0..250 {
        send(&mut world, &alice, &n.to_string(), json!({&bob.user: {&bob.id: {"n": n}}}));
    }
    let room = world.room_of(&[&alice, &bob], json!({}));
    let mut sync = world.sync(&bob, "");
    assert!(sync["rooms"]["join"][&room].is_object());
    let mut all = received(&sync);
    assert_eq!(all.len(), 100);
    // Used again, a token gives the same again.
    let since = next_batch(&sync);
    assert_eq!(
        received(&world.sync_since(&bob, &since)),
        received(&world.sync_since(&bob, &since))
    );
    for size in [100, 50, 0] {
        sync = world.sync_since(&bob, &next_batch(&sync));
        assert_eq!(sync["rooms"]["join"], json!({}));
        assert_eq!(received(&sync).len(), size);
        all.extend(received(&sync));
    }
    assert_eq!(all, (0..250).map(|n| json!(n)).collect::<Vec<_>>());
}

#[test]
fn malformed_messages_reach_nobody() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    for messages in [
        json!(null),
        json!([]),
        json!({&bob.user: 1}),
        json!({&bob.user: {"*": {"n": 1}, "X": "no"}}),
    ] {
        let status =
            world.ask(&alice, "PUT", "sendToDevice/m.test/1", json!({"messages": messages})).0;
        assert_eq!(status, 400);
    }
    assert!(received(&world.sync(&bob, "")).is_empty());
    // A refused request does not use up its transaction id.
    send(&mut world, &alice, "1", json!({&bob.user: {"*": {"n": 1}}}));
    assert_eq!(received(&world.sync(&bob, "")), [1]);
}
