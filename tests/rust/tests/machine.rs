//! Whatever a server answers: the machine gives a value or an error, never panics, and goes on
//! working afterwards.

use mxcrypt_core::{
    machine::{Machine, Message, Reply, Unsigned},
    store::{KeySource, Location},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn machine() -> (TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    let store = Location::new(dir.path(), KeySource::File).open().unwrap();
    let mut machine = Machine::new(store);
    machine.bind("@alice:here", "DEV").unwrap();
    (dir, machine)
}

/// A sync as a server sends it, with a value of a stranger's choice somewhere in it.
fn spoiled(template: &Value, place: usize, spoil: &Value) -> Value {
    fn walk(value: &mut Value, place: &mut usize, spoil: &Value) {
        if *place == 0 {
            *value = spoil.clone();
        }
        *place = place.wrapping_sub(1);
        match value {
            Value::Object(members) => members.values_mut().for_each(|v| walk(v, place, spoil)),
            Value::Array(elements) => elements.iter_mut().for_each(|v| walk(v, place, spoil)),
            _ => {}
        }
    }
    let mut value = template.clone();
    let mut place = place;
    walk(&mut value, &mut place, spoil);
    value
}

fn template() -> Value {
    let event = |kind: &str, content: Value| {
        json!({"type": kind, "event_id": format!("${kind}"), "sender": "@bob:here",
            "origin_server_ts": 1, "content": content, "unsigned": {"age": 1}})
    };
    let state = |kind: &str, key: &str, content: Value| {
        let mut event = event(kind, content);
        event["state_key"] = json!(key);
        event
    };
    json!({
        "next_batch": "s2",
        "to_device": {"events": [
            {"type": "m.room.encrypted", "sender": "@bob:here", "content": {
                "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "A".repeat(43),
                "ciphertext": {"x": {"type": 0, "body": "AwoE"}}}},
        ]},
        "device_lists": {"changed": ["@bob:here"], "left": ["@carol:here"]},
        "device_one_time_keys_count": {"signed_curve25519": 3},
        "device_unused_fallback_key_types": [],
        "rooms": {
            "join": {"!r:here": {
                "state": {"events": [state("m.room.member", "@bob:here", json!({"membership": "join"}))]},
                "timeline": {"limited": true, "prev_batch": "p", "events": [
                    state("m.room.encryption", "", json!({"algorithm": "m.megolm.v1.aes-sha2",
                        "rotation_period_msgs": 5})),
                    event("m.room.encrypted", json!({"algorithm": "m.megolm.v1.aes-sha2",
                        "session_id": "x", "ciphertext": "AwgA"})),
                    event("m.room.message", json!({"body": "x"})),
                ]},
            }},
            "invite": {"!i:here": {"invite_state": {"events": [
                {"type": "m.room.member", "state_key": "@alice:here", "sender": "@bob:here",
                 "content": {"membership": "invite"}}]}}},
            "leave": {"!l:here": {"timeline": {"events": []}}},
        },
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|n| json!(n)),
        any::<String>().prop_map(Into::into),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[{}]]])),
        Just(json!({"a": {"b": 1}})),
        (0usize..300).prop_map(|n| "x".repeat(n).into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_spoiled_sync(places in prop::collection::vec((0usize..80, value()), 1..6)) {
        let (_dir, mut machine) = machine();
        let mut token = None;
        for (place, spoil) in places {
            let body = spoiled(&template(), place, &spoil).to_string();
            if machine.receive_sync(1, token.as_deref(), &body).is_ok() {
                token = machine.sync_token().unwrap();
            }
        }
        let rows = machine.take(1, "test", 1000, Unsigned::AsTheModeSays).unwrap();
        prop_assert!(rows.iter().all(|row| row.number > 0));
        let good = machine.receive_sync(1, token.as_deref(), r#"{"next_batch":"good"}"#).unwrap();
        prop_assert!(!good.stale);
    }

    #[test]
    fn spoiled_answers(bodies in prop::collection::vec((100u16..600, value(), 0usize..20), 1..12)) {
        let (_dir, mut machine) = machine();
        let message = Message {
            room_id: "!r:here".into(),
            event_type: "m.room.message".into(),
            content: "{}".into(),
            transaction_id: None,
            demand_encryption: true,
            audience: None,
        };
        let number = machine.send(1, vec![message]).unwrap()[0];
        let answer = json!({"chunk": [{"type": "m.room.member", "state_key": "@bob:here",
            "content": {"membership": "join"}}], "device_keys": {"@bob:here": {"DEV": {}}},
            "one_time_keys": {"@bob:here": {"DEV": {"signed_curve25519:A": {}}}}, "failures": {},
            "one_time_key_counts": {"signed_curve25519": 5}, "event_id": "$1",
            "history_visibility": "shared"});
        for (status, spoil, place) in bodies {
            let Ok(due) = machine.requests(1) else { break };
            for request in due.requests {
                let body = spoiled(&answer, place, &spoil).to_string();
                let reply = Reply::Answer { status, body };
                machine.replies(1, vec![(request.number, reply)]).unwrap();
            }
        }
        machine.outcomes(&[number]).unwrap();
    }
}
