//! Edits, and what the server says of them.

use mxcrypt_core::{
    judgement::trust::Trust,
    machine::{Handed, Message, Unsigned},
    store::records::Isolation,
};
use serde_json::{Value, json};

use crate::scene::{Person, Scene, encoded, parse, text_of};

/// Alice and Bob in an encrypted room, where Alice has said "pay 10"; its event.
fn alice_said() -> (Scene, Person, Person, String, Value) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    alice.say(&mut scene, &room_id, "pay 10");
    let said = newest(&mut scene, &bob, &room_id);
    (scene, alice, bob, room_id, said)
}

/// The newest events of a room, newest first.
fn page(scene: &mut Scene, reader: &Person, room_id: &str) -> Vec<Value> {
    let path = format!("rooms/{}/messages?dir=b&limit=20", encoded(room_id));
    let answer = parse(&scene.call(Some(&reader.token), "GET", &path, Value::Null).body);
    answer["chunk"].as_array().unwrap().clone()
}

fn newest(scene: &mut Scene, reader: &Person, room_id: &str) -> Value {
    page(scene, reader, room_id).remove(0)
}

fn edit_of(event_id: &Value, text: &str) -> Value {
    json!({"msgtype": "m.text", "body": format!("* {text}"),
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id}})
}

/// Sends an event as an honest client does, and says it as the server has it.
fn send(scene: &mut Scene, sender: &mut Person, room_id: &str, content: &Value) -> Value {
    let message = Message {
        room_id: room_id.to_owned(),
        event_type: "m.room.message".into(),
        content: content.to_string(),
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    };
    sender.machine.send(scene.now, vec![message]).unwrap();
    assert_eq!(sender.pump(scene), Vec::new());
    newest(scene, sender, room_id)
}

/// The last row of a sync that brings nothing but `event`.
fn streamed(scene: &mut Scene, reader: &mut Person, room_id: &str, event: &Value) -> Handed {
    reader.sync_with(scene, |sync| {
        sync["rooms"]["join"][room_id]["timeline"]["events"] = json!([event]);
    });
    reader.events().pop().unwrap()
}

/// A history of `events`, with edits applied.
fn history(reader: &mut Person, room_id: &str, events: &[Value]) -> Vec<Handed> {
    let body = json!({"chunk": events}).to_string();
    let mut page =
        reader.machine.read_history(reader.now, room_id, &body, Unsigned::AsTheModeSays).unwrap();
    page.events.iter_mut().for_each(Handed::apply_edit);
    page.events
}

fn with_edit(original: &Value, edit: &Value) -> Value {
    let mut event = original.clone();
    event["unsigned"] = json!({"m.relations": {"m.replace": edit}});
    event
}

#[test]
fn an_edit_by_its_sender_counts() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let edit = send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 12"));
    bob.sync(&mut scene);
    let row = bob.events().pop().unwrap();
    assert_eq!(row.replaces.as_deref(), said["event_id"].as_str());
    assert_eq!(row.edit_reason, None);
    let rows = history(&mut bob, &room_id, &[with_edit(&said, &edit)]);
    assert_eq!(text_of(&rows[0]), "pay 12");
    // What the server does not bundle is found beside it.
    let rows = history(&mut bob, &room_id, &[edit, said]);
    assert_eq!(text_of(&rows[1]), "pay 12");
    assert!(rows[1].edit.is_some() && rows[0].replaces.is_some());
}

/// CVE-2026-45057.
#[test]
fn an_edit_by_another_user_never_shows() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let edit = send(&mut scene, &mut bob, &room_id, &edit_of(&said["event_id"], "pay 99"));
    alice.sync(&mut scene);
    let row = alice.events().pop().unwrap();
    assert_eq!((row.replaces, row.edit_reason.as_deref()), (None, Some("other_sender")));
    let rows = history(&mut alice, &room_id, &[edit.clone(), with_edit(&said, &edit)]);
    assert_eq!(text_of(&rows[1]), "pay 10");
    assert_eq!(rows[1].edit_reason.as_deref(), Some("other_sender"));
    assert!(rows[1].edit.is_none());
    // In Alice's name it cannot be read at all.
    let mut forged = edit;
    forged["sender"] = said["sender"].clone();
    let rows = history(&mut alice, &room_id, &[with_edit(&said, &forged)]);
    assert_eq!(text_of(&rows[0]), "pay 10");
    assert_eq!(rows[0].edit_reason.as_deref(), Some("sender_mismatch"));
}

/// Client-server API, "Editing encrypted events".
#[test]
fn an_encrypted_message_is_not_edited_in_the_clear() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let forged = json!({"event_id": "$forged", "type": "m.room.message", "sender": said["sender"],
        "origin_server_ts": 9_000_000, "content": edit_of(&said["event_id"], "pay 99")});
    bob.sync(&mut scene);
    bob.events();
    let row = streamed(&mut scene, &mut bob, &room_id, &forged);
    assert_eq!((row.replaces, row.edit_reason.as_deref()), (None, Some("not_encrypted")));
    let rows = history(&mut bob, &room_id, &[forged.clone(), with_edit(&said, &forged)]);
    assert_eq!(text_of(&rows[1]), "pay 10");
    assert_eq!(rows[1].edit_reason.as_deref(), Some("not_encrypted"));
    // A new content beside the ciphertext is nobody's word either.
    alice.say(&mut scene, &room_id, "second");
    let mut beside = newest(&mut scene, &bob, &room_id);
    beside["content"]["m.new_content"] = json!({"body": "pay 99"});
    beside["content"]["m.relates_to"] = edit_of(&said["event_id"], "x")["m.relates_to"].clone();
    bob.sync(&mut scene);
    let rows = history(&mut bob, &room_id, &[with_edit(&said, &beside)]);
    assert_eq!(text_of(&rows[0]), "pay 10");
    assert_eq!(rows[0].edit_reason.as_deref(), Some("no_new_content"));
}

#[test]
fn an_edit_belongs_to_its_room_and_its_original() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let other = scene.room(&mut [&mut alice, &mut bob]);
    let edit = send(&mut scene, &mut alice, &other, &edit_of(&said["event_id"], "pay 99"));
    bob.sync(&mut scene);
    let rows = bob.events();
    let row = rows.iter().find(|row| row.event.event_id.as_deref() == edit["event_id"].as_str());
    assert_eq!(row.unwrap().edit_reason.as_deref(), Some("unknown_original"));
    let rows = history(&mut bob, &room_id, &[with_edit(&said, &edit)]);
    assert_eq!(text_of(&rows[0]), "pay 10");
    // Of two messages of one sender, the edit of one is not the other's.
    alice.say(&mut scene, &room_id, "second");
    let second = newest(&mut scene, &bob, &room_id);
    let edit = send(&mut scene, &mut alice, &room_id, &edit_of(&second["event_id"], "2nd"));
    bob.sync(&mut scene);
    let rows = history(&mut bob, &room_id, &[with_edit(&said, &edit)]);
    assert_eq!(text_of(&rows[0]), "pay 10");
    assert_eq!(rows[0].edit_reason.as_deref(), Some("unrelated"));
}

#[test]
fn an_edit_whose_original_is_not_known_waits_for_it() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 12"));
    bob.sync_with(&mut scene, |sync| {
        let events = &mut sync["rooms"]["join"][&room_id]["timeline"]["events"];
        events.as_array_mut().unwrap().retain(|event| event["event_id"] != said["event_id"]);
    });
    let number = bob.machine.last_event().unwrap();
    let row = |bob: &mut Person| bob.machine.peek(bob.now, number, number).unwrap().remove(0);
    assert_eq!(row(&mut bob).edit_reason.as_deref(), Some("unknown_original"));
    history(&mut bob, &room_id, &[said]);
    assert!(row(&mut bob).replaces.is_some());
}

#[test]
fn of_two_events_under_one_id_none_is_edited() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 12"));
    let forged = json!({"event_id": said["event_id"], "type": "m.room.message",
        "sender": "@bob:here", "origin_server_ts": 1, "content": {"body": "x"}});
    history(&mut bob, &room_id, &[forged]);
    bob.sync(&mut scene);
    let row = bob.events().pop().unwrap();
    assert_eq!(row.edit_reason.as_deref(), Some("unknown_original"));
}

#[test]
fn a_redacted_edit_no_longer_counts() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let first = send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 11"));
    scene.now += 1;
    let second = send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 12"));
    bob.sync(&mut scene);
    let chunk = page(&mut scene, &bob, &room_id);
    let rows = history(&mut bob, &room_id, &chunk);
    let shown = |rows: &[Handed]| -> String {
        let is_said = |row: &&Handed| row.event.event_id.as_deref() == said["event_id"].as_str();
        text_of(rows.iter().find(is_said).unwrap())
    };
    assert_eq!(shown(&rows), "pay 12");
    let redact = |scene: &mut Scene, alice: &mut Person, event: &Value| {
        let id = event["event_id"].as_str().unwrap();
        alice.machine.redact(scene.now, &room_id, id, "{}").unwrap();
        assert_eq!(alice.pump(scene), Vec::new());
    };
    redact(&mut scene, &mut alice, &second);
    let mut chunk = page(&mut scene, &bob, &room_id);
    assert_eq!(shown(&history(&mut bob, &room_id, &chunk)), "pay 11");
    // A server that still bundles what it shows as redacted.
    for event in &mut chunk {
        if event["event_id"] == said["event_id"] {
            *event = with_edit(&said, &second);
        }
    }
    assert_eq!(shown(&history(&mut bob, &room_id, &chunk)), "pay 11");
    redact(&mut scene, &mut alice, &first);
    let chunk = page(&mut scene, &bob, &room_id);
    assert_eq!(shown(&history(&mut bob, &room_id, &chunk)), "pay 10");
    // A server that says so, and leaves the content.
    let open = |id: &str, content: Value| {
        json!({"event_id": id, "type": "m.room.message", "sender": "@alice:here",
            "origin_server_ts": 1, "content": content})
    };
    let mut edit = open("$edit", edit_of(&json!("$open"), "edited"));
    edit["unsigned"] = json!({"redacted_because": {}});
    let original = with_edit(&open("$open", json!({"body": "open"})), &edit);
    assert_eq!(text_of(&history(&mut bob, &room_id, &[original])[0]), "open");
    // Of a redacted message no edit is shown.
    let mut gone = with_edit(&said, &first);
    gone["unsigned"]["redacted_because"] = json!({});
    gone["content"] = json!({});
    let rows = history(&mut bob, &room_id, &[gone]);
    assert!(rows[0].edit.is_none() && rows[0].event.redacted);
}

#[test]
fn an_edit_is_trusted_no_more_than_its_device() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let edit = send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 12"));
    bob.sync(&mut scene);
    bob.events();
    // In the open in the first place: nothing vouches for the whole.
    let open = json!({"event_id": "$open", "type": "m.room.message", "sender": said["sender"],
        "origin_server_ts": 1, "content": {"body": "open"}});
    let mut of_open = edit.clone();
    of_open["content"]["m.relates_to"]["event_id"] = json!("$open");
    let rows = history(&mut bob, &room_id, &[with_edit(&open, &of_open)]);
    assert_eq!((text_of(&rows[0]).as_str(), rows[0].trust), ("pay 12", Trust::None));
    // Where unsigned devices are not heard, their edits are not either.
    bob.machine.set_isolation(scene.now, Isolation::Signed).unwrap();
    let rows = history(&mut bob, &room_id, &[with_edit(&open, &of_open)]);
    assert_eq!(text_of(&rows[0]), "open");
    assert_eq!(rows[0].edit_reason.as_deref(), Some("unsigned_sender"));
}

#[test]
fn the_newest_message_of_a_thread_is_decrypted_and_belongs_to_it() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let relation = json!({"rel_type": "m.thread", "event_id": said["event_id"]});
    let content = json!({"msgtype": "m.text", "body": "why?", "m.relates_to": relation});
    let answer = send(&mut scene, &mut alice, &room_id, &content);
    bob.sync(&mut scene);
    let root = |latest: &Value| {
        let mut root = said.clone();
        root["unsigned"] = json!({"m.relations": {"m.thread": {"latest_event": latest}}});
        root
    };
    let rows = history(&mut bob, &room_id, &[root(&answer)]);
    assert_eq!(text_of(rows[0].latest_in_thread.as_ref().unwrap()), "why?");
    let mut elsewhere = answer.clone();
    elsewhere["content"]["m.relates_to"]["event_id"] = json!("$other");
    for odd in [elsewhere, root(&answer), json!(7), json!({})] {
        let rows = history(&mut bob, &room_id, &[root(&odd)]);
        assert!(rows[0].latest_in_thread.is_none(), "{odd}");
        assert_eq!(text_of(&rows[0]), "pay 10");
    }
}

#[test]
fn an_event_that_was_just_sent_is_known() {
    let (mut scene, mut alice, mut bob, room_id, said) = alice_said();
    let edit = send(&mut scene, &mut alice, &room_id, &edit_of(&said["event_id"], "pay 12"));
    let ids = [&said, &edit].map(|event| event["event_id"].as_str().unwrap().to_owned());
    let refusals = alice.machine.edit_refusals(&room_id, &ids).unwrap();
    assert_eq!(refusals, [None, Some("edit_of_edit")]);
    bob.sync(&mut scene);
    let refusals = bob.machine.edit_refusals(&room_id, &ids).unwrap();
    assert_eq!(refusals, [Some("other_sender"), Some("other_sender")]);
    // What comes back with the sync is the same.
    alice.sync(&mut scene);
    assert_eq!(alice.machine.edit_refusals(&room_id, &ids).unwrap(), [None, Some("edit_of_edit")]);
}
