//! Files that must be on the server before their event: whatever the server and the network do, the
//! event is sent once, with the address that the server gave, and never before.

use mxcrypt_core::{
    Kind,
    machine::{Awaited, Message, Outcome, Reply, WireRequest},
    store::records::Upload,
};
use serde_json::{Value, json};

use crate::scene::{Person, Scene, parse};

fn upload(file: &str, place: &[&str], encrypted: bool) -> Upload {
    Upload {
        file: file.to_owned(),
        size: 3,
        place: place.iter().map(|member| (*member).to_owned()).collect(),
        encrypted,
        content_type: "application/octet-stream".to_owned(),
        name: (!encrypted).then(|| "a b.csv".to_owned()),
    }
}

fn queue(person: &mut Person, now: i64, room_id: &str, uploads: Vec<Upload>) -> i64 {
    let content = json!({"msgtype": "m.file", "body": "a file", "file": {"v": "v2"},
        "info": {"thumbnail_file": {"v": "v2"}}});
    let message = Message {
        room_id: room_id.to_owned(),
        event_type: "m.room.message".into(),
        content: content.to_string(),
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    };
    person.machine.send_with_files(now, vec![(message, uploads)]).unwrap()[0]
}

/// Alice with a file for a room that Bob is in too.
fn with_file() -> (Scene, Person, Person, String, i64) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    let files = vec![
        upload("one", &["file", "url"], true),
        upload("two", &["info", "thumbnail_file", "url"], true),
    ];
    let number = queue(&mut alice, scene.now, &room_id, files);
    (scene, alice, bob, room_id, number)
}

fn next(person: &mut Person, scene: &Scene) -> WireRequest {
    let mut requests = person.machine.requests(scene.now).unwrap().requests;
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.pop().unwrap()
}

fn reply(person: &mut Person, scene: &Scene, number: i64, status: u16, body: Value) -> usize {
    let reply = Reply::Answer { status, body: body.to_string() };
    person.machine.replies(scene.now, vec![(number, reply)]).unwrap().len()
}

fn file_of(request: &WireRequest) -> &str {
    request.file.as_ref().map_or("", |upload| &upload.file)
}

fn files(person: &mut Person) -> Vec<String> {
    person.machine.waiting_files().unwrap().into_iter().collect()
}

#[test]
fn an_event_goes_out_after_its_files_with_their_addresses() {
    let (mut scene, mut alice, mut bob, _, number) = with_file();
    let first = next(&mut alice, &scene);
    assert_eq!((first.method, first.path.as_str()), ("POST", "/_matrix/media/v3/upload"));
    assert_eq!(file_of(&first), "one");
    // It is leased, also to those who ask in between.
    assert!(alice.another().requests(scene.now).unwrap().requests.is_empty());
    reply(&mut alice, &scene, first.number, 200, json!({"content_uri": "mxc://here/first"}));
    assert_eq!(files(&mut alice), ["two"]);
    alice.restart();
    let second = next(&mut alice, &scene);
    assert_eq!(file_of(&second), "two");
    reply(&mut alice, &scene, second.number, 200, json!({"content_uri": "mxc://here/second"}));
    assert!(files(&mut alice).is_empty());
    assert_eq!(alice.pump(&mut scene), Vec::new());
    let sent = alice.machine.outcomes(&[number]).unwrap();
    assert!(matches!(sent[0], Outcome::Sent { .. }));
    bob.sync(&mut scene);
    let content = parse(&bob.events().pop().unwrap().event.content);
    assert_eq!(content["file"]["url"], "mxc://here/first");
    assert_eq!(content["info"]["thumbnail_file"]["url"], "mxc://here/second");
}

#[test]
fn a_message_behind_a_file_waits_for_it() {
    let (mut scene, mut alice, mut bob, room_id, _) = with_file();
    alice.queue(&scene, &room_id, "what you see there");
    for name in ["first", "second"] {
        let request = next(&mut alice, &scene);
        let body = json!({"content_uri": format!("mxc://here/{name}")});
        reply(&mut alice, &scene, request.number, 200, body);
    }
    alice.pump(&mut scene);
    assert_eq!(bob.reads(&mut scene), ["a file", "what you see there"]);
}

#[test]
fn what_is_no_address_is_not_sent_as_one() {
    let (mut scene, mut alice, _, _, number) = with_file();
    for body in [
        json!({}),
        json!({"content_uri": 5}),
        json!({"content_uri": ""}),
        json!({"content_uri": "https://example.org/x"}),
        json!({"content_uri": "mxc://here/../x"}),
        json!(["mxc://here/first"]),
    ] {
        let request = next(&mut alice, &scene);
        assert_eq!(file_of(&request), "one");
        assert_eq!(reply(&mut alice, &scene, request.number, 200, body.clone()), 1, "{body}");
        // It is tried again later.
        assert!(alice.machine.requests(scene.now).unwrap().requests.is_empty(), "{body}");
        scene.now += 24 * 60 * 60 * 1000;
    }
    assert_eq!(alice.machine.outcomes(&[number]).unwrap(), [Outcome::Waiting]);
    assert_eq!(files(&mut alice), ["one", "two"]);
}

#[test]
fn a_file_that_the_server_will_never_take_is_refused_and_can_be_retried() {
    for (status, code) in
        [(403, "M_FORBIDDEN"), (413, "M_TOO_LARGE"), (413, ""), (410, "MXCRYPT_FILE_GONE")]
    {
        let (mut scene, mut alice, mut bob, _, number) = with_file();
        let request = next(&mut alice, &scene);
        let body = if code.is_empty() { json!({}) } else { json!({"errcode": code}) };
        assert_eq!(reply(&mut alice, &scene, request.number, status, body), 0);
        let outcome = alice.machine.outcomes(&[number]).unwrap();
        assert!(matches!(outcome[0], Outcome::Refused { .. }), "{status} {code}");
        // Its files are kept as long as it is.
        assert_eq!(files(&mut alice), ["one", "two"]);
        alice.machine.retry(scene.now, &[number]).unwrap();
        assert_eq!(alice.pump(&mut scene), Vec::new());
        assert_eq!(bob.reads(&mut scene), ["a file"]);
    }
}

#[test]
fn what_passes_is_waited_for() {
    for (status, code) in [(429, "M_LIMIT_EXCEEDED"), (502, ""), (403, "")] {
        let (mut scene, mut alice, mut bob, _, number) = with_file();
        let request = next(&mut alice, &scene);
        let body = if code.is_empty() { json!({}) } else { json!({"errcode": code}) };
        assert_eq!(reply(&mut alice, &scene, request.number, status, body), 1);
        assert_eq!(alice.machine.outcomes(&[number]).unwrap(), [Outcome::Waiting]);
        let unsent = alice.machine.unsent(scene.now).unwrap();
        assert!(unsent[0].reason.is_some(), "{status} {code}");
        scene.now += 24 * 60 * 60 * 1000;
        alice.sync(&mut scene);
        assert_eq!(alice.pump(&mut scene), Vec::new());
        assert_eq!(bob.reads(&mut scene), ["a file"]);
    }
}

#[test]
fn a_file_that_two_processes_upload_is_sent_once() {
    let (mut scene, mut alice, mut bob, _, _) = with_file();
    let slow = next(&mut alice, &scene);
    // While it is being uploaded, its lease goes on.
    scene.now += 8_000;
    alice.machine.renew(scene.now, slow.number).unwrap();
    scene.now += 8_000;
    let mut other = alice.another();
    assert!(other.requests(scene.now).unwrap().requests.is_empty());
    // The process hangs for so long that it is taken for dead.
    scene.now += 60_000;
    let again = other.requests(scene.now).unwrap().requests.pop().unwrap();
    assert_eq!(file_of(&again), "one");
    reply(&mut alice, &scene, slow.number, 200, json!({"content_uri": "mxc://here/slow"}));
    reply(&mut alice, &scene, again.number, 200, json!({"content_uri": "mxc://here/again"}));
    assert_eq!(files(&mut alice), ["two"]);
    alice.sync(&mut scene);
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    let events = bob.events();
    let sent: Vec<Value> = events
        .iter()
        .map(|row| parse(&row.event.content))
        .filter(|content| content["msgtype"] == "m.file")
        .collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["file"]["url"], "mxc://here/slow");
}

#[test]
fn a_plain_file_is_not_uploaded_once_the_room_is_encrypted() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], Value::Null);
    let number = queue(&mut alice, scene.now, &room_id, vec![upload("one", &["url"], false)]);
    alice.queue(&scene, &room_id, "behind it");
    // It is asked first, and then it is encrypted.
    let question = next(&mut alice, &scene);
    assert_eq!(question.kind, "encryption");
    let body = json!({"algorithm": crate::scene::MEGOLM});
    reply(&mut alice, &scene, question.number, 200, body);
    let kinds: Vec<&str> =
        alice.machine.requests(scene.now).unwrap().requests.iter().map(|one| one.kind).collect();
    assert!(!kinds.contains(&"upload"), "{kinds:?}");
    let Outcome::Refused { code, .. } = &alice.machine.outcomes(&[number]).unwrap()[0] else {
        panic!("it is not refused")
    };
    assert_eq!(code, "MXCRYPT_NOW_ENCRYPTED");
}

#[test]
fn a_plain_file_goes_to_a_room_that_is_not_encrypted() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], Value::Null);
    queue(&mut alice, scene.now, &room_id, vec![upload("one", &["url"], false)]);
    let mut paths = Vec::new();
    assert_eq!(
        alice.pump_with(&mut scene, |kind, response| {
            paths.push(kind.to_owned());
            response
        }),
        Vec::new()
    );
    assert_eq!(paths.iter().filter(|kind| *kind == "upload").count(), 1);
    bob.sync(&mut scene);
    let content = parse(&bob.events().pop().unwrap().event.content);
    assert_eq!(content["url"], "mxc://here/file1");
}

#[test]
fn discarded_messages_need_no_files() {
    let (scene, mut alice, _, _, number) = with_file();
    alice.machine.discard(scene.now, &[number]).unwrap();
    assert!(files(&mut alice).is_empty());
    assert!(alice.machine.requests(scene.now).unwrap().requests.is_empty());
}

#[test]
fn a_content_without_a_place_for_the_address_is_refused_at_once() {
    let (scene, mut alice, _, room_id, _) = with_file();
    for place in [&["url", "url"][..], &["msgtype", "url"], &[]] {
        let message = Message {
            room_id: room_id.clone(),
            event_type: "m.room.message".into(),
            content: json!({"msgtype": "m.file", "body": "a file"}).to_string(),
            transaction_id: None,
            demand_encryption: false,
            audience: None,
        };
        let uploads = vec![upload("three", place, true)];
        assert!(alice.machine.send_with_files(scene.now, vec![(message, uploads)]).is_err());
    }
    assert_eq!(files(&mut alice), ["one", "two"]);
}

#[test]
fn a_file_that_something_refuses_for_ever_is_given_up_and_its_room_goes_on() {
    let (mut scene, mut alice, mut bob, room_id, number) = with_file();
    alice.queue(&scene, &room_id, "behind it");
    let mut answers = 0;
    while alice.machine.outcomes(&[number]).unwrap() == [Outcome::Waiting] {
        // A busy server is waited for, however often it says so.
        let status = if answers < 20 { 503 } else { 403 };
        let request = next(&mut alice, &scene);
        assert_eq!(request.kind, "upload");
        reply(&mut alice, &scene, request.number, status, json!("<html>"));
        answers += 1;
        assert!(answers < 40, "it is tried for ever");
        scene.now += 24 * 60 * 60 * 1000;
    }
    assert!(answers > 20);
    alice.sync(&mut scene);
    alice.pump(&mut scene);
    assert_eq!(bob.reads(&mut scene), ["behind it"]);
}

#[test]
fn a_file_is_not_given_up_within_the_hour() {
    let (scene, mut alice, _, _, number) = with_file();
    for _ in 0..50 {
        let since = alice.machine.failures().unwrap();
        let awaited = Awaited { kinds: vec!["upload".into()], since, ..Awaited::default() };
        let request = alice.machine.requests_for(scene.now, &awaited).unwrap().requests.remove(0);
        reply(&mut alice, &scene, request.number, 403, json!("<html>"));
    }
    assert_eq!(alice.machine.outcomes(&[number]).unwrap(), [Outcome::Waiting]);
}

#[test]
fn any_number_of_plain_files_is_refused_at_once() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], Value::Null);
    for number in 0..250 {
        let file = upload(&format!("file{number}"), &["url"], false);
        queue(&mut alice, scene.now, &room_id, vec![file]);
    }
    let question = next(&mut alice, &scene);
    let body = json!({"algorithm": crate::scene::MEGOLM});
    reply(&mut alice, &scene, question.number, 200, body);
    alice.queue(&scene, &room_id, "behind them");
    assert_eq!(alice.pump(&mut scene), Vec::new());
    assert_eq!(bob.reads(&mut scene), ["behind them"]);
}

#[test]
fn two_messages_never_share_a_transaction_id() {
    let (scene, mut alice, _, room_id, _) = with_file();
    let message = Message {
        room_id,
        event_type: "m.room.message".into(),
        content: json!({"msgtype": "m.file", "body": "a file"}).to_string(),
        transaction_id: Some("mine".into()),
        demand_encryption: false,
        audience: None,
    };
    let both = vec![message.clone(), message];
    assert_eq!(alice.machine.send(scene.now, both).unwrap_err().kind, Kind::Argument);
}
