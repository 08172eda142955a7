use mxcrypt_model_server::{Behaviour, Deviation, Request, Response};
use serde_json::{Value, json};

use crate::support::*;

fn world_with(deviation: Deviation) -> World {
    let mut world = World::new();
    world.server.behave(Behaviour::new([deviation]));
    world
}

/// A response as it is, which need not be JSON.
fn plain(world: &mut World, who: &Device, method: &str, path: &str, body: &[u8]) -> Response {
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        token: Some(who.token.clone()),
        body: body.to_vec(),
    };
    world.server.handle(world.now, &request)
}

fn device_keys(who: &Device) -> Value {
    json!({"device_keys": {"user_id": who.user, "device_id": who.id, "keys": {}}})
}

#[test]
fn kinds_are_known_by_name() {
    for kind in ["synapse", "synapse_workers", "conduit", "dendrite"] {
        let number = Behaviour::of_kind(kind).unwrap().deviations().count();
        assert_eq!(number == 0, kind == "synapse");
    }
    assert!(Behaviour::of_kind("other").is_none());
    // Each is of some kind.
    let kinds = ["synapse_workers", "conduit", "dendrite"];
    let behaviours: Vec<Behaviour> = kinds.iter().filter_map(|k| Behaviour::of_kind(k)).collect();
    for deviation in Deviation::ALL {
        assert!(behaviours.iter().any(|behaviour| behaviour.has(deviation)), "{deviation:?}");
    }
}

#[test]
fn errors_are_worded_as_elsewhere() {
    let version = "/_matrix/client/v3/room_keys/version";
    for (deviation, status, body) in [
        (Deviation::MissingBackupIs500, 500, "M_UNKNOWN"),
        (Deviation::MissingBackupIs500WithoutBody, 500, ""),
        (Deviation::NoKeyCounts, 404, "M_NOT_FOUND"),
    ] {
        let mut world = world_with(deviation);
        let alice = world.register("alice");
        let response = plain(&mut world, &alice, "GET", version, b"");
        assert_eq!(response.status, status);
        assert!(response.body.contains(body) && body.is_empty() == response.body.is_empty());
    }
    let mut world = world_with(Deviation::UnknownIsPlainText);
    let alice = world.register("alice");
    let response = plain(&mut world, &alice, "GET", "/_matrix/client/v3/nothing", b"");
    assert_eq!((response.status, response.body.as_str()), (404, "404 page not found\n"));

    let mut world = world_with(Deviation::MissingAccountDataIsForbidden);
    let alice = world.register("alice");
    let path = format!("user/{}/account_data/m.direct", alice.user);
    assert_eq!(world.fails(&alice, "GET", &path, Value::Null), refused(404, "M_FORBIDDEN"));
}

#[test]
fn what_is_too_large_is_refused() {
    for (deviation, body) in
        [(Deviation::TooLargeIsUnknown, "M_UNKNOWN"), (Deviation::TooLargeIsHtml, "<html>")]
    {
        let mut world = world_with(deviation);
        let alice = world.register("alice");
        let large = vec![b'x'; (1 << 20) + 1];
        let response = plain(&mut world, &alice, "POST", "/_matrix/media/v3/upload", &large);
        assert_eq!(response.status, 413);
        assert!(response.body.contains(body));
    }
}

#[test]
fn late_keys_are_told_when_they_are_seen() {
    let mut world = world_with(Deviation::KeysComeLate);
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    world.encrypted_room_of(&[&alice, &bob]);
    let since = world.token(&bob);
    world.post(&alice, "keys/upload", device_keys(&alice));
    let asked = json!({"device_keys": {&alice.user: []}});
    let seen = |world: &mut World, who| {
        let devices = world.post(who, "keys/query", asked.clone());
        devices["device_keys"][&alice.user].as_object().is_some_and(|known| !known.is_empty())
    };
    assert!(seen(&mut world, &alice) && !seen(&mut world, &bob));
    assert_eq!(world.sync_since(&bob, &since)["device_lists"]["changed"], json!([]));
    world.now += 2_000;
    assert!(seen(&mut world, &bob));
    let changed = world.sync_since(&bob, &since)["device_lists"]["changed"].clone();
    assert_eq!(changed, json!([alice.user]));
}

#[test]
fn syncs_differ() {
    let mut world = world_with(Deviation::EmptySyncs);
    let alice = world.register("alice");
    let since = world.token(&alice);
    let empty = (0..8).filter(|_| world.sync_since(&alice, &since).get("rooms").is_none());
    assert_eq!(empty.count(), 2);

    let mut world = world_with(Deviation::EventsComeTwice);
    let alice = world.register("alice");
    let room = world.create_room(&alice, json!({}));
    world.say(&alice, &room, "one");
    let since = world.token(&alice);
    world.say(&alice, &room, "two");
    let timeline = world.sync_since(&alice, &since)["rooms"]["join"][&room]["timeline"].clone();
    assert_eq!(outline(&timeline["events"]), ["one", "two"]);

    let mut world = world_with(Deviation::InvitationsAgain);
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.create_room(&alice, json!({"invite": [bob.user]}));
    let since = world.token(&bob);
    for _ in 0..2 {
        assert!(world.sync_since(&bob, &since)["rooms"]["invite"].get(&room).is_some());
    }
}

#[test]
fn a_limit_has_no_time() {
    let mut world = world_with(Deviation::LimitsWithoutTime);
    let alice = world.register("alice");
    let limited = (0..80).filter(|_| {
        let (status, body) = world.ask(&alice, "GET", "devices", Value::Null);
        assert!(body.get("retry_after_ms").is_none());
        status == 429
    });
    assert_eq!(limited.count(), 2);
}
