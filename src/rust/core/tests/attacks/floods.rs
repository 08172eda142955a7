//! What strangers send, in numbers or first, neither fills the store nor takes the place of what others
//! sent.

use mxcrypt_core::{
    primitives::olm,
    store::{
        Query,
        records::{KeyRequest, OlmSession},
    },
};
use serde_json::json;
use vodozemac::{Curve25519PublicKey, olm::Account};

use crate::scene::{MEGOLM, Scene, parse, two};

/// A stranger whose device is not published names another Ed25519 key in each session.
#[test]
fn olm_sessions_of_one_key_are_bounded() {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let (user, _, token) = scene.login("mallory");
    let account = Account::new();
    let to_keys = alice.machine.identity_keys().unwrap();
    let before = {
        scene.now += 1;
        let rows = alice.disk.rows_read();
        alice.sync(&mut scene);
        alice.disk.rows_read() - rows
    };
    for _ in 0..100 {
        let body = json!({"one_time_keys": {&alice.user: {&alice.device_id: "signed_curve25519"}}});
        let answer = scene.call(Some(&token), "POST", "keys/claim", body);
        let answer = parse(&answer.body);
        let found = answer["one_time_keys"][&alice.user][&alice.device_id].as_object().unwrap();
        let key = found.values().next().unwrap()["key"].as_str().unwrap();
        let key = Curve25519PublicKey::from_base64(key).unwrap();
        let mut session = olm::outbound(&account, to_keys.curve25519, key).unwrap();
        let payload = json!({"type": "m.dummy", "content": {}, "sender": user,
            "recipient": alice.user,
            "keys": {"ed25519": Account::new().ed25519_key().to_base64()},
            "recipient_keys": {"ed25519": to_keys.ed25519.to_base64()}});
        let message = olm::encrypt(&mut session, payload.to_string().as_bytes()).unwrap();
        let (message_type, text) = olm::parts(&message);
        let content = json!({"algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": account.curve25519_key().to_base64(),
            "ciphertext": {to_keys.curve25519.to_base64(): {"type": message_type, "body": text}}});
        scene.now += 1;
        let body = json!({"messages": {&alice.user: {&alice.device_id: content}}});
        let path = format!("sendToDevice/m.room.encrypted/{}", scene.now);
        assert_eq!(scene.call(Some(&token), "PUT", &path, body).status, 200);
        let problems = alice.sync(&mut scene).problems;
        assert_eq!(problems, Vec::<String>::new());
    }
    let of_key = Query::equal("identity_key", &*account.curve25519_key().to_base64());
    let kept = alice.look(|tx| tx.count::<OlmSession>(&of_key));
    // One message more that cannot be read.
    let content = json!({"algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": account.curve25519_key().to_base64(),
        "ciphertext": {to_keys.curve25519.to_base64(): {"type": 1, "body": "AwogAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQACIQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}});
    let rows = alice.disk.rows_read();
    alice.sync_with(&mut scene, |sync| {
        sync["to_device"]["events"] =
            json!([{"type": "m.room.encrypted", "sender": user, "content": content}]);
    });
    let read = alice.disk.rows_read() - rows;
    assert!(
        kept <= 16,
        "{kept} sessions under one key; {before} rows for an empty sync, {read} for one message"
    );
}

/// Mallory names a session before the event of Bob that needs its key, and then many others.
#[test]
fn a_flood_does_not_take_away_the_search_for_another_senders_key() {
    let (mut scene, mut alice, bob, room_id) = two(json!({"algorithm": MEGOLM}));
    let now = scene.now;
    let mut event = |sender: &str, id: String, session: String| {
        alice.sync_with(&mut scene, |sync| {
            sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": [
                {"type": "m.room.encrypted", "event_id": id, "sender": sender,
                "origin_server_ts": now, "content": {"algorithm": MEGOLM,
                "session_id": session, "ciphertext": "x"}}]}});
        });
    };
    event("@mallory:here", "$m".into(), "bobs".into());
    event(&bob.user, "$b".into(), "bobs".into());
    for n in 0..120 {
        event("@mallory:here", format!("${n}"), format!("s{n}"));
    }
    let key = [room_id.as_str().into(), "bobs".into()];
    let request = alice.look(|tx| tx.get::<KeyRequest>(&key));
    assert!(request.is_some(), "nobody is asked for the key of Bob's event any more");
}

/// Mallory hands Bob's session on in her own name before his event comes, and his key never does. Alice's
/// other devices may have it.
#[test]
fn a_key_that_is_handed_on_does_not_keep_ours_from_being_asked_for() {
    let (mut scene, mut alice, bob, room_id) = two(json!({"algorithm": MEGOLM}));
    let mut mallory = scene.forger("mallory");
    let mut session = mxcrypt_core::primitives::megolm::outbound();
    let key = crate::scene::room_key(&room_id, &session);
    mallory.give_key(&mut scene, &mut alice, key, |_| {});
    alice.sync(&mut scene);
    let content = crate::scene::megolm_event(&mut session, &room_id, "hello");
    let (now, id) = (scene.now, session.session_id());
    alice.sync_with(&mut scene, |sync| {
        sync["rooms"]["join"][&room_id] = json!({"timeline": {"events": [
            {"type": "m.room.encrypted", "event_id": "$b", "sender": bob.user,
            "origin_server_ts": now, "content": content}]}});
    });
    assert_eq!(alice.new_texts(), ["(sender_mismatch)"]);
    let request =
        alice.look(|tx| tx.get::<KeyRequest>(&[room_id.as_str().into(), id.as_str().into()]));
    assert!(request.is_some());
}

/// A stranger gives keys of rooms that we are not in.
#[test]
fn room_keys_of_strangers_are_bounded() {
    use mxcrypt_core::store::records::InboundSession;
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    let mut mallory = scene.forger("mallory");
    for n in 0..3_000 {
        let session = mxcrypt_core::primitives::megolm::outbound();
        let key = crate::scene::room_key(&format!("!{n}:evil"), &session);
        mallory.give_key(&mut scene, &mut alice, key, |_| {});
        if n % 50 == 49 {
            alice.sync(&mut scene);
        }
    }
    let kept = alice.look(|tx| tx.count::<InboundSession>(&Query::all()));
    assert!(kept < 3_000, "{kept}");
}

/// Twenty strangers ask for verifications, and nobody else can.
#[test]
fn strangers_do_not_keep_a_member_from_asking_for_a_verification() {
    let (mut scene, mut alice, bob, _) = two(json!({"algorithm": MEGOLM}));
    let now = scene.now;
    let request = |sender: String, device: String| {
        json!({"type": "m.key.verification.request", "sender": sender, "content": {
            "transaction_id": format!("t{sender}{device}"), "from_device": device,
            "methods": ["m.sas.v1"], "timestamp": now}})
    };
    alice.sync_with(&mut scene, |sync| {
        let all = (0..200).map(|n| request(format!("@s{}:evil", n / 10), format!("D{n}")));
        sync["to_device"]["events"] = all.collect();
    });
    alice.sync_with(&mut scene, |sync| {
        sync["to_device"]["events"] = json!([request(bob.user.clone(), bob.device_id.clone())]);
    });
    let asks = alice.machine.verifications().unwrap();
    assert!(asks.iter().any(|flow| flow.user_id == bob.user), "{} ask, and not Bob", asks.len());
}
