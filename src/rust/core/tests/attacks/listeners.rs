//! Listeners whose handlers fail, or end the process, at an event.

use mxcrypt_core::{
    machine::{Handed, Message, Unsigned},
    store::records::{Attempt, Consumer},
};
use serde_json::{Value, json};

use crate::scene::{Person, Scene, parse};

const BOT: &str = "bot";
const FAILED: &str = "mxcrypt.handler_failed";

/// Bob, to whom Alice has said "poison" and "cure".
fn listener() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    bob.events();
    take(&mut bob);
    acknowledge_all(&mut bob);
    alice.say(&mut scene, &room_id, "poison");
    alice.say(&mut scene, &room_id, "cure");
    bob.sync(&mut scene);
    (scene, alice, bob, room_id)
}

fn take(person: &mut Person) -> Vec<Handed> {
    person.machine.take(person.now, BOT, 100, Unsigned::AsTheModeSays).unwrap()
}

fn acknowledge_all(person: &mut Person) {
    if let Some(last) = take(person).last() {
        person.machine.acknowledge(person.now, BOT, last.number).unwrap();
    }
}

fn bodies(rows: &[Handed]) -> Vec<String> {
    let body = |row: &Handed| parse(&row.event.content)["body"].as_str().unwrap().to_owned();
    rows.iter().map(body).collect()
}

#[test]
fn an_event_that_ends_the_process_is_counted() {
    let (_, _, mut bob, _) = listener();
    for count in 1..=4 {
        let poison = take(&mut bob)[0].number;
        assert_eq!(bob.machine.begin_attempt(1, BOT, poison).unwrap(), count);
        bob.restart();
    }
    // Each consumer has its own count, and each event.
    let rows = take(&mut bob);
    assert_eq!(bob.machine.begin_attempt(1, "other", rows[0].number).unwrap(), 1);
    bob.machine.acknowledge(bob.now, BOT, rows[0].number).unwrap();
    assert_eq!(bob.machine.begin_attempt(1, BOT, rows[1].number).unwrap(), 1);
}

/// Who stops a program while its handler works has found nothing wrong with the event.
#[test]
fn an_attempt_that_was_interrupted_does_not_count() {
    let (_, _, mut bob, _) = listener();
    let poison = take(&mut bob)[0].number;
    for _ in 0..5 {
        assert_eq!(bob.machine.begin_attempt(1, BOT, poison).unwrap(), 1);
        bob.machine.withdraw_attempt(1, BOT, poison).unwrap();
    }
}

#[test]
fn what_was_set_aside_is_reported_to_every_consumer() {
    let (_, _, mut bob, room_id) = listener();
    let poison = take(&mut bob).remove(0);
    bob.machine.set_aside(77, BOT, poison.number, "no \"luck\"").unwrap();
    bob.restart();
    let rows = take(&mut bob);
    assert_eq!(rows.len(), 2, "the rest, and the report");
    assert_eq!(bodies(&rows)[0], "cure");
    let report = &rows[1].event;
    assert_eq!(report.event_type, FAILED);
    assert_eq!(report.sender, "");
    assert_eq!(report.origin_server_ts, 77);
    assert_eq!((&report.room_id, &report.event_id), (&room_id, &poison.event.event_id));
    let content: Value = parse(&report.content);
    assert_eq!(content["error"], "no \"luck\"");
    assert_eq!(content["consumer"], BOT);
    assert_eq!(content["event_id"].as_str(), poison.event.event_id.as_deref());
    assert_eq!(content["event_type"], "m.room.message");
    assert_eq!(content["sender"], "@alice:here");
    assert_eq!(bob.events().last().unwrap().event.event_type, FAILED);
}

/// Otherwise a handler that fails at everything would never come to an end.
#[test]
fn a_report_that_is_set_aside_is_not_reported() {
    let (_, _, mut bob, _) = listener();
    for _ in 0..4 {
        let next = take(&mut bob).remove(0);
        bob.machine.set_aside(1, BOT, next.number, "always").unwrap();
    }
    assert_eq!(take(&mut bob).len(), 0);
}

/// A member who sends an event of that type must not have her events vanish without a report.
#[test]
fn a_report_that_somebody_sent_is_an_event_like_others() {
    let (mut scene, mut alice, mut bob, room_id) = listener();
    acknowledge_all(&mut bob);
    let message = Message {
        room_id,
        event_type: FAILED.into(),
        content: json!({"body": "all is well"}).to_string(),
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    };
    alice.machine.send(scene.now, vec![message]).unwrap();
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    let forged = take(&mut bob).remove(0);
    // Under a name that this device never uses itself.
    let remote = format!("remote.{FAILED}");
    assert_eq!(forged.event.event_type, remote);
    bob.machine.set_aside(1, BOT, forged.number, "odd").unwrap();
    let rows = take(&mut bob);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].event.event_type, FAILED);
    assert_eq!(parse(&rows[0].event.content)["event_type"], remote);
}

#[test]
fn a_consumer_from_before_attempts_were_counted_is_read() {
    let old: Consumer =
        serde_json::from_str(r#"{"name": "bot", "cursor": 3, "handed": 5}"#).unwrap();
    assert_eq!(old.attempt, None::<Attempt>);
}
