//! An Olm session belongs to a device of a user with both of its keys. Mallory publishes a device with the
//! Curve25519 key of Alice's.

use mxcrypt_core::{
    judgement::trust::Trust,
    primitives::{
        account,
        canonical_json::{Json, Numbers},
        signing,
    },
    store::{
        Query, Record,
        records::{KeyShare, OlmRepair, OlmSession, Peer},
    },
};
use serde_json::{Value, json};
use vodozemac::olm::Account;

use crate::{
    scene::{MEGOLM, Person, Scene, parse, text_of},
    to_device::invite,
};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn pair() -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice, &mut bob]);
    (scene, alice, bob, room_id)
}

/// Mallory's account, whose device has the Curve25519 key of `victim`.
fn impostor(scene: &mut Scene, victim: &mut Person) -> (String, String) {
    let (user, device_id, token) = scene.login("mallory");
    publish_borrowed(scene, victim, &user, &device_id, &token);
    (user, token)
}

/// Publishes a device with the Curve25519 key of `victim` and keys of its own.
fn publish_borrowed(
    scene: &mut Scene,
    victim: &mut Person,
    user: &str,
    device_id: &str,
    token: &str,
) {
    let mut account = Account::new();
    account.generate_one_time_keys(50);
    let keys = account::device_keys(&account, user, device_id).unwrap();
    let mut keys = Json::parse_object(&keys).unwrap();
    keys.remove("signatures");
    let Some(Json::Object(published)) = keys.get_mut("keys") else { panic!() };
    let name = format!("curve25519:{device_id}");
    published.insert(name, Json::String(victim.identity_key()));
    let key_id = format!("ed25519:{device_id}");
    signing::sign(&mut keys, user, &key_id, |bytes| account.sign(bytes)).unwrap();
    let mut body = account::unpublished_keys(&account, user, device_id).unwrap();
    body.insert("device_keys".into(), Json::Object(keys));
    let body = parse(&Json::Object(body).canonical(Numbers::Canonical).unwrap());
    assert_eq!(scene.call(Some(token), "POST", "keys/upload", body).status, 200);
}

/// Says in the clear that no Olm session could be opened with the device that has `identity_key`.
fn no_olm(scene: &mut Scene, token: &str, to: &Person, identity_key: &str) {
    let content = json!({"algorithm": MEGOLM, "code": "m.no_olm", "sender_key": identity_key});
    let body = json!({"messages": {&to.user: {&to.device_id: content}}});
    scene.now += 1;
    let path = format!("sendToDevice/m.room_key.withheld/t{}", scene.now);
    assert_eq!(scene.call(Some(token), "PUT", &path, body).status, 200);
}

fn asks(scene: &mut Scene, person: &mut Person) -> Vec<String> {
    let mut kinds = Vec::new();
    person.pump_with(scene, |kind, response| {
        kinds.push(kind.to_owned());
        response
    });
    kinds
}

fn kept<R: Record>(person: &Person, query: &Query) -> Vec<R> {
    person.look(|tx| tx.select::<R>(query))
}

/// Damages the Olm messages of a sync.
fn damage(answer: &mut Value) {
    for event in answer["to_device"]["events"].as_array_mut().unwrap() {
        let parts = event["content"]["ciphertext"].as_object_mut().unwrap();
        for part in parts.values_mut() {
            let body = part["body"].as_str().unwrap();
            let tail = if body.ends_with("AAAA") { "BBBB" } else { "AAAA" };
            part["body"] = format!("{}{tail}", &body[..body.len() - 4]).into();
        }
    }
}

#[test]
fn a_device_with_a_borrowed_key_does_not_replace_a_session() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    bob.say(&mut scene, &room_id, "one");
    assert_eq!(alice.reads(&mut scene), ["one"]);
    let (_, token) = impostor(&mut scene, &mut alice);
    no_olm(&mut scene, &token, &bob, &alice.identity_key());
    bob.sync(&mut scene);
    // Bob makes a session for Mallory's device. Alice could not read what goes over it.
    assert!(asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()));
    bob.machine.rotate_room_key(bob.now, &room_id).unwrap();
    bob.say(&mut scene, &room_id, "two");
    assert_eq!(alice.reads(&mut scene), ["two"]);
}

#[test]
fn a_device_with_a_borrowed_key_does_not_get_between_at_first_contact() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let (_, token) = impostor(&mut scene, &mut alice);
    no_olm(&mut scene, &token, &bob, &alice.identity_key());
    bob.sync(&mut scene);
    assert!(asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()));
    bob.say(&mut scene, &room_id, "one");
    assert_eq!(alice.reads(&mut scene), ["one"]);
}

#[test]
fn a_member_with_a_borrowed_key_takes_nobodys_place() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let (user, token) = impostor(&mut scene, &mut alice);
    invite(&mut scene, &alice.token, &room_id, &user);
    scene.enter(&token, &room_id);
    bob.sync(&mut scene);
    bob.say(&mut scene, &room_id, "one");
    assert_eq!(alice.reads(&mut scene), ["one"]);
    let sessions = kept::<OlmSession>(&bob, &Query::equal("identity_key", &*alice.identity_key()));
    assert_eq!(sessions.len(), 2);
}

/// Bob's session with Alice is broken, and Mallory asks for a repair of the same key at the same time.
#[test]
fn a_device_with_a_borrowed_key_does_not_cancel_a_repair() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    alice.say(&mut scene, &room_id, "one");
    bob.sync_with(&mut scene, damage);
    let (user, token) = impostor(&mut scene, &mut alice);
    no_olm(&mut scene, &token, &bob, &alice.identity_key());
    bob.sync(&mut scene);
    // No one-time key of Alice's can be had for now.
    bob.pump_with(&mut scene, |kind, mut response| {
        if kind == "keys_claim" {
            let mut answer = parse(&response.body);
            answer["one_time_keys"].as_object_mut().unwrap().remove(&alice.user);
            response.body = answer.to_string();
        }
        response
    });
    let due = |bob: &Person, user: &str| {
        let repairs = kept::<OlmRepair>(bob, &Query::equal("user_id", user));
        repairs.iter().filter(|repair| repair.is_due).count()
    };
    assert_eq!((due(&bob, &user), due(&bob, &alice.user)), (0, 1));
    scene.now += 10_000;
    bob.pump(&mut scene);
    assert_eq!(due(&bob, &alice.user), 0);
    alice.reads(&mut scene);
    alice.say(&mut scene, &room_id, "two");
    assert_eq!(bob.reads(&mut scene).last().map(String::as_str), Some("two"));
}

/// A device that somebody adds to Alice's account with the Curve25519 key of her own: what her own device
/// says is judged as before.
#[test]
fn an_added_device_with_a_borrowed_key_discredits_nobody() {
    // Devices are found in the order of their names.
    for is_first in [true, false] {
        let mut scene = Scene::new();
        let before = is_first.then(|| scene.login("alice"));
        let mut alice = scene.person("alice");
        let (user, added, token) = before.unwrap_or_else(|| scene.login("alice"));
        let mut bob = scene.person("bob");
        let room_id = scene.room(&mut [&mut alice, &mut bob]);
        publish_borrowed(&mut scene, &mut alice, &user, &added, &token);
        bob.machine.refresh_devices(bob.now, &[user]).unwrap();
        bob.pump(&mut scene);
        alice.say(&mut scene, &room_id, "one");
        assert!(bob.sync(&mut scene).problems.is_empty());
        bob.pump(&mut scene);
        let rows = bob.events();
        let row = rows.iter().find(|row| row.event.encrypted).unwrap();
        assert_eq!((text_of(row).as_str(), row.trust), ("one", Trust::Unsigned));
        bob.say(&mut scene, &room_id, "two");
        assert_eq!(alice.reads(&mut scene), ["one", "two"]);
    }
}

/// Word that a message could not be read is about the device that says so.
#[test]
fn only_the_device_that_lost_keys_is_given_them_again() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let (user, token) = impostor(&mut scene, &mut alice);
    invite(&mut scene, &alice.token, &room_id, &user);
    scene.enter(&token, &room_id);
    bob.sync(&mut scene);
    bob.say(&mut scene, &room_id, "one");
    alice.sync_with(&mut scene, damage);
    alice.pump(&mut scene);
    bob.sync(&mut scene);
    let lost = |user: &str| {
        let shares = kept::<KeyShare>(&bob, &Query::equal("user_id", user));
        shares.iter().map(|share| share.lost).collect::<Vec<_>>()
    };
    assert_eq!((lost(&alice.user), lost(&user)), (vec![true], vec![false]));
}

/// A session that somebody opened is answered on once a payload over it was accepted: before, nobody
/// knows whose device it leads to.
#[test]
fn a_session_without_an_accepted_payload_is_not_sent_on() {
    for accepted in [true, false] {
        let (mut scene, _, mut bob, room_id) = pair();
        // No one-time key of hers can be had.
        let mut mallory = scene.forger("mallory");
        let mut payload = mallory.payload(&mut bob, "m.dummy", json!({}));
        if !accepted {
            payload["sender"] = json!("@alice:here");
        }
        mallory.give(&mut scene, &mut bob, &payload);
        assert_eq!(bob.sync(&mut scene).problems.len(), usize::from(!accepted));
        invite(&mut scene, &bob.token.clone(), &room_id, &mallory.user);
        scene.enter(&mallory.token.clone(), &room_id);
        bob.sync(&mut scene);
        bob.queue(&scene, &room_id, "hello");
        bob.pump(&mut scene);
        let shares = kept::<KeyShare>(&bob, &Query::equal("user_id", mallory.user.as_str()));
        assert_eq!(shares.len(), usize::from(accepted));
    }
}

/// A store from before sessions had devices: they are sent with where one device alone has their key.
#[test]
fn sessions_of_an_old_store_are_sent_with_where_their_device_is_certain() {
    for is_alone in [true, false] {
        let (mut scene, mut alice, mut bob, room_id) = pair();
        bob.say(&mut scene, &room_id, "one");
        assert_eq!(alice.reads(&mut scene), ["one"]);
        if !is_alone {
            let (user, _) = impostor(&mut scene, &mut alice);
            bob.machine.refresh_devices(bob.now, &[user]).unwrap();
            bob.pump(&mut scene);
        }
        bob.look(|tx| {
            for session in tx.select::<OlmSession>(&Query::all())? {
                tx.put(&OlmSession { peer: Peer::Unrecorded, ..session })?;
            }
            Ok(())
        });
        bob.machine.rotate_room_key(bob.now, &room_id).unwrap();
        bob.queue(&scene, &room_id, "two");
        assert_eq!(asks(&mut scene, &mut bob).contains(&"keys_claim".to_owned()), !is_alone);
        assert_eq!(alice.reads(&mut scene), ["two"]);
        let sessions = kept::<OlmSession>(&bob, &Query::equal("user_id", alice.user.as_str()));
        assert_eq!(sessions.len(), 1);
    }
}

/// A hundred notices of a stranger stop the repair of nobody else's sessions, and her own not for good.
#[test]
fn strangers_notices_do_not_keep_a_repair_out() {
    let (mut scene, mut alice, mut bob, room_id) = pair();
    let notices = |user: String, number: usize| {
        let event = move |n| {
            json!({"type": "m.room_key.withheld", "sender": user, "content":
                {"algorithm": MEGOLM, "code": "m.no_olm", "sender_key": format!("k{n}")}})
        };
        (0..number).map(event).collect::<Vec<_>>()
    };
    let mut flood = notices(alice.user.clone(), 10);
    for n in 0..10 {
        flood.extend(notices(format!("@mallory{n}:elsewhere"), 30));
    }
    alice.say(&mut scene, &room_id, "one");
    bob.sync_with(&mut scene, |answer| {
        damage(answer);
        let events = answer["to_device"]["events"].as_array_mut().unwrap();
        flood.append(events);
        *events = std::mem::take(&mut flood);
    });
    let repairs = |bob: &Person, query| kept::<OlmRepair>(bob, &query).len();
    assert_eq!(repairs(&bob, Query::equal("is_stranger", 1)), 100);
    assert_eq!(repairs(&bob, Query::equal("user_id", alice.user.as_str())), 11);
    // The strangers' server does not respond.
    bob.pump_with(&mut scene, |kind, mut response| {
        if kind == "keys_query" {
            let mut answer = parse(&response.body);
            answer["failures"] = json!({"elsewhere": {}});
            let devices = answer["device_keys"].as_object_mut().unwrap();
            devices.retain(|user, _| user.ends_with(":here"));
            response.body = answer.to_string();
        }
        response
    });
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "two");
    assert_eq!(bob.reads(&mut scene), ["(unknown_session)", "two"]);
    assert_eq!(repairs(&bob, Query::equal("is_stranger", 1)), 100);
    scene.now += 8 * DAY;
    bob.pump(&mut scene);
    assert_eq!(repairs(&bob, Query::all()), 0);
    let strangers: Vec<_> = (0..10).map(|n| format!("@mallory{n}:elsewhere")).collect();
    assert_eq!(bob.machine.outdated(&strangers).unwrap().len(), 10);
    assert_eq!(asks(&mut scene, &mut bob), [""; 0]);
}
