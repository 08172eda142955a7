use serde_json::{Value, json};

use crate::support::*;

fn says(world: &mut World, who: &Device, room: &str, bodies: std::ops::Range<usize>) {
    for n in bodies {
        world.say(who, room, &n.to_string());
    }
}

#[test]
fn a_short_room_comes_whole() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let sync = world.sync(&alice, "");
    let joined = &sync["rooms"]["join"][&room];
    assert_eq!(
        timeline(&sync, "join", &room),
        [
            "create/",
            "member/@alice:demo",
            "power_levels/",
            "join_rules/",
            "history_visibility/",
            "guest_access/",
            "member/@bob:demo",
        ]
    );
    assert_eq!(joined["timeline"]["limited"], false);
    assert_eq!(joined["state"]["events"], json!([]));
    assert_eq!(joined["ephemeral"]["events"], json!([]));
    assert_eq!(
        joined["summary"],
        json!({
            "m.heroes": [bob.user], "m.joined_member_count": 2, "m.invited_member_count": 0,
        })
    );
    assert!(joined["timeline"]["events"][0].get("room_id").is_none());
    let quiet = world.sync_since(&alice, &next_batch(&sync));
    assert_eq!(quiet["rooms"], json!({"join": {}, "invite": {}, "leave": {}}));
    assert_eq!(next_batch(&quiet), next_batch(&sync));
}

#[test]
fn a_limited_timeline_carries_the_state_before_it() {
    let mut world = World::new();
    let (alice, bob, carol) =
        (world.register("alice"), world.register("bob"), world.register("carol"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let since = world.token(&alice);
    world.set_state(&alice, &room, "m.room.topic", json!({"topic": "old"}));
    world.join(&carol, &room);
    world.leave(&bob, &room);
    world.set_state(&alice, &room, "m.room.topic", json!({"topic": "new"}));
    says(&mut world, &carol, &room, 0..9);
    world.set_state(&alice, &room, "m.room.name", json!({"name": "in the timeline"}));

    let sync = world.sync_since(&alice, &since);
    let joined = &sync["rooms"]["join"][&room];
    assert_eq!(joined["timeline"]["limited"], true);
    assert_eq!(timeline(&sync, "join", &room).len(), 10);
    assert_eq!(timeline(&sync, "join", &room)[9], "name/");
    assert_eq!(state(&sync, "join", &room), ["member/@carol:demo", "member/@bob:demo", "topic/"]);
    assert_eq!(joined["state"]["events"][2]["content"]["topic"], "new");
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);

    let full = world.sync(&alice, &format!("&since={}&full_state=true", next_batch(&sync)));
    assert!(timeline(&full, "join", &room).is_empty());
    assert_eq!(state(&full, "join", &room).len(), 10);
}

#[test]
fn lazy_loading_gives_senders_and_oneself() {
    let mut world = World::new();
    let people: Vec<Device> = (0..8).map(|n| world.register(&format!("user{n}"))).collect();
    let everyone: Vec<&Device> = people.iter().collect();
    let room = world.room_of(&everyone, json!({"name": "Big"}));
    says(&mut world, &people[7], &room, 0..3);
    let members = |sync: &Value| {
        let mut state = state(sync, "join", &room);
        state.retain(|line| line.starts_with("member/"));
        state
    };

    let eager = world.sync(&people[0], &limit_filter(3));
    assert_eq!(members(&eager).len(), 8);
    let sync = world.sync(&people[0], &lazy_filter(3));
    // The heroes are five, and user7 is the sender.
    let first_five = (0..6).map(|n| format!("member/@user{n}:demo"));
    let expected: Vec<String> = first_five.chain(["member/@user7:demo".to_owned()]).collect();
    assert_eq!(members(&sync), expected);
    assert!(state(&sync, "join", &room).contains(&"name/".to_owned()));

    let since = next_batch(&sync);
    world.say(&people[6], &room, "hello");
    let next = world.sync(&people[0], &format!("&since={since}{}", lazy_filter(3)));
    assert_eq!(state(&next, "join", &room), ["member/@user6:demo"]);

    // A gap: who came, went or changed in it is told, for a client must not go on encrypting to them.
    let since = next_batch(&next);
    world.leave(&people[1], &room);
    says(&mut world, &people[7], &room, 0..4);
    let gap = world.sync(&people[0], &format!("&since={since}{}", lazy_filter(3)));
    assert_eq!(gap["rooms"]["join"][&room]["timeline"]["limited"], true);
    assert_eq!(state(&gap, "join", &room), ["member/@user7:demo", "member/@user1:demo"]);
    let query = format!("&since={since}&full_state=true{}", lazy_filter(3));
    assert!(members(&world.sync(&people[0], &query)).contains(&"member/@user1:demo".to_owned()));
}

#[test]
fn an_invitation_shows_the_room_once() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let since = world.token(&bob);
    let encryption = json!({"type": "m.room.encryption", "content": {"algorithm": "x"}});
    let body = json!({"name": "Lab", "initial_state": [encryption], "invite": [bob.user]});
    let room = world.create_room(&alice, body);
    world.say(&alice, &room, "hidden");
    let sync = world.sync_since(&bob, &since);
    let events = &sync["rooms"]["invite"][&room]["invite_state"]["events"];
    assert_eq!(
        outline(events),
        ["create/", "name/", "join_rules/", "encryption/", "member/@bob:demo"]
    );
    assert_eq!(events[0].as_object().unwrap().len(), 4);
    assert_eq!(world.sync_since(&bob, &next_batch(&sync))["rooms"]["invite"], json!({}));
    assert!(world.sync(&bob, "")["rooms"]["invite"][&room].is_object());
    for path in ["state", "members", "messages?dir=b"] {
        let refusal = world.fails(&bob, "GET", &format!("rooms/{room}/{path}"), Value::Null);
        assert_eq!(refusal, refused(403, "M_FORBIDDEN"));
    }

    world.leave(&bob, &room);
    let declined = world.sync_since(&bob, &next_batch(&sync));
    assert_eq!(timeline(&declined, "leave", &room), ["member/@bob:demo"]);
    assert_eq!(declined["rooms"]["leave"][&room]["timeline"]["limited"], false);
    assert!(state(&declined, "leave", &room).is_empty());
}

#[test]
fn a_newly_joined_room_comes_with_full_state() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice], json!({"name": "Lab"}));
    says(&mut world, &alice, &room, 0..20);
    let since = world.token(&bob);
    world.join(&bob, &room);
    world.say(&bob, &room, "hi");
    let sync = world.sync_since(&bob, &since);
    assert_eq!(sync["rooms"]["join"][&room]["timeline"]["limited"], true);
    let expected = ["12", "13", "14", "15", "16", "17", "18", "19", "member/@bob:demo", "hi"];
    assert_eq!(timeline(&sync, "join", &room), expected);
    assert_eq!(state(&sync, "join", &room).len(), 7);

    // Being away between two syncs is as good as being new.
    world.leave(&bob, &room);
    world.set_state(&alice, &room, "m.room.topic", json!({"topic": "unseen"}));
    world.join(&bob, &room);
    let back = world.sync(&bob, &format!("&since={}{}", next_batch(&sync), limit_filter(1)));
    assert_eq!(back["rooms"]["join"][&room]["timeline"]["limited"], true);
    assert!(state(&back, "join", &room).contains(&"topic/".to_owned()));
}

#[test]
fn who_left_hears_of_it_once_and_no_more() {
    let mut world = World::new();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let room = world.room_of(&[&alice, &bob], json!({}));
    let since = world.token(&bob);
    world.say(&alice, &room, "before");
    world.set_state(&alice, &room, "m.room.name", json!({"name": "then"}));
    world.post(&alice, &format!("rooms/{room}/kick"), json!({"user_id": bob.user, "reason": "r"}));
    let after = world.say(&alice, &room, "after");
    world.set_state(&alice, &room, "m.room.name", json!({"name": "now"}));

    let sync = world.sync_since(&bob, &since);
    assert_eq!(sync["rooms"]["join"], json!({}));
    assert_eq!(timeline(&sync, "leave", &room), ["before", "name/", "member/@bob:demo"]);
    let leave = &sync["rooms"]["leave"][&room]["timeline"]["events"][2];
    assert_eq!(leave["content"], json!({"membership": "leave", "reason": "r"}));
    assert_eq!(world.sync_since(&bob, &since)["rooms"], sync["rooms"]);
    assert_eq!(world.sync_since(&bob, &next_batch(&sync))["rooms"]["leave"], json!({}));
    assert_eq!(world.sync(&bob, "")["rooms"]["leave"], json!({}));

    assert_eq!(world.get(&bob, &format!("rooms/{room}/state/m.room.name"))["name"], "then");
    let hidden = world.fails(&bob, "GET", &format!("rooms/{room}/event/{after}"), Value::Null);
    assert_eq!(hidden, refused(404, "M_NOT_FOUND"));
    let past = world.get(&bob, &format!("rooms/{room}/messages?dir=b&limit=3"));
    assert_eq!(outline(&past["chunk"]), ["member/@bob:demo", "name/", "before"]);

    // A ban that follows is told too, with nothing of the room beside it.
    let since = next_batch(&sync);
    world.post(&alice, &format!("rooms/{room}/ban"), json!({"user_id": bob.user}));
    let banned = world.sync_since(&bob, &since);
    assert_eq!(timeline(&banned, "leave", &room), ["member/@bob:demo"]);
    assert!(state(&banned, "leave", &room).is_empty());
}

#[test]
fn tokens_from_nowhere_are_refused() {
    let mut world = World::new();
    let alice = world.register("alice");
    for since in ["", "x", "s", "s-1", "s999", "s0_999", "s18446744073709551616"] {
        let refusal = world.fails(&alice, "GET", &format!("sync?since={since}"), Value::Null);
        assert_eq!(refusal, refused(400, "M_INVALID_PARAM"));
    }
}
