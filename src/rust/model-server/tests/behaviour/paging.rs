use serde_json::{Value, json};

use crate::support::*;

fn page(world: &mut World, who: &Device, room: &str, query: &str) -> Value {
    world.get(who, &format!("rooms/{room}/messages?{query}"))
}

/// All pages from a place to the end of the room, or to another place.
fn all_pages(
    world: &mut World,
    who: &Device,
    room: &str,
    dir: &str,
    from: &str,
    to: &str,
    limit: usize,
) -> Vec<String> {
    let mut ids = Vec::new();
    let mut from = from.to_owned();
    loop {
        let to = if to.is_empty() { String::new() } else { format!("&to={to}") };
        let answer = page(world, who, room, &format!("dir={dir}&from={from}{to}&limit={limit}"));
        assert_eq!(answer["start"], json!(from));
        let found = event_ids(&answer["chunk"]);
        assert!(found.len() <= limit);
        ids.extend(found);
        match answer["end"].as_str() {
            Some(end) => from = end.to_owned(),
            None => return ids,
        }
    }
}

#[test]
fn paging_back_and_forth_from_a_limited_timeline() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let since = world.token(&bob);
    let sent: Vec<String> = (0..25).map(|n| world.say(&alice, &room, &n.to_string())).collect();
    let sync = world.sync_since(&bob, &since);
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    let shown = event_ids(&timeline["events"]);
    let prev_batch = text(&timeline["prev_batch"]);
    assert_eq!(shown, sent[15..]);

    for limit in [1, 4, 15, 100] {
        let mut gap = all_pages(&mut world, &bob, &room, "b", &prev_batch, &since, limit);
        gap.reverse();
        assert_eq!(gap, sent[..15]);
        let gap = all_pages(&mut world, &bob, &room, "f", &since, &prev_batch, limit);
        assert_eq!(gap, sent[..15]);
        let rest = all_pages(&mut world, &bob, &room, "f", &prev_batch, "", limit);
        assert_eq!(rest, sent[15..]);
        let all = all_pages(&mut world, &bob, &room, "b", &next_batch(&sync), "", limit);
        assert_eq!(all.len(), 25 + 7);
    }
}

#[test]
fn paging_starts_at_either_end_without_a_token() {
    let mut world = World::new();
    let alice = world.register("alice");
    let room = world.create_room(&alice, json!({}));
    for n in 0..12 {
        world.say(&alice, &room, &n.to_string());
    }
    let last = page(&mut world, &alice, &room, "dir=b");
    assert_eq!(outline(&last["chunk"])[..2], ["11", "10"]);
    assert_eq!(outline(&last["chunk"]).len(), 10);
    assert_eq!(last["chunk"][0]["room_id"], json!(room));
    let first = page(&mut world, &alice, &room, "dir=f&limit=2");
    assert_eq!(outline(&first["chunk"]), ["create/", "member/@alice:demo"]);
    for query in ["dir=x", "dir=b&limit=x", "dir=b&from=x", "dir=b&to=s999", "", "dir=b&limit=-1"] {
        let path = format!("rooms/{room}/messages?{query}");
        assert_eq!(world.ask(&alice, "GET", &path, Value::Null).0, 400, "{query}");
    }
    // A range the wrong way round is empty.
    let empty = page(&mut world, &alice, &room, "dir=b&from=s1&to=s5");
    assert_eq!((&empty["chunk"], empty.get("end")), (&json!([]), None));
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Someone who syncs now and then and fills every gap has each event once, in order, and all that
/// the room's whole history shows them.
#[test]
fn syncing_and_filling_gaps_loses_and_repeats_nothing() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let (alice, bob) = (world.register("alice"), world.register("bob"));
        let room = world.room_of(&[&alice, &bob], json!({}));
        let other = world.create_room(&alice, json!({}));
        let mut since = "s0".to_owned();
        let mut held: Vec<String> = Vec::new();
        for step in 0..120 {
            match dice.roll(12) {
                0..=4 => drop(world.say(&alice, &room, &step.to_string())),
                5 => drop(world.say(&alice, &other, "elsewhere")),
                6 => world.set_state(
                    &alice,
                    &room,
                    "m.room.topic",
                    json!({"topic": step.to_string()}),
                ),
                7 => drop(world.say(&bob, &room, &step.to_string())),
                8 => {
                    let visibility = ["shared", "joined", "invited", "world_readable"];
                    let value = visibility[usize::try_from(dice.roll(4)).unwrap()];
                    world.set_state(
                        &alice,
                        &room,
                        "m.room.history_visibility",
                        json!({"history_visibility": value}),
                    );
                }
                9 => {
                    let path = format!("devices/{}", bob.id);
                    world.put(&bob, &path, json!({"display_name": step.to_string()}));
                }
                _ => {
                    let limit = usize::try_from(dice.roll(6)).unwrap();
                    let sync = world.sync(&bob, &format!("&since={since}{}", limit_filter(limit)));
                    catch_up(&mut world, &bob, &room, &sync, &since, &mut held);
                    since = next_batch(&sync);
                }
            }
        }
        let sync = world.sync_since(&bob, &since);
        catch_up(&mut world, &bob, &room, &sync, &since, &mut held);
        let whole = all_pages(&mut world, &bob, &room, "f", "s0", "", 7);
        assert_eq!(held, whole, "seed {seed}");
    }
}

fn catch_up(
    world: &mut World,
    who: &Device,
    room: &str,
    sync: &Value,
    since: &str,
    held: &mut Vec<String>,
) {
    let timeline = &sync["rooms"]["join"][room]["timeline"];
    if timeline.is_null() {
        return;
    }
    if timeline["limited"] == true {
        let prev_batch = text(&timeline["prev_batch"]);
        let mut gap = all_pages(world, who, room, "b", &prev_batch, since, 3);
        gap.reverse();
        held.extend(gap);
    }
    held.extend(event_ids(&timeline["events"]));
}
