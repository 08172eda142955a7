use mxcrypt_model_server::{Behaviour, Deviation};
use serde_json::{Value, json};

use crate::support::*;

const DELAYED: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";

fn delay(world: &mut World, who: &Device, room: &str, body: &str, delay: u64) -> Value {
    let query = format!("org.matrix.msc4140.delay={delay}");
    let path = format!("rooms/{room}/send/m.room.message/{body}?{query}");
    world.put(who, &path, json!({"msgtype": "m.text", "body": body}))
}

fn act(world: &mut World, id: &Value, action: &str) -> u16 {
    let path = format!("{DELAYED}/{}/{action}", text(id));
    world.raw(None, "POST", &path, b"{}").0
}

fn said(world: &mut World, who: &Device, room: &str) -> Vec<Value> {
    let sync = world.sync(who, "");
    let events = sync["rooms"]["join"][room]["timeline"]["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == "m.room.message").collect()
}

#[test]
fn an_event_is_sent_when_its_delay_ends() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let id = delay(&mut world, &alice, &room, "late", 1_000)["delay_id"].clone();
    // A request that is repeated delays nothing twice.
    assert_eq!(delay(&mut world, &alice, &room, "late", 1_000)["delay_id"], id);
    world.now += 999;
    assert!(said(&mut world, &bob, &room).is_empty());
    assert_eq!(act(&mut world, &id, "restart"), 200);
    world.now += 999;
    assert!(said(&mut world, &bob, &room).is_empty());
    world.now += 5_000;
    let events = said(&mut world, &bob, &room);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["origin_server_ts"], 1_000 + 999 + 1_000);
    assert!(events[0]["unsigned"].get("org.matrix.msc4140.delay_id").is_none());
    assert_eq!(said(&mut world, &alice, &room)[0]["unsigned"]["org.matrix.msc4140.delay_id"], id);
    assert_eq!(act(&mut world, &id, "restart"), 404);
}

#[test]
fn an_event_that_is_cancelled_is_not_sent() {
    let mut world = World::new();
    let alice = world.register("alice");
    let room = world.room_of(&[&alice], json!({}));
    let id = delay(&mut world, &alice, &room, "never", 1_000)["delay_id"].clone();
    let list = world.raw(Some(&alice.token.clone()), "GET", DELAYED, b"").1;
    assert_eq!(list["delayed_events"][0]["delay_id"], id);
    assert_eq!(act(&mut world, &id, "cancel"), 200);
    assert_eq!(act(&mut world, &id, "cancel"), 404);
    world.now += 2_000;
    assert!(said(&mut world, &alice, &room).is_empty());
}

#[test]
fn what_is_too_late_is_refused() {
    let mut world = World::new();
    let alice = world.register("alice");
    let room = world.room_of(&[&alice], json!({}));
    let path = format!("rooms/{room}/delayed_event/m.room.message/1");
    let body = json!({"delay_ms": 86_400_001, "content": {}});
    let code = world.fails(&alice, "PUT", &path, body).1;
    assert_eq!(code, "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE");
}

#[test]
fn a_server_that_does_not_know_delays_sends_at_once() {
    let mut world = World::new();
    world.server.behave(Behaviour::new([Deviation::NoDelayedEvents]));
    let alice = world.register("alice");
    let room = world.room_of(&[&alice], json!({}));
    assert!(delay(&mut world, &alice, &room, "late", 1_000)["event_id"].is_string());
    assert_eq!(said(&mut world, &alice, &room).len(), 1);
}
