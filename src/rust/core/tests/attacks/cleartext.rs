//! Nothing goes out in the clear because a server said something else before, or later.

use mxcrypt_core::{
    machine::{Awaited, Reply},
    store::records::OutboxRow,
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Scene, encoded, handle, parse, two};

fn sent_in_the_clear(scene: &Scene, text: &str) -> bool {
    scene.server.seen().any(|body| String::from_utf8_lossy(body).contains(text))
}

/// The server said once that a room is not encrypted. What was certainly not sent then goes out in the
/// clear long after the room was encrypted.
#[test]
fn a_permission_to_send_in_the_clear_does_not_last() {
    let (mut scene, mut alice, bob, room_id) = two(Value::Null);
    alice.queue(&scene, &room_id, "one");
    let second = alice.queue(&scene, &room_id, "a secret");
    // The network fails with the first; the second is not tried.
    let awaited = Awaited { room_id: Some(room_id.clone()), ..Awaited::default() };
    let mut round = 0;
    for _ in 0..3 {
        let requests = alice.machine.requests_for(scene.now, &awaited).unwrap().requests;
        let mut failed = false;
        for request in requests {
            let reply = match request.kind {
                "send" if failed => Reply::NotTried,
                "send" => {
                    failed = true;
                    round += 1;
                    Reply::Answer { status: 502, body: "<html>".into() }
                }
                _ => handle(&mut scene, &alice.token, request.method, &request.path, request.body),
            };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
        }
        if failed {
            break;
        }
    }
    assert_eq!(round, 1);
    let row: Option<OutboxRow> = alice.look(|tx| tx.get(&[second.into()]));
    assert_eq!(row.unwrap().attempts, 0);
    // Bob encrypts the room; hours pass.
    let path = format!("rooms/{}/state/m.room.encryption", encoded(&room_id));
    let content = json!({"algorithm": MEGOLM});
    assert_eq!(scene.call(Some(&bob.token), "PUT", &path, content).status, 200);
    scene.now += 6 * 3_600_000;
    alice.pump(&mut scene);
    assert!(!sent_in_the_clear(&scene, "a secret"));
}

/// The event that encrypts a room stands in a gap. The server returns it there, and says later that there is
/// none.
#[test]
fn a_room_that_was_seen_encrypted_in_a_gap_stays_so() {
    let (mut scene, mut alice, mut bob, room_id) = two(Value::Null);
    for n in 0..60 {
        bob.queue(&scene, &room_id, &n.to_string());
    }
    bob.pump(&mut scene);
    alice.sync(&mut scene);
    let tamper = |kind: &str, response: Response| match kind {
        "gap" => {
            let mut page = parse(&response.body);
            let event = json!({"event_id": "$e", "type": "m.room.encryption", "state_key": "",
                "sender": "@bob:here", "origin_server_ts": 1, "content": {"algorithm": MEGOLM}});
            page["chunk"].as_array_mut().unwrap().push(event);
            Response { body: page.to_string(), ..response }
        }
        "encryption" => Response { status: 404, body: r#"{"errcode":"M_NOT_FOUND"}"#.into() },
        _ => response,
    };
    alice.pump_with(&mut scene, tamper);
    let seen = alice.events();
    assert!(seen.iter().any(|row| row.event.event_type == "m.room.encryption"));
    alice.queue(&scene, &room_id, "a secret");
    alice.pump_with(&mut scene, tamper);
    assert!(!sent_in_the_clear(&scene, "a secret"));
}

/// The same with an event that cannot be read whole.
#[test]
fn an_encryption_that_cannot_be_read_is_not_none() {
    let (mut scene, mut alice, _, room_id) = two(Value::Null);
    let (since, mut answer) = alice.sync_answer(&mut scene);
    answer["rooms"]["join"][&room_id] = json!({"timeline": {"events": ["HERE"]}});
    let event = r#"{"event_id":"$e","type":"m.room.encryption","state_key":"","sender":"@bob:here",
        "origin_server_ts":1,"content":{"algorithm":"m.megolm.v1.aes-sha2","a":1,"a":2}}"#;
    let answer = answer.to_string().replace("\"HERE\"", event);
    alice.machine.receive_sync(scene.now, since.as_deref(), &answer).unwrap();
    alice.queue(&scene, &room_id, "a secret");
    alice.pump_with(&mut scene, |kind, response| match kind {
        "encryption" => Response { status: 404, body: r#"{"errcode":"M_NOT_FOUND"}"#.into() },
        _ => response,
    });
    assert!(!sent_in_the_clear(&scene, "a secret"));
}
