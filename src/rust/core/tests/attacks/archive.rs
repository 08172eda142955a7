//! The archive: kept once, in order, whatever the server returns, and redacted where others redact.

use std::collections::HashMap;

use mxcrypt_core::{
    machine::{NotKept, Part, Unsigned},
    store::records::{Isolation, MediaFile},
};
use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;

use crate::scene::{
    Person, Scene, encoded, encrypted_events, megolm_event, parse, room_key, text_of,
};

/// Alice and Bob in an encrypted room, which Bob archives.
fn archived_room() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    bob.machine.archive(scene.now, &room_id, None, None).unwrap();
    (scene, alice, bob, room_id)
}

fn page(scene: &mut Scene, reader: &Person, room_id: &str, from: Option<&str>) -> Value {
    let from = from.map_or_else(String::new, |from| format!("&from={from}"));
    let path = format!("rooms/{}/messages?dir=b&limit=3{from}", encoded(room_id));
    parse(&scene.call(Some(&reader.token), "GET", &path, Value::Null).body)
}

/// Reads the whole history.
fn read_history(scene: &mut Scene, reader: &mut Person, room_id: &str) {
    loop {
        let room = reader.machine.archived_room(room_id).unwrap().unwrap();
        if room.complete {
            return;
        }
        let body = page(scene, reader, room_id, room.next.as_deref()).to_string();
        reader.machine.archive_page(scene.now, room_id, room.next.as_deref(), &body).unwrap();
    }
}

fn part(room_id: &str, limit: usize) -> Part {
    Part { room_id: room_id.to_owned(), limit, ..Part::default() }
}

/// What the archive says of messages, in parts of `limit`.
fn texts(reader: &mut Person, room_id: &str, limit: usize) -> Vec<String> {
    let mut part = part(room_id, limit);
    let mut texts = Vec::new();
    loop {
        let read =
            reader.machine.archived_part(reader.now, &part, Unsigned::AsTheModeSays, true).unwrap();
        let messages = read.events.iter().filter(|row| row.event.state_key.is_none());
        texts.extend(messages.map(text_of));
        part.after = read.last;
        if part.after.is_none() {
            return texts;
        }
    }
}

fn searched(reader: &mut Person, room_id: &str) -> Vec<String> {
    let texts = reader
        .machine
        .archived_texts(reader.now, &part(room_id, 1000), Unsigned::AsTheModeSays)
        .unwrap();
    texts.into_iter().filter_map(|text| text.body).collect()
}

fn send(scene: &mut Scene, sender: &mut Person, room_id: &str, content: &Value) -> String {
    sender
        .machine
        .send(
            scene.now,
            vec![mxcrypt_core::machine::Message {
                room_id: room_id.to_owned(),
                event_type: "m.room.message".into(),
                content: content.to_string(),
                transaction_id: None,
                demand_encryption: false,
                audience: None,
            }],
        )
        .unwrap();
    assert_eq!(sender.pump(scene), Vec::new());
    let newest = page(scene, sender, room_id, None)["chunk"][0].clone();
    newest["event_id"].as_str().unwrap().to_owned()
}

fn edit_of(event_id: &str, text: &str) -> Value {
    json!({"msgtype": "m.text", "body": format!("* {text}"),
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id}})
}

#[test]
fn history_and_what_is_new_are_kept_once() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    let say = |scene: &mut Scene, alice: &mut Person, text: &str| {
        scene.now += 1;
        alice.say(scene, &room_id, text);
    };
    for i in 0..5 {
        say(&mut scene, &mut alice, &format!("old {i}"));
    }
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 10), Vec::<String>::new());
    bob.machine.archive(scene.now, &room_id, None, None).unwrap();
    say(&mut scene, &mut alice, "new 0");
    bob.sync(&mut scene);
    read_history(&mut scene, &mut bob, &room_id);
    say(&mut scene, &mut alice, "new 1");
    bob.sync(&mut scene);
    let all = ["old 0", "old 1", "old 2", "old 3", "old 4", "new 0", "new 1"];
    assert_eq!(texts(&mut bob, &room_id, 100), all);
    assert_eq!(searched(&mut bob, &room_id), all);
    let status = bob.machine.archived_rooms().unwrap().remove(0);
    assert_eq!((status.room.complete, status.unread), (true, 0));
    // Again, as another process would that was slower: nothing is there twice.
    let body = page(&mut scene, &bob, &room_id, None).to_string();
    assert_eq!(bob.machine.archive_page(scene.now, &room_id, None, &body).unwrap(), None);
    assert_eq!(texts(&mut bob, &room_id, 100), all);
}

#[test]
fn parts_go_on_where_the_last_one_ended_also_amid_events_of_one_time() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    for i in 0..7 {
        alice.say(&mut scene, &room_id, &i.to_string());
    }
    // All at one time, and two of no time at all.
    bob.sync_with(&mut scene, |sync| {
        for (i, event) in encrypted_events(sync, &room_id).into_iter().enumerate() {
            event["origin_server_ts"] = if i < 2 { json!("no") } else { json!(5) };
        }
    });
    let all = ["0", "1", "2", "3", "4", "5", "6"];
    for limit in [1, 2, 3, 4, 1000] {
        assert_eq!(texts(&mut bob, &room_id, limit), all);
    }
    let since = Part { since: Some(5), until: Some(6), ..part(&room_id, 1000) };
    let read = bob.machine.archived_texts(bob.now, &since, Unsigned::AsTheModeSays).unwrap();
    assert_eq!(read.len(), 5);
    let before = Part { until: Some(5), ..part(&room_id, 1000) };
    assert_eq!(
        bob.machine.archived_texts(bob.now, &before, Unsigned::AsTheModeSays).unwrap().len(),
        2
    );
}

/// History is read backwards.
#[test]
fn events_of_one_time_stand_as_the_server_has_them() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    for i in 0..5 {
        alice.say(&mut scene, &room_id, &i.to_string());
    }
    bob.sync(&mut scene);
    bob.machine.archive(scene.now, &room_id, None, None).unwrap();
    alice.say(&mut scene, &room_id, "5");
    bob.sync(&mut scene);
    read_history(&mut scene, &mut bob, &room_id);
    alice.say(&mut scene, &room_id, "6");
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 2), ["0", "1", "2", "3", "4", "5", "6"]);
}

#[test]
fn what_is_redacted_is_gone_with_its_edits_and_stays_so() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    let id =
        send(&mut scene, &mut alice, &room_id, &json!({"body": "secret", "msgtype": "m.text"}));
    scene.now += 1;
    send(&mut scene, &mut alice, &room_id, &edit_of(&id, "worse"));
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 100), ["worse", "* worse"]);
    assert_eq!(searched(&mut bob, &room_id), ["worse"]);
    let old = page(&mut scene, &bob, &room_id, None);
    alice.machine.redact(scene.now, &room_id, &id, "{}").unwrap();
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 100), ["", "", ""]);
    assert_eq!(searched(&mut bob, &room_id), Vec::<String>::new());
    // The server returns the original content again.
    let read = bob.machine.archive_page(scene.now, &room_id, None, &old.to_string());
    assert!(read.unwrap().is_some());
    assert_eq!(texts(&mut bob, &room_id, 100), ["", "", ""]);
    let ids = [id];
    let row = bob.machine.archived_events(scene.now, &room_id, &ids, Unsigned::AsTheModeSays);
    assert!(row.unwrap()[0].event.redacted);
}

/// In whichever order they are seen, and whatever the server returns of them.
#[test]
fn what_was_redacted_stays_so_in_every_order() {
    let (mut scene, mut alice, _, room_id) = archived_room();
    let id =
        send(&mut scene, &mut alice, &room_id, &json!({"body": "secret", "msgtype": "m.text"}));
    send(&mut scene, &mut alice, &room_id, &edit_of(&id, "worse"));
    let before = page(&mut scene, &alice, &room_id, None);
    let (edit, original) = (before["chunk"][0].clone(), before["chunk"][1].clone());
    alice.machine.redact(scene.now, &room_id, &id, "{}").unwrap();
    alice.pump(&mut scene);
    let redaction = page(&mut scene, &alice, &room_id, None)["chunk"][0].clone();
    let mut pruned = original.clone();
    pruned["content"] = json!({});
    pruned["unsigned"] = json!({"redacted_because": redaction});
    let orders = [
        [&redaction, &edit, &original],
        [&redaction, &original, &edit],
        [&edit, &original, &redaction],
        [&edit, &redaction, &original],
        [&original, &edit, &redaction],
        [&original, &redaction, &edit],
        [&edit, &pruned, &edit],
        [&pruned, &edit, &original],
    ];
    for (i, order) in orders.into_iter().enumerate() {
        alice.machine.forget_archive(scene.now, &room_id, None).unwrap();
        alice.machine.archive(scene.now, &room_id, None, None).unwrap();
        let body = json!({"chunk": order}).to_string();
        alice.machine.archive_page(scene.now, &room_id, None, &body).unwrap();
        assert_eq!(searched(&mut alice, &room_id), Vec::<String>::new(), "{i}");
        let said = texts(&mut alice, &room_id, 100).concat();
        assert!(!said.contains("worse") && !said.contains("secret"), "{i}: {said}");
    }
}

#[test]
fn a_longer_retention_has_the_history_read_again() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    alice.say(&mut scene, &room_id, "old");
    bob.sync(&mut scene);
    let retain = |bob: &mut Person, now, retention| {
        bob.machine.archive(now, &room_id, Some(retention), None).unwrap();
        bob.machine.archived_room(&room_id).unwrap().unwrap().complete
    };
    scene.now += 2000;
    assert!(!retain(&mut bob, scene.now, Some(1000)));
    // A page that is too old is the last one.
    let first = page(&mut scene, &bob, &room_id, None);
    assert!(first["end"].is_string());
    bob.machine.archive_page(scene.now, &room_id, None, &first.to_string()).unwrap();
    assert!(bob.machine.archived_room(&room_id).unwrap().unwrap().complete);
    assert!(retain(&mut bob, scene.now, Some(500)));
    assert!(!retain(&mut bob, scene.now, None));
    read_history(&mut scene, &mut bob, &room_id);
    assert_eq!(texts(&mut bob, &room_id, 100), ["old"]);
}

#[test]
fn what_was_forgotten_does_not_come_back() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    alice.say(&mut scene, &room_id, "old");
    bob.sync(&mut scene);
    scene.now += 1000;
    bob.machine.forget_archive(scene.now, &room_id, Some(scene.now)).unwrap();
    alice.say(&mut scene, &room_id, "new");
    bob.sync(&mut scene);
    let all = page(&mut scene, &bob, &room_id, None).to_string();
    bob.machine.archive_page(scene.now, &room_id, None, &all).unwrap();
    assert_eq!(texts(&mut bob, &room_id, 100), ["new"]);
}

#[test]
fn what_is_no_event_is_counted() {
    let (scene, _alice, mut bob, room_id) = archived_room();
    let body = json!({"chunk": [7, {"event_id": 5}, {"type": "m.x"}], "end": ""}).to_string();
    let kept = bob.machine.archive_page(scene.now, &room_id, None, &body).unwrap().unwrap();
    assert_eq!((kept.malformed, kept.unread), (3, 3));
    assert!(bob.machine.archived_room(&room_id).unwrap().unwrap().complete);
}

#[test]
fn an_event_is_read_when_its_key_comes() {
    let (mut scene, alice, mut bob, room_id) = archived_room();
    let mut mallory = scene.forger("mallory");
    let path = format!("rooms/{}/invite", encoded(&room_id));
    scene.call(Some(&alice.token), "POST", &path, json!({"user_id": mallory.user}));
    scene.enter(&mallory.token, &room_id);
    bob.sync(&mut scene);
    let mut session = GroupSession::new(Default::default());
    let key = room_key(&room_id, &session);
    let content = megolm_event(&mut session, &room_id, "late");
    mallory.post(&mut scene, &room_id, &content);
    bob.sync(&mut scene);
    read_history(&mut scene, &mut bob, &room_id);
    assert_eq!(texts(&mut bob, &room_id, 100), ["(unknown_session)"]);
    assert_eq!(searched(&mut bob, &room_id), Vec::<String>::new());
    assert_eq!(bob.machine.archived_rooms().unwrap()[0].unread, 1);
    mallory.give_key(&mut scene, &mut bob, key, |_| {});
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 100), ["late"]);
    assert_eq!(bob.machine.archived_rooms().unwrap()[0].unread, 0);
}

#[test]
fn of_two_events_under_one_id_the_first_stays() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    let id = send(&mut scene, &mut alice, &room_id, &json!({"body": "true", "msgtype": "m.text"}));
    bob.sync(&mut scene);
    let forged = json!({"event_id": id, "type": "m.room.message", "sender": "@alice:here",
        "origin_server_ts": 1, "content": {"body": "false", "msgtype": "m.text"}});
    let body = json!({"chunk": [forged]}).to_string();
    assert!(bob.machine.archive_page(scene.now, &room_id, None, &body).unwrap().is_some());
    assert_eq!(texts(&mut bob, &room_id, 100), ["true"]);
    assert!(bob.machine.archived_rooms().unwrap()[0].room.complete);
}

#[test]
fn an_edit_by_another_user_is_not_shown() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    let id = send(&mut scene, &mut alice, &room_id, &json!({"body": "true", "msgtype": "m.text"}));
    send(&mut scene, &mut bob, &room_id, &edit_of(&id, "false"));
    bob.sync(&mut scene);
    assert!(texts(&mut bob, &room_id, 100).contains(&"true".to_owned()));
    assert_eq!(searched(&mut bob, &room_id), ["true"]);
}

#[test]
fn what_is_too_old_goes() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    alice.say(&mut scene, &room_id, "old");
    bob.sync(&mut scene);
    bob.machine.archive(scene.now, &room_id, Some(Some(1000)), None).unwrap();
    assert_eq!(texts(&mut bob, &room_id, 100), ["old"]);
    scene.now += 1001;
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 100), Vec::<String>::new());
    // History that is too old is not kept to begin with, and a pause changes nothing.
    read_history(&mut scene, &mut bob, &room_id);
    assert_eq!(texts(&mut bob, &room_id, 100), Vec::<String>::new());
    alice.say(&mut scene, &room_id, "new");
    bob.sync(&mut scene);
    let now = scene.now;
    assert_eq!(bob.machine.forget_archive(now, &room_id, Some(now)).unwrap(), 0);
    assert_eq!(texts(&mut bob, &room_id, 100), ["new"]);
    assert_eq!(bob.machine.forget_archive(now, &room_id, Some(now + 1)).unwrap(), 1);
    // What is forgotten whole is not archived any more.
    alice.say(&mut scene, &room_id, "newer");
    bob.sync(&mut scene);
    assert!(bob.machine.forget_archive(now, &room_id, None).unwrap() > 0);
    alice.say(&mut scene, &room_id, "newest");
    bob.sync(&mut scene);
    assert_eq!(texts(&mut bob, &room_id, 100), Vec::<String>::new());
    assert!(bob.machine.archived_rooms().unwrap().is_empty());
}

#[test]
fn what_a_sync_left_out_and_could_not_be_fetched_is_read_with_the_history() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    bob.sync(&mut scene);
    read_history(&mut scene, &mut bob, &room_id);
    alice.say(&mut scene, &room_id, "missed");
    bob.sync_with(&mut scene, |sync| {
        let timeline = &mut sync["rooms"]["join"][&room_id]["timeline"];
        *timeline = json!({"events": [], "limited": true, "prev_batch": "nowhere"});
    });
    // The server does not give what is missing.
    for _ in 0..20 {
        scene.now += 24 * 60 * 60 * 1000;
        bob.pump_with(&mut scene, |kind, mut response| {
            if kind == "gap" {
                response.status = 404;
                response.body = json!({"errcode": "M_NOT_FOUND", "error": "no"}).to_string();
            }
            response
        });
    }
    assert!(!bob.machine.archived_rooms().unwrap()[0].room.complete);
    read_history(&mut scene, &mut bob, &room_id);
    assert_eq!(texts(&mut bob, &room_id, 100), ["missed"]);
}

#[test]
fn what_is_held_back_is_held_back_here_too() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    alice.say(&mut scene, &room_id, "who?");
    bob.sync(&mut scene);
    bob.machine.set_isolation(scene.now, Isolation::Signed).unwrap();
    assert_eq!(texts(&mut bob, &room_id, 100), ["(unsigned_sender)"]);
    assert_eq!(searched(&mut bob, &room_id), Vec::<String>::new());
}

#[test]
fn reports_of_this_device_are_not_in_the_archive() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    alice.say(&mut scene, &room_id, "hello");
    bob.sync(&mut scene);
    let last = bob.events().pop().unwrap().number;
    bob.machine.forget_archive(scene.now, &room_id, None).unwrap();
    bob.machine.archive(scene.now, &room_id, None, None).unwrap();
    bob.machine.set_aside(scene.now, "test", last, "failed").unwrap();
    assert_eq!(texts(&mut bob, &room_id, 100), Vec::<String>::new());
}

const FILE: &str = "mxc://here/file";

/// A message with a file, which Bob has received. Its id.
fn send_file(scene: &mut Scene, alice: &mut Person, bob: &mut Person, room_id: &str) -> String {
    let content = json!({"msgtype": "m.file", "body": "f", "url": FILE});
    let id = send(scene, alice, room_id, &content);
    bob.sync(scene);
    id
}

fn keep(scene: &Scene, bob: &mut Person, room_id: &str, event_id: &str, name: &str) -> bool {
    let file = MediaFile { name: name.to_owned(), size: 7, key: None };
    bob.machine.keep_media(scene.now, room_id, event_id, file).unwrap()
}

fn wanted(bob: &mut Person, room_id: &str, present: &[(&str, u64)]) -> Vec<String> {
    let present: HashMap<String, u64> =
        present.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    bob.machine.wanted_media(room_id, &present).unwrap()
}

/// How many files are kept, and how many are not.
fn files(bob: &mut Person) -> (usize, usize) {
    let status = bob.machine.archived_rooms().unwrap().remove(0);
    (status.files, status.files_missing)
}

#[test]
fn a_file_is_wanted_until_it_is_there_and_whole() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    let id = send_file(&mut scene, &mut alice, &mut bob, &room_id);
    scene.now += 1;
    let newer = send_file(&mut scene, &mut alice, &mut bob, &room_id);
    // Nobody wants files yet.
    assert_eq!(wanted(&mut bob, &room_id, &[]), Vec::<String>::new());
    bob.machine.archive(scene.now, &room_id, None, Some(100)).unwrap();
    assert_eq!(wanted(&mut bob, &room_id, &[]), [id.clone(), newer.clone()]);
    assert!(bob.machine.archived_attachment(&room_id, &id).unwrap().unwrap().file.is_none());
    assert!(keep(&scene, &mut bob, &room_id, &id, "a"));
    assert_eq!(files(&mut bob), (1, 1));
    assert_eq!(wanted(&mut bob, &room_id, &[("a", 7)]), [newer.as_str()]);
    assert_eq!(bob.machine.archived_files().unwrap(), ["a"]);
    // It is gone, or cut.
    for present in [("b", 7), ("a", 6)] {
        assert_eq!(wanted(&mut bob, &room_id, &[present]), [id.clone(), newer.clone()]);
    }
    let kept = |bob: &mut Person, url: &str| {
        bob.machine.kept_media(&room_id, &id, url).unwrap().map(|file| file.name)
    };
    assert_eq!(kept(&mut bob, FILE).as_deref(), Some("a"));
    // An edit may have put another in its place.
    assert_eq!(kept(&mut bob, "mxc://here/other"), None);
}

#[test]
fn a_file_that_cannot_be_had_is_not_wanted_for_ever() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    let id = send_file(&mut scene, &mut alice, &mut bob, &room_id);
    bob.machine.archive(scene.now, &room_id, None, Some(100)).unwrap();
    let refuse = |bob: &mut Person, reason: NotKept| {
        bob.machine.refuse_media(scene.now, &room_id, &id, reason).unwrap();
    };
    refuse(&mut bob, NotKept::LargerThan(100));
    assert_eq!(wanted(&mut bob, &room_id, &[]), Vec::<String>::new());
    bob.machine.archive(scene.now, &room_id, None, Some(101)).unwrap();
    for _ in 0..3 {
        assert_eq!(wanted(&mut bob, &room_id, &[]), [id.as_str()]);
        refuse(&mut bob, NotKept::Missing);
    }
    assert_eq!(wanted(&mut bob, &room_id, &[]), Vec::<String>::new());
}

#[test]
fn a_file_goes_with_its_event() {
    let (mut scene, mut alice, mut bob, room_id) = archived_room();
    bob.machine.archive(scene.now, &room_id, None, Some(100)).unwrap();
    type Way = fn(&mut Scene, &mut Person, &mut Person, &str, &str);
    let ways: [Way; 4] = [
        |scene, alice, bob, room_id, id| {
            alice.machine.redact(scene.now, room_id, id, "{}").unwrap();
            alice.pump(scene);
            bob.sync(scene);
        },
        |scene, _, bob, room_id, _| {
            bob.machine.forget_archive(scene.now, room_id, Some(scene.now + 1)).unwrap();
        },
        |scene, _, bob, room_id, _| {
            scene.now += 1001;
            bob.machine.archive(scene.now, room_id, Some(Some(1000)), None).unwrap();
            bob.machine.archive(scene.now, room_id, Some(None), None).unwrap();
        },
        |scene, _, bob, room_id, _| {
            bob.machine.forget_archive(scene.now, room_id, None).unwrap();
        },
    ];
    for (i, take_away) in ways.into_iter().enumerate() {
        let id = send_file(&mut scene, &mut alice, &mut bob, &room_id);
        assert!(keep(&scene, &mut bob, &room_id, &id, "a"), "{i}");
        assert_eq!(bob.machine.archived_files().unwrap(), ["a"], "{i}");
        take_away(&mut scene, &mut alice, &mut bob, &room_id, &id);
        assert_eq!(bob.machine.archived_files().unwrap(), Vec::<String>::new(), "{i}");
        assert!(bob.machine.archived_attachment(&room_id, &id).unwrap().is_none(), "{i}");
        assert_eq!(wanted(&mut bob, &room_id, &[]), Vec::<String>::new(), "{i}");
        // Another process was just fetching it.
        assert!(!keep(&scene, &mut bob, &room_id, &id, "b"), "{i}");
        bob.machine.refuse_media(scene.now, &room_id, &id, NotKept::Missing).unwrap();
        assert_eq!(bob.machine.archived_files().unwrap(), Vec::<String>::new(), "{i}");
    }
}
