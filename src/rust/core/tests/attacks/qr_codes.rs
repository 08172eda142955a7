//! QR codes of verifications, and who stands between the two devices, or before the camera.

use mxcrypt_core::{
    Kind,
    judgement::trust::Trust,
    machine::VerificationState as State,
    primitives::{
        cross_signing::{SigningKey, Usage},
        keys::encode_base64,
        qr::{Mode, QrCode},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    identities::{ask_about, value},
    pair::{FIRST, NOBODY, Pair, SECOND, messages},
    scene::{Scene, parse},
};

const VERIFIED: [Trust; 2] = [Trust::Verified; 2];

fn decoded(code: &[u8]) -> QrCode {
    QrCode::decode(code).unwrap()
}

/// Who shows a code in each mode, and a pair that has agreed.
fn each_mode(mut code: impl FnMut(Pair, usize, Mode)) {
    for shows in [FIRST, SECOND] {
        let modes = [Mode::TrustedDevice, Mode::UntrustedDevice];
        for (mut pair, mode) in [(Pair::users(), Mode::User), (Pair::devices(), modes[shows])] {
            pair.come_to_ready(FIRST);
            code(pair, shows, mode);
        }
    }
}

fn nobody_is_verified(pair: &mut Pair) {
    let trust = [pair.trust(FIRST), pair.trust(SECOND)];
    assert!(!trust.contains(&Trust::Verified) || pair.room_id.is_some(), "{trust:?}");
    for place in [FIRST, SECOND] {
        let other = [pair.people[1 - place].user.clone()];
        // The first of two devices of one user had the identity before.
        if pair.room_id.is_some() || place == SECOND {
            assert!(!pair.people[place].machine.user_trust(&other).unwrap()[0].verified);
        }
    }
}

#[test]
fn who_scans_and_who_shows_verify_each_other_in_every_mode() {
    each_mode(|mut pair, shows, mode| {
        let code = pair.show(shows);
        assert_eq!(decoded(&code).mode, mode);
        assert_eq!(pair.show(shows), code, "another process may show it again");
        let scans = 1 - shows;
        assert_eq!(pair.scan(scans, &code).unwrap().state, State::Confirmed);
        pair.exchange();
        assert_eq!(pair.state(shows), State::Scanned);
        assert_eq!(pair.state(scans), State::Confirmed, "the other's person has not confirmed");
        nobody_is_verified(&mut pair);
        pair.confirm(shows, true);
        pair.exchange();
        assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], VERIFIED);
        for place in [FIRST, SECOND] {
            let other = [pair.people[1 - place].user.clone()];
            assert!(pair.people[place].machine.user_trust(&other).unwrap()[0].verified);
            let proven = pair.status(place).proven.unwrap();
            let device = match mode {
                Mode::User => false,
                Mode::TrustedDevice => place == shows,
                Mode::UntrustedDevice => place != shows,
            };
            assert_eq!((proven.device, proven.master), (device, !device));
        }
    });
}

/// The key in each slot is compared with what the side that scans knows.
#[test]
fn a_wrong_key_in_either_slot_ends_it() {
    for slot in 0..2 {
        each_mode(|mut pair, shows, mode| {
            let mut code = decoded(&pair.show(shows));
            let key = if slot == 0 { &mut code.first_key } else { &mut code.second_key };
            key[31] ^= 1;
            let ended = pair.scan(1 - shows, &code.encode().unwrap()).unwrap();
            assert_eq!(ended.cancelled.unwrap().code, "m.key_mismatch", "{mode:?}, {slot}");
            pair.exchange();
            assert_eq!(pair.code(shows), "m.key_mismatch", "the other side is told");
            nobody_is_verified(&mut pair);
        });
    }
}

/// The response to a query, with an identity that the server made for a user.
fn with_identity(key: &SigningKey, user: &str, response: Response) -> Response {
    let mut answer = parse(&response.body);
    answer["master_keys"][user] = value(key.published(user, Usage::Master));
    answer["self_signing_keys"] = json!({});
    answer["user_signing_keys"] = json!({});
    Response { body: answer.to_string(), ..response }
}

/// The man in the middle: the server returns to one side an identity of its own making for the other.
#[test]
fn an_identity_that_the_server_made_is_not_the_one_in_the_code() {
    for (victim, shows) in [(FIRST, FIRST), (FIRST, SECOND)] {
        let mut pair = Pair::users();
        let bob = pair.people[SECOND].user.clone();
        let key = SigningKey::random().unwrap();
        let lie = |response| with_identity(&key, &bob, response);
        ask_about(&mut pair.scene, &mut pair.people[victim], &[&bob], lie);
        pair.come_to_ready(FIRST);
        let code = pair.show(shows);
        let ended = pair.scan(1 - shows, &code).unwrap();
        assert_eq!(ended.cancelled.unwrap().code, "m.key_mismatch");
        nobody_is_verified(&mut pair);
    }
}

/// A server that responds in the name of a device it has put there itself: the code has that device's key.
#[test]
fn a_ready_in_the_name_of_another_device_shows_in_the_code() {
    let mut pair = Pair::devices();
    let mut tablet = pair.scene.person("alice");
    let user = tablet.user.clone();
    ask_about(&mut pair.scene, &mut tablet, &[&user], |response| response);
    ask_about(&mut pair.scene, &mut pair.people[FIRST], &[&user], |response| response);
    pair.request(FIRST);
    pair.accept(SECOND);
    pair.exchange_with(|place, sync| {
        if place == FIRST {
            for event in messages(sync, "ready") {
                event["content"]["from_device"] = json!(tablet.device_id);
            }
        } else {
            messages(sync, "cancel").into_iter().for_each(|event| event["type"] = json!("m.gone"));
        }
    });
    let code = pair.show(FIRST);
    let ended = pair.scan(SECOND, &code).unwrap();
    assert_eq!(ended.cancelled.unwrap().code, "m.key_mismatch");
    assert_eq!(pair.trust(SECOND), Trust::Unsigned);
}

/// A request that lost its methods, or was given some, leaves only what both can do.
#[test]
fn methods_that_a_server_takes_away_or_adds_make_nothing_possible() {
    for methods in [json!(["m.sas.v1"]), json!(["m.qr_code.show.v1", "m.qr_code.scan.v1"])] {
        let mut pair = Pair::devices();
        let (user, now) = (pair.people[SECOND].user.clone(), pair.scene.now);
        pair.people[FIRST].machine.request_verification(now, &user, None, None).unwrap();
        pair.exchange_with(|_, sync| {
            for event in messages(sync, "request") {
                event["content"]["methods"] = methods.clone();
            }
        });
        let expected: &[&str] = if methods == json!(["m.sas.v1"]) { &["m.sas.v1"] } else { &[] };
        assert_eq!(pair.status(SECOND).methods, expected);
        let (number, now) = (pair.status(SECOND).number, pair.scene.now);
        let machine = &mut pair.people[SECOND].machine;
        assert_eq!(machine.accept_verification(now, number).is_err(), expected.is_empty());
        assert_eq!(machine.show_code(now, number).unwrap_err().kind, Kind::Verification);
    }
}

/// The server changes the message by which FIRST hears that its code was scanned.
fn start_altered(change: impl Fn(&mut Value)) -> (Pair, String) {
    let mut pair = Pair::devices();
    pair.come_to_ready(SECOND);
    let code = pair.show(FIRST);
    pair.scan(SECOND, &code).unwrap();
    pair.exchange_with(|place, sync| {
        if place == FIRST {
            messages(sync, "start").into_iter().for_each(|event| change(&mut event["content"]));
        }
    });
    let code = pair.code(FIRST);
    (pair, code)
}

#[test]
fn a_secret_that_is_not_the_one_in_the_code_ends_it() {
    let long = "x".repeat(200);
    for secret in ["AAAAAAAAAAAAAAAAAAAAAA", "A", &long] {
        let (mut pair, code) = start_altered(|content| content["secret"] = json!(secret));
        assert_eq!(code, "m.key_mismatch");
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], NOBODY);
    }
    let (_, code) = start_altered(|content| content["secret"] = json!(null));
    assert_eq!(code, "m.invalid_message");
}

#[test]
fn a_start_of_another_device_or_method_is_refused() {
    let (_, code) = start_altered(|content| content["from_device"] = json!("OTHER"));
    assert_eq!(code, "m.user_mismatch");
    let (_, code) = start_altered(|content| content["method"] = json!("m.other"));
    assert_eq!(code, "m.unknown_method");
    let (_, code) = start_altered(|content| content["method"] = json!("m.qr_code.scan.v1"));
    assert_eq!(code, "m.unknown_method");
}

/// A side that could not see a code cannot say that it scanned it.
#[test]
fn nothing_is_scanned_that_is_not_shown() {
    let mut pair = Pair::devices();
    pair.come_to_ready(SECOND);
    let code = pair.show(FIRST);
    pair.people[FIRST].restart();
    pair.scan(SECOND, &code).unwrap();
    let mut start = None;
    pair.exchange_with(|_, sync| start = start.take().or(messages(sync, "start").pop().cloned()));
    let mut start = start.unwrap();
    pair.cancel(FIRST);
    pair.exchange();
    // What was sent of one verification is of no use in another.
    for shown in [false, true] {
        pair.come_to_ready(SECOND);
        if shown {
            pair.show(FIRST);
        }
        let (user, device) =
            (pair.people[FIRST].user.clone(), pair.people[FIRST].device_id.clone());
        let ready = pair.transaction_id(FIRST);
        start["content"]["transaction_id"] = json!(ready);
        let body = json!({"messages": {user: {device: start["content"]}}});
        let token = pair.people[SECOND].token.clone();
        let path = format!("sendToDevice/m.key.verification.start/{shown}");
        assert_eq!(pair.scene.call(Some(&token), "PUT", &path, body).status, 200);
        pair.exchange();
        let expected = if shown { "m.key_mismatch" } else { "m.unexpected_message" };
        assert_eq!(pair.code(FIRST), expected);
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], NOBODY);
    }
}

#[test]
fn a_code_of_another_verification_ends_it() {
    each_mode(|mut pair, shows, _| {
        let old = pair.show(shows);
        pair.cancel(shows);
        pair.exchange();
        pair.come_to_ready(FIRST);
        assert_ne!(decoded(&pair.show(shows)).secret, decoded(&old).secret);
        let ended = pair.scan(1 - shows, &old).unwrap();
        assert_eq!(ended.cancelled.unwrap().code, "m.unknown_transaction");
        pair.exchange();
        assert_eq!(pair.code(shows), "m.unknown_transaction");
        nobody_is_verified(&mut pair);
    });
}

/// The keys mean something else in each mode.
#[test]
fn a_code_of_another_mode_ends_it() {
    for other in Mode::ALL {
        each_mode(|mut pair, shows, mode| {
            let mut code = decoded(&pair.show(shows));
            if mode == other {
                return;
            }
            code.mode = other;
            let ended = pair.scan(1 - shows, &code.encode().unwrap()).unwrap();
            let of_users = [mode, other].contains(&Mode::User);
            let expected = if of_users { "m.user_mismatch" } else { "m.key_mismatch" };
            assert_eq!(ended.cancelled.unwrap().code, expected, "{mode:?} as {other:?}");
            nobody_is_verified(&mut pair);
        });
    }
}

/// Two devices that both do not know their identity have nobody to learn it from.
#[test]
fn who_does_not_trust_the_master_key_does_not_vouch_for_it() {
    let mut pair = Pair::devices();
    let laptop = pair.scene.person("alice");
    pair.people[FIRST] = laptop;
    let user = pair.people[FIRST].user.clone();
    for place in [FIRST, SECOND] {
        ask_about(&mut pair.scene, &mut pair.people[place], &[&user], |response| response);
    }
    let (device, now) = (pair.people[SECOND].device_id.clone(), pair.scene.now);
    let machine = &mut pair.people[FIRST].machine;
    machine.request_verification(now, &user, Some(&device), None).unwrap();
    pair.exchange();
    pair.accept(SECOND);
    pair.exchange();
    let code = pair.show(FIRST);
    assert_eq!(decoded(&code).mode, Mode::UntrustedDevice);
    let ended = pair.scan(SECOND, &code).unwrap();
    assert_eq!(ended.cancelled.unwrap().code, "m.key_mismatch");
}

/// Rule 32: only our user says that the other side scanned the code.
#[test]
fn a_word_that_it_is_done_confirms_nothing() {
    each_mode(|mut pair, shows, _| {
        let code = pair.show(shows);
        pair.scan(1 - shows, &code).unwrap();
        pair.exchange();
        pair.send_done(1 - shows);
        pair.exchange();
        assert_eq!(pair.state(shows), State::Scanned);
        nobody_is_verified(&mut pair);
        pair.confirm(shows, true);
        pair.exchange();
        assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
    });
    // Nor does it scan anything.
    each_mode(|mut pair, shows, _| {
        pair.show(shows);
        pair.send_done(shows);
        pair.send_done(1 - shows);
        pair.exchange();
        assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.unexpected_message"; 2]);
        nobody_is_verified(&mut pair);
    });
}

/// A word that it is done which never comes, or comes as an end, leaves nobody verified by who scanned.
#[test]
fn without_the_word_of_who_shows_nothing_is_concluded() {
    let mut pair = Pair::devices();
    pair.come_to_ready(FIRST);
    let code = pair.show(FIRST);
    pair.scan(SECOND, &code).unwrap();
    pair.exchange();
    pair.confirm(FIRST, true);
    pair.exchange_with(|place, sync| {
        for event in messages(sync, "done").into_iter().filter(|_| place == SECOND) {
            event["type"] = json!("m.key.verification.cancel");
            event["content"]["code"] = json!("m.user");
        }
    });
    assert_eq!(pair.code(SECOND), "m.user");
    let user = [pair.people[SECOND].user.clone()];
    assert!(!pair.people[SECOND].machine.user_trust(&user).unwrap()[0].verified);
}

#[test]
fn whoever_sees_no_scan_says_so_and_nobody_is_verified() {
    each_mode(|mut pair, shows, _| {
        let code = pair.show(shows);
        pair.scan(1 - shows, &code).unwrap();
        pair.exchange();
        pair.confirm(shows, false);
        pair.exchange();
        assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.key_mismatch"; 2]);
        nobody_is_verified(&mut pair);
    });
}

#[test]
fn either_side_can_end_it_while_a_code_is_shown_or_scanned() {
    for who in [FIRST, SECOND] {
        for scanned in [false, true] {
            each_mode(|mut pair, shows, _| {
                let code = pair.show(shows);
                if scanned {
                    pair.scan(1 - shows, &code).unwrap();
                    pair.exchange();
                }
                pair.cancel(who);
                pair.exchange();
                assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.user"; 2]);
                nobody_is_verified(&mut pair);
            });
        }
    }
}

#[test]
fn a_scan_that_nobody_confirms_runs_out() {
    let mut pair = Pair::devices();
    pair.come_to_ready(FIRST);
    let code = pair.show(SECOND);
    pair.scan(FIRST, &code).unwrap();
    pair.exchange();
    pair.scene.now += 10 * 60_000 + 1;
    pair.confirm(SECOND, true);
    assert_eq!(pair.code(SECOND), "m.timeout");
    pair.exchange();
    assert_eq!(pair.code(FIRST), "m.timeout");
}

/// What a server repeats is neither a step nor a reason to end.
#[test]
fn a_scan_that_is_told_twice_is_one() {
    let mut pair = Pair::devices();
    let twice = |_: usize, sync: &mut Value| {
        let Some(events) = sync["to_device"]["events"].as_array_mut() else { return };
        *events = events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
    };
    pair.come_to_ready(FIRST);
    let code = pair.show(FIRST);
    pair.scan(SECOND, &code).unwrap();
    pair.exchange_with(twice);
    assert_eq!(pair.scan(SECOND, &code).unwrap_err().kind, Kind::Verification);
    pair.confirm(FIRST, true);
    pair.exchange_with(twice);
    assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
}

/// A process may end after each step, and another goes on.
#[test]
fn a_code_outlives_processes() {
    each_mode(|mut pair, shows, _| {
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
        let code = pair.show(shows);
        step(&mut pair);
        assert_eq!(pair.show(shows), code);
        pair.scan(1 - shows, &code).unwrap();
        step(&mut pair);
        assert_eq!(pair.state(shows), State::Scanned);
        pair.confirm(shows, true);
        step(&mut pair);
        assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], VERIFIED);
    });
}

#[test]
fn emoji_can_be_compared_while_a_code_is_shown() {
    each_mode(|mut pair, shows, _| {
        for starts in [FIRST, SECOND] {
            let code = pair.show(shows);
            pair.start(starts);
            pair.exchange();
            assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Compare; 2]);
            assert!(!pair.status(shows).shows_code);
            assert_eq!(pair.scan(1 - shows, &code).unwrap_err().kind, Kind::Verification);
            if starts == FIRST {
                pair.cancel(FIRST);
                pair.exchange();
                pair.come_to_ready(FIRST);
            }
        }
        pair.confirm(FIRST, true);
        pair.confirm(SECOND, true);
        pair.exchange();
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], VERIFIED);
    });
}

/// Two methods at once are none.
#[test]
fn a_scan_and_a_start_at_once_end_it() {
    each_mode(|mut pair, shows, _| {
        let code = pair.show(shows);
        pair.scan(1 - shows, &code).unwrap();
        pair.start(shows);
        pair.exchange();
        assert_eq!([pair.code(FIRST), pair.code(SECOND)], ["m.unexpected_message"; 2]);
        nobody_is_verified(&mut pair);
    });
}

/// Of two scans at once the smaller side's counts, and the other confirms.
#[test]
fn of_two_scans_at_once_one_is_confirmed() {
    for mut pair in [Pair::users(), Pair::devices()] {
        pair.come_to_ready(FIRST);
        let codes = [pair.show(FIRST), pair.show(SECOND)];
        pair.scan(FIRST, &codes[SECOND]).unwrap();
        pair.scan(SECOND, &codes[FIRST]).unwrap();
        pair.exchange();
        let mut states = [pair.state(FIRST), pair.state(SECOND)];
        let confirms = usize::from(states[SECOND] == State::Scanned);
        states.sort_by_key(|state| state.as_str());
        assert_eq!(states, [State::Confirmed, State::Scanned]);
        pair.confirm(confirms, true);
        pair.exchange();
        assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
        assert_eq!([pair.trust(FIRST), pair.trust(SECOND)], VERIFIED);
    }
}

/// What no code holds cannot be told from a bad picture: it may be scanned again.
#[test]
fn what_is_no_code_changes_nothing() {
    let mut pair = Pair::devices();
    pair.come_to_ready(FIRST);
    let code = pair.show(FIRST);
    for bytes in [b"hello".as_slice(), &[], &code[..code.len() - 10]] {
        assert_eq!(pair.scan(SECOND, bytes).unwrap_err().kind, Kind::QrCode);
    }
    assert_eq!(pair.scan(SECOND, &code).unwrap().state, State::Confirmed);
}

/// Rule 29: what is verified are the keys that stood there in the beginning.
#[test]
fn an_identity_that_is_exchanged_amid_a_scan_is_not_verified() {
    for (shows, before) in [(FIRST, true), (FIRST, false), (SECOND, true), (SECOND, false)] {
        let mut pair = Pair::users();
        pair.come_to_ready(FIRST);
        let code = pair.show(shows);
        let bob = pair.people[SECOND].user.clone();
        let reset = |pair: &mut Pair| {
            pair.reset_identity(SECOND);
            ask_about(&mut pair.scene, &mut pair.people[FIRST], &[&bob], |response| response);
        };
        if before {
            reset(&mut pair);
        }
        pair.scan(1 - shows, &code).unwrap();
        pair.exchange();
        if !before {
            reset(&mut pair);
        }
        if pair.state(shows) == State::Scanned {
            pair.confirm(shows, true);
        }
        pair.exchange();
        assert_eq!(pair.code(FIRST), "m.key_mismatch");
        let trust = pair.people[FIRST].machine.user_trust(&[bob]).unwrap();
        assert!(!trust[0].verified && !trust[0].was_verified);
    }
}

#[test]
fn an_identity_of_ours_that_is_exchanged_amid_a_scan_is_not_relied_on() {
    let mut pair = Pair::devices();
    pair.come_to_ready(FIRST);
    let code = pair.show(FIRST);
    pair.scan(SECOND, &code).unwrap();
    pair.exchange();
    let alice = pair.people[SECOND].user.clone();
    let key = SigningKey::random().unwrap();
    let lie = |response| with_identity(&key, &alice, response);
    ask_about(&mut pair.scene, &mut pair.people[SECOND], &[&alice], lie);
    pair.confirm(FIRST, true);
    pair.exchange();
    assert_eq!(pair.code(SECOND), "m.key_mismatch");
    ask_about(&mut pair.scene, &mut pair.people[SECOND], &[&alice], lie);
    assert!(!pair.people[SECOND].machine.user_trust(&[alice]).unwrap()[0].verified);
}

/// Where there is no identity, there is nothing to put in a code.
#[test]
fn codes_are_offered_where_there_are_keys_to_put_in() {
    let mut scene = Scene::new();
    let (phone, laptop) = (scene.person("alice"), scene.person("alice"));
    let mut pair = Pair::met(scene, [phone, laptop], None);
    pair.come_to_ready(FIRST);
    for place in [FIRST, SECOND] {
        let status = pair.status(place);
        assert_eq!(status.methods, ["m.sas.v1"]);
        let (now, machine) = (pair.scene.now, &mut pair.people[place].machine);
        assert_eq!(machine.show_code(now, status.number).unwrap_err().kind, Kind::Verification);
    }
}

/// A code of a device that trusts the identity proves the identity to who scans it, and not the device:
/// that may be one that the identity never signed.
#[test]
fn what_the_code_did_not_prove_is_not_signed() {
    let mut pair = Pair::devices();
    // The laptop learns which identity is its own; the phone does not learn of the laptop.
    pair.come_to_compare(FIRST, FIRST);
    pair.confirm(FIRST, true);
    pair.exchange();
    pair.confirm(SECOND, true);
    pair.exchange_with(|place, sync| {
        for event in messages(sync, "mac").into_iter().filter(|_| place == FIRST) {
            event["content"]["keys"] = json!("x".repeat(43));
        }
    });
    assert_eq!(pair.code(FIRST), "m.key_mismatch");
    pair.come_to_ready(FIRST);
    let code = pair.show(SECOND);
    assert_eq!(decoded(&code).mode, Mode::TrustedDevice);
    pair.scan(FIRST, &code).unwrap();
    pair.exchange();
    pair.confirm(SECOND, true);
    pair.exchange();
    assert_eq!([pair.state(FIRST), pair.state(SECOND)], [State::Done; 2]);
    assert!(!pair.status(FIRST).proven.unwrap().device);
    assert_eq!(pair.trust(SECOND), Trust::Unsigned);
}

/// The side that scans sends the secret of the code, and nothing of the keys.
#[test]
fn a_scan_is_told_by_the_secret_alone() {
    let mut pair = Pair::devices();
    pair.come_to_ready(FIRST);
    let code = pair.show(FIRST);
    pair.scan(SECOND, &code).unwrap();
    let mut told = Vec::new();
    pair.exchange_with(|_, sync| {
        told.extend(messages(sync, "start").iter().map(|event| event["content"].clone()));
    });
    let device = pair.people[SECOND].device_id.clone();
    let code = decoded(&code);
    let secret = encode_base64(&code.secret);
    let expected = json!({"from_device": device, "method": "m.reciprocate.v1",
        "secret": secret, "transaction_id": code.flow_id});
    assert_eq!(told, [expected]);
}
