//! A server that knows the public key of the backup puts keys of its own there. Rule 34.

use mxcrypt_core::{
    judgement::{exported_session, trust::Trust},
    machine::Keeping,
    primitives::{
        keys::{decode_base64, encode_base64},
        megolm,
    },
    store::{
        Query,
        records::{InboundSession, KeySource},
    },
};
use serde_json::{Value, json};

use crate::{
    backup_scenery::{
        Scenery, backup_keys, history, keys_of, laptop, later, part, plant, post, scenery,
        session_data, texts, version,
    },
    handed_on::HandedOn,
    scene::{Forger, encoded, megolm_event, parse, room_key},
};

#[test]
fn a_key_in_the_place_of_another_is_refused() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let keys = backup_keys(&mut s.scene, &s.phone);
    let session_id =
        keys[&s.room_id]["sessions"].as_object().unwrap().keys().next().unwrap().clone();
    let bob = keys_of(&mut s.bob);
    let theirs = session_data(&megolm::outbound(), 0, (&bob.0, &bob.1));
    let room_id = s.room_id.clone();
    plant(&mut s, &room_id, &session_id, &theirs);
    let mut laptop = laptop(&mut s);
    let rows = history(&mut s.scene, &mut laptop, &s.room_id);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].event.unreadable.is_some());
    assert_eq!(laptop.look(|tx| tx.count::<InboundSession>(&Query::all())), 0);
    for odd in [
        json!({}),
        json!([]),
        edited(&theirs, "algorithm", json!("m.other")),
        edited(&theirs, "session_key", json!("AAAA")),
        edited(&theirs, "sender_key", json!("not a key")),
        edited(&theirs, "sender_claimed_keys", json!({})),
    ] {
        let session = megolm::outbound();
        plant(&mut s, &room_id, &session.session_id(), &odd);
    }
    let keys = part(&mut s, &room_id);
    let restored = laptop.machine.restore_keys(s.scene.now, &keys, None).unwrap();
    assert_eq!(restored.len(), 7);
    assert!(restored.iter().all(|(_, reason)| reason.is_some()), "{restored:?}");
}

fn edited(value: &Value, name: &str, with: Value) -> Value {
    let mut value = value.clone();
    value[name] = with;
    value
}

/// A session of one room, put under another by the server, with its ciphertext.
#[test]
fn a_key_of_another_room_reads_nothing_there() {
    let mut s = scenery();
    let mut forger = s.scene.forger("mallory");
    let room_id = s.room_id.clone();
    let other = s.scene.room(&mut [&mut s.phone, &mut s.bob]);
    let mut session = megolm::outbound();
    let start = session_data(&session, 0, ("x", "y"));
    let said_elsewhere = megolm_event(&mut session, &other, "private");
    let bob = keys_of(&mut s.bob);
    let start = edited(&start, "sender_key", json!(bob.0));
    let start = edited(&start, "sender_claimed_keys", json!({"ed25519": bob.1}));
    plant(&mut s, &room_id, &session.session_id(), &start);
    forger.token = s.bob.token.clone();
    forger.post(&mut s.scene, &room_id, &said_elsewhere);
    let mut laptop = laptop(&mut s);
    let rows = history(&mut s.scene, &mut laptop, &room_id);
    assert_eq!(texts(&rows)[0], "(room_mismatch)");
}

/// The server makes a session and says that it is Bob's.
#[test]
fn what_a_server_puts_into_the_backup_is_not_guaranteed() {
    let mut s = scenery();
    let room_id = s.room_id.clone();
    let mut session = megolm::outbound();
    let bob = keys_of(&mut s.bob);
    let planted = session_data(&session, 0, (&bob.0, &bob.1));
    plant(&mut s, &room_id, &session.session_id(), &planted);
    let said = megolm_event(&mut session, &room_id, "made up");
    let as_alice = megolm_event(&mut session, &room_id, "by alice, it says");
    let mut forger = s.scene.forger("mallory");
    forger.token = s.bob.token.clone();
    forger.post(&mut s.scene, &room_id, &said);
    forger.token = s.phone.token.clone();
    forger.post(&mut s.scene, &room_id, &as_alice);
    let mut laptop = laptop(&mut s);
    history(&mut s.scene, &mut laptop, &room_id);
    laptop
        .machine
        .refresh_devices(s.scene.now, &[s.bob.user.clone(), s.phone.user.clone()])
        .unwrap();
    laptop.pump(&mut s.scene);
    let rows = history(&mut s.scene, &mut laptop, &room_id);
    // A device of Bob's is said to have made it: nobody else's words are read with it.
    assert_eq!(texts(&rows)[..2], ["(sender_mismatch)", "made up"]);
    assert!(rows[1].trust <= Trust::NotGuaranteed);
}

/// Rule 20, by way of the backup.
#[test]
fn a_key_that_is_here_never_reads_less() {
    let mut s = scenery();
    let room_id = s.room_id.clone();
    let mut forger = s.scene.forger("mallory");
    let path = format!("rooms/{}/invite", encoded(&room_id));
    let invite = json!({"user_id": forger.user});
    post(&mut s.scene, &s.phone, &path, invite);
    s.scene.enter(&forger.token, &room_id);
    let mut session = megolm::outbound();
    let from_start = session_data(&session, 0, keys(&forger));
    let first = megolm_event(&mut session, &room_id, "first");
    let second = megolm_event(&mut session, &room_id, "second");
    // She gives the key from the second message on.
    let given = room_key(&room_id, &session);
    forger.give_key(&mut s.scene, &mut s.phone, given, |_| {});
    let session_id = session.session_id();
    let index = |s: &Scenery| {
        let kept = s
            .phone
            .look(|tx| tx.select::<InboundSession>(&Query::equal("room_id", room_id.as_str())));
        let kept: Vec<_> = kept.into_iter().filter(|k| k.session_id == session_id).collect();
        assert_eq!(kept.len(), 1);
        (kept[0].session.first_known_index(), kept[0].source)
    };
    s.phone.sync(&mut s.scene);
    assert_eq!(index(&s), (2, KeySource::Direct));
    let restore = |s: &mut Scenery, data: &Value| {
        plant(s, &room_id, &session_id, data);
        let keys = part(s, &room_id);
        s.phone.machine.restore_keys(s.scene.now, &keys, None).unwrap();
        let number = version(&mut s.scene, &s.phone)["version"].as_str().unwrap().to_owned();
        let path = format!("room_keys/keys?version={number}");
        s.scene.call(Some(&s.phone.token), "DELETE", &path, Value::Null);
    };
    let later_on = {
        let mut ahead = megolm::inbound(&session.session_key().to_base64()).unwrap();
        edited(&from_start, "session_key", json!(ahead.export_at(7).unwrap().to_base64()))
    };
    restore(&mut s, &later_on);
    assert_eq!(index(&s), (2, KeySource::Direct));
    // The same ratchet from its beginning: it reads more, and is still hers.
    restore(&mut s, &from_start);
    assert_eq!(index(&s), (0, KeySource::Direct));
    restore(&mut s, &later_on);
    assert_eq!(index(&s), (0, KeySource::Direct));
    for event in [&first, &second] {
        forger.post(&mut s.scene, &room_id, event);
    }
    s.phone.sync(&mut s.scene);
    assert_eq!(s.phone.new_texts(), ["first", "second"]);
}

fn keys(forger: &Forger) -> (&'static str, &'static str) {
    let leak = |text: String| &*Box::leak(text.into_boxed_str());
    let account = &forger.account;
    (leak(account.curve25519_key().to_base64()), leak(account.ed25519_key().to_base64()))
}

/// The other way round: the device that made it gives a key that the backup had first.
#[test]
fn a_key_from_its_maker_takes_the_place_of_that_from_the_backup() {
    let mut s = scenery();
    let room_id = s.room_id.clone();
    let mut forger = s.scene.forger("mallory");
    let mut session = megolm::outbound();
    let from_start = session_data(&session, 0, keys(&forger));
    plant(&mut s, &room_id, &session.session_id(), &from_start);
    let in_backup = part(&mut s, &room_id);
    s.phone.machine.restore_keys(s.scene.now, &in_backup, None).unwrap();
    session.encrypt("x");
    let given = room_key(&room_id, &session);
    forger.give_key(&mut s.scene, &mut s.phone, given, |_| {});
    s.phone.sync(&mut s.scene);
    let kept = s.phone.look(|tx| tx.select::<InboundSession>(&Query::all()));
    let kept: Vec<_> = kept.iter().filter(|kept| kept.session_id == session.session_id()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].sender.as_deref(), kept[0].source),
        (Some(forger.user.as_str()), KeySource::Direct)
    );
    assert_eq!(kept[0].session.first_known_index(), 0);
}

/// A member hands on Zoe's session in her own name, from a lower index, and her key is in the backup
/// first.
#[test]
fn a_session_that_another_hands_on_stays_its_makers_in_the_backup() {
    for mallory_first in [false, true] {
        let mut s = scenery();
        let room_id = s.room_id.clone();
        let mut handed_on = HandedOn::new(&mut s.scene, &mut s.phone, &room_id);
        if mallory_first {
            handed_on.mallory_gives(&mut s.scene, &mut s.phone);
            s.phone.sync(&mut s.scene);
            later(&mut s.scene, &mut s.phone);
        }
        handed_on.zoe_gives(&mut s.scene, &mut s.phone);
        handed_on.zoe_says(&mut s.scene, "zoe's");
        s.phone.reads(&mut s.scene);
        later(&mut s.scene, &mut s.phone);
        if !mallory_first {
            handed_on.mallory_gives(&mut s.scene, &mut s.phone);
            s.phone.sync(&mut s.scene);
        }
        later(&mut s.scene, &mut s.phone);
        let mut laptop = laptop(&mut s);
        let users = [handed_on.zoe.user.clone(), handed_on.mallory.user.clone()];
        laptop.machine.refresh_devices(laptop.now, &users).unwrap();
        laptop.pump(&mut s.scene);
        let rows = history(&mut s.scene, &mut laptop, &room_id);
        assert_eq!(texts(&rows)[..2], ["zoe's", "zero"], "{mallory_first}");
    }
}

/// The server plants a key under the name of a session that nobody gave this device yet. What that one cannot
/// read waits for the true one, whatever its source.
#[test]
fn a_planted_key_does_not_lose_the_event() {
    for by_export in [false, true] {
        for of_other_device in [false, true] {
            let mut s = scenery();
            let room_id = s.room_id.clone();
            let mut laptop = laptop(&mut s);
            // The key is lost on the way, or late.
            s.bob.machine.rotate_room_key(s.bob.now, &room_id).unwrap();
            s.bob.sync(&mut s.scene);
            s.bob.say(&mut s.scene, &room_id, "two");
            let mut key = Value::Null;
            laptop.sync_with(&mut s.scene, |sync| key = sync["to_device"]["events"].take());
            let waiting = laptop.machine.undecrypted(laptop.now).unwrap();
            let name = waiting.last().unwrap().event.session_id.clone().unwrap();
            s.phone.reads(&mut s.scene);
            let query = Query::equal("session_id", &*name);
            let kept: Vec<InboundSession> = s.phone.look(|tx| tx.select(&query));
            let text = exported_session::for_backup(&kept[0]).unwrap();
            let mut planted = parse(std::str::from_utf8(&text).unwrap());
            let mut bytes = decode_base64(planted["session_key"].as_str().unwrap()).unwrap();
            // Behind the version and the index.
            bytes[5..5 + 128].fill(7);
            planted["session_key"] = encode_base64(&bytes).into();
            if of_other_device {
                planted["sender_key"] = keys_of(&mut s.phone).0.into();
            }
            plant(&mut s, &room_id, &name, &planted);
            later(&mut s.scene, &mut laptop);
            laptop.new_texts();
            let reasons = texts(&laptop.machine.undecrypted(laptop.now).unwrap());
            assert_eq!(reasons.last().map(String::as_str), Some("(wrong_key)"));
            if by_export {
                let text = exported_session::for_export(&kept[0]).unwrap();
                let session = exported_session::judge(std::str::from_utf8(&text).unwrap());
                let rows = laptop.machine.import_sessions(s.scene.now, vec![session]).unwrap();
                assert_eq!(rows[0].outcome.as_ref().ok(), Some(&Keeping::Taken));
            } else {
                laptop.sync_with(&mut s.scene, |sync| sync["to_device"]["events"] = key);
            }
            assert_eq!(laptop.new_texts(), ["two"]);
        }
    }
}
