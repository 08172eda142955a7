//! Syncs, gaps, and several processes.

use mxcrypt_core::{
    machine::{Outcome, Reply, Unsigned},
    primitives::parallel,
};
use mxcrypt_model_server::{Request, Response};
use serde_json::{Value, json};

use crate::scene::{Person, Scene, encoded, parse, text_of};

fn pair() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    bob.events();
    (scene, alice, bob, room_id)
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// More than a sync holds: the rest is fetched, and delivered in order, once.
#[test]
fn a_gap_is_filled_in_order() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..300 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    let report = bob.sync(&mut scene);
    assert!(report.last < report.first, "what stands behind the gap waits");
    assert_eq!(bob.new_texts(), Vec::<String>::new());
    bob.restart();
    bob.pump(&mut scene);
    assert_eq!(bob.new_texts(), numbers(0..300));
}

/// Gaps behind gaps, and a room without one in between.
#[test]
fn two_gaps_are_filled_one_after_the_other() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for part in 0..2 {
        for n in 0..60 {
            alice.queue(&scene, &room_id, &(60 * part + n).to_string());
        }
        alice.pump(&mut scene);
        bob.sync(&mut scene);
    }
    alice.say(&mut scene, &room_id, "120");
    bob.sync(&mut scene);
    bob.pump(&mut scene);
    assert_eq!(bob.new_texts(), numbers(0..121));
}

/// A gap that cannot be filled is a row that says so, and what stands behind it comes.
#[test]
fn a_gap_that_is_given_up_says_so() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    bob.pump_with(&mut scene, |kind, response| match kind {
        "gap" => Response { status: 403, body: r#"{"errcode":"M_FORBIDDEN"}"#.into() },
        _ => response,
    });
    let events = bob.events();
    let reason = events[0].event.unreadable.as_ref().unwrap();
    assert_eq!(
        (events[0].event.event_type.as_str(), reason.code.as_str()),
        ("mxcrypt.missing", "gap")
    );
    assert!(events.len() > 1);
}

/// A room in which sixty things were said, of which a sync brings ten; what the server says of that is
/// `damage`d. What is read of it, and whether something is said to be missing.
fn damaged(damage: impl Fn(&mut Value, &str)) -> (Vec<String>, bool) {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    let since = bob.machine.sync_token().unwrap().unwrap();
    bob.sync_with(&mut scene, |sync| {
        let next = sync["next_batch"].clone();
        let timeline = &mut sync["rooms"]["join"][&room_id]["timeline"];
        assert_eq!(timeline["limited"], true);
        damage(timeline, &since);
        if timeline["prev_batch"] == "the next" {
            timeline["prev_batch"] = next;
        }
    });
    bob.pump(&mut scene);
    // And what a later sync brings comes after it, once.
    alice.say(&mut scene, &room_id, "60");
    bob.sync(&mut scene);
    bob.pump(&mut scene);
    let events = bob.events();
    let missing = events.iter().any(|row| row.event.event_type == "mxcrypt.missing");
    let texts = events.iter().filter(|row| row.event.encrypted).map(text_of).collect();
    (texts, missing)
}

/// Nothing is lost, and nothing comes twice, whatever the server says of where a gap ends.
#[test]
fn a_gap_whose_end_is_not_known_is_filled_from_its_beginning() {
    let without = |timeline: &mut Value, _: &str| {
        timeline.as_object_mut().unwrap().remove("prev_batch");
    };
    assert_eq!(damaged(without), (numbers(0..61), false));
    let ends = [json!(null), json!(""), json!(7), json!({})];
    for end in ends {
        let odd = |timeline: &mut Value, _: &str| timeline["prev_batch"] = end.clone();
        assert_eq!(damaged(odd), (numbers(0..61), false), "{end}");
    }
    let begins = |timeline: &mut Value, since: &str| timeline["prev_batch"] = json!(since);
    assert_eq!(damaged(begins), (numbers(0..61), false));
}

#[test]
fn a_gap_that_ends_too_late_brings_nothing_twice() {
    let late = |timeline: &mut Value, _: &str| timeline["prev_batch"] = json!("the next");
    assert_eq!(damaged(late), (numbers(0..61), false));
}

#[test]
fn a_timeline_that_cannot_be_read_is_a_gap() {
    for odd in [json!({}), json!("x"), json!(7)] {
        let events = |timeline: &mut Value, _: &str| timeline["events"] = odd.clone();
        assert_eq!(damaged(events), (numbers(0..61), false), "{odd}");
        let limited = |timeline: &mut Value, _: &str| timeline["limited"] = odd.clone();
        assert_eq!(damaged(limited), (numbers(0..61), false), "{odd}");
        let whole = |timeline: &mut Value, _: &str| *timeline = odd.clone();
        let lost = if odd.is_object() { 60 } else { 0 };
        // An empty timeline says nothing of events that are missing.
        assert_eq!(damaged(whole), (numbers(lost..61), false), "{odd}");
    }
}

/// The server left events out, and has none of them when it is asked.
#[test]
fn a_gap_without_events_is_told() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    bob.pump_with(&mut scene, |kind, response| match kind {
        "gap" => Response { status: 200, body: r#"{"chunk":[]}"#.into() },
        _ => response,
    });
    let events = bob.events();
    assert_eq!(events[0].event.event_type, "mxcrypt.missing");
    assert_eq!(events.iter().filter(|row| row.event.encrypted).count(), 10);
}

/// What is no page ends no gap.
#[test]
fn a_page_that_is_none_does_not_close_a_gap() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    for odd in ["{}", "[]", r#"{"chunk":null}"#, r#"{"chunk":{}}"#, "<html>"] {
        bob.pump_with(&mut scene, |kind, response| match kind {
            "gap" => Response { status: 200, body: odd.into() },
            _ => response,
        });
        assert_eq!(bob.new_texts(), Vec::<String>::new(), "{odd}");
    }
    scene.now += 24 * 3_600_000;
    bob.pump(&mut scene);
    assert_eq!(bob.new_texts(), numbers(0..60));
}

/// An item of a page that is no event costs itself.
#[test]
fn a_page_is_read_item_by_item() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    bob.pump_with(&mut scene, |kind, response| {
        let mut page = parse(&response.body);
        if kind == "gap" {
            let events = page["chunk"].as_array_mut().unwrap();
            events.splice(1..1, [json!(7), json!(null), json!([]), json!({}), json!("x")]);
        }
        Response { body: page.to_string(), ..response }
    });
    let events = bob.events();
    let odd = events.iter().filter(|row| row.event.event_type == "mxcrypt.missing").count();
    let texts: Vec<_> = events.iter().filter(|row| row.event.encrypted).map(text_of).collect();
    assert_eq!((odd, texts), (5, numbers(0..60)));
}

/// A server that repeats itself, and one that shows another event under a known id.
#[test]
fn an_event_comes_once_and_another_of_its_name_too() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "once");
    let mut again = Value::Null;
    bob.sync_with(&mut scene, |sync| {
        again = sync["rooms"]["join"][&room_id]["timeline"]["events"].clone();
    });
    assert_eq!(bob.new_texts(), ["once"]);
    let mut other = again[0].clone();
    other["content"] = json!({"algorithm": "m.x"});
    again[0]["unsigned"] = json!({"age": 7});
    alice.say(&mut scene, &room_id, "twice");
    bob.sync_with(&mut scene, |sync| {
        let events = &mut sync["rooms"]["join"][&room_id]["timeline"]["events"];
        let events = events.as_array_mut().unwrap();
        events.splice(0..0, [again[0].clone(), other]);
    });
    assert_eq!(bob.new_texts(), ["(unknown_algorithm)", "twice"]);
}

/// An endless gap comes to an end.
#[test]
fn a_gap_without_end_is_bounded() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..60 {
        alice.queue(&scene, &room_id, &n.to_string());
    }
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    let event = |n: u64| {
        json!({"event_id": format!("${n}"), "type": "m", "sender": "@a:b",
        "origin_server_ts": 1, "content": {}})
    };
    let mut pages = 0;
    for _ in 0..200 {
        let requests = bob.machine.requests(scene.now).unwrap().requests;
        let Some(gap) = requests.iter().find(|request| request.kind == "gap") else { break };
        pages += 1;
        let chunk: Vec<Value> = (0..1000).map(|n| event(pages * 1000 + n)).collect();
        let body = json!({"chunk": chunk, "end": format!("t{pages}")}).to_string();
        bob.machine
            .replies(scene.now, vec![(gap.number, Reply::Answer { status: 200, body })])
            .unwrap();
    }
    assert_eq!(pages, 20);
    let mut events = Vec::new();
    for _ in 0..5 {
        events.extend(bob.events());
    }
    assert!(events.iter().any(|row| row.event.event_type == "mxcrypt.missing"));
}

/// Sync is compare-and-swap: of two processes that asked with one token, one is thrown away whole.
#[test]
fn a_stale_sync_is_thrown_away_whole() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    let (since, answer) = bob.sync_answer(&mut scene);
    let answer = answer.to_string();
    let taken = bob.machine.receive_sync(scene.now, since.as_deref(), &answer).unwrap();
    assert!(!taken.stale);
    for since in [since.as_deref(), None, Some("other")] {
        let report = bob.another().receive_sync(scene.now, since, &answer).unwrap();
        assert!(report.stale);
    }
    assert_eq!(bob.new_texts(), ["one"]);
}

/// Fault C4: what is no sync changes nothing, and the token stays.
#[test]
fn what_is_no_sync_changes_nothing() {
    let (scene, _, mut bob, _) = pair();
    let before = bob.machine.sync_token().unwrap();
    for body in ["", "{}", "[]", "{\"next_batch\":7}", "<html>", "{\"next_batch\":\"x\""] {
        assert!(bob.machine.receive_sync(scene.now, before.as_deref(), body).is_err());
    }
    assert_eq!(bob.machine.sync_token().unwrap(), before);
}

/// Events as deep as a server takes them do not make the sync around them too deep to read.
#[test]
fn deep_content_does_not_spoil_the_sync() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    let mut deep = json!("x");
    for _ in 0..120 {
        deep = json!([deep]);
    }
    bob.sync_with(&mut scene, |sync| {
        let events = sync["rooms"]["join"][&room_id]["timeline"]["events"].as_array_mut().unwrap();
        let event = |id: &str, content: Value| {
            json!({"event_id": id, "type": "m.deep",
            "sender": "@a:b", "origin_server_ts": 1, "content": content})
        };
        events.insert(0, event("$deep", json!({"deep": deep})));
    });
    assert_eq!(bob.new_texts(), ["one"]);
}

/// A malformed room or event costs itself alone, and does not vanish.
#[test]
fn a_malformed_event_is_a_row_that_says_so() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    bob.sync_with(&mut scene, |sync| {
        sync["rooms"]["join"]["!broken:here"] = json!(7);
        let events = sync["rooms"]["join"][&room_id]["timeline"]["events"].as_array_mut().unwrap();
        events.insert(0, json!({"type": "m.room.message"}));
        events.insert(0, json!("text"));
    });
    let events = bob.events();
    let codes: Vec<_> =
        events.iter().filter_map(|row| row.event.unreadable.as_ref()).map(|r| &r.code).collect();
    assert_eq!(codes, ["malformed_event", "malformed_event"]);
    assert!(events.iter().any(|row| row.event.encrypted && row.event.unreadable.is_none()));
}

/// Law 4 and fault C35: two processes on one store never use an index twice, nor send a message
/// twice.
#[test]
fn two_processes_share_one_ratchet() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "0");
    let mut other = Person {
        user: alice.user.clone(),
        device_id: alice.device_id.clone(),
        token: alice.token.clone(),
        disk: alice.disk.clone(),
        key: alice.key.clone(),
        now: alice.now,
        machine: alice.another(),
    };
    for n in 1..20 {
        let speaker = if n % 2 == 0 { &mut alice } else { &mut other };
        speaker.say(&mut scene, &room_id, &n.to_string());
    }
    assert_eq!(bob.reads(&mut scene), numbers(0..20));
}

/// A lost response: the same bytes under the same transaction id, and one event.
#[test]
fn what_was_sent_and_not_answered_is_sent_again_byte_for_byte() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "0");
    alice.queue(&scene, &room_id, "1");
    let first = alice.machine.requests(scene.now).unwrap().requests.remove(0);
    let http = Request {
        method: first.method.into(),
        path: first.path.clone(),
        token: Some(alice.token.clone()),
        body: first.body.clone().unwrap().into_bytes(),
    };
    assert_eq!(scene.server.handle(0, &http).status, 200);
    alice.restart();
    scene.now += 11_000;
    let second = alice.machine.requests(scene.now).unwrap().requests.remove(0);
    assert_eq!((&first.path, &first.body), (&second.path, &second.body));
    scene.now += 11_000;
    alice.pump(&mut scene);
    assert_eq!(bob.reads(&mut scene), ["0", "1"]);
}

/// A message that certainly was not sent is encrypted again, after the key changed meanwhile.
#[test]
fn what_was_not_tried_is_encrypted_anew() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let mut carol = scene.person("carol");
    crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
    scene.enter(&carol.token.clone(), &room_id);
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "0");
    carol.sync(&mut scene);
    alice.queue(&scene, &room_id, "1");
    let request = alice.machine.requests(scene.now).unwrap().requests.remove(0);
    alice.machine.replies(scene.now, vec![(request.number, Reply::NotTried)]).unwrap();
    scene.leave(&carol.token.clone(), &room_id);
    alice.sync(&mut scene);
    alice.pump(&mut scene);
    assert_eq!(bob.reads(&mut scene), ["0", "1"]);
    let path = format!("rooms/{}/messages?dir=b&limit=1", encoded(&room_id));
    let page = scene.call(Some(&alice.token), "GET", &path, Value::Null);
    let history = carol
        .machine
        .read_history(scene.now, &room_id, &page.body, Unsigned::AsTheModeSays)
        .unwrap();
    assert!(history.events[0].event.unreadable.is_some(), "it was not hers any more");
}

/// Past the age at which servers forget transaction ids, what was sent is looked for first.
#[test]
fn an_old_message_of_unknown_fate_is_looked_for_before_it_is_sent_again() {
    for arrived in [true, false] {
        let (mut scene, mut alice, mut bob, room_id) = pair();
        alice.say(&mut scene, &room_id, "0");
        let number = alice.queue(&scene, &room_id, "1");
        let request = alice.machine.requests(scene.now).unwrap().requests.remove(0);
        if arrived {
            // Under another transaction id, as if the server had forgotten this one since.
            let path = request.path["/_matrix/client/v3/".len()..].to_owned() + "x";
            let body = parse(request.body.as_ref().unwrap());
            assert_eq!(scene.call(Some(&alice.token), "PUT", &path, body).status, 200);
        }
        alice.restart();
        scene.now += 24 * 60 * 60 * 1000;
        let due = alice.machine.requests(scene.now).unwrap();
        assert!(due.sync_first && due.requests.is_empty());
        alice.sync(&mut scene);
        alice.pump(&mut scene);
        assert!(matches!(alice.machine.outcomes(&[number]).unwrap()[0], Outcome::Sent { .. }));
        assert_eq!(bob.reads(&mut scene), ["0", "1"], "arrived: {arrived}");
    }
}

/// What was said before we were removed was said to us.
#[test]
fn a_gap_in_a_room_that_we_were_removed_from_is_filled_or_told() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    for n in 0..30 {
        alice.say(&mut scene, &room_id, &n.to_string());
    }
    let path = format!("rooms/{}/kick", encoded(&room_id));
    scene.call(Some(&alice.token), "POST", &path, json!({"user_id": bob.user}));
    let mut limited = false;
    bob.sync_with(&mut scene, |sync| {
        let timeline = &sync["rooms"]["leave"][&room_id]["timeline"];
        limited = timeline["limited"] == true;
    });
    assert!(limited);
    bob.pump(&mut scene);
    assert_eq!(bob.new_texts(), numbers(0..30));
}

/// So many messages that they are decrypted ahead on all cores, and some of them a server has tampered with.
#[test]
fn many_messages_are_judged_alike_on_one_thread_and_on_all() {
    let expected: Vec<String> = (0..64)
        .map(|number| match number {
            3 => "(bad_message)".to_owned(),
            5 => "(sender_mismatch)".to_owned(),
            7 => "(unknown_session)".to_owned(),
            _ => number.to_string(),
        })
        .chain(["(replayed)".to_owned()])
        .collect();
    for threads in [1, usize::MAX] {
        parallel::limit_threads(threads);
        assert_eq!(texts_of_tampered_timeline(), expected, "{threads} threads at most");
    }
}

/// What Alice reads of 64 messages of Bob, of which four were changed.
fn texts_of_tampered_timeline() -> Vec<String> {
    let (mut scene, mut bob, mut alice, room_id) = pair();
    for number in 0..64 {
        bob.queue(&scene, &room_id, &number.to_string());
    }
    assert_eq!(bob.pump(&mut scene), []);
    let path = format!("rooms/{}/messages?dir=b&limit=100", encoded(&room_id));
    let page = parse(&scene.call(Some(&alice.token), "GET", &path, Value::Null).body);
    let mut events = page["chunk"].as_array().unwrap().clone();
    events.retain(|event| event["type"] == "m.room.encrypted");
    events.reverse();
    let ciphertext = events[3]["content"]["ciphertext"].as_str().unwrap();
    // The signature is at the end.
    events[3]["content"]["ciphertext"] =
        format!("{}{}", &ciphertext[..ciphertext.len() - 10], "AAAAAAAAAA").into();
    events[5]["sender"] = json!("@carol:here");
    events[7]["content"]["session_id"] = json!("another");
    let mut again = events[9].clone();
    again["event_id"] = json!("$again");
    events.push(again);
    let (since, mut answer) = alice.sync_answer(&mut scene);
    answer["rooms"]["join"][&room_id]["timeline"] = json!({"events": events, "limited": false});
    alice.machine.receive_sync(scene.now, since.as_deref(), &answer.to_string()).unwrap();
    alice.new_texts()
}
