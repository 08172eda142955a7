//! When a room gets a new key, and when it does not.

use mxcrypt_core::{
    machine::{Message, Reply, Unsigned, WireRequest},
    store::records::{InboundSession, LocalTrust},
};
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene, encoded, parse};

fn pair(encryption: Value) -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], encryption);
    (scene, alice, bob, room_id)
}

fn usual() -> (Scene, Person, Person, String) {
    pair(json!({"algorithm": MEGOLM}))
}

/// The session of the next message.
fn session(alice: &mut Person, scene: &mut Scene, room_id: &str) -> String {
    alice.say(scene, room_id, "hello");
    alice.sync(scene);
    let events = alice.events();
    let last = events.iter().rev().find(|row| row.event.encrypted).unwrap();
    last.event.session_id.clone().unwrap()
}

#[test]
fn after_as_many_messages_as_the_room_says() {
    let (mut scene, mut alice, mut bob, room_id) =
        pair(json!({"algorithm": MEGOLM, "rotation_period_msgs": 3}));
    let mut sessions: Vec<String> =
        (0..7).map(|_| session(&mut alice, &mut scene, &room_id)).collect();
    sessions.dedup();
    assert_eq!(sessions.len(), 3);
    assert_eq!(bob.reads(&mut scene).len(), 7);
    // Also within a batch.
    for _ in 0..7 {
        alice.queue(&scene, &room_id, "hello");
    }
    alice.pump(&mut scene);
    assert_eq!(bob.reads(&mut scene), ["hello"; 7]);
}

#[test]
fn after_as_long_as_the_room_says_and_when_the_clock_goes_back() {
    let (mut scene, mut alice, _, room_id) =
        pair(json!({"algorithm": MEGOLM, "rotation_period_ms": 5000}));
    let first = session(&mut alice, &mut scene, &room_id);
    scene.now += 4000;
    assert_eq!(session(&mut alice, &mut scene, &room_id), first);
    scene.now += 2000;
    let second = session(&mut alice, &mut scene, &room_id);
    assert_ne!(second, first);
    scene.now -= 10_000;
    assert_ne!(session(&mut alice, &mut scene, &room_id), second);
}

/// Fault C20.
#[test]
fn when_a_member_leaves() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    let mut carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token.clone(), &room_id);
    alice.sync(&mut scene);
    let first = session(&mut alice, &mut scene, &room_id);
    assert_eq!(carol.reads(&mut scene), ["hello"]);
    scene.leave(&carol.token.clone(), &room_id);
    alice.sync(&mut scene);
    assert_ne!(session(&mut alice, &mut scene, &room_id), first);
    assert_eq!(bob.reads(&mut scene), ["hello", "hello"]);
    let path = format!("rooms/{}/messages?dir=b&limit=1", encoded(&room_id));
    let page = scene.call(Some(&alice.token), "GET", &path, Value::Null);
    let history = carol
        .machine
        .read_history(scene.now, &room_id, &page.body, Unsigned::AsTheModeSays)
        .unwrap();
    assert!(history.events[0].event.unreadable.is_some());
}

/// Left and came back between two messages: what was sent meanwhile, had there been any, was not
/// for them.
#[test]
fn when_a_member_left_and_came_back() {
    let (mut scene, mut alice, bob, room_id) = usual();
    let first = session(&mut alice, &mut scene, &room_id);
    scene.leave(&bob.token.clone(), &room_id);
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &bob.user);
    scene.enter(&bob.token.clone(), &room_id);
    alice.sync(&mut scene);
    assert_ne!(session(&mut alice, &mut scene, &room_id), first);
}

/// A program that only sends never asks what is new, and must hear of it.
#[test]
fn for_whoever_only_sends() {
    let (mut scene, mut alice, bob, room_id) = usual();
    let first = session(&mut alice, &mut scene, &room_id);
    scene.leave(&bob.token.clone(), &room_id);
    scene.now += 11_000;
    assert_ne!(session(&mut alice, &mut scene, &room_id), first);
}

#[test]
fn when_a_device_is_gone() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    let second = scene.person("bob");
    alice.sync(&mut scene);
    let first = session(&mut alice, &mut scene, &room_id);
    scene.call(Some(&second.token), "POST", "logout", json!({}));
    alice.sync(&mut scene);
    assert_ne!(session(&mut alice, &mut scene, &room_id), first);
    assert_eq!(bob.reads(&mut scene), ["hello", "hello"]);
}

#[test]
fn not_for_a_restart_a_new_device_or_a_new_name() {
    let (mut scene, mut alice, bob, room_id) = usual();
    let first = session(&mut alice, &mut scene, &room_id);
    alice.restart();
    assert_eq!(session(&mut alice, &mut scene, &room_id), first);
    let _second = scene.person("bob");
    alice.sync(&mut scene);
    assert_eq!(session(&mut alice, &mut scene, &room_id), first);
    let path = format!("profile/{}/displayname", bob.user.replace(':', "%3A"));
    scene.call(Some(&bob.token), "PUT", &path, json!({"displayname": "Robert"}));
    alice.sync(&mut scene);
    assert_eq!(session(&mut alice, &mut scene, &room_id), first);
}

/// A member who is only invited reads, unless history is for those in the room.
#[test]
fn invited_members_get_the_key_where_history_lets_them_read() {
    for (visibility, reads) in [("shared", true), ("invited", true), ("joined", false)] {
        let (mut scene, mut alice, _, room_id) = usual();
        let mut carol = scene.person("carol");
        let state = format!("rooms/{}/state/m.room.history_visibility", encoded(&room_id));
        let content = json!({"history_visibility": visibility});
        scene.call(Some(&alice.token), "PUT", &state, content);
        crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
        alice.sync(&mut scene);
        alice.say(&mut scene, &room_id, "hello");
        carol.sync(&mut scene);
        let path = format!("rooms/{}/messages?dir=b&limit=1", encoded(&room_id));
        let page = scene.call(Some(&alice.token), "GET", &path, Value::Null);
        let history = carol
            .machine
            .read_history(scene.now, &room_id, &page.body, Unsigned::AsTheModeSays)
            .unwrap();
        assert_eq!(history.events[0].event.unreadable.is_none(), reads, "{visibility}");
    }
}

/// An invitation of our own making that sync has not told of yet.
#[test]
fn a_member_invited_a_moment_ago_is_included() {
    let (mut scene, mut alice, _, room_id) = usual();
    alice.say(&mut scene, &room_id, "before");
    let mut carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    alice.machine.note_members_changed(scene.now, &room_id).unwrap();
    alice.say(&mut scene, &room_id, "after");
    scene.enter(&carol.token.clone(), &room_id);
    assert_eq!(carol.reads(&mut scene).last().unwrap(), "after");
}

/// A sync that was under way when the members were fetched may tell of older changes after newer
/// ones: a member who left in between must not come back by it.
#[test]
fn a_sync_that_crossed_the_list_of_members_brings_nobody_back() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    let mut carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token.clone(), &room_id);
    let (since, answer) = alice.sync_answer(&mut scene);
    scene.leave(&carol.token.clone(), &room_id);
    alice.say(&mut scene, &room_id, "one");
    alice.machine.receive_sync(scene.now, since.as_deref(), &answer.to_string()).unwrap();
    alice.say(&mut scene, &room_id, "two");
    assert_eq!(bob.reads(&mut scene), ["one", "two"]);
    carol.sync(&mut scene);
    let path = format!("rooms/{}/messages?dir=b&limit=2", encoded(&room_id));
    let page = scene.call(Some(&alice.token), "GET", &path, Value::Null);
    let history = carol
        .machine
        .read_history(scene.now, &room_id, &page.body, Unsigned::AsTheModeSays)
        .unwrap();
    assert!(history.events.iter().all(|row| row.event.unreadable.is_some()));
}

/// The list of members is whole: who is not in it is not in the room.
#[test]
fn a_member_who_is_missing_in_the_list_gets_no_key() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    alice.say(&mut scene, &room_id, "one");
    alice.machine.note_members_changed(scene.now, &room_id).unwrap();
    alice.queue(&scene, &room_id, "two");
    let bob_user = bob.user.clone();
    alice.pump_with(&mut scene, |kind, mut response| {
        if kind == "members" {
            let mut body = parse(&response.body);
            let chunk = body["chunk"].as_array_mut().unwrap();
            chunk.retain(|event| event["state_key"] != bob_user.as_str());
            response.body = body.to_string();
        }
        response
    });
    assert_eq!(bob.reads(&mut scene), ["one", "(unknown_session)"]);
}

/// A sync with a gap may leave out who left in it: the list is fetched again before the next key.
#[test]
fn after_a_gap_the_members_are_fetched_again() {
    let (mut scene, mut alice, bob, room_id) = usual();
    alice.say(&mut scene, &room_id, "one");
    scene.leave(&bob.token.clone(), &room_id);
    alice.sync_with(&mut scene, |sync| {
        let room = &mut sync["rooms"]["join"][&room_id];
        room["timeline"] = json!({"events": [], "limited": true, "prev_batch": "s1"});
        room["state"] = json!({"events": []});
    });
    alice.queue(&scene, &room_id, "two");
    let asked = alice.machine.requests(scene.now).unwrap().requests;
    assert!(asked.iter().any(|request| request.kind == "members"));
}

/// What changed before the first sync, no sync tells.
#[test]
fn the_first_sync_has_all_devices_asked_for_again() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.person("alice"), scene.person("bob"));
    // A store that has sent before it ever synced.
    let mut fresh = scene.unsynced(&alice);
    fresh.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    let query = fresh.requests(scene.now).unwrap().requests.pop().unwrap();
    let body = scene
        .call(Some(&alice.token), "POST", "keys/query", parse(query.body.as_ref().unwrap()))
        .body;
    let reply = Reply::Answer { status: 200, body };
    fresh.replies(scene.now, vec![(query.number, reply)]).unwrap();
    assert_eq!(fresh.outdated(std::slice::from_ref(&bob.user)).unwrap().len(), 0);
    fresh.receive_sync(scene.now, None, r#"{"next_batch":"s1"}"#).unwrap();
    assert_eq!(fresh.outdated(std::slice::from_ref(&bob.user)).unwrap().len(), 1);
}

/// A device that is blocked keeps the old key, and must not read what comes next.
#[test]
fn when_a_device_is_blocked() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    let first = session(&mut alice, &mut scene, &room_id);
    assert_eq!(bob.reads(&mut scene), ["hello"]);
    let (user, device_id) = (bob.user.clone(), bob.device_id.clone());
    alice.machine.set_local_trust(scene.now, &user, &device_id, None, LocalTrust::Blocked).unwrap();
    let second = session(&mut alice, &mut scene, &room_id);
    assert_ne!(second, first);
    assert_eq!(bob.reads(&mut scene), ["(withheld_blacklisted)"]);
    // A device list that is fetched again does not unblock it.
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&user)).unwrap();
    assert_eq!(session(&mut alice, &mut scene, &room_id), second);
    // Unblocked, it is given the key from here on.
    alice.machine.set_local_trust(scene.now, &user, &device_id, None, LocalTrust::Unset).unwrap();
    assert_eq!(session(&mut alice, &mut scene, &room_id), second);
    let reads = bob.reads(&mut scene);
    assert_eq!(reads.last().map(String::as_str), Some("hello"));
}

/// A user who is invited from then on may read what is said, or may not any more: what was said so
/// far keeps to what held then.
#[test]
fn when_others_may_read_the_history() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    let make = |scene: &mut Scene, alice: &mut Person, visibility: &str| {
        let path = format!("rooms/{}/state/m.room.history_visibility", encoded(&room_id));
        let content = json!({"history_visibility": visibility});
        assert_eq!(scene.call(Some(&alice.token), "PUT", &path, content).status, 200);
        alice.sync(scene);
        session(alice, scene, &room_id)
    };
    let shared = make(&mut scene, &mut alice, "shared");
    assert_eq!(make(&mut scene, &mut alice, "world_readable"), shared);
    let joined = make(&mut scene, &mut alice, "joined");
    assert_ne!(joined, shared);
    assert_eq!(make(&mut scene, &mut alice, "invited"), joined);
    assert_ne!(make(&mut scene, &mut alice, "shared"), joined);
    // The key itself says which it is.
    bob.reads(&mut scene);
    let kept = |bob: &Person, id: &str| {
        let key = [room_id.as_str().into(), id.into(), alice.user.as_str().into()];
        bob.look(|tx| tx.get::<InboundSession>(&key)).unwrap().shared_history
    };
    assert!(kept(&bob, &shared) && !kept(&bob, &joined));
}

/// A user who is not joined after a gap may have been joined meanwhile: also one who is invited
/// again by then.
#[test]
fn when_someone_is_invited_in_a_gap() {
    let (mut scene, mut alice, _, room_id) = usual();
    let carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    alice.sync(&mut scene);
    let first = session(&mut alice, &mut scene, &room_id);
    scene.leave(&carol.token.clone(), &room_id);
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    alice.sync_with(&mut scene, |answer| {
        let timeline = &mut answer["rooms"]["join"][&room_id]["timeline"];
        let events = timeline["events"].as_array_mut().unwrap();
        let last = events.pop().unwrap();
        *events = vec![last];
        timeline["limited"] = true.into();
        timeline["prev_batch"] = "s1".into();
    });
    assert_ne!(session(&mut alice, &mut scene, &room_id), first);
}

/// A response about members that was on its way while somebody left still lists them.
#[test]
fn for_members_who_left_while_they_were_asked_for() {
    let (mut scene, mut alice, mut bob, room_id) = usual();
    session(&mut alice, &mut scene, &room_id);
    alice.machine.note_members_changed(scene.now, &room_id).unwrap();
    alice.queue(&scene, &room_id, "secret");
    let asked = alice.machine.requests(scene.now).unwrap().requests;
    let question = asked.iter().find(|request| request.kind == "members").unwrap();
    let path = question.path.strip_prefix("/_matrix/client/v3/").unwrap();
    let old = scene.call(Some(&alice.token), "GET", path, Value::Null);
    assert_eq!(old.status, 200);
    scene.leave(&bob.token.clone(), &room_id);
    alice.sync(&mut scene);
    let reply = Reply::Answer { status: 200, body: old.body };
    alice.machine.replies(scene.now, vec![(question.number, reply)]).unwrap();
    scene.now += 60_000;
    assert_eq!(alice.pump(&mut scene), Vec::new());
    let path = format!("rooms/{}/messages?dir=b&limit=1", encoded(&room_id));
    let page = scene.call(Some(&alice.token), "GET", &path, Value::Null);
    bob.sync(&mut scene);
    let history =
        bob.machine.read_history(scene.now, &room_id, &page.body, Unsigned::HandedOver).unwrap();
    assert!(history.events[0].event.unreadable.is_some());
}

/// What a sync reports about who may read is newer than a response that was on its way. If what it reports cannot be read, it is
/// requested again.
#[test]
fn an_answer_about_visibility_that_a_sync_overtook_is_ignored() {
    let (mut scene, alice, _, room_id) = usual();
    for readable in [true, false] {
        let mut fresh = scene.unsynced(&alice);
        let message = Message {
            room_id: room_id.clone(),
            event_type: "m.room.message".into(),
            content: r#"{"msgtype":"m.text","body":"hello"}"#.into(),
            transaction_id: None,
            demand_encryption: true,
            audience: None,
        };
        fresh.send(scene.now, vec![message]).unwrap();
        let is_about_visibility =
            |ask: &&WireRequest| ask.path.contains("/state/m.room.history_visibility");
        let asked = fresh.requests(scene.now).unwrap().requests;
        let question = asked.iter().find(is_about_visibility).unwrap();
        let path = format!("rooms/{}/state/m.room.history_visibility", encoded(&room_id));
        let old = scene.call(Some(&alice.token), "GET", &path, Value::Null);
        let content = json!({"history_visibility": "joined"});
        assert_eq!(scene.call(Some(&alice.token), "PUT", &path, content).status, 200);
        let mut sync = parse(&scene.call(Some(&alice.token), "GET", "sync", Value::Null).body);
        if !readable {
            let room = &mut sync["rooms"]["join"][&room_id];
            for part in ["state", "timeline"] {
                for event in room[part]["events"].as_array_mut().into_iter().flatten() {
                    if event["type"] == "m.room.history_visibility" {
                        event["sender"] = json!(7);
                    }
                }
            }
        }
        fresh.receive_sync(scene.now, None, &sync.to_string()).unwrap();
        let reply = Reply::Answer { status: 200, body: old.body };
        fresh.replies(scene.now, vec![(question.number, reply)]).unwrap();
        let known = fresh.rooms().unwrap()[0].history_visibility.clone();
        assert_eq!(known.as_deref(), readable.then_some("joined"));
        let asked = fresh.requests(scene.now).unwrap().requests;
        assert_eq!(asked.iter().any(|ask| is_about_visibility(&ask)), !readable);
    }
}
