//! Device lists, one-time keys, and our own keys.

use mxcrypt_core::{
    Kind,
    machine::{Awaited, Outcome, Reply, Unsigned, WireRequest},
    primitives::account,
    store::records::Isolation,
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};
use vodozemac::olm::Account;

use crate::scene::{Person, Scene, parse};

fn pair() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    (scene, alice, bob, room_id)
}

fn changed(response: Response, change: impl FnOnce(&mut Value)) -> Response {
    let mut body = parse(&response.body);
    change(&mut body);
    Response { status: response.status, body: body.to_string() }
}

/// Rules 5 and 6: what does not hold is no device, and costs the others nothing.
#[test]
fn a_ghost_device_gets_no_key() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let ghost = Account::new();
    let good = parse(&account::device_keys(&ghost, &bob.user, "GHOST").unwrap());
    let mut unsigned = good.clone();
    unsigned["signatures"] = json!({});
    let mut shared_to = Vec::new();
    alice.queue(&scene, &room_id, "hello");
    let user = bob.user.clone();
    alice.pump_with(&mut scene, |kind, response| match kind {
        "keys_query" => changed(response, |body| {
            body["device_keys"][&user]["GHOST"] = unsigned.clone();
            body["device_keys"][&user]["OTHER"] = good.clone();
        }),
        "keys_claim" => {
            shared_to.push(response.body.clone());
            response
        }
        _ => response,
    });
    assert_eq!(shared_to.len(), 1);
    assert!(!shared_to[0].contains("GHOST") && !shared_to[0].contains("OTHER"));
    assert_eq!(bob.reads(&mut scene), ["hello"]);
}

/// A device that says it knows no Megolm, and one whose signature does not hold: no key reaches them, and
/// the sender hears of it.
#[test]
fn devices_whose_keys_are_refused_are_named() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let old = Account::new();
    let mut incapable =
        account::device_keys(&old, &bob.user, "OLD").map(|text| parse(&text)).unwrap();
    incapable["algorithms"] = json!([]);
    let mut forged = parse(&account::device_keys(&old, &bob.user, "FORGED").unwrap());
    forged["signatures"] = json!({});
    let (user, room) = (bob.user.clone(), room_id.clone());
    let say = |scene: &mut Scene, alice: &mut Person, text: &str, alone: bool| {
        let number = alice.queue(scene, &room, text);
        alice.pump_with(scene, |kind, response| match kind {
            "keys_query" => changed(response, |body| {
                let devices = &mut body["device_keys"][&user];
                if alone {
                    *devices = json!({});
                }
                devices["OLD"] = incapable.clone();
                devices["FORGED"] = forged.clone();
                devices["7"] = json!(7);
            }),
            _ => response,
        });
        alice.machine.outcomes(&[number]).unwrap().remove(0)
    };
    let Outcome::Sent { unreached, .. } = say(&mut scene, &mut alice, "hello", false) else {
        panic!("not sent")
    };
    let names = ["7", "FORGED", "OLD"].map(|device_id| (bob.user.clone(), device_id.to_owned()));
    assert_eq!(unreached, names);
    assert_eq!(bob.reads(&mut scene), ["hello"]);
    let refused = alice.machine.refused_devices(std::slice::from_ref(&bob.user)).unwrap();
    assert!(refused[2].1 == "OLD" && refused[2].2.contains("algorithms"), "{refused:?}");
    assert!(refused[1].1 == "FORGED" && refused[1].2.contains("unsigned"), "{refused:?}");
    // When nobody else is left, nobody could read it.
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    let outcome = say(&mut scene, &mut alice, "to nobody", true);
    assert!(
        matches!(&outcome, Outcome::Refused { code, .. } if code == "MXCRYPT_REACHES_NOBODY"),
        "{outcome:?}"
    );
    // And when they are gone, nothing is said any more.
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    let number = alice.queue(&scene, &room_id, "again");
    alice.pump(&mut scene);
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Sent { unreached, .. } if unreached.is_empty()));
}

/// A server that invents devices without end does not fill the store, or a warning.
#[test]
fn refused_devices_are_bounded() {
    let (mut scene, mut alice, bob, room_id) = pair();
    let number = alice.queue(&scene, &room_id, "hello");
    let user = bob.user.clone();
    alice.pump_with(&mut scene, |kind, response| match kind {
        "keys_query" => changed(response, |body| {
            for n in 0..1000 {
                body["device_keys"][&user][format!("GHOST{n}")] = json!({});
            }
        }),
        _ => response,
    });
    let outcome = alice.machine.outcomes(&[number]).unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Sent { unreached, .. } if unreached.len() == 20));
}

/// A user with very many devices: no request is large, neither that tells them they get no key, nor that
/// claims their one-time keys.
#[test]
fn very_many_devices_are_told_and_asked_for_in_batches() {
    for isolation in [Isolation::Signed, Isolation::All] {
        let (mut scene, mut alice, bob, room_id) = pair();
        alice.machine.set_isolation(scene.now, isolation).unwrap();
        let many: Vec<(String, Value)> = (0..1_500)
            .map(|n| {
                let device_id = format!("MANY{n}");
                let keys = account::device_keys(&Account::new(), &bob.user, &device_id).unwrap();
                (device_id, parse(&keys))
            })
            .collect();
        alice.queue(&scene, &room_id, "hello");
        let mut devices_of = Vec::new();
        for _ in 0..6 {
            for request in alice.machine.requests(scene.now).unwrap().requests {
                let body = request.body.as_deref().map_or(Value::Null, parse);
                let named = |name: &str| {
                    let users = body[name].as_object();
                    users.map(|users| users.values().map(|d| d.as_object().unwrap().len()).sum())
                };
                let batch: Option<usize> = named("one_time_keys").or_else(|| named("messages"));
                devices_of.extend(batch.map(|size| (request.kind, size)));
                let path = request.path.replace("/_matrix/client/v3/", "");
                let mut answer = scene.call(Some(&alice.token), request.method, &path, body);
                if request.kind == "keys_query" {
                    answer = changed(answer, |body| {
                        for (device_id, keys) in &many {
                            body["device_keys"][&bob.user][device_id] = keys.clone();
                        }
                    });
                }
                let reply = Reply::Answer { status: answer.status, body: answer.body };
                alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
            }
        }
        let told: usize = devices_of.iter().map(|(_, size)| size).sum();
        assert!(told >= 1_500, "{devices_of:?}");
        assert!(devices_of.iter().all(|(_, size)| *size <= 1_000), "{devices_of:?}");
        let kind = if isolation == Isolation::All { "keys_claim" } else { "send" };
        assert!(devices_of.iter().filter(|(of, _)| *of == kind).count() > 1, "{devices_of:?}");
    }
}

/// Rule 7.
#[test]
fn another_signing_key_under_a_known_name_is_refused_and_flagged() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    let thief = Account::new();
    let stolen = parse(&account::device_keys(&thief, &bob.user, &bob.device_id).unwrap());
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    let (user, device_id) = (bob.user.clone(), bob.device_id.clone());
    alice.queue(&scene, &room_id, "two");
    alice.pump_with(&mut scene, |kind, response| match kind {
        "keys_query" => changed(response, |body| {
            body["device_keys"][&user][&device_id] = stolen.clone();
        }),
        _ => response,
    });
    let known = &alice.machine.devices(std::slice::from_ref(&bob.user)).unwrap()[0];
    assert!(known.key_changed);
    assert_eq!(known.identity_key, bob.identity_key(), "what was known stays");
    assert_eq!(bob.reads(&mut scene), ["one", "two"]);
}

/// Rule 10, and fault C23c: a server that is down keeps nobody else waiting.
#[test]
fn users_of_an_unreachable_server_are_asked_for_again() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let path = format!("rooms/{}/invite", crate::scene::encoded(&room_id));
    scene.call(Some(&alice.token), "POST", &path, json!({"user_id": "@carol:there"}));
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "one");
    assert_eq!(bob.reads(&mut scene), ["one"]);
    let carol = ["@carol:there".to_owned()];
    assert_eq!(alice.machine.outdated(&carol).unwrap(), carol, "still to be asked for");
    assert!(alice.machine.requests(scene.now).unwrap().requests.is_empty(), "but not at once");
    scene.now += 2000;
    let again = alice.machine.requests(scene.now).unwrap().requests;
    assert_eq!(again.iter().map(|r| r.kind).collect::<Vec<_>>(), ["keys_query"]);
}

/// Rule 10: what is in `failures` is not an empty list, also for users who were known.
#[test]
fn a_partial_answer_removes_no_device() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    alice.queue(&scene, &room_id, "two");
    alice.pump_with(&mut scene, |kind, response| match kind {
        "keys_query" => {
            Response { status: 200, body: r#"{"device_keys":{},"failures":{"here":{}}}"#.into() }
        }
        _ => response,
    });
    assert_eq!(alice.machine.devices(std::slice::from_ref(&bob.user)).unwrap().len(), 1);
    assert_eq!(bob.reads(&mut scene), ["one", "two"]);
}

/// Rule 9: a device without a valid one-time key is skipped, and named.
#[test]
fn a_device_without_a_valid_key_is_skipped_and_named() {
    type Tamper = fn(&mut Value, &str, &str);
    let tampers: [Tamper; 4] = [
        |body, user, device| {
            drop(body["one_time_keys"][user].as_object_mut().unwrap().remove(device))
        },
        |body, user, device| {
            let keys = body["one_time_keys"][user][device].as_object_mut().unwrap();
            keys.values_mut().for_each(|key| key["key"] = json!("A".repeat(43)));
        },
        |body, user, device| {
            let keys = body["one_time_keys"][user][device].as_object_mut().unwrap();
            keys.values_mut().for_each(|key| key["fallback"] = json!(true));
        },
        |body, user, device| {
            let keys = body["one_time_keys"][user][device].as_object().unwrap();
            let key = keys.values().next().unwrap()["key"].clone();
            body["one_time_keys"][user][device] = json!({"curve25519:A": key});
        },
    ];
    for tamper in tampers {
        let (mut scene, mut alice, mut bob, room_id) = pair();
        let carol = scene.person("carol");
        crate::to_device::invite(&mut scene, &alice.token, &room_id, &carol.user);
        scene.enter(&carol.token.clone(), &room_id);
        alice.sync(&mut scene);
        let number = alice.queue(&scene, &room_id, "hello");
        let (user, device) = (carol.user.clone(), carol.device_id.clone());
        alice.pump_with(&mut scene, |kind, response| match kind {
            "keys_claim" => changed(response, |body| tamper(body, &user, &device)),
            _ => response,
        });
        assert_eq!(bob.reads(&mut scene), ["hello"]);
        let Outcome::Sent { unreached, .. } = &alice.machine.outcomes(&[number]).unwrap()[0] else {
            panic!("it was sent")
        };
        assert_eq!(*unreached, [(carol.user.clone(), carol.device_id.clone())]);
    }
}

/// When nobody could read a message it is not sent at all.
#[test]
fn a_message_that_nobody_could_read_is_refused() {
    let (mut scene, mut alice, _bob, room_id) = pair();
    let number = alice.queue(&scene, &room_id, "hello");
    alice.pump_with(&mut scene, |kind, response| match kind {
        "keys_claim" => Response { status: 200, body: r#"{"one_time_keys":{}}"#.into() },
        _ => response,
    });
    let outcome = &alice.machine.outcomes(&[number]).unwrap()[0];
    assert!(matches!(outcome, Outcome::Refused { code, .. } if code == "MXCRYPT_REACHES_NOBODY"));
}

/// A malformed response changes nothing, and is reported.
#[test]
fn malformed_answers_change_nothing() {
    for kind in ["keys_query", "keys_claim", "members", "send"] {
        for body in ["", "[]", "null", "{\"chunk\":7}", "\u{0}", "{\"event_id\":7}"] {
            // These two have only optional parts: an empty object is an empty response.
            let (mut scene, mut alice, mut bob, room_id) = pair();
            let number = alice.queue(&scene, &room_id, "hello");
            let mut spoiled = 0;
            let troubles = alice.pump_with(&mut scene, |asked, response| {
                let spoil =
                    asked == kind && spoiled == 0 && (kind != "send" || response.body != "{}");
                spoiled += usize::from(spoil);
                if spoil { Response { status: 200, body: body.into() } } else { response }
            });
            let tolerant = ["keys_query", "keys_claim"].contains(&kind) && body.starts_with("{\"");
            if !tolerant {
                assert_eq!(troubles.len(), 1, "{kind} {body:?}");
                assert_eq!(troubles[0].code, "MXCRYPT_BAD_ANSWER");
                assert_eq!(alice.machine.outcomes(&[number]).unwrap()[0], Outcome::Waiting);
                assert_eq!(alice.pump(&mut scene), Vec::new(), "{kind} {body:?}");
                assert_eq!(bob.reads(&mut scene), ["hello"], "{kind} {body:?}");
            }
        }
    }
}

/// The late response to an old request must neither clear a newer mark nor bring back old devices.
#[test]
fn a_late_answer_to_a_question_asked_anew_is_ignored() {
    let (mut scene, mut alice, bob, _) = pair();
    let bob_user = [bob.user.clone()];
    alice.machine.refresh_devices(scene.now, &bob_user).unwrap();
    let first = alice.machine.requests(scene.now).unwrap().requests;
    let old_answer = scene.call(
        Some(&alice.token),
        "POST",
        "keys/query",
        parse(first[0].body.as_ref().unwrap()),
    );
    // Bob gets a second device, and the server says that his list changed.
    let _second = scene.person("bob");
    alice.machine.refresh_devices(scene.now, &bob_user).unwrap();
    // Within the lease: the data are taken, and the mark stays.
    let reply = |body: &str| Reply::Answer { status: 200, body: body.into() };
    alice.machine.replies(scene.now, vec![(first[0].number, reply(&old_answer.body))]).unwrap();
    assert_eq!(alice.machine.outdated(&bob_user).unwrap(), bob_user);
    alice.pump(&mut scene);
    assert_eq!(alice.machine.devices(&bob_user).unwrap().len(), 2);
    // After the lease ran out and the request was made again: nothing is taken.
    alice.machine.refresh_devices(scene.now, &bob_user).unwrap();
    let slow = alice.machine.requests(scene.now).unwrap().requests;
    scene.now += 60_000;
    alice.pump(&mut scene);
    alice.machine.replies(scene.now, vec![(slow[0].number, reply(&old_answer.body))]).unwrap();
    assert_eq!(alice.machine.devices(&bob_user).unwrap().len(), 2);
}

/// One question a user at a time.
#[test]
fn a_user_is_asked_for_once_at_a_time() {
    let (scene, mut alice, bob, _) = pair();
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&bob.user)).unwrap();
    assert_eq!(alice.machine.requests(scene.now).unwrap().requests.len(), 1);
    assert_eq!(alice.another().requests(scene.now).unwrap().requests.len(), 0);
}

/// A caller asks for what the server returns from now on, also while another process has asked before. The older response
/// may come last.
#[test]
fn a_caller_does_not_take_the_response_to_an_older_request_for_the_present() {
    let (mut scene, mut alice, bob, _) = pair();
    let bob_user = [bob.user.clone()];
    let mut other = alice.another();
    other.refresh_devices(scene.now, &bob_user).unwrap();
    let mut older = other.requests(scene.now).unwrap().requests;
    let older = older.remove(0);
    let old_answer = perform(&mut scene, &alice, &older);
    let _second = scene.person("bob");
    alice.machine.refresh_devices(scene.now, &bob_user).unwrap();
    let awaited = Awaited { users: bob_user.to_vec(), ..Awaited::default() };
    let due = alice.machine.requests_for(scene.now, &awaited).unwrap();
    assert_eq!((due.requests.len(), due.under_way), (1, false));
    let answer = perform(&mut scene, &alice, &due.requests[0]);
    alice.machine.replies(scene.now, vec![(due.requests[0].number, answer)]).unwrap();
    let due = alice.machine.requests_for(scene.now, &awaited).unwrap();
    assert_eq!((due.requests.len(), due.under_way), (0, false));
    assert_eq!(alice.machine.devices(&bob_user).unwrap().len(), 2);
    // Though the list is outdated once more, which another process noticed.
    other.refresh_devices(scene.now, &bob_user).unwrap();
    other.replies(scene.now, vec![(older.number, old_answer)]).unwrap();
    let devices = alice.machine.devices(&bob_user).unwrap();
    assert!(devices.len() == 2 && devices.iter().all(|device| !device.deleted), "{devices:?}");
    assert_eq!(alice.machine.outdated(&bob_user).unwrap(), bob_user);
}

/// Where another process asks the same, its response is as good, and a caller waits for it. If it fails, the caller asks.
#[test]
fn a_caller_waits_for_what_another_process_asks() {
    let (mut scene, mut alice, bob, _) = pair();
    let bob_user = [bob.user.clone()];
    let mut other = alice.another();
    for succeeds in [true, false] {
        alice.machine.refresh_devices(scene.now, &bob_user).unwrap();
        let awaited = Awaited {
            users: bob_user.to_vec(),
            since: other.failures().unwrap(),
            ..Awaited::default()
        };
        let theirs = other.requests_for(scene.now, &awaited).unwrap().requests.remove(0);
        let due = alice.machine.requests_for(scene.now, &awaited).unwrap();
        assert_eq!((due.requests.len(), due.under_way), (0, true));
        let reply = if succeeds { perform(&mut scene, &alice, &theirs) } else { Reply::NoAnswer };
        other.replies(scene.now, vec![(theirs.number, reply)]).unwrap();
        let awaited = Awaited { since: other.failures().unwrap(), ..awaited };
        let due = alice.machine.requests_for(scene.now, &awaited).unwrap();
        assert_eq!((due.requests.is_empty(), due.under_way), (succeeds, false));
    }
}

fn perform(scene: &mut Scene, person: &Person, request: &WireRequest) -> Reply {
    let path = request.path.strip_prefix("/_matrix/client/v3/").unwrap();
    let body = request.body.as_ref().map_or(Value::Null, |body| parse(body));
    let response = scene.call(Some(&person.token), request.method, path, body);
    Reply::Answer { status: response.status, body: response.body }
}

/// Rule 11: "already exists" stops, names its cause, and does not loop.
#[test]
fn a_refused_key_upload_is_not_repeated() {
    let (mut scene, mut alice, ..) = pair();
    alice.machine.set_one_time_key_target(scene.now, 60).unwrap();
    let mut uploads = 0;
    let troubles = alice.pump_with(&mut scene, |kind, response| {
        uploads += usize::from(kind == "keys_upload");
        let body = r#"{"errcode":"M_UNKNOWN","error":"One time key signed_curve25519:AAAA already exists."}"#;
        if kind == "keys_upload" { Response { status: 400, body: body.into() } } else { response }
    });
    assert_eq!((uploads, troubles.len()), (1, 1));
    assert!(troubles[0].message.contains("already exists"), "{}", troubles[0].message);
    let error = alice.machine.requests(scene.now).err().unwrap();
    assert_eq!(error.kind, Kind::OwnKeys);
}

/// A crash after the server took an upload: the same bytes go out again.
#[test]
fn keys_are_saved_before_they_are_uploaded() {
    let (mut scene, mut alice, ..) = pair();
    alice.machine.set_one_time_key_target(scene.now, 60).unwrap();
    let first = alice.machine.requests(scene.now).unwrap().requests[0].body.clone();
    scene.call(Some(&alice.token), "POST", "keys/upload", parse(first.as_ref().unwrap()));
    alice.restart();
    scene.now += 60_000;
    let second = alice.machine.requests(scene.now).unwrap().requests[0].body.clone();
    assert_eq!(first, second);
    scene.now += 60_000;
    assert_eq!(alice.pump(&mut scene), Vec::new(), "and the server takes them twice");
}

/// Rule 11, and fault C23g: the pool is filled from the counts in sync; no count is a count of zero.
#[test]
fn the_pool_is_topped_up_from_the_counts() {
    let (mut scene, mut alice, ..) = pair();
    let uploaded = |alice: &mut Person, scene: &mut Scene, sync: Value| -> usize {
        alice.sync_with(scene, |answer| {
            answer.as_object_mut().unwrap().remove("device_one_time_keys_count");
            answer.as_object_mut().unwrap().extend(sync.as_object().unwrap().clone());
        });
        let requests = alice.machine.requests(scene.now).unwrap().requests;
        let upload = requests.iter().find(|request| request.kind == "keys_upload");
        let keys = upload.map(|request| {
            let body = parse(request.body.as_ref().unwrap());
            let keys = body["one_time_keys"].as_object().map_or(0, |keys| keys.len());
            let reply = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
            let reply = Reply::Answer { status: 200, body: reply.into() };
            alice.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
            keys
        });
        keys.unwrap_or(0)
    };
    let count = |n: u64| json!({"device_one_time_keys_count": {"signed_curve25519": n}});
    assert_eq!(uploaded(&mut alice, &mut scene, count(50)), 0);
    assert_eq!(uploaded(&mut alice, &mut scene, count(47)), 3);
    assert_eq!(uploaded(&mut alice, &mut scene, json!({})), 50);
}

/// Rule 12: a fallback key that was used is replaced, and its predecessor kept for an hour.
#[test]
fn a_used_fallback_key_is_replaced_and_its_predecessor_forgotten() {
    let (mut scene, mut alice, ..) = pair();
    let fallbacks = |alice: &Person| {
        let mut store =
            mxcrypt_core::store::Store::new(alice.disk.open(), alice.key.clone(), [1; 16]).unwrap();
        let account: mxcrypt_core::store::records::OwnAccount =
            store.transaction(|tx| tx.get_single()).unwrap().unwrap();
        let pickle = serde_json::to_value(account.account.pickle()).unwrap();
        let keys = &pickle["fallback_keys"];
        (keys["fallback_key"].is_object(), keys["previous_fallback_key"].is_object())
    };
    assert_eq!(fallbacks(&alice), (true, false));
    alice.sync_with(&mut scene, |sync| sync["device_unused_fallback_key_types"] = json!([]));
    alice.pump(&mut scene);
    assert_eq!(fallbacks(&alice), (true, true));
    scene.now += 59 * 60 * 1000;
    alice.pump(&mut scene);
    assert_eq!(fallbacks(&alice), (true, true));
    scene.now += 2 * 60 * 1000;
    alice.pump(&mut scene);
    assert_eq!(fallbacks(&alice), (true, false));
}

/// A server that shows others another device under our name is found out.
#[test]
fn other_keys_under_our_own_name_stop_the_machine() {
    let (mut scene, mut alice, ..) = pair();
    let other = Account::new();
    let forged = parse(&account::device_keys(&other, &alice.user, &alice.device_id).unwrap());
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&alice.user)).unwrap();
    let (user, device_id) = (alice.user.clone(), alice.device_id.clone());
    let troubles = alice.pump_with(&mut scene, |kind, response| match kind {
        "keys_query" => changed(response, |body| {
            body["device_keys"][&user][&device_id] = forged.clone();
        }),
        _ => response,
    });
    assert_eq!(troubles[0].code, "own_keys");
}

/// Fault C20 and C23b: with a session in use, a new device is noticed, and gets the key.
#[test]
fn a_new_device_gets_the_current_key_from_the_current_index() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    scene.now += 120_000;
    let mut second = scene.person("bob");
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "two");
    assert_eq!(bob.reads(&mut scene), ["one", "two"]);
    // What came before its time is of an index of the same session that it was not given.
    assert_eq!(second.reads(&mut scene), ["(unknown_session)", "two"]);
    // By now it is known why.
    let waiting = second.machine.undecrypted(scene.now).unwrap();
    assert_eq!(waiting[0].event.unreadable.as_ref().unwrap().code, "unknown_index");
    let path = format!("rooms/{}/messages?dir=b&limit=10", crate::scene::encoded(&room_id));
    let page = scene.call(Some(&second.token), "GET", &path, Value::Null);
    let history = second
        .machine
        .read_history(scene.now, &room_id, &page.body, Unsigned::AsTheModeSays)
        .unwrap();
    let texts: Vec<String> = history
        .events
        .iter()
        .filter(|row| row.event.encrypted)
        .map(crate::scene::text_of)
        .collect();
    assert_eq!(texts, ["two", "(unknown_index)"]);
}
