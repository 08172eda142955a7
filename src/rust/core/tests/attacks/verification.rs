//! Verification, and what a server that stands between two devices may do to it.

use mxcrypt_core::{
    Kind,
    judgement::trust::Trust,
    machine::{Outcome, VerificationState as State},
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    identities::{ask_about, make_identity},
    pair::{FIRST, NOBODY, Pair, SECOND, messages},
    scene::{Scene, parse},
};

#[test]
fn a_new_device_and_an_old_one_verify_each_other() {
    for asks in [FIRST, SECOND] {
        for starts in [FIRST, SECOND] {
            let mut pair = Pair::devices();
            pair.come_to_compare(asks, starts);
            pair.confirm(FIRST, true);
            pair.exchange();
            assert_eq!(pair.state(FIRST), State::Confirmed, "the other has not compared");
            assert_eq!(pair.trust(SECOND), Trust::Unsigned);
            pair.confirm(SECOND, true);
            pair.exchange();
            assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
            assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], [Trust::Verified; 2]);
            // The new device knows its identity without holding a private key of it.
            let user = [pair.people[SECOND].user.clone()];
            assert!(pair.people[SECOND].machine.user_trust(&user).unwrap()[0].verified);
        }
    }
}

#[test]
fn two_users_verify_each_other_in_a_room() {
    for asks in [FIRST, SECOND] {
        for starts in [FIRST, SECOND] {
            let mut pair = Pair::users();
            pair.come_to_compare(asks, starts);
            pair.confirm(SECOND, true);
            pair.confirm(FIRST, true);
            pair.exchange();
            assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
            for place in [FIRST, SECOND] {
                let user = [pair.people[1 - place].user.clone()];
                assert!(pair.people[place].machine.user_trust(&user).unwrap()[0].verified);
            }
        }
    }
}

/// The server changes one message on its way to `victim`; how it ends for `victim`, and what the other
/// side is told.
fn tampered(victim: usize, name: &str, change: impl Fn(&mut Value)) -> (String, [Trust; 2]) {
    let mut pair = Pair::devices();
    let alter = |place: usize, sync: &mut Value| {
        if place == victim {
            messages(sync, name).into_iter().for_each(|event| change(&mut event["content"]));
        }
    };
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange_with(&alter);
    if pair.state(FIRST) == State::Ready {
        pair.start(FIRST);
        pair.exchange_with(&alter);
    }
    let same = [FIRST, SECOND].map(|place| pair.status(place).sas);
    if same[0].is_some() && same[1].is_some() {
        // What people would say who compare.
        assert_eq!(same[0], same[1], "people see that it differs");
        pair.confirm(FIRST, true);
        pair.confirm(SECOND, true);
        pair.exchange_with(&alter);
    }
    let code = pair.code(victim);
    (code, [pair.trust(FIRST), pair.trust(SECOND)])
}

fn other_key() -> String {
    vodozemac::Curve25519PublicKey::from(&vodozemac::Curve25519SecretKey::new()).to_base64()
}

/// The server stands in the middle, and gives a key of its own to the side that has committed.
#[test]
fn a_key_that_is_replaced_on_its_way_to_who_began_breaks_the_commitment() {
    let (code, trust) = tampered(FIRST, "key", |content| content["key"] = json!(other_key()));
    assert_eq!((code.as_str(), trust), ("m.mismatched_commitment", NOBODY));
}

/// A key that is replaced on its way to who accepted gives them other strings than who began.
#[test]
fn a_key_that_is_replaced_on_its_way_to_who_accepted_shows_in_what_is_compared() {
    let mut pair = Pair::devices();
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange();
    pair.start(FIRST);
    pair.exchange_with(|place, sync| {
        for event in messages(sync, "key").into_iter().filter(|_| place == SECOND) {
            event["content"]["key"] = json!(other_key());
        }
    });
    let seen = [FIRST, SECOND].map(|place| pair.status(place).sas.unwrap());
    assert_ne!(seen[0], seen[1]);
    // A side that says so all the same is caught by the MACs.
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange();
    assert_eq!(pair.code(FIRST), "m.key_mismatch");
    assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], NOBODY);
}

#[test]
fn a_commitment_that_is_replaced_is_not_met() {
    let (code, trust) =
        tampered(FIRST, "accept", |content| content["commitment"] = json!("x".repeat(43)));
    assert_eq!((code.as_str(), trust), ("m.mismatched_commitment", NOBODY));
}

/// The commitment covers the start, so that nothing in it can be weakened.
#[test]
fn a_start_that_is_altered_breaks_the_commitment() {
    let mut pair = Pair::devices();
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange();
    pair.start(FIRST);
    pair.exchange_with(|place, sync| {
        for event in messages(sync, "start").into_iter().filter(|_| place == SECOND) {
            event["content"]["message_authentication_codes"] = json!(["hkdf-hmac-sha256"]);
        }
    });
    assert_eq!(pair.code(FIRST), "m.mismatched_commitment");
    assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], NOBODY);
}

#[test]
fn a_start_in_the_name_of_another_device_is_refused() {
    let (code, trust) =
        tampered(SECOND, "start", |content| content["from_device"] = json!("OTHER"));
    assert_eq!((code.as_str(), trust), ("m.user_mismatch", NOBODY));
}

/// The server answers in the name of a device that was not asked.
#[test]
fn an_agreement_in_the_name_of_another_device_is_refused() {
    let (code, trust) = tampered(FIRST, "ready", |content| content["from_device"] = json!("OTHER"));
    assert_eq!((code.as_str(), trust), ("m.user_mismatch", NOBODY));
}

#[test]
fn a_request_in_the_name_of_a_device_that_is_none_cannot_be_agreed_to() {
    let mut pair = Pair::devices();
    let (user, now) = (pair.people[SECOND].user.clone(), pair.scene.now);
    pair.people[FIRST].machine.request_verification(now, &user, None, None).unwrap();
    pair.exchange_with(|_, sync| {
        for event in messages(sync, "request") {
            event["content"]["from_device"] = json!("OTHER");
        }
    });
    pair.accept(SECOND);
    assert_eq!(pair.code(SECOND), "m.key_mismatch");
}

/// Each MAC of a key, and that of the list of keys, is checked.
#[test]
fn a_mac_that_is_altered_is_refused() {
    let altered = |mac: &mut Value| {
        let text = mac.as_str().unwrap();
        let other = if text.starts_with('A') { "B" } else { "A" };
        *mac = json!(format!("{other}{}", &text[1..]));
    };
    for victim in [FIRST, SECOND] {
        let (code, trust) = tampered(victim, "mac", |content| altered(&mut content["keys"]));
        assert_eq!(code, "m.key_mismatch");
        assert_eq!(trust[1 - victim], NOBODY[1 - victim]);
        let (code, trust) = tampered(victim, "mac", |content| {
            content["mac"].as_object_mut().unwrap().values_mut().for_each(altered);
        });
        assert_eq!(code, "m.key_mismatch");
        assert_eq!(trust[1 - victim], NOBODY[1 - victim]);
    }
}

/// A key that is taken away, or added, or named otherwise changes the list.
#[test]
fn keys_are_neither_added_nor_taken_away() {
    for victim in [FIRST, SECOND] {
        let (code, _) = tampered(victim, "mac", |content| {
            content["mac"]["ed25519:NEW"] = json!("x".repeat(43));
        });
        assert_eq!(code, "m.key_mismatch");
        let (code, _) = tampered(victim, "mac", |content| content["mac"] = json!({}));
        assert_eq!(code, "m.key_mismatch");
    }
}

/// Rule 32: the other side's word that it is done is no proof of anything.
#[test]
fn a_word_that_it_is_done_before_the_keys_were_checked_ends_it() {
    for name in ["ready", "start", "accept", "key", "mac"] {
        let mut pair = Pair::devices();
        let done = |place: usize, sync: &mut Value| {
            for event in messages(sync, name).into_iter().filter(|_| place == FIRST) {
                event["type"] = json!("m.key.verification.done");
            }
        };
        pair.request(FIRST);
        pair.accept(SECOND);
        pair.exchange_with(done);
        if pair.state(FIRST) == State::Ready {
            pair.start(if name == "start" { SECOND } else { FIRST });
            pair.exchange_with(done);
        }
        if pair.state(FIRST) == State::Compare {
            pair.confirm(FIRST, true);
            pair.confirm(SECOND, true);
            pair.exchange_with(done);
        }
        assert_eq!(pair.code(FIRST), "m.unexpected_message", "in place of {name}");
        assert_eq!(pair.trust(SECOND), Trust::Unsigned);
    }
}

/// Rule 29: what is verified are the keys that stood there in the beginning.
#[test]
fn an_identity_that_is_exchanged_amid_a_verification_is_not_verified() {
    let mut pair = Pair::users();
    pair.come_to_compare(FIRST, SECOND);
    let alice = pair.people[FIRST].user.clone();
    let bob = pair.people[SECOND].user.clone();
    pair.reset_identity(SECOND);
    ask_about(&mut pair.scene, &mut pair.people[FIRST], &[&bob], |response| response);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange();
    assert_eq!(pair.code(FIRST), "m.key_mismatch");
    let trust = pair.people[FIRST].machine.user_trust(&[alice, bob]).unwrap();
    assert!(!trust[1].verified && !trust[1].was_verified);
}

/// Rule 13: a device with the name of a cross-signing key.
#[test]
fn a_user_with_a_device_named_like_a_master_key_is_not_verified() {
    let mut pair = Pair::users();
    let bob = pair.people[SECOND].user.clone();
    ask_about(&mut pair.scene, &mut pair.people[FIRST], &[&bob], |response| {
        let mut answer = parse(&response.body);
        let name = answer["master_keys"][&bob]["keys"].as_object().unwrap();
        let name = name.values().next().unwrap().as_str().unwrap().to_owned();
        answer["device_keys"][&bob][name] = json!({});
        Response { body: answer.to_string(), ..response }
    });
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange();
    assert_eq!(pair.code(FIRST), "m.key_mismatch");
    assert_eq!(pair.code(SECOND), "m.key_mismatch", "and the other side is told");
}

#[test]
fn either_side_can_end_it_at_every_step_and_the_other_is_told() {
    for who in [FIRST, SECOND] {
        for step in 0..4 {
            let mut pair = Pair::devices();
            pair.request(FIRST);
            if step > 0 {
                pair.accept(SECOND);
                pair.exchange();
            }
            if step > 1 {
                pair.start(FIRST);
                pair.exchange();
            }
            if step > 2 {
                pair.confirm(1 - who, true);
                pair.exchange();
            }
            pair.cancel(who);
            pair.exchange();
            assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.user"; 2], "step {step}");
            let here = [FIRST, SECOND].map(|place| pair.status(place).cancelled.unwrap().here);
            assert_eq!(here[who], !here[1 - who]);
            assert_eq!(pair.trust(SECOND), Trust::Unsigned);
        }
    }
}

#[test]
fn people_who_see_different_things_verify_nobody() {
    let mut pair = Pair::devices();
    pair.come_to_compare(FIRST, SECOND);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, false);
    pair.exchange();
    assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.mismatched_sas"; 2]);
    assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], NOBODY);
}

const MINUTE: i64 = 60_000;

/// Rule 30.
#[test]
fn a_request_runs_out_two_minutes_after_it_came() {
    let mut pair = Pair::devices();
    pair.request(FIRST);
    pair.scene.now += 2 * MINUTE + 1;
    pair.people[SECOND].pump(&mut pair.scene);
    assert_eq!(pair.code(SECOND), "m.timeout");
    // Nobody was there to say no: another device may still answer.
    pair.exchange();
    assert_eq!(pair.state(FIRST), State::Requested);
    pair.scene.now += 8 * MINUTE;
    pair.exchange();
    assert_eq!(pair.code(FIRST), "m.timeout");
}

#[test]
fn a_verification_runs_out_ten_minutes_after_both_agreed() {
    let mut pair = Pair::devices();
    pair.come_to_compare(FIRST, FIRST);
    pair.scene.now += 10 * MINUTE + 1;
    // A device that comes too late is told so, and the other side too.
    pair.confirm(SECOND, true);
    assert_eq!(pair.code(SECOND), "m.timeout");
    pair.exchange();
    assert_eq!(pair.code(FIRST), "m.timeout");
}

#[test]
fn requests_of_long_ago_or_of_the_future_are_ignored() {
    for (by, taken) in [(-10, true), (-11, false), (5, true), (6, false)] {
        let mut pair = Pair::devices();
        let (user, now) = (pair.people[SECOND].user.clone(), pair.scene.now + by * MINUTE);
        pair.people[FIRST].machine.request_verification(now, &user, None, None).unwrap();
        for place in [FIRST, SECOND] {
            pair.people[place].pump(&mut pair.scene);
            pair.people[place].sync(&mut pair.scene);
        }
        let came = pair.people[SECOND].machine.verifications().unwrap();
        assert_eq!(!came.is_empty(), taken, "{by} minutes");
    }
}

#[test]
fn of_two_starts_at_once_the_smaller_device_counts() {
    let mut pair = Pair::devices();
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange();
    pair.start(FIRST);
    pair.start(SECOND);
    pair.exchange();
    let seen = [FIRST, SECOND].map(|place| pair.status(place).sas.expect("nothing to compare"));
    assert_eq!(seen[0], seen[1]);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange();
    assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
}

/// A phone asks all others; one agrees, and the third is told.
#[test]
fn whoever_agrees_first_goes_on_and_the_others_are_told() {
    for agree in [true, false] {
        let mut pair = Pair::devices();
        let mut tablet = pair.scene.person("alice");
        let user = tablet.user.clone();
        ask_about(&mut pair.scene, &mut tablet, &[&user], |response| response);
        ask_about(&mut pair.scene, &mut pair.people[FIRST], &[&user], |response| response);
        pair.request(FIRST);
        tablet.sync(&mut pair.scene);
        assert_eq!(tablet.machine.verifications().unwrap()[0].state, State::Requested);
        if agree {
            pair.accept(SECOND)
        } else {
            pair.cancel(SECOND)
        }
        pair.exchange();
        tablet.sync(&mut pair.scene);
        let told = tablet.machine.verifications().unwrap().pop().unwrap().cancelled.unwrap();
        assert_eq!(told.code, if agree { "m.accepted" } else { "m.user" });
    }
}

/// In a room it is our user's own devices that hear who was quicker.
#[test]
fn in_a_room_the_other_devices_of_who_is_asked_see_that_it_goes_on() {
    let mut pair = Pair::users();
    let mut tablet = pair.scene.person("bob");
    tablet.sync(&mut pair.scene);
    pair.exchange();
    pair.request(FIRST);
    tablet.sync(&mut pair.scene);
    tablet.pump(&mut pair.scene);
    assert_eq!(tablet.machine.verifications().unwrap()[0].state, State::Requested);
    pair.accept(SECOND);
    pair.exchange();
    tablet.sync(&mut pair.scene);
    let told = tablet.machine.verifications().unwrap().pop().unwrap().cancelled.unwrap();
    assert_eq!((told.code.as_str(), told.here), ("m.accepted", false));
}

#[test]
fn a_message_of_an_unknown_verification_is_answered_once() {
    let mut pair = Pair::devices();
    let (user, device) = (pair.people[SECOND].user.clone(), pair.people[SECOND].device_id.clone());
    let token = pair.people[FIRST].token.clone();
    let send = |pair: &mut Pair, name: &str, n: i32| {
        let content = json!({"transaction_id": "unheard of", "key": "x"});
        let body = json!({"messages": {&user: {&device: content}}});
        let path = format!("sendToDevice/m.key.verification.{name}/{n}");
        assert_eq!(pair.scene.call(Some(&token), "PUT", &path, body).status, 200);
    };
    let mut answers = Vec::new();
    for (n, name) in ["key", "key", "done", "cancel"].into_iter().enumerate() {
        send(&mut pair, name, n as i32);
        pair.exchange_with(|place, sync| {
            if place == FIRST {
                let cancels = messages(sync, "cancel").into_iter();
                answers.extend(cancels.map(|event| event["content"]["code"].clone()));
            }
        });
    }
    assert_eq!(answers, ["m.unknown_transaction"]);
}

/// A stranger is not answered, and cannot fill the store.
#[test]
fn strangers_are_not_answered_and_bounded() {
    let mut pair = Pair::devices();
    let eve = pair.scene.forger("eve");
    let content = json!({"transaction_id": "unheard of", "key": "x"});
    eve.send(&mut pair.scene, &pair.people[SECOND], "m.key.verification.key", &content);
    for n in 0..60 {
        let now = pair.scene.now;
        let content = json!({"transaction_id": format!("{n}"), "from_device": format!("D{n}"),
            "methods": ["m.sas.v1"], "timestamp": now});
        eve.send(&mut pair.scene, &pair.people[SECOND], "m.key.verification.request", &content);
    }
    pair.exchange();
    assert_eq!(pair.people[SECOND].machine.verifications().unwrap().len(), 10);
    // Nor keep others out.
    pair.request(FIRST);
    assert_eq!(pair.people[SECOND].machine.verifications().unwrap().len(), 11);
    assert_eq!(pair.people[SECOND].machine.waiting_to_send().unwrap(), 0);
    pair.scene.now += 3 * MINUTE;
    pair.exchange();
    pair.request(FIRST);
    assert_eq!(pair.state(SECOND), State::Requested);
}

/// What a server repeats is neither a step nor a reason to end.
#[test]
fn messages_that_are_repeated_change_nothing() {
    let mut pair = Pair::devices();
    let twice = |_: usize, sync: &mut Value| {
        let Some(events) = sync["to_device"]["events"].as_array_mut() else { return };
        *events = events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
    };
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange_with(twice);
    pair.start(SECOND);
    pair.exchange_with(twice);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange_with(twice);
    assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
}

/// The messages of one verification are of no use in another.
#[test]
fn messages_of_an_older_verification_do_not_help_in_a_new_one() {
    let mut pair = Pair::devices();
    let mut macs = Vec::new();
    pair.come_to_compare(FIRST, FIRST);
    pair.confirm(SECOND, true);
    pair.exchange_with(|_, sync| macs.extend(messages(sync, "mac").iter().map(|m| (**m).clone())));
    pair.cancel(FIRST);
    pair.exchange();
    pair.come_to_compare(FIRST, FIRST);
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange_with(|place, sync| {
        for mac in messages(sync, "mac").into_iter().filter(|_| place == FIRST) {
            let transaction_id = mac["content"]["transaction_id"].clone();
            mac["content"] = macs[0]["content"].clone();
            mac["content"]["transaction_id"] = transaction_id;
        }
    });
    assert_eq!(pair.code(FIRST), "m.key_mismatch");
    assert_eq!(pair.trust(SECOND), Trust::Unsigned);
}

/// A process may end after each step, and another goes on.
#[test]
fn a_verification_outlives_processes() {
    for starts in [FIRST, SECOND] {
        let mut pair = Pair::devices();
        let step = |pair: &mut Pair| {
            for _ in 0..3 {
                for place in [FIRST, SECOND] {
                    pair.people[place].restart();
                    pair.people[place].sync(&mut pair.scene);
                    pair.people[place].restart();
                    pair.people[place].pump(&mut pair.scene);
                }
            }
        };
        pair.request(FIRST);
        pair.accept(SECOND);
        step(&mut pair);
        pair.start(starts);
        step(&mut pair);
        pair.confirm(FIRST, true);
        step(&mut pair);
        pair.confirm(SECOND, true);
        step(&mut pair);
        assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], [Trust::Verified; 2]);
    }
}

#[test]
fn a_device_that_asks_twice_at_a_time_is_refused_twice() {
    let mut pair = Pair::devices();
    pair.request(FIRST);
    pair.request(FIRST);
    let ended: Vec<String> = pair.people[FIRST]
        .machine
        .verifications()
        .unwrap()
        .into_iter()
        .map(|known| known.cancelled.unwrap().code)
        .collect();
    assert_eq!(ended, ["m.unexpected_message"; 2]);
}

/// Several people at once do not disturb each other.
#[test]
fn several_verifications_go_on_at_once() {
    let mut pair = Pair::users();
    let mut laptop = pair.scene.person("alice");
    let (alice, now) = (laptop.user.clone(), pair.scene.now);
    ask_about(&mut pair.scene, &mut laptop, &[&alice], |response| response);
    laptop.machine.request_verification(now, &alice, None, None).unwrap();
    laptop.pump(&mut pair.scene);
    pair.request(SECOND);
    let open = pair.people[FIRST].machine.verifications().unwrap();
    assert_eq!(open.iter().filter(|one| one.state == State::Requested).count(), 2);
    for one in open {
        pair.people[FIRST].machine.accept_verification(now, one.number).unwrap();
    }
    pair.exchange();
    laptop.sync(&mut pair.scene);
    let number = laptop.machine.verifications().unwrap()[0].number;
    assert_eq!(laptop.machine.verifications().unwrap()[0].state, State::Ready);
    laptop.machine.cancel_verification(now, number).unwrap();
    laptop.pump(&mut pair.scene);
    pair.exchange();
    assert_eq!(pair.state(SECOND), State::Ready);
}

/// A start without a request is deprecated, and waits for our user like a request.
#[test]
fn a_start_without_a_request_waits_for_agreement() {
    let mut pair = Pair::devices();
    let (user, device) = (pair.people[SECOND].user.clone(), pair.people[SECOND].device_id.clone());
    let (token, from) = (pair.people[FIRST].token.clone(), pair.people[FIRST].device_id.clone());
    let start = json!({"transaction_id": "t", "from_device": from, "method": "m.sas.v1",
        "key_agreement_protocols": ["curve25519-hkdf-sha256"], "hashes": ["sha256"],
        "message_authentication_codes": ["hkdf-hmac-sha256.v2"],
        "short_authentication_string": ["decimal"]});
    let body = json!({"messages": {&user: {&device: start}}});
    pair.scene.call(Some(&token), "PUT", "sendToDevice/m.key.verification.start/1", body);
    let mut answers = Vec::new();
    let mut listen = |pair: &mut Pair| {
        pair.exchange_with(|place, sync| {
            let accepts = messages(sync, "accept").into_iter().filter(|_| place == FIRST);
            answers.extend(accepts.map(|event| event["content"].clone()));
        });
        answers.len()
    };
    assert_eq!(listen(&mut pair), 0);
    assert_eq!(pair.state(SECOND), State::Requested);
    pair.accept(SECOND);
    assert_eq!(listen(&mut pair), 1);
    assert_eq!(answers[0]["message_authentication_code"], "hkdf-hmac-sha256.v2");
}

/// A verified user whose identity changed is told nothing but what verifies again.
#[test]
fn a_user_whose_identity_changed_can_be_verified_again() {
    let mut pair = Pair::users();
    pair.come_to_done();
    let (room_id, bob) = (pair.room_id.clone().unwrap(), pair.people[SECOND].user.clone());
    pair.reset_identity(SECOND);
    pair.exchange();
    let refused = |pair: &mut Pair| {
        let number = pair.people[FIRST].queue(&pair.scene, &room_id, "secret");
        pair.people[FIRST].pump(&mut pair.scene);
        let outcome = pair.people[FIRST].machine.outcomes(&[number]).unwrap().remove(0);
        matches!(outcome, Outcome::Refused { .. })
    };
    assert!(refused(&mut pair));
    pair.come_to_compare(FIRST, SECOND);
    assert!(refused(&mut pair), "the messages of the verification open nothing");
    pair.confirm(FIRST, true);
    pair.confirm(SECOND, true);
    pair.exchange();
    assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
    assert!(pair.people[FIRST].machine.user_trust(&[bob]).unwrap()[0].verified);
    assert!(!refused(&mut pair));
}

/// GHSA-4qg4-cvh2-crgg: nobody is verified by a device that knows no identity of its own.
#[test]
fn a_device_without_an_identity_verifies_no_other_user() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    make_identity(&mut scene, &mut bob);
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    let mut pair = Pair::met(scene, [alice, bob], Some(room_id.clone()));
    let (user, now) = (pair.people[SECOND].user.clone(), pair.scene.now);
    let machine = &mut pair.people[FIRST].machine;
    let error = machine.request_verification(now, &user, None, Some(&room_id)).unwrap_err();
    assert_eq!(error.kind, Kind::Identity);
    pair.request(SECOND);
    let (number, machine) = (pair.status(FIRST).number, &mut pair.people[FIRST].machine);
    assert_eq!(machine.accept_verification(now, number).unwrap_err().kind, Kind::Identity);
}

/// A server that refuses a message of a verification in a room: nobody waits for it, and it is known
/// what the server said.
#[test]
fn a_message_that_the_server_refuses_ends_the_verification() {
    let refusal = |kind: &str, response: Response| match kind {
        "send" => Response {
            status: 403,
            body: r#"{"errcode":"M_FORBIDDEN","error":"not in this room"}"#.into(),
        },
        _ => response,
    };
    let refused = |pair: &mut Pair| {
        pair.people[FIRST].pump_with(&mut pair.scene, refusal);
        let status = pair.status(FIRST);
        let end = status.cancelled.expect("it waits for ever");
        assert_eq!((end.code.as_str(), end.here), ("M_FORBIDDEN", true));
        assert_eq!(end.reason.as_deref(), Some("not in this room"));
    };
    // The request.
    let mut pair = Pair::users();
    let (user, now) = (pair.people[SECOND].user.clone(), pair.scene.now);
    let room_id = pair.room_id.clone();
    let machine = &mut pair.people[FIRST].machine;
    machine.request_verification(now, &user, None, room_id.as_deref()).unwrap();
    refused(&mut pair);
    // A later step.
    let mut pair = Pair::users();
    pair.come_to_ready(FIRST);
    pair.start(FIRST);
    refused(&mut pair);
    // A farewell changes nothing: it has ended.
    let mut pair = Pair::users();
    pair.come_to_ready(FIRST);
    pair.cancel(FIRST);
    pair.people[FIRST].pump_with(&mut pair.scene, refusal);
    assert_eq!(pair.code(FIRST), "m.user");
}

/// Who waited too long says so, and not that a person ended it.
#[test]
fn a_verification_can_time_out_here() {
    for mut pair in [Pair::users(), Pair::devices()] {
        pair.come_to_ready(FIRST);
        let (number, now) = (pair.status(FIRST).number, pair.scene.now);
        pair.people[FIRST].machine.time_out_verification(now, number).unwrap();
        pair.exchange();
        assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.timeout", "m.timeout"]);
    }
}
