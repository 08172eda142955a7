//! What cannot be read never counts as "nothing happened": not for who left, not for who is there.

use mxcrypt_core::{
    machine::{Outcome, Unsigned},
    store::records::{Device, DeviceList},
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{Person, Scene, encoded, parse};

/// Nested more deeply than readers of JSON follow.
fn deep() -> Value {
    (0..200).fold(json!("x"), |inner, _| json!([inner]))
}

/// Alice and Bob, and Carol, who was given the key of the room.
fn three() -> (Scene, Person, Person, Person, String) {
    let mut scene = Scene::new();
    let mut people = ["alice", "bob", "carol"].map(|name| scene.person(name)).into_iter();
    let mut next = || people.next().unwrap();
    let (mut alice, mut bob, mut carol) = (next(), next(), next());
    let room_id = scene.room(&mut [&mut alice, &mut bob, &mut carol]);
    alice.say(&mut scene, &room_id, "before");
    assert_eq!(carol.reads(&mut scene), ["before"]);
    (scene, alice, bob, carol, room_id)
}

fn ban(scene: &mut Scene, by: &Person, room_id: &str, user: &str) {
    let path = format!("rooms/{}/ban", encoded(room_id));
    let answer = scene.call(Some(&by.token), "POST", &path, json!({"user_id": user}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// What carol can read of the last message in the room.
fn carol_reads(scene: &mut Scene, alice: &Person, carol: &mut Person, room_id: &str) -> bool {
    carol.sync(scene);
    let path = format!("rooms/{}/messages?dir=b&limit=1", encoded(room_id));
    let page = scene.call(Some(&alice.token), "GET", &path, Value::Null);
    let page =
        carol.machine.read_history(carol.now, room_id, &page.body, Unsigned::HandedOver).unwrap();
    page.events[0].event.unreadable.is_none()
}

fn of_room<'a>(sync: &'a mut Value, room_id: &str) -> &'a mut Value {
    &mut sync["rooms"]["join"][room_id]
}

fn ban_event<'a>(sync: &'a mut Value, room_id: &str) -> &'a mut Value {
    let events = of_room(sync, room_id)["timeline"]["events"].as_array_mut().unwrap();
    events.iter_mut().find(|event| event["content"]["membership"] == "ban").unwrap()
}

/// A member joins with a content that nobody can follow. It comes back in the event that bans her.
#[test]
fn a_banned_member_gets_no_key_whatever_her_former_content_was() {
    let (mut scene, mut alice, mut bob, mut carol, room_id) = three();
    ban(&mut scene, &alice, &room_id, &carol.user);
    alice.sync_with(&mut scene, |sync| {
        ban_event(sync, &room_id)["unsigned"] = json!({"prev_content": {"odd": deep()}});
    });
    alice.say(&mut scene, &room_id, "after");
    assert!(!carol_reads(&mut scene, &alice, &mut carol, &room_id));
    assert_eq!(bob.reads(&mut scene), ["before", "after"]);
}

/// A state event that cannot be read may have told that somebody was banned.
#[test]
fn state_that_cannot_be_read_ends_the_session() {
    type Change = fn(&mut Value);
    let odd: [(&str, Change); 6] = [
        ("no sender", |event| event["sender"] = json!(7)),
        ("content is no object", |event| event["content"] = json!([])),
        ("state key is no text", |event| event["state_key"] = json!(7)),
        ("no membership", |event| event["content"] = json!({})),
        ("no type", |event| event["type"] = Value::Null),
        ("no event", |event| *event = json!("text")),
    ];
    for (what, change) in odd {
        let (mut scene, mut alice, mut bob, mut carol, room_id) = three();
        ban(&mut scene, &alice, &room_id, &carol.user);
        alice.sync_with(&mut scene, |sync| change(ban_event(sync, &room_id)));
        alice.say(&mut scene, &room_id, "after");
        assert!(!carol_reads(&mut scene, &alice, &mut carol, &room_id), "{what}");
        assert_eq!(bob.reads(&mut scene), ["before", "after"], "{what}");
    }
}

/// The same of a part of the response: of a room, or of all rooms.
#[test]
fn a_part_of_a_sync_that_cannot_be_read_ends_the_sessions() {
    type Change = fn(&mut Value, &str);
    let odd: [(&str, Change); 5] = [
        ("no list of events", |sync, room| of_room(sync, room)["timeline"]["events"] = json!("x")),
        ("no list of state", |sync, room| {
            *of_room(sync, room) = json!({"state": {"events": {}}});
        }),
        ("no timeline", |sync, room| of_room(sync, room)["timeline"] = json!([])),
        ("no room", |sync, room| *of_room(sync, room) = json!(7)),
        ("no rooms", |sync, _| sync["rooms"]["join"] = json!([])),
    ];
    for (what, change) in odd {
        let (mut scene, mut alice, mut bob, mut carol, room_id) = three();
        ban(&mut scene, &alice, &room_id, &carol.user);
        let report = alice.sync_with(&mut scene, |sync| change(sync, &room_id));
        assert!(!report.problems.is_empty(), "{what}");
        alice.say(&mut scene, &room_id, "after");
        assert!(!carol_reads(&mut scene, &alice, &mut carol, &room_id), "{what}");
        assert_eq!(bob.reads(&mut scene), ["before", "after"], "{what}");
        // What stood there is fetched, where it is known to be missing.
        let found = alice.events().iter().any(|row| row.event.content.contains("ban"));
        assert!(found || what == "no rooms", "{what}");
    }
}

/// One member whose content nobody can follow must not keep all others from being sent to.
#[test]
fn a_member_with_deep_content_does_not_wedge_the_room() {
    let (mut scene, mut alice, mut bob, mut carol, room_id) = three();
    alice.machine.note_members_changed(alice.now, &room_id).unwrap();
    alice.queue(&scene, &room_id, "after");
    let (mut asked, user) = (0, carol.user.clone());
    let troubles = alice.pump_with(&mut scene, |kind, response| {
        changed_if(kind == "members", response, |body| {
            asked += 1;
            let members = body["chunk"].as_array_mut().unwrap();
            let carol = members.iter_mut().find(|event| event["state_key"] == *user).unwrap();
            carol["content"]["odd"] = deep();
            carol["unsigned"] = json!({"prev_content": deep()});
        })
    });
    assert_eq!((troubles, asked), (Vec::new(), 1));
    assert_eq!(bob.reads(&mut scene), ["before", "after"]);
    assert_eq!(carol.reads(&mut scene), ["after"]);
}

/// A list of members without ourselves is no list of a room that we are in.
#[test]
fn a_list_of_members_without_ourselves_is_not_taken() {
    for list in [json!([]), json!(null), json!("x"), json!({})] {
        let (mut scene, mut alice, mut bob, _, room_id) = three();
        alice.machine.note_members_changed(alice.now, &room_id).unwrap();
        let number = alice.queue(&scene, &room_id, "after");
        let mut asked = 0;
        alice.pump_with(&mut scene, |kind, response| {
            let first = kind == "members" && asked == 0;
            asked += usize::from(first);
            changed_if(first, response, |body| body["chunk"] = list.clone())
        });
        assert_eq!(asked, 1, "{list}");
        scene.now += 60_000;
        alice.pump(&mut scene);
        let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
        assert!(matches!(outcome, Outcome::Sent { .. }), "{list} {outcome:?}");
        assert_eq!(bob.reads(&mut scene), ["before", "after"], "{list}");
    }
}

/// A user of whom a response says nothing readable has the devices that are known, and is requested
/// again.
#[test]
fn an_unreadable_list_of_devices_is_no_empty_one() {
    for list in [json!([]), json!(null), json!("x"), json!({"D": deep()}), Value::Bool(true)] {
        let (mut scene, mut alice, mut bob, _, room_id) = three();
        let user = bob.user.clone();
        alice.machine.refresh_devices(alice.now, std::slice::from_ref(&user)).unwrap();
        alice.pump_with(&mut scene, |kind, response| {
            changed_if(kind == "keys_query", response, |body| {
                let devices = body["device_keys"].as_object_mut().unwrap();
                // The last of these leaves the user out.
                if list == Value::Bool(true) {
                    devices.remove(&user);
                } else {
                    devices.insert(user.clone(), list.clone());
                }
            })
        });
        let known = alice
            .look(|tx| tx.get::<Device>(&[user.as_str().into(), bob.device_id.as_str().into()]));
        let is_object = list.is_object();
        assert_eq!(known.unwrap().deleted, is_object, "{list}");
        let devices = alice.look(|tx| tx.get::<DeviceList>(&[user.as_str().into()])).unwrap();
        assert_eq!(devices.outdated, !is_object, "{list}");
        if is_object {
            continue;
        }
        let number = alice.queue(&scene, &room_id, "after");
        assert_eq!(alice.pump(&mut scene), Vec::new(), "{list}");
        assert_eq!(bob.reads(&mut scene), ["before", "after"], "{list}");
        // He may have other devices, which is said.
        let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
        let Outcome::Sent { unreached, .. } = outcome else { panic!("{list} {outcome:?}") };
        assert_eq!(unreached, [(user.clone(), "*".to_owned())], "{list}");
        scene.now += 60_000;
        alice.pump(&mut scene);
        let devices = alice.look(|tx| tx.get::<DeviceList>(&[user.as_str().into()])).unwrap();
        assert!(!devices.outdated, "{list}");
    }
}

/// Somebody's devices changed, and the server's word of whose cannot be read: everybody's devices
/// are requested.
#[test]
fn an_unreadable_list_of_changed_users_has_all_asked_for() {
    for lists in [json!([]), json!({"changed": "x"}), json!({"changed": [7]})] {
        let (mut scene, mut alice, bob, ..) = three();
        alice.sync_with(&mut scene, |sync| sync["device_lists"] = lists.clone());
        let list = alice.look(|tx| tx.get::<DeviceList>(&[bob.user.as_str().into()])).unwrap();
        assert!(list.outdated, "{lists}");
    }
}

/// A reply in a thread comes along with the thread's beginning.
#[test]
fn a_thread_stands_whatever_its_replies_hold() {
    let (mut scene, mut alice, mut bob, _, room_id) = three();
    bob.reads(&mut scene);
    alice.say(&mut scene, &room_id, "root");
    bob.sync_with(&mut scene, |sync| {
        for event in crate::scene::encrypted_events(sync, &room_id) {
            event["unsigned"] = json!({"m.relations": {"m.thread": {"latest_event":
                {"event_id": "$x", "type": "m.x", "sender": "@x:y", "content": {"odd": deep()}}}}});
        }
    });
    assert_eq!(bob.new_texts(), ["root"]);
    let path = format!("rooms/{}/messages?dir=b&limit=1", encoded(&room_id));
    let mut page = parse(&scene.call(Some(&bob.token), "GET", &path, Value::Null).body);
    page["chunk"][0]["unsigned"] = json!({"m.relations": {"m.thread": {"latest_event":
        {"event_id": "$x", "type": "m.x", "sender": "@x:y", "content": {"odd": deep()}}}}});
    let page = bob
        .machine
        .read_history(bob.now, &room_id, &page.to_string(), Unsigned::HandedOver)
        .unwrap();
    assert_eq!(crate::scene::text_of(&page.events[0]), "root");
}

/// What is edited may hold anything beside its text.
#[test]
fn an_edit_of_deep_content_does_not_spoil_the_page() {
    let (scene, _, mut bob, _, room_id) = three();
    let event = |id: &str, content: Value| {
        json!({"event_id": id, "type": "m.room.message", "sender": "@x:y",
            "origin_server_ts": scene.now, "content": content})
    };
    let edit = json!({"body": "* new", "m.new_content": {"body": "new", "odd": deep()},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}});
    let page =
        json!({"chunk": [event("$2", edit), event("$1", json!({"body": "old", "odd": deep()}))]});
    let page = bob
        .machine
        .read_history(bob.now, &room_id, &page.to_string(), Unsigned::HandedOver)
        .unwrap();
    let edit = page.events[1].edit.as_ref().unwrap();
    assert!(edit.content.starts_with(r#"{"body":"new""#), "{}", edit.content);
}

/// Who invites us must not be able to keep the invitation from us.
#[test]
fn an_invitation_with_deep_content_is_told() {
    let (mut scene, mut alice, ..) = three();
    let user = alice.user.clone();
    alice.events();
    alice.sync_with(&mut scene, |sync| {
        sync["rooms"]["invite"]["!new:here"] = json!({"invite_state": {"events": [
            {"type": "m.room.member", "state_key": user, "sender": "@x:y",
             "content": {"membership": "invite", "odd": deep()}, "unsigned": deep()}]}});
    });
    assert!(alice.events().iter().any(|row| row.event.room_id == "!new:here"));
}

fn changed_if(wanted: bool, response: Response, change: impl FnOnce(&mut Value)) -> Response {
    if !wanted {
        return response;
    }
    let mut body = parse(&response.body);
    change(&mut body);
    Response { status: response.status, body: body.to_string() }
}
