//! Messages of rooms, and the keys they are read with.

use mxcrypt_core::machine::Unsigned;
use serde_json::json;
use vodozemac::megolm::{GroupSession, SessionConfig};

use crate::{
    scene::{Forger, Person, Scene, encrypted_events, megolm_event, room_key, text_of},
    to_device::invite,
};

/// Alice and Bob in a room, with Mallory as a member who forges.
fn with_mallory() -> (Scene, Person, Person, Forger, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let mallory = scene.forger("mallory");
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    invite(&mut scene, &alice.token, &room_id, &mallory.user);
    scene.enter(&mallory.token, &room_id);
    for person in [&mut alice, &mut bob] {
        person.sync(&mut scene);
        person.events();
    }
    (scene, alice, bob, mallory, room_id)
}

fn session() -> GroupSession {
    GroupSession::new(SessionConfig::version_1())
}

/// Rule 19, and fault C21.
#[test]
fn a_ciphertext_stands_for_one_event_for_ever() {
    let (mut scene, mut alice, mut bob, _, room_id) = with_mallory();
    alice.say(&mut scene, &room_id, "pay 10");
    let mut copy = json!(null);
    let mut same = json!(null);
    bob.sync_with(&mut scene, |sync| {
        let events = encrypted_events(sync, &room_id);
        same = events[0].clone();
        copy = events[0].clone();
        copy["event_id"] = json!("$replayed");
        let all = sync["rooms"]["join"][&room_id]["timeline"]["events"].as_array_mut().unwrap();
        all.push(copy.clone());
    });
    assert_eq!(bob.new_texts(), ["pay 10", "(replayed)"]);
    // In a later sync, after a restart. Both come again with a sync, whatever stands around the ciphertext,
    // and are delivered once; a history shows them each time.
    bob.restart();
    let mut later = same.clone();
    later["origin_server_ts"] = json!(1);
    bob.sync_with(&mut scene, |sync| {
        sync["rooms"]["join"][&room_id]["timeline"]["events"] = json!([&copy, &same, &later]);
    });
    assert_eq!(bob.new_texts(), Vec::<String>::new());
    let page = json!({"chunk": [same, copy, later]}).to_string();
    let mode = Unsigned::AsTheModeSays;
    let history = bob.machine.read_history(scene.now, &room_id, &page, mode).unwrap();
    let texts: Vec<_> = history.events.iter().map(text_of).collect();
    assert_eq!(texts, ["pay 10", "(replayed)", "(replayed)"]);
}

/// Rule 18, and fault C23.
#[test]
fn a_message_belongs_to_its_room() {
    let (mut scene, mut alice, mut bob, mut mallory, room_id) = with_mallory();
    let other = scene.room(&mut [&mut alice, &mut bob]);
    invite(&mut scene, &alice.token, &other, &mallory.user);
    scene.enter(&mallory.token.clone(), &other);
    // A session that is known for this room, over a message that was written for another.
    let mut megolm = session();
    mallory.give_key(&mut scene, &mut bob, room_key(&room_id, &megolm), |_| {});
    let event = megolm_event(&mut megolm, &other, "hello");
    mallory.post(&mut scene, &room_id, &event);
    // A session of this room in another.
    let event = megolm_event(&mut megolm, &room_id, "hello");
    mallory.post(&mut scene, &other, &event);
    let mut texts = bob.reads(&mut scene);
    texts.sort();
    assert_eq!(texts, ["(room_mismatch)", "(unknown_session)"]);
}

/// Rule 18: `sender_key` and `device_id` of an event are nobody's word.
#[test]
fn the_deprecated_members_are_not_looked_at() {
    let (mut scene, mut alice, mut bob, _, room_id) = with_mallory();
    alice.say(&mut scene, &room_id, "hello");
    bob.sync_with(&mut scene, |sync| {
        for event in encrypted_events(sync, &room_id) {
            event["content"]["sender_key"] = json!("A".repeat(43));
            event["content"].as_object_mut().unwrap().remove("device_id");
        }
    });
    assert_eq!(bob.new_texts(), ["hello"]);
}

/// Rule 21; CVE-2025-48937.
#[test]
fn a_message_belongs_to_the_maker_of_its_session() {
    let (mut scene, mut alice, mut bob, _, room_id) = with_mallory();
    alice.say(&mut scene, &room_id, "hello");
    bob.sync_with(&mut scene, |sync| {
        for event in encrypted_events(sync, &room_id) {
            event["sender"] = json!("@mallory:here");
        }
    });
    assert_eq!(bob.new_texts(), ["(sender_mismatch)"]);
}

/// Rule 20, and fault C22: the id under which a key is kept is the key's own.
#[test]
fn a_key_under_another_id_is_refused() {
    let (mut scene, _, mut bob, mut mallory, room_id) = with_mallory();
    let (megolm, mut victim) = (session(), session());
    let mut content = room_key(&room_id, &megolm);
    content["session_id"] = json!(victim.session_id());
    mallory.give_key(&mut scene, &mut bob, content, |_| {});
    let event = megolm_event(&mut victim, &room_id, "hello");
    mallory.post(&mut scene, &room_id, &event);
    let report = bob.sync(&mut scene);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(bob.new_texts(), ["(unknown_session)"]);
}

/// Rule 20, and fault C22: anyone who was given a key can hand it on, and gains nothing by it.
#[test]
fn a_key_that_is_handed_on_neither_replaces_nor_blocks_its_makers() {
    for mallory_first in [true, false] {
        let (mut scene, _, mut bob, mut mallory, room_id) = with_mallory();
        let mut alice = scene.forger("alice2");
        scene.enter_as(&mut bob, &alice.token.clone(), &alice.user.clone(), &room_id);
        let mut megolm = session();
        let early = room_key(&room_id, &megolm);
        let event = megolm_event(&mut megolm, &room_id, "hello");
        let late = room_key(&room_id, &megolm);
        if mallory_first {
            mallory.give_key(&mut scene, &mut bob, late.clone(), |_| {});
        }
        alice.give_key(&mut scene, &mut bob, early, |_| {});
        if !mallory_first {
            mallory.give_key(&mut scene, &mut bob, late, |_| {});
        }
        alice.post(&mut scene, &room_id, &event);
        assert_eq!(bob.reads(&mut scene), ["hello"], "mallory first: {mallory_first}");
    }
}

/// Rule 20: a key from a later index must not take readable messages away.
#[test]
fn the_lowest_index_is_kept_and_a_lower_one_taken() {
    let (mut scene, _, mut bob, mut mallory, room_id) = with_mallory();
    let mut megolm = session();
    let from_zero = room_key(&room_id, &megolm);
    let zero = megolm_event(&mut megolm, &room_id, "zero");
    let from_one = room_key(&room_id, &megolm);
    let one = megolm_event(&mut megolm, &room_id, "one");
    mallory.give_key(&mut scene, &mut bob, from_one.clone(), |_| {});
    mallory.post(&mut scene, &room_id, &zero);
    mallory.post(&mut scene, &room_id, &one);
    assert_eq!(bob.reads(&mut scene), ["(unknown_index)", "one"]);
    mallory.give_key(&mut scene, &mut bob, from_zero, |_| {});
    assert_eq!(bob.reads(&mut scene), ["zero"], "it waited, and comes when it can be read");
    mallory.give_key(&mut scene, &mut bob, from_one, |_| {});
    bob.sync(&mut scene);
    let history = json!({"chunk": [{"event_id": "$old", "type": "m.room.encrypted",
        "sender": mallory.user, "origin_server_ts": 1, "content": zero}]});
    let history = bob
        .machine
        .read_history(scene.now, &room_id, &history.to_string(), Unsigned::AsTheModeSays)
        .unwrap();
    let reason = history.events[0].event.unreadable.as_ref().map(|reason| reason.code.as_str());
    assert_eq!(reason, Some("replayed"), "index 0 can still be decrypted");
}

/// A key of another algorithm is not a Megolm key, whatever it holds.
#[test]
fn keys_for_other_algorithms_are_refused() {
    let (mut scene, _, mut bob, mut mallory, room_id) = with_mallory();
    for algorithm in [json!("m.megolm.v2"), json!(7), json!(null)] {
        let mut content = room_key(&room_id, &session());
        content["algorithm"] = algorithm;
        mallory.give_key(&mut scene, &mut bob, content, |_| {});
        assert_eq!(bob.sync(&mut scene).problems.len(), 1);
    }
}

/// What cannot be read has a reason, and the rest of the timeline is read.
#[test]
fn every_unreadable_event_says_why() {
    let (mut scene, _, mut bob, mut mallory, room_id) = with_mallory();
    let mut megolm = session();
    mallory.give_key(&mut scene, &mut bob, room_key(&room_id, &megolm), |_| {});
    let good = megolm_event(&mut megolm, &room_id, "good");
    let mut altered = megolm_event(&mut megolm, &room_id, "altered");
    let text = altered["ciphertext"].as_str().unwrap();
    let middle = text.len() / 2;
    let other = if &text[middle..=middle] == "A" { "Q" } else { "A" };
    altered["ciphertext"] = json!(format!("{}{other}{}", &text[..middle], &text[middle + 1..]));
    let mut not_json = megolm_event(&mut megolm, &room_id, "x");
    not_json["ciphertext"] = json!(megolm.encrypt("not JSON").to_base64());
    for content in [
        json!({}),
        json!({"algorithm": "m.other"}),
        json!({"algorithm": crate::scene::MEGOLM, "session_id": "x", "ciphertext": 5}),
        json!({"algorithm": crate::scene::MEGOLM, "session_id": megolm.session_id(),
            "ciphertext": "not base64!"}),
        altered,
        not_json,
        good,
    ] {
        mallory.post(&mut scene, &room_id, &content);
    }
    let reasons = bob.reads(&mut scene);
    assert_eq!(
        reasons,
        [
            "(malformed_event)",
            "(unknown_algorithm)",
            "(malformed_event)",
            "(malformed_event)",
            "(bad_message)",
            "(payload_not_json)",
            "good",
        ]
    );
}

/// Fault C15: an event whose key comes later is read then, also after a restart.
#[test]
fn an_event_waits_for_its_key() {
    let (mut scene, mut alice, mut bob, _, room_id) = with_mallory();
    alice.say(&mut scene, &room_id, "early");
    let mut keys = json!([]);
    bob.sync_with(&mut scene, |sync| {
        keys = sync["to_device"]["events"].take();
        sync["to_device"]["events"] = json!([]);
    });
    assert_eq!(bob.new_texts(), ["(unknown_session)"]);
    bob.restart();
    bob.sync_with(&mut scene, |sync| sync["to_device"]["events"] = keys);
    let events = bob.events();
    assert_eq!(events.len(), 1);
    assert_eq!(text_of(&events[0]), "early");
}

/// Fault C16.
#[test]
fn our_own_messages_are_readable_also_after_a_restart() {
    let (mut scene, mut alice, _, _, room_id) = with_mallory();
    alice.say(&mut scene, &room_id, "mine");
    alice.restart();
    alice.sync(&mut scene);
    let events = alice.events();
    let mine = events.iter().find(|row| row.event.encrypted).unwrap();
    assert!(mine.is_self);
    assert_eq!(text_of(mine), "mine");
    assert_eq!(mine.trust, mxcrypt_core::judgement::trust::Trust::Unsigned);
}

impl Scene {
    fn enter_as(&mut self, host: &mut Person, token: &str, user: &str, room_id: &str) {
        invite(self, &host.token, room_id, user);
        self.enter(token, room_id);
        host.sync(self);
        host.events();
    }
}
