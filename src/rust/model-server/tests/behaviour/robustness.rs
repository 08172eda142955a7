use mxcrypt_model_server::{ModelServer, Request};
use serde_json::{Value, json};

use crate::support::*;

const ENDPOINTS: [(&str, &str); 60] = [
    ("POST", "register"),
    ("GET", "login"),
    ("POST", "login"),
    ("POST", "refresh"),
    ("GET", "account/whoami"),
    ("GET", "devices"),
    ("GET", "devices/DEVICE1"),
    ("PUT", "devices/DEVICE1"),
    ("DELETE", "devices/DEVICE9"),
    ("POST", "delete_devices"),
    ("GET", "profile/@alice:demo"),
    ("GET", "profile/@alice:demo/displayname"),
    ("PUT", "profile/@alice:demo/displayname"),
    ("PUT", "profile/@alice:demo/avatar_url"),
    ("GET", "sync"),
    ("GET", "sync?since=s1&full_state=true"),
    ("GET", "sync?since=s3_1"),
    ("POST", "user/@alice:demo/filter"),
    ("GET", "user/@alice:demo/filter/0"),
    ("GET", "user/@alice:demo/account_data/x"),
    ("PUT", "user/@alice:demo/account_data/x"),
    ("GET", "user/@alice:demo/rooms/!1:demo/account_data/x"),
    ("PUT", "user/@alice:demo/rooms/!1:demo/account_data/x"),
    ("PUT", "sendToDevice/x/TXN"),
    ("POST", "createRoom"),
    ("GET", "joined_rooms"),
    ("GET", "directory/room/%23a:demo"),
    ("POST", "join/!1:demo"),
    ("POST", "join/%23a:demo"),
    ("POST", "rooms/!1:demo/join"),
    ("POST", "rooms/!1:demo/leave"),
    ("POST", "rooms/!1:demo/forget"),
    ("POST", "rooms/!1:demo/invite"),
    ("POST", "rooms/!1:demo/kick"),
    ("POST", "rooms/!1:demo/ban"),
    ("POST", "rooms/!1:demo/unban"),
    ("GET", "rooms/!1:demo/members"),
    ("GET", "rooms/!1:demo/members?at=s2"),
    ("GET", "rooms/!1:demo/joined_members"),
    ("GET", "rooms/!1:demo/state"),
    ("GET", "rooms/!1:demo/state/m.room.power_levels"),
    ("PUT", "rooms/!1:demo/state/m.room.power_levels"),
    ("PUT", "rooms/!1:demo/state/m.room.member/@alice:demo"),
    ("PUT", "rooms/!1:demo/state/m.room.member/@bob:demo"),
    ("PUT", "rooms/!1:demo/state/m.room.history_visibility"),
    ("PUT", "rooms/!1:demo/state/m.room.join_rules/"),
    ("GET", "rooms/!1:demo/event/$1:demo"),
    ("GET", "rooms/!1:demo/messages?dir=b"),
    ("GET", "rooms/!1:demo/messages?dir=f&from=s0&limit=1"),
    ("PUT", "rooms/!1:demo/send/m.room.message/TXN"),
    ("PUT", "rooms/!1:demo/send/m.room.redaction/TXN"),
    ("PUT", "rooms/!1:demo/redact/$2:demo/TXN"),
    ("PUT", "rooms/!1:demo/typing/@alice:demo"),
    ("POST", "rooms/!1:demo/read_markers"),
    ("POST", "keys/upload"),
    ("POST", "keys/query"),
    ("POST", "keys/claim"),
    ("GET", "keys/changes?from=s0&to=s1"),
    ("POST", "keys/device_signing/upload"),
    ("POST", "keys/signatures/upload"),
];

/// Every word that some endpoint reads, with values of every type.
fn odd_bodies() -> Vec<Vec<u8>> {
    let words = [
        "username",
        "password",
        "auth",
        "type",
        "identifier",
        "user",
        "device_id",
        "refresh_token",
        "display_name",
        "displayname",
        "avatar_url",
        "devices",
        "messages",
        "membership",
        "user_id",
        "reason",
        "redacts",
        "users",
        "history_visibility",
        "join_rule",
        "invite",
        "initial_state",
        "preset",
        "name",
        "room_alias_name",
        "creation_content",
        "power_level_content_override",
        "device_keys",
        "one_time_keys",
        "fallback_keys",
        "master_key",
        "room",
        "@alice:demo",
        "@bob:demo",
    ];
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("join"),
        json!("@bob:demo"),
        json!("m.login.password"),
        json!([]),
        json!([null]),
        json!([["x"]]),
        json!({}),
        json!({"": {"": ""}}),
        json!({"@alice:demo": {"DEVICE1": {"a": {}}}}),
        json!({"@alice:demo": []}),
        json!({"a:b": {"signatures": 1}}),
        json!({"@alice:demo": i64::MIN}),
    ];
    let mut bodies: Vec<Vec<u8>> = [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\"\\ud800\"",
        b"\xff\xfe",
        b"{\"a\":1e999}",
        b"{\"a\":1,\"a\":{}}",
    ]
    .iter()
    .map(|bytes| bytes.to_vec())
    .collect();
    bodies.push([vec![b'['; 100_000], vec![b']'; 100_000]].concat());
    bodies.push([b"{\"a\":".repeat(100), b"1".to_vec(), vec![b'}'; 100]].concat());
    for value in &values {
        bodies.push(value.to_string().into_bytes());
        for word in words {
            bodies.push(json!({word: value}).to_string().into_bytes());
        }
        let all: Value = words.iter().map(|word| ((*word).to_owned(), value.clone())).collect();
        bodies.push(all.to_string().into_bytes());
    }
    bodies
}

#[test]
fn no_body_makes_any_endpoint_panic() {
    let bodies = odd_bodies();
    for (method, path) in ENDPOINTS {
        let mut world = World::new();
        let alice = world.register("alice");
        let bob = world.register("bob");
        world.room_of(&[&alice, &bob], json!({"room_alias_name": "a"}));
        for (n, body) in bodies.iter().enumerate() {
            let path = format!("/_matrix/client/v3/{}", path.replace("TXN", &n.to_string()));
            let (status, answer) = world.raw(Some(&alice.token), method, &path, body);
            assert!(
                [200, 400, 401, 403, 404, 405, 413].contains(&status),
                "{method} {path}: {status}"
            );
            assert!(status == 200 || answer["errcode"].is_string() || answer["flows"].is_array());
        }
        world.sync(&bob, "");
    }
}

#[test]
fn no_path_makes_the_server_panic() {
    let mut world = World::new();
    let alice = world.register("alice");
    world.room_of(&[&alice], json!({}));
    let odd = [
        "",
        "%",
        "%00",
        "%ff",
        "..",
        "!1:demo",
        "@alice:demo",
        "$1:demo",
        "s18446744073709551615",
        "\u{1f600}",
        "?",
        "&=&",
    ];
    for (method, path) in ENDPOINTS {
        let segments: Vec<&str> = path.split(['/', '?', '=']).collect();
        for segment in &segments {
            for odd in odd {
                let path = format!("/_matrix/client/v3/{}", path.replacen(segment, odd, 1));
                for body in [&b"{}"[..], b""] {
                    world.raw(Some(&alice.token), method, &path, body);
                }
            }
        }
    }
    for path in [
        "",
        "/",
        "?",
        "_matrix",
        "//_matrix/client/v3/sync",
        "/_matrix/client/v3",
        "/_matrix/client/v3/",
    ] {
        assert_eq!(world.raw(None, "GET", path, b"").0, 404);
    }
}

#[test]
fn extreme_times_are_times() {
    let mut world = World::new();
    world.register("alice");
    world.now = u64::MAX;
    let alice = device(&world.log_in("alice", json!({"refresh_token": true})));
    world.ask(&alice, "GET", "sync", Value::Null);
    world.now = 0;
    world.get(&alice, "sync");
}

#[test]
fn json_that_is_none_is_told_from_json_of_the_wrong_kind() {
    let mut world = World::new();
    let alice = world.register("alice");
    let path = "/_matrix/client/v3/createRoom";
    let not_json = world.raw(Some(&alice.token), "POST", path, b"{");
    assert_eq!(refusal(not_json), refused(400, "M_NOT_JSON"));
    let not_object = world.raw(Some(&alice.token), "POST", path, b"[]");
    assert_eq!(refusal(not_object), refused(400, "M_BAD_JSON"));
    // Who asks is of interest before what they ask.
    assert_eq!(refusal(world.raw(None, "POST", path, b"{")), refused(401, "M_MISSING_TOKEN"));
}

#[test]
fn the_same_requests_get_the_same_answers() {
    let run = || {
        let mut world = World::new();
        let (alice, bob) = (world.register("alice"), world.register("bob"));
        let room = world.encrypted_room_of(&[&alice, &bob]);
        world.say(&alice, &room, "x");
        world.put(&alice, "sendToDevice/m.test/1", json!({"messages": {&bob.user: {"*": {}}}}));
        [world.sync(&alice, ""), world.sync(&bob, "")].map(|sync| sync.to_string())
    };
    assert_eq!(run(), run());
}

#[test]
fn every_body_is_seen() {
    let mut server = ModelServer::new("example.org");
    for body in ["{\"type\": 1}", "not json", ""] {
        let request = Request {
            method: "POST".to_owned(),
            path: "/anywhere".to_owned(),
            token: None,
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(server.handle(0, &request).status, 404);
    }
    let seen: Vec<&[u8]> = server.seen().collect();
    assert_eq!(seen, [&b"{\"type\": 1}"[..], b"not json"]);
}
