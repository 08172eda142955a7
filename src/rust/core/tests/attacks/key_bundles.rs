//! Whom history is shared with, and from whom it is taken.

use mxcrypt_core::{
    machine::{Reply, Requests},
    primitives::attachment,
    store::{
        Query,
        records::{InboundSession, KeySource, LocalTrust, ReceivedBundle},
    },
};
use mxcrypt_model_server::Request;
use serde_json::{Value, json};

use crate::{
    identities::make_identity,
    scene::{Forger, Person, Scene, encoded, text_of},
    secrets::sign_own_device,
};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Alice has said "before" in her room; nobody is invited yet. Both have signed their devices.
fn scenery() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let mut people = ["alice", "bob"].map(|name| scene.person(name));
    for person in &mut people {
        make_identity(&mut scene, person);
        sign_own_device(&mut scene, person);
    }
    let [mut alice, bob] = people;
    let room_id = scene.room(&mut [&mut alice]);
    alice.say(&mut scene, &room_id, "before");
    (scene, alice, bob, room_id)
}

/// The pump, which carries files too.
fn pump(scene: &mut Scene, person: &mut Person) {
    loop {
        let Requests { requests, .. } = person.machine.requests(scene.now).unwrap();
        if requests.is_empty() {
            return;
        }
        for request in requests {
            let http = Request {
                method: request.method.into(),
                path: request.path,
                token: Some(person.token.clone()),
                body: request.body.unwrap_or_default().into_bytes(),
            };
            let reply = match scene.server.file(&http) {
                Some(file) => Reply::File { status: 200, bytes: file.to_vec() },
                None if request.kind == "key_bundle" => {
                    Reply::Answer { status: 404, body: r#"{"errcode":"M_NOT_FOUND"}"#.into() }
                }
                None => {
                    let response = scene.server.handle(scene.now as u64, &http);
                    Reply::Answer { status: response.status, body: response.body }
                }
            };
            let troubles = person.machine.replies(scene.now, vec![(request.number, reply)]);
            assert_eq!(troubles.unwrap(), Vec::new());
        }
    }
}

fn upload(scene: &mut Scene, token: &str, bytes: Vec<u8>) -> String {
    let request = Request {
        method: "POST".into(),
        path: "/_matrix/media/v3/upload".into(),
        token: Some(token.to_owned()),
        body: bytes,
    };
    let answer = scene.server.handle(scene.now as u64, &request);
    crate::scene::parse(&answer.body)["content_uri"].as_str().unwrap().to_owned()
}

/// Shares the history of a room with Bob; the number of the bundle, if there was one.
fn share(scene: &mut Scene, alice: &mut Person, room_id: &str) -> Option<i64> {
    let (number, bytes) = alice.machine.make_key_bundle(scene.now, room_id).unwrap()?;
    let url = upload(scene, &alice.token, bytes);
    alice.machine.share_key_bundle(scene.now, number, &url, &["@bob:here".into()]).unwrap();
    pump(scene, alice);
    assert!(!alice.machine.key_bundle_waits(number).unwrap());
    Some(number)
}

fn invite(scene: &mut Scene, alice: &mut Person, room_id: &str) {
    let path = format!("rooms/{}/invite", encoded(room_id));
    let answer = scene.call(Some(&alice.token), "POST", &path, json!({"user_id": "@bob:here"}));
    assert_eq!(answer.status, 200);
}

fn come_in(scene: &mut Scene, bob: &mut Person, room_id: &str) {
    bob.sync(scene);
    pump(scene, bob);
    scene.enter(&bob.token, room_id);
    bob.sync(scene);
    pump(scene, bob);
}

fn bundles(bob: &Person) -> usize {
    bob.look(|tx| tx.count::<ReceivedBundle>(&Query::all()))
}

fn fetched(scene: &Scene, bob: &mut Person) -> usize {
    let requests = bob.machine.requests(scene.now).unwrap().requests;
    requests.iter().filter(|request| request.kind == "key_bundle").count()
}

fn history(bob: &mut Person) -> Vec<String> {
    bob.events().iter().filter(|row| row.event.encrypted).map(text_of).collect()
}

#[test]
fn whoever_is_invited_reads_what_was_said_before() {
    let (mut scene, mut alice, mut bob, room_id) = scenery();
    share(&mut scene, &mut alice, &room_id).unwrap();
    invite(&mut scene, &mut alice, &room_id);
    come_in(&mut scene, &mut bob, &room_id);
    let rows = bob.events();
    let row = rows.iter().find(|row| text_of(row) == "before").unwrap();
    assert_eq!(row.event.key_source, Some(KeySource::Bundle));
    // Bob has only her word for it.
    assert_eq!(row.event.forwarder.as_deref(), Some("@alice:here"));
    assert_eq!(row.trust.as_str(), "not_guaranteed");
    // He may hand it on, as she did.
    assert!(bob.machine.make_key_bundle(scene.now, &room_id).unwrap().is_some());
}

#[test]
fn a_room_that_keeps_its_past_to_itself_shares_nothing() {
    let (mut scene, mut alice, _, room_id) = scenery();
    let visibility = |scene: &mut Scene, alice: &mut Person, visibility: &str| {
        let path = format!("rooms/{}/state/m.room.history_visibility", encoded(&room_id));
        let content = json!({"history_visibility": visibility});
        assert_eq!(scene.call(Some(&alice.token), "PUT", &path, content).status, 200);
        alice.sync(scene);
        alice.pump(scene);
    };
    visibility(&mut scene, &mut alice, "invited");
    assert_eq!(share(&mut scene, &mut alice, &room_id), None);
    // What was said then stays with those who were there, also after the room has opened.
    alice.say(&mut scene, &room_id, "between us");
    visibility(&mut scene, &mut alice, "shared");
    let (number, mut bytes) = alice.machine.make_key_bundle(scene.now, &room_id).unwrap().unwrap();
    let key = alice.look(|tx| tx.get::<mxcrypt_core::store::records::OwnBundle>(&[number.into()]));
    attachment::decrypt(&key.unwrap().key, &mut bytes).unwrap();
    let bundle: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(bundle["room_keys"].as_array().unwrap().len(), 1);
    let withheld = bundle["withheld"].as_array().unwrap();
    assert_eq!(withheld.len(), 1);
    assert_eq!(withheld[0]["code"], "m.history_not_shared");
    assert_ne!(withheld[0]["session_id"], bundle["room_keys"][0]["session_id"]);
}

/// The server adds a device to Bob: it must not learn the history of a room.
#[test]
fn a_device_that_its_owner_has_not_signed_is_told_of_no_bundle() {
    let (mut scene, mut alice, _, room_id) = scenery();
    let mut added = scene.person("bob");
    share(&mut scene, &mut alice, &room_id).unwrap();
    added.sync(&mut scene);
    assert_eq!(bundles(&added), 0);
}

#[test]
fn a_bundle_is_fetched_only_after_its_senders_invitation_was_accepted() {
    let (mut scene, mut alice, mut bob, room_id) = scenery();
    share(&mut scene, &mut alice, &room_id).unwrap();
    bob.sync(&mut scene);
    assert_eq!((bundles(&bob), fetched(&scene, &mut bob)), (1, 0));
    invite(&mut scene, &mut alice, &room_id);
    bob.sync(&mut scene);
    assert_eq!(fetched(&scene, &mut bob), 0);
    scene.enter(&bob.token, &room_id);
    bob.sync(&mut scene);
    pump(&mut scene, &mut bob);
    assert_eq!(bundles(&bob), 0);
    // Nobody was given it before its key came.
    assert_eq!(history(&mut bob), ["before"]);
}

#[test]
fn whoever_left_and_is_invited_again_accepts_first_too() {
    let (mut scene, mut alice, mut bob, room_id) = scenery();
    invite(&mut scene, &mut alice, &room_id);
    come_in(&mut scene, &mut bob, &room_id);
    scene.leave(&bob.token, &room_id);
    bob.sync(&mut scene);
    invite(&mut scene, &mut alice, &room_id);
    bob.sync(&mut scene);
    share(&mut scene, &mut alice, &room_id).unwrap();
    bob.sync(&mut scene);
    pump(&mut scene, &mut bob);
    assert_eq!(bundles(&bob), 1);
}

#[test]
fn a_bundle_without_measure_is_given_up() {
    let (mut scene, _, mut bob, _) = scenery();
    let (mut host, room_id) = host(&mut scene, &mut bob);
    let (_, key) = historic(&room_id);
    let padding = " ".repeat(64 << 20);
    let file = file(&mut scene, &host, &json!({"room_keys": [key], "x": padding}));
    tell(&mut scene, &mut host, &mut bob, json!({"room_id": room_id, "file": file}));
    pump(&mut scene, &mut bob);
    assert_eq!(bundles(&bob), 0);
    let kept = Query::equal("room_id", room_id.as_str());
    assert_eq!(bob.look(|tx| tx.count::<InboundSession>(&kept)), 0);
}

#[test]
fn another_member_shares_nothing_with_whom_they_did_not_invite() {
    let (mut scene, mut alice, mut bob, room_id) = scenery();
    let (mut mallory, _) = host(&mut scene, &mut bob);
    invite(&mut scene, &mut alice, &room_id);
    come_in(&mut scene, &mut bob, &room_id);
    // She tells of a bundle for the room that Alice has invited him to.
    let file = file(&mut scene, &mallory, &json!({"room_keys": []}));
    tell(&mut scene, &mut mallory, &mut bob, json!({"room_id": room_id, "file": file}));
    assert_eq!(bundles(&bob), 1);
    assert_eq!(fetched(&scene, &mut bob), 0);
}

#[test]
fn after_a_day_nothing_is_taken_any_more() {
    let (mut scene, mut alice, mut bob, room_id) = scenery();
    invite(&mut scene, &mut alice, &room_id);
    come_in(&mut scene, &mut bob, &room_id);
    scene.now += DAY + 1;
    share(&mut scene, &mut alice, &room_id).unwrap();
    bob.sync(&mut scene);
    assert_eq!(fetched(&scene, &mut bob), 0);
    assert_eq!(bundles(&bob), 0);
}

#[test]
fn a_bundle_of_a_device_that_was_blocked_or_is_not_signed_is_given_up() {
    let (mut scene, mut alice, mut bob, room_id) = scenery();
    share(&mut scene, &mut alice, &room_id).unwrap();
    invite(&mut scene, &mut alice, &room_id);
    bob.machine.refresh_devices(scene.now, std::slice::from_ref(&alice.user)).unwrap();
    bob.sync(&mut scene);
    pump(&mut scene, &mut bob);
    let device = alice.device_id.clone();
    bob.machine
        .set_local_trust(scene.now, "@alice:here", &device, None, LocalTrust::Blocked)
        .unwrap();
    scene.enter(&bob.token, &room_id);
    bob.sync(&mut scene);
    pump(&mut scene, &mut bob);
    assert_eq!(bundles(&bob), 0);
    assert_eq!(history(&mut bob), ["(unknown_session)"]);
}

/// Somebody who can make any file, and says of it what they like. Bob is in a room by their invitation.
fn host(scene: &mut Scene, bob: &mut Person) -> (Forger, String) {
    let mut host = scene.forger("mallory");
    let state = json!([{"type": "m.room.encryption", "state_key": "",
        "content": {"algorithm": crate::scene::MEGOLM}}]);
    let body = json!({"preset": "private_chat", "invite": ["@bob:here"], "initial_state": state});
    let made = scene.call(Some(&host.token), "POST", "createRoom", body);
    let room_id = crate::scene::parse(&made.body)["room_id"].as_str().unwrap().to_owned();
    come_in(scene, bob, &room_id);
    bob.machine.refresh_devices(scene.now, std::slice::from_ref(&host.user)).unwrap();
    pump(scene, bob);
    let fingerprint = host.account.ed25519_key().to_base64();
    let (user, device) = (host.user.clone(), host.device_id.clone());
    bob.machine
        .set_local_trust(scene.now, &user, &device, Some(&fingerprint), LocalTrust::Verified)
        .unwrap();
    let dummy = host.payload(bob, "m.dummy", json!({}));
    let dummy = host.encrypt(scene, bob, dummy.to_string().as_bytes());
    host.send(scene, bob, "m.room.encrypted", &dummy);
    bob.sync(scene);
    (host, room_id)
}

/// Tells Bob of a bundle; the problems of his sync.
fn tell(scene: &mut Scene, host: &mut Forger, bob: &mut Person, content: Value) -> String {
    let mut payload = host.payload(bob, "m.room_key_bundle", content);
    let keys =
        mxcrypt_core::primitives::account::device_keys(&host.account, &host.user, &host.device_id);
    payload["sender_device_keys"] = crate::scene::parse(&keys.unwrap());
    let encrypted = host.encrypt(scene, bob, payload.to_string().as_bytes());
    host.send(scene, bob, "m.room.encrypted", &encrypted);
    bob.sync(scene).problems.concat()
}

fn file(scene: &mut Scene, host: &Forger, bundle: &Value) -> Value {
    let mut bytes = bundle.to_string().into_bytes();
    let key = attachment::encrypt(&mut bytes).unwrap();
    let url = upload(scene, &host.token, bytes);
    mxcrypt_core::judgement::encrypted_file::EncryptedFile { url, key }.write()
}

fn historic(room_id: &str) -> (vodozemac::megolm::GroupSession, Value) {
    let session = mxcrypt_core::primitives::megolm::outbound();
    let inbound =
        mxcrypt_core::primitives::megolm::inbound(&session.session_key().to_base64()).unwrap();
    let device = vodozemac::olm::Account::new();
    let key = json!({
        "algorithm": crate::scene::MEGOLM, "room_id": room_id,
        "session_id": session.session_id(),
        "session_key": inbound.export_at_first_known_index().to_base64(),
        "sender_key": device.curve25519_key().to_base64(),
        "sender_claimed_keys": {"ed25519": device.ed25519_key().to_base64()},
    });
    (session, key)
}

#[test]
fn a_bundle_brings_keys_of_its_room_that_hold_and_no_others() {
    let (mut scene, _, mut bob, _) = scenery();
    let (mut host, room_id) = host(&mut scene, &mut bob);
    let (mut good, good_key) = historic(&room_id);
    let (mut elsewhere, elsewhere_key) = historic("!other:here");
    let (mut both, both_key) = historic(&room_id);
    let (_, mut false_id) = historic(&room_id);
    false_id["session_id"] = elsewhere.session_id().into();
    let bundle = json!({
        "room_keys": [false_id, 7, {}, elsewhere_key, both_key, good_key],
        "withheld": [{"session_id": both.session_id(), "code": "m.history_not_shared"}],
    });
    let file = file(&mut scene, &host, &bundle);
    let said = tell(&mut scene, &mut host, &mut bob, json!({"room_id": room_id, "file": file}));
    assert_eq!(said, "");
    pump(&mut scene, &mut bob);
    assert_eq!(bundles(&bob), 0);
    let of_the_other = Query::equal("room_id", "!other:here");
    assert_eq!(bob.look(|tx| tx.count::<InboundSession>(&of_the_other)), 0);
    for session in [&mut good, &mut elsewhere, &mut both] {
        let event = crate::scene::megolm_event(session, &room_id, "hello");
        host.post(&mut scene, &room_id, &event);
    }
    bob.sync(&mut scene);
    pump(&mut scene, &mut bob);
    let texts = history(&mut bob);
    assert_eq!(texts[0], "hello");
    assert!(texts[1..].iter().all(|text| text.starts_with('(')), "{texts:?}");
}

#[test]
fn a_false_bundle_is_given_up_and_hurts_nothing_else() {
    let (mut scene, _, mut bob, _) = scenery();
    let (mut host, room_id) = host(&mut scene, &mut bob);
    let good = file(&mut scene, &host, &json!({"room_keys": [], "withheld": []}));
    // Not what its hash says, no bundle, too short, and not there at all.
    let mut altered = good.clone();
    altered["hashes"]["sha256"] = "A".repeat(43).into();
    let list = file(&mut scene, &host, &json!([1, 2]));
    let mut gone = good.clone();
    gone["url"] = "mxc://here/gone".into();
    for file in [altered, list, gone] {
        let content = json!({"room_id": room_id, "file": file});
        assert_eq!(tell(&mut scene, &mut host, &mut bob, content), "");
        assert_eq!(bundles(&bob), 1);
        pump(&mut scene, &mut bob);
        assert_eq!(bundles(&bob), 0);
    }
    let mut no_hash = good.clone();
    no_hash["hashes"] = json!({});
    for (content, problem) in [
        (json!({"room_id": room_id, "file": no_hash}), "it has no sha256"),
        (json!({"room_id": room_id}), "it has no file"),
        (json!({"file": good}), "it is for no room"),
    ] {
        let said = tell(&mut scene, &mut host, &mut bob, content);
        assert!(said.contains(problem), "{said}");
    }
    // Nor does it come from a device that does not introduce itself, or in the clear.
    let content = json!({"room_id": room_id, "file": good});
    let payload = host.payload(&mut bob, "m.room_key_bundle", content.clone());
    let encrypted = host.encrypt(&mut scene, &mut bob, payload.to_string().as_bytes());
    host.send(&mut scene, &bob, "m.room.encrypted", &encrypted);
    host.send(&mut scene, &bob, "m.room_key_bundle", &content);
    bob.sync(&mut scene);
    assert_eq!(bundles(&bob), 0);
}

#[test]
fn a_server_that_is_away_is_asked_again_and_a_newer_bundle_counts() {
    let (mut scene, _, mut bob, _) = scenery();
    let (mut host, room_id) = host(&mut scene, &mut bob);
    let file = file(&mut scene, &host, &json!({"room_keys": []}));
    let content = json!({"room_id": room_id, "file": file});
    tell(&mut scene, &mut host, &mut bob, content.clone());
    let ask = |scene: &Scene, bob: &mut Person| {
        let requests = bob.machine.requests(scene.now).unwrap().requests;
        requests.into_iter().find(|request| request.kind == "key_bundle")
    };
    let asked = ask(&scene, &mut bob).unwrap();
    // While it is under way nobody asks again.
    assert!(ask(&scene, &mut bob).is_none());
    let away = Reply::Answer { status: 502, body: "gone fishing".into() };
    assert_eq!(bob.machine.replies(scene.now, vec![(asked.number, away)]).unwrap().len(), 1);
    assert!(ask(&scene, &mut bob).is_none());
    scene.now += 2_000;
    let asked = ask(&scene, &mut bob).unwrap();
    // A newer one is told of meanwhile: the response about the older one is ignored.
    tell(&mut scene, &mut host, &mut bob, content);
    let empty = Reply::File { status: 200, bytes: vec![255] };
    assert_eq!(bob.machine.replies(scene.now, vec![(asked.number, empty)]).unwrap(), Vec::new());
    assert_eq!(bundles(&bob), 1);
}

#[test]
fn no_more_than_five_hundred_bundles_are_kept() {
    let (mut scene, _, mut bob, _) = scenery();
    let (mut host, _) = host(&mut scene, &mut bob);
    let file = file(&mut scene, &host, &json!({"room_keys": []}));
    let mut events = Vec::new();
    for n in 0..510 {
        let mut payload = host.payload(
            &mut bob,
            "m.room_key_bundle",
            json!({"room_id": format!("!{n}:here"), "file": file}),
        );
        let keys = mxcrypt_core::primitives::account::device_keys(
            &host.account,
            &host.user,
            &host.device_id,
        );
        payload["sender_device_keys"] = crate::scene::parse(&keys.unwrap());
        let content = host.encrypt(&mut scene, &mut bob, payload.to_string().as_bytes());
        events.push(json!({"type": "m.room.encrypted", "sender": host.user, "content": content}));
    }
    bob.sync_with(&mut scene, |answer| answer["to_device"] = json!({"events": events}));
    assert_eq!(bundles(&bob), 500);
}

/// A host's bundle has the same session many times, each with another ratchet, and his events wait for it.
#[test]
fn a_bundle_does_not_cost_its_keys_times_the_events_that_wait() {
    let time = |events: usize, keys: usize| {
        let (mut scene, _, mut bob, _) = scenery();
        let (mut host, room_id) = host(&mut scene, &mut bob);
        let (mut session, key) = historic(&room_id);
        let waits: Vec<Value> = (0..events)
            .map(|_| crate::scene::megolm_event(&mut session, &room_id, "hello"))
            .collect();
        let now = scene.now;
        let user = host.user.clone();
        bob.sync_with(&mut scene, |sync| {
            let event = |(n, content): (usize, &Value)| {
                json!({"type": "m.room.encrypted", "event_id": format!("${n}"), "sender": user,
                    "origin_server_ts": now, "content": content})
            };
            let events: Value = waits.iter().enumerate().map(event).collect();
            sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": events}});
        });
        let text = key["session_key"].as_str().unwrap();
        let bytes = mxcrypt_core::primitives::keys::decode_base64(text).unwrap();
        let keys: Vec<Value> = (0..keys)
            .map(|n| {
                let mut bytes = bytes.clone();
                bytes[10] ^= (n % 256) as u8 ^ 1;
                bytes[11] ^= (n / 256) as u8 ^ 1;
                let mut key = key.clone();
                key["session_key"] = mxcrypt_core::primitives::keys::encode_base64(&bytes).into();
                let device = vodozemac::olm::Account::new();
                key["sender_key"] = device.curve25519_key().to_base64().into();
                key["sender_key"] = key["sender_key"].clone();
                key
            })
            .collect();
        // The same device each time, so that each meets the one before.
        let device = keys[0]["sender_key"].clone();
        let keys: Vec<Value> = keys
            .into_iter()
            .map(|mut key| {
                key["sender_key"] = device.clone();
                key
            })
            .collect();
        let file = file(&mut scene, &host, &json!({"room_keys": keys}));
        let said = tell(&mut scene, &mut host, &mut bob, json!({"room_id": room_id, "file": file}));
        assert_eq!(said, "");
        let rows = bob.disk.rows_read();
        let begun = std::time::Instant::now();
        pump(&mut scene, &mut bob);
        let took = begun.elapsed();
        (bob.disk.rows_read() - rows, took)
    };
    let (few, quick) = time(300, 1);
    let (many, slow) = time(300, 300);
    assert!(many < 5 * few, "{few} rows in {quick:?} for one key, {many} in {slow:?} for 300");
}
