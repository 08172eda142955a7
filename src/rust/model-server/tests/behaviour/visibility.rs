use serde_json::json;

use crate::support::*;

/// What someone reads who was invited after "1" and joined after "2".
fn read_by_newcomer(visibility: &str) -> Vec<String> {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let setting =
        json!({"type": "m.room.history_visibility", "content": {"history_visibility": visibility}});
    let room = world.create_room(&alice, json!({"initial_state": [setting]}));
    world.say(&alice, &room, "1");
    world.invite(&alice, &room, &bob.user);
    world.say(&alice, &room, "2");
    world.join(&bob, &room);
    world.say(&alice, &room, "3");
    let page = world.get(&bob, &format!("rooms/{room}/messages?dir=f&limit=100"));
    let mut read = outline(&page["chunk"]);
    read.retain(|line| line.len() == 1);
    read
}

#[test]
fn newcomers_read_what_the_room_lets_them() {
    assert_eq!(read_by_newcomer("world_readable"), ["1", "2", "3"]);
    assert_eq!(read_by_newcomer("shared"), ["1", "2", "3"]);
    assert_eq!(read_by_newcomer("nonsense"), ["1", "2", "3"]);
    assert_eq!(read_by_newcomer("invited"), ["2", "3"]);
    assert_eq!(read_by_newcomer("joined"), ["3"]);
}

#[test]
fn the_rule_at_the_time_of_the_event_counts() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice], json!({}));
    let set = |world: &mut World, value: &str| {
        world.set_state(
            &alice,
            &room,
            "m.room.history_visibility",
            json!({"history_visibility": value}),
        );
    };
    set(&mut world, "joined");
    world.say(&alice, &room, "hidden");
    set(&mut world, "shared");
    world.say(&alice, &room, "shown");
    world.join(&bob, &room);
    let sync = world.sync(&bob, "");
    let read = timeline(&sync, "join", &room);
    assert!(read.contains(&"shown".to_owned()) && !read.contains(&"hidden".to_owned()));
    // Both changes of the rule are seen, being shared from one side.
    assert_eq!(read.iter().filter(|line| *line == "history_visibility/").count(), 3);
}

#[test]
fn what_happened_during_an_absence_is_shared_on_return() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    world.leave(&bob, &room);
    let missed = world.say(&alice, &room, "missed");
    let path = format!("rooms/{room}/event/{missed}");
    assert_eq!(world.ask(&bob, "GET", &path, json!(null)).0, 404);
    world.join(&bob, &room);
    assert_eq!(world.get(&bob, &path)["content"]["body"], "missed");
}

#[test]
fn strangers_read_world_readable_rooms_only() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice], json!({}));
    let path = format!("rooms/{room}/messages?dir=b");
    assert_eq!(world.ask(&bob, "GET", &path, json!(null)).0, 403);
    world.set_state(
        &alice,
        &room,
        "m.room.history_visibility",
        json!({"history_visibility": "world_readable"}),
    );
    world.say(&alice, &room, "hello world");
    assert_eq!(outline(&world.get(&bob, &path)["chunk"]), ["hello world", "history_visibility/"]);
}
