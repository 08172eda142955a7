//! A device goes back in time: a store is made of a copy, whose original has gone on since.

use std::collections::BTreeSet;

use mxcrypt_core::{
    Kind,
    machine::{Machine, revive},
    store::{
        Closure, Query, Store,
        records::{OlmSession, OutboundSession},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    database::Disk,
    scene::{MEGOLM, Person, Scene, two},
};

/// A copy of somebody's store, as [`mxcrypt_core::store::Location::back_up`] marks it.
fn copy(person: &Person) -> Disk {
    let disk = person.disk.copy();
    let mut store = Store::even_closed(disk.open(), person.key.clone(), [1; 16]).unwrap();
    let closure = Closure::Copy { made_at: "today".to_owned() };
    store.transaction(|tx| tx.put_single(&closure)).unwrap();
    disk
}

/// The original is gone, and its owner goes on with the copy.
fn restore(scene: &Scene, person: &mut Person, disk: Disk) {
    let mut store = Store::even_closed(disk.open(), person.key.clone(), [1; 16]).unwrap();
    revive(&mut store, scene.now).unwrap();
    person.disk = disk;
    person.restart();
}

fn say(scene: &mut Scene, person: &mut Person, room_id: &str, text: &str) {
    scene.now += 60_000;
    person.now = scene.now;
    person.say(scene, room_id, text);
}

fn session(person: &Person, room_id: &str) -> (String, u32, bool) {
    let session: OutboundSession = person.look(|tx| tx.get(&[room_id.into()])).unwrap();
    (session.session_id, session.session.message_index(), session.rotate)
}

fn olm_sessions(person: &Person) -> Vec<OlmSession> {
    person.look(|tx| tx.select(&Query::all()))
}

#[test]
fn a_copy_is_refused_also_by_a_process_that_had_the_store_open() {
    let (mut scene, mut alice, _bob, room_id) = two(Value::Null);
    say(&mut scene, &mut alice, &room_id, "one");
    let disk = copy(&alice);
    let refused = Store::new(disk.open(), alice.key.clone(), [1; 16]).err().unwrap();
    assert_eq!(refused.kind, Kind::StoreCopy);
    assert!(refused.message.contains("mx_store_restore("), "{}", refused.message);
    // The original is used on.
    alice.restart();
    let mut open = Machine::new(Store::new(alice.disk.open(), alice.key.clone(), [1; 16]).unwrap());
    open.sync_token().unwrap();
    let closure = Closure::Moved { to: "elsewhere".to_owned(), id: [1; 16] };
    alice.look(|tx| tx.put_single(&closure));
    assert_eq!(open.sync_token().unwrap_err().kind, Kind::StoreMoved);
    assert_eq!(open.last_queued().unwrap_err().kind, Kind::StoreMoved);
}

#[test]
fn what_the_original_encrypted_with_encrypts_no_more() {
    let (mut scene, mut alice, mut bob, room_id) = two(json!({"algorithm": MEGOLM}));
    say(&mut scene, &mut alice, &room_id, "one");
    assert_eq!(bob.reads(&mut scene), ["one"]);
    say(&mut scene, &mut bob, &room_id, "to you");
    assert!(alice.reads(&mut scene).contains(&"to you".to_owned()));
    let disk = copy(&alice);
    let (of_copy, index, _) = session(&alice, &room_id);
    let olm_of_copy: BTreeSet<String> =
        olm_sessions(&alice).into_iter().map(|session| session.session_id).collect();

    say(&mut scene, &mut alice, &room_id, "two");
    assert_eq!(session(&alice, &room_id), (of_copy.clone(), index + 1, false));
    assert!(bob.reads(&mut scene).contains(&"two".to_owned()));

    restore(&scene, &mut alice, disk);
    assert!(session(&alice, &room_id).2);
    assert!(!olm_of_copy.is_empty());
    assert!(olm_sessions(&alice).iter().all(|session| session.receive_only));
    alice.sync(&mut scene);
    say(&mut scene, &mut alice, &room_id, "three");
    let (now, ..) = session(&alice, &room_id);
    assert_ne!(now, of_copy, "an index would stand for two messages");
    assert_eq!(bob.reads(&mut scene), ["three"]);
    let sending = olm_sessions(&alice).into_iter().filter(|session| !session.receive_only);
    let sending: BTreeSet<String> = sending.map(|session| session.session_id).collect();
    assert!(!sending.is_empty() && sending.is_disjoint(&olm_of_copy));
    say(&mut scene, &mut bob, &room_id, "back");
    let read = alice.reads(&mut scene);
    assert!(read.contains(&"back".to_owned()), "{read:?}");
    assert!(read.contains(&"two".to_owned()), "what the original sent: {read:?}");
}

/// Of two stores that count on from the same key, each makes another one: the server refuses the second for ever.
#[test]
fn the_keys_that_are_published_next_have_other_ids_than_those_of_the_original() {
    let (mut scene, mut alice, _bob, _) = two(Value::Null);
    let disk = copy(&alice);
    alice.machine.set_one_time_key_target(scene.now, 100).unwrap();
    assert!(alice.pump(&mut scene).is_empty());
    assert_eq!(alice.machine.key_upload().unwrap().one_time_keys, 100);
    restore(&scene, &mut alice, disk);
    scene.now += 60_000;
    alice.now = scene.now;
    let mut uploads = Vec::new();
    let troubles = alice.pump_with(&mut scene, |kind, response: Response| {
        if kind == "keys_upload" {
            uploads.push(response.status);
        }
        response
    });
    assert!(troubles.is_empty(), "{troubles:?}");
    assert_eq!(uploads, [200]);
    let upload = alice.machine.key_upload().unwrap();
    assert_eq!((upload.conflict, upload.published), (None, true));
}

#[test]
fn a_copy_can_be_restored_twice() {
    let encryption = json!({"algorithm": MEGOLM});
    let (mut scene, mut alice, mut bob, room_id) = two(encryption);
    say(&mut scene, &mut alice, &room_id, "one");
    let disk = copy(&alice);
    let mut sessions = BTreeSet::from([session(&alice, &room_id).0]);
    for text in ["two", "three"] {
        restore(&scene, &mut alice, disk.copy());
        scene.now += 60_000;
        alice.sync(&mut scene);
        say(&mut scene, &mut alice, &room_id, text);
        assert!(sessions.insert(session(&alice, &room_id).0));
        assert!(alice.machine.key_upload().unwrap().conflict.is_none());
    }
    assert_eq!(bob.reads(&mut scene), ["one", "two", "three"]);
}
