use serde_json::{Value, json};

use crate::support::*;

#[test]
fn a_room_is_created_with_its_state_in_order() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.create_room(&alice, json!({
        "name": "Lab",
        "topic": "Mice",
        "room_alias_name": "lab",
        "room_version": "4",
        "invite": [bob.user, "@eve:elsewhere.org"],
        "is_direct": true,
        "initial_state": [
            {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
        ],
    }));
    assert_eq!(room, "!1:demo");
    let state = world.get(&alice, &format!("rooms/{room}/state"));
    assert_eq!(
        outline(&state),
        [
            "create/",
            "member/@alice:demo",
            "power_levels/",
            "canonical_alias/",
            "join_rules/",
            "guest_access/",
            "encryption/",
            "history_visibility/",
            "name/",
            "topic/",
            "member/@bob:demo",
            "member/@eve:elsewhere.org",
        ]
    );
    let read =
        |world: &mut World, kind: &str| world.get(&alice, &format!("rooms/{room}/state/{kind}"));
    assert_eq!(read(&mut world, "m.room.name"), json!({"name": "Lab"}));
    assert_eq!(read(&mut world, "m.room.name/"), json!({"name": "Lab"}));
    assert_eq!(read(&mut world, "m.room.create")["room_version"], "11");
    assert_eq!(read(&mut world, "m.room.join_rules")["join_rule"], "invite");
    assert_eq!(read(&mut world, "m.room.history_visibility")["history_visibility"], "joined");
    assert_eq!(read(&mut world, "m.room.member/@bob:demo")["is_direct"], true);
    assert_eq!(read(&mut world, "m.room.power_levels")["users"], json!({"@alice:demo": 100}));
    let whole = read(&mut world, "m.room.name?format=event");
    assert_eq!((&whole["sender"], &whole["room_id"]), (&json!(alice.user), &json!(room)));
    let absent = format!("rooms/{room}/state/m.room.avatar");
    assert_eq!(world.fails(&alice, "GET", &absent, Value::Null), refused(404, "M_NOT_FOUND"));

    let found = world.get(&alice, &format!("directory/room/{}", encode("#lab:demo")));
    assert_eq!(found, json!({"room_id": room, "servers": ["demo"]}));
    let again = world.fails(&alice, "POST", "createRoom", json!({"room_alias_name": "lab"}));
    assert_eq!(again, refused(400, "M_ROOM_IN_USE"));
    world.post(&bob, &format!("join/{}", encode("#lab:demo")), Value::Null);
    assert_eq!(world.get(&bob, "joined_rooms")["joined_rooms"], json!([room]));
}

#[test]
fn refused_rooms_leave_nothing_behind() {
    let mut world = World::new();
    let alice = world.register("alice");
    for body in [
        json!({"preset": "party"}),
        json!({"invite": ["bob"]}),
        json!({"invite": "bob"}),
        json!({"name": 3}),
        json!({"initial_state": [{"type": "m.room.create", "content": {}}]}),
        json!({"initial_state": [{"type": "x", "content": {"pi": 3.1}}]}),
        json!({"room_alias_name": "a:b"}),
    ] {
        assert_eq!(world.fails(&alice, "POST", "createRoom", body).0, 400);
    }
    assert_eq!(world.get(&alice, "joined_rooms")["joined_rooms"], json!([]));
}

#[test]
fn joining_takes_an_invitation_or_a_public_room() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let private = world.create_room(&alice, json!({}));
    let path = format!("rooms/{private}/join");
    assert_eq!(world.fails(&bob, "POST", &path, json!({})), refused(403, "M_FORBIDDEN"));
    assert_eq!(world.fails(&bob, "POST", "join/!9:demo", json!({})), refused(404, "M_NOT_FOUND"));
    assert_eq!(
        world.fails(&bob, "POST", "join/%23no:demo", json!({})),
        refused(404, "M_NOT_FOUND")
    );
    let invite = format!("rooms/{private}/invite");
    let outsider = world.fails(&bob, "POST", &invite, json!({"user_id": bob.user}));
    assert_eq!(outsider, refused(403, "M_FORBIDDEN"));

    world.invite(&alice, &private, &bob.user);
    // A response may be lost: the same request again is no error, and no second event.
    let invitation = world.sync(&bob, "")["next_batch"].clone();
    world.invite(&alice, &private, &bob.user);
    assert_eq!(world.sync(&bob, "")["next_batch"], invitation);
    for _ in 0..2 {
        assert_eq!(world.post(&bob, &path, Value::Null)["room_id"], json!(private));
    }
    let present = world.fails(&alice, "POST", &invite, json!({"user_id": bob.user}));
    assert_eq!(present, refused(403, "M_FORBIDDEN"));
    for _ in 0..2 {
        world.leave(&bob, &private);
    }
    assert_eq!(world.fails(&bob, "POST", &path, json!({})), refused(403, "M_FORBIDDEN"));
}

#[test]
fn only_the_powerful_kick_and_ban() {
    let mut world = World::new();
    let (alice, bob, carol) =
        (world.register("alice"), world.register("bob"), world.register("carol"));
    let room = world.room_of(&[&alice, &bob, &carol], json!({}));
    let act = |world: &mut World, who: &Device, action: &str, target: &Device| {
        let body = json!({"user_id": target.user, "reason": "because"});
        world.ask(who, "POST", &format!("rooms/{room}/{action}"), body).0
    };
    assert_eq!(act(&mut world, &bob, "kick", &carol), 403);
    assert_eq!(act(&mut world, &bob, "ban", &carol), 403);
    assert_eq!(act(&mut world, &alice, "kick", &carol), 200);
    world.join(&carol, &room);
    assert_eq!(act(&mut world, &alice, "unban", &carol), 403);
    assert_eq!(act(&mut world, &alice, "ban", &carol), 200);
    let path = format!("join/{room}");
    assert_eq!(world.fails(&carol, "POST", &path, json!({})), refused(403, "M_FORBIDDEN"));
    assert_eq!(act(&mut world, &alice, "invite", &carol), 403);
    assert_eq!(act(&mut world, &alice, "kick", &carol), 403);
    assert_eq!(act(&mut world, &bob, "unban", &carol), 403);
    assert_eq!(act(&mut world, &alice, "unban", &carol), 200);
    world.join(&carol, &room);

    let levels = format!("rooms/{room}/state/m.room.power_levels");
    let mut content = world.get(&alice, &levels);
    content["users"][&bob.user] = json!(60);
    assert_eq!(world.fails(&bob, "PUT", &levels, content.clone()), refused(403, "M_FORBIDDEN"));
    world.put(&alice, &levels, content);
    assert_eq!(act(&mut world, &bob, "kick", &alice), 403);
    assert_eq!(act(&mut world, &bob, "kick", &carol), 200);
}

#[test]
fn only_members_send_and_set_state() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.create_room(&alice, json!({"preset": "public_chat"}));
    let send = format!("rooms/{room}/send/m.room.message/1");
    let topic = format!("rooms/{room}/state/m.room.topic");
    assert_eq!(world.fails(&bob, "PUT", &send, json!({})), refused(403, "M_FORBIDDEN"));
    assert_eq!(world.fails(&bob, "PUT", &topic, json!({})), refused(403, "M_FORBIDDEN"));
    assert_eq!(
        world.fails(&bob, "PUT", "rooms/!9:demo/send/x/1", json!({})),
        refused(403, "M_FORBIDDEN")
    );
    world.join(&bob, &room);
    world.put(&bob, &send, json!({}));
    world.put(&bob, &topic, json!({"topic": "x"}));
    let others = format!("rooms/{room}/state/org.example/{}", alice.user);
    assert_eq!(world.fails(&bob, "PUT", &others, json!({})), refused(403, "M_FORBIDDEN"));
    let create = format!("rooms/{room}/state/m.room.create");
    assert_eq!(world.fails(&alice, "PUT", &create, json!({})), refused(403, "M_FORBIDDEN"));
    let float = world.fails(&bob, "PUT", &send.replace("/1", "/2"), json!({"half": 0.5}));
    assert_eq!(float, refused(400, "M_BAD_JSON"));
    let large = json!({"body": "x".repeat(70_000)});
    assert_eq!(
        world.fails(&bob, "PUT", &send.replace("/1", "/3"), large),
        refused(413, "M_TOO_LARGE")
    );
}

#[test]
fn membership_can_be_set_as_state() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.create_room(&alice, json!({}));
    let path = format!("rooms/{room}/state/m.room.member/{}", bob.user);
    assert_eq!(world.fails(&bob, "PUT", &path, json!({"membership": "join"})).0, 403);
    world.put(&alice, &path, json!({"membership": "invite"}));
    world.put(&bob, &path, json!({"membership": "join", "displayname": "B"}));
    let members = world.get(&alice, &format!("rooms/{room}/joined_members"));
    assert_eq!(members["joined"][&bob.user]["display_name"], "B");
    assert_eq!(
        world.fails(&bob, "PUT", &path, json!({"membership": "king"})),
        refused(400, "M_INVALID_PARAM")
    );
    let odd = format!("rooms/{room}/state/m.room.member/bob");
    assert_eq!(
        world.fails(&alice, "PUT", &odd, json!({"membership": "invite"})),
        refused(400, "M_INVALID_PARAM")
    );
}

#[test]
fn sending_is_idempotent_by_device_and_transaction() {
    let mut world = World::new();
    let alice = world.register("alice");
    let phone = device(&world.log_in("alice", json!({})));
    let room = world.create_room(&alice, json!({}));
    let since = world.token(&alice);
    let path = format!("rooms/{room}/send/m.room.message/1");
    let first = world.put(&alice, &path, json!({"body": "a"}));
    assert_eq!(world.put(&alice, &path, json!({"body": "a"})), first);
    assert_ne!(world.put(&phone, &path, json!({"body": "b"})), first);
    let again = device(&world.log_in("alice", json!({"device_id": alice.id})));
    assert_eq!(world.put(&again, &path, json!({"body": "a"})), first);

    let sync = world.sync_since(&again, &since);
    assert_eq!(timeline(&sync, "join", &room), ["a", "b"]);
    let unsigned = |sync: &Value, n: usize| {
        sync["rooms"]["join"][&room]["timeline"]["events"][n]["unsigned"]["transaction_id"].clone()
    };
    assert_eq!((unsigned(&sync, 0), unsigned(&sync, 1)), (json!("1"), Value::Null));
    let other = world.sync_since(&phone, &since);
    assert_eq!((unsigned(&other, 0), unsigned(&other, 1)), (Value::Null, json!("1")));
}

#[test]
fn redactions_strip_the_event_for_good() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({"name": "Secret"}));
    let since = world.token(&alice);
    let secret = world.say(&bob, &room, "secret");
    let careful = world.say(&alice, &room, "careful");
    let not_own = format!("rooms/{room}/redact/{careful}/1");
    assert_eq!(world.fails(&bob, "PUT", &not_own, json!({})), refused(403, "M_FORBIDDEN"));
    let missing = format!("rooms/{room}/redact/$no/2");
    assert_eq!(world.fails(&bob, "PUT", &missing, json!({})), refused(404, "M_NOT_FOUND"));
    let path = format!("rooms/{room}/redact/{secret}/3");
    let id = world.put(&alice, &path, json!({"reason": "leak"}))["event_id"].clone();
    assert_eq!(world.put(&alice, &path, json!({"reason": "leak"}))["event_id"], id);

    let event = world.get(&bob, &format!("rooms/{room}/event/{secret}"));
    assert_eq!(event["content"], json!({}));
    let because = &event["unsigned"]["redacted_because"];
    assert_eq!((&because["event_id"], &because["sender"]), (&id, &json!(alice.user)));
    assert_eq!(because["content"], json!({"reason": "leak", "redacts": secret}));
    let sync = world.sync_since(&bob, &since);
    let events = &sync["rooms"]["join"][&room]["timeline"]["events"];
    assert_eq!(outline(events), ["message/-", "careful", "redaction/-"]);
    assert_eq!(events[2]["redacts"], json!(secret));

    let name =
        world.get(&alice, &format!("rooms/{room}/state/m.room.name?format=event"))["event_id"]
            .clone();
    let by_send = format!("rooms/{room}/send/m.room.redaction/4");
    world.put(&alice, &by_send, json!({"redacts": name}));
    assert_eq!(world.get(&alice, &format!("rooms/{room}/state/m.room.name")), json!({}));
}

#[test]
fn members_can_be_asked_for_as_of_a_token() {
    let mut world = World::new();
    let (alice, bob, carol) =
        (world.register("alice"), world.register("bob"), world.register("carol"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let before = world.token(&alice);
    world.leave(&bob, &room);
    world.join(&carol, &room);
    world.invite(&carol, &room, "@dan:demo");
    let members = |world: &mut World, who: &Device, query: &str| {
        let chunk = world.get(who, &format!("rooms/{room}/members{query}"))["chunk"].clone();
        let member = |event: &Value| {
            format!("{} {}", text(&event["state_key"]), text(&event["content"]["membership"]))
        };
        chunk.as_array().unwrap().iter().map(member).collect::<Vec<_>>()
    };
    let now = ["@alice:demo join", "@bob:demo leave", "@carol:demo join", "@dan:demo invite"];
    let then = ["@alice:demo join", "@bob:demo join"];
    assert_eq!(members(&mut world, &alice, ""), now);
    assert_eq!(members(&mut world, &alice, &format!("?at={before}")), then);
    assert_eq!(members(&mut world, &alice, "?membership=join"), [now[0], now[2]]);
    assert_eq!(members(&mut world, &alice, "?not_membership=leave"), [now[0], now[2], now[3]]);
    assert_eq!(members(&mut world, &bob, ""), ["@alice:demo join", "@bob:demo leave"]);
    let odd = format!("rooms/{room}/members?at=s99999");
    assert_eq!(world.fails(&alice, "GET", &odd, Value::Null), refused(400, "M_INVALID_PARAM"));
}

#[test]
fn a_room_is_forgotten_only_once_left() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let (forget, state) = (format!("rooms/{room}/forget"), format!("rooms/{room}/state"));
    assert_eq!(world.fails(&bob, "POST", &forget, json!({})), refused(400, "M_UNKNOWN"));
    world.leave(&bob, &room);
    world.get(&bob, &state);
    world.post(&bob, &forget, json!({}));
    assert_eq!(world.fails(&bob, "GET", &state, Value::Null), refused(403, "M_FORBIDDEN"));
    world.join(&bob, &room);
    world.get(&bob, &state);
}

#[test]
fn markers_receipts_and_typing_are_accepted() {
    let mut world = World::new();
    let alice = world.register("alice");
    let room = world.create_room(&alice, json!({}));
    let event = world.say(&alice, &room, "hi");
    world.post(&alice, &format!("rooms/{room}/read_markers"), json!({"m.fully_read": event}));
    world.post(&alice, &format!("rooms/{room}/receipt/m.read/{event}"), json!({}));
    world.put(&alice, &format!("rooms/{room}/typing/{}", alice.user), json!({"typing": true}));
}
