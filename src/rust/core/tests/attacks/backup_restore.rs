//! Keys come from the key backup, for events that wait for them.

use mxcrypt_core::{
    judgement::{secret_storage::StorageSecret, trust::Trust},
    machine::Unsigned,
    primitives::keys::encode_base64,
    store::{
        Query,
        records::{BackupRequest, KeySource},
    },
};
use mxcrypt_model_server::Response;
use serde_json::json;

use crate::{
    backup_scenery::{
        HOUR, backup_keys, history, laptop, later, put_key, refresh, restore, scenery, texts,
    },
    scene::{MEGOLM, Person, Scene, text_of},
};

#[test]
fn a_new_device_reads_what_was_backed_up() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let status = s.phone.machine.backup_status().unwrap();
    assert_eq!((status.sessions, status.backed_up), (1, 1));
    let mut laptop = laptop(&mut s);
    let rows = history(&mut s.scene, &mut laptop, &s.room_id);
    assert_eq!(texts(&rows), ["one"]);
    assert_eq!(rows[0].event.key_source, Some(KeySource::Backup));
    // Who made it is what the backup says: never more than that.
    assert!(rows[0].trust <= Trust::NotGuaranteed);
    // What came from the backup does not go there again.
    later(&mut s.scene, &mut laptop);
    assert_eq!(laptop.machine.backup_status().unwrap().backed_up, 1);
    assert_eq!(uploads(&s.scene), 1);
}

fn uploads(scene: &Scene) -> usize {
    let is_upload = |body: &&[u8]| String::from_utf8_lossy(body).contains("is_verified");
    scene.server.seen().filter(is_upload).count()
}

#[test]
fn an_event_that_waits_comes_again_when_its_key_was_in_the_backup() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    s.scene.now += HOUR;
    let mut laptop = s.scene.person("alice");
    // It was there when the laptop came, and nobody will give it the key.
    assert_eq!(laptop.new_texts().len(), 1);
    later(&mut s.scene, &mut laptop);
    let waiting = laptop.machine.undecrypted(s.scene.now).unwrap();
    assert_eq!(text_of(&waiting[0]), "(backup_locked)");
    refresh(&mut s.scene, &mut laptop);
    let secret = StorageSecret::RecoveryKey(&s.recovery_key);
    laptop.machine.import_identity(s.scene.now, &s.storage, secret).unwrap();
    laptop.machine.open_backup(s.scene.now, &s.storage, secret).unwrap();
    later(&mut s.scene, &mut laptop);
    assert_eq!(laptop.new_texts(), ["one"]);
    assert_eq!(laptop.machine.undecrypted(s.scene.now).unwrap().len(), 0);
    assert_eq!(laptop.look(|tx| tx.count::<BackupRequest>(&Query::all())), 0);
}

/// A cron job syncs once on a new disk: it must see what the backup can read, in order, and once.
#[test]
fn what_nobody_was_given_yet_becomes_readable_in_its_place() {
    let mut s = scenery();
    for text in ["two", "three"] {
        s.bob.machine.rotate_room_key(s.scene.now, &s.room_id).unwrap();
        s.bob.say(&mut s.scene, &s.room_id, text);
    }
    assert_eq!(s.phone.reads(&mut s.scene), ["two", "three"]);
    s.phone.machine.hurry_backup(s.scene.now).unwrap();
    s.phone.pump(&mut s.scene);
    // No time passes: what was there before the first sync is looked for at once.
    let mut laptop = s.scene.newcomer("alice");
    restore(&mut s, &mut laptop);
    let room_id = s.room_id.clone();
    laptop.sync_with(&mut s.scene, |sync| {
        let events = &mut sync["rooms"]["join"][&room_id]["timeline"]["events"];
        let events = events.as_array_mut().unwrap();
        let mut lost = events.last().unwrap().clone();
        lost["event_id"] = json!("$lost");
        lost["content"]["session_id"] = json!("in no backup");
        events.insert(events.len() - 1, lost);
    });
    assert_eq!(laptop.pump(&mut s.scene), []);
    let texts = laptop.new_texts();
    assert_eq!(texts, ["one", "two", "(unknown_session)", "three"]);
    assert_eq!(laptop.new_texts(), Vec::<String>::new());
}

#[test]
fn an_event_that_somebody_was_given_unreadable_comes_again() {
    // A listener that has it in its hands, and one that looked at a range.
    for peeks in [false, true] {
        let mut s = scenery();
        later(&mut s.scene, &mut s.phone);
        s.scene.now += HOUR;
        let mut laptop = s.scene.person("alice");
        let now = s.scene.now;
        let rows = if peeks {
            let last = laptop.machine.last_event().unwrap();
            laptop.machine.peek(now, 1, last).unwrap()
        } else {
            laptop.machine.take(now, "test", 100, Unsigned::AsTheModeSays).unwrap()
        };
        let last = rows.last().unwrap();
        assert!(last.event.unreadable.is_some());
        restore(&mut s, &mut laptop);
        later(&mut s.scene, &mut laptop);
        laptop.machine.acknowledge(now, "test", last.number).unwrap();
        assert_eq!(laptop.new_texts(), ["one"]);
    }
}

#[test]
fn where_there_is_no_backup_that_is_said() {
    let mut scene = Scene::new();
    let (mut phone, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut phone, &mut bob]);
    bob.say(&mut scene, &room_id, "one");
    scene.now += HOUR;
    let mut laptop = scene.person("alice");
    later(&mut scene, &mut laptop);
    assert_eq!(texts(&laptop.machine.undecrypted(scene.now).unwrap()), ["(no_backup)"]);
}

/// A server invents events, to have keys asked for without end.
#[test]
fn a_key_is_looked_for_seldom_and_not_many_are() {
    let mut s = scenery();
    let mut laptop = laptop(&mut s);
    let event = |n: usize| {
        json!({"type": "m.room.encrypted", "event_id": format!("$e{n}"), "sender": "@bob:here",
            "origin_server_ts": 1, "content": {"algorithm": MEGOLM, "ciphertext": "AAAA",
            "session_id": format!("session{n}")}})
    };
    let page = json!({"chunk": (0..2_000).map(event).collect::<Vec<_>>()}).to_string();
    laptop.machine.read_history(s.scene.now, &s.room_id, &page, Unsigned::AsTheModeSays).unwrap();
    let asked = |scene: &mut Scene, laptop: &mut Person| {
        let mut asked = 0;
        let count = |kind: &str, response: Response| {
            asked += usize::from(kind == "backed_up_key");
            response
        };
        assert_eq!(laptop.pump_with(scene, count), []);
        asked
    };
    let first = asked(&mut s.scene, &mut laptop);
    assert!((1..=500).contains(&first), "{first}");
    laptop.machine.read_history(s.scene.now, &s.room_id, &page, Unsigned::AsTheModeSays).unwrap();
    // In the place of one that was found.
    assert!(asked(&mut s.scene, &mut laptop) <= 1);
    s.scene.now += 8 * 24 * 3_600_000;
    laptop.pump(&mut s.scene);
    assert_eq!(laptop.look(|tx| tx.count::<BackupRequest>(&Query::all())), 0);
}

/// The MAC covers nothing, but a wrong one says that somebody altered the entry.
#[test]
fn a_backed_up_session_that_does_not_open_says_so_on_the_event() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let room_id = s.room_id.clone();
    let keys = backup_keys(&mut s.scene, &s.phone);
    let (session_id, entry) =
        keys[&room_id]["sessions"].as_object().unwrap().iter().next().unwrap();
    let mut altered = entry.clone();
    altered["session_data"]["mac"] = json!(encode_base64(&[1; 8]));
    put_key(&mut s, &room_id, session_id, altered);
    s.scene.now += HOUR;
    let mut laptop = laptop(&mut s);
    let rows = history(&mut s.scene, &mut laptop, &room_id);
    assert_eq!(texts(&rows), ["(backup_malformed)"]);
    let unreadable = rows[0].event.unreadable.clone().unwrap();
    assert!(unreadable.message.contains("does not decrypt"), "{}", unreadable.message);
    // It waits: the true one may come.
    put_key(&mut s, &room_id, session_id, entry.clone());
    s.scene.now += HOUR;
    assert_eq!(texts(&history(&mut s.scene, &mut laptop, &room_id)), ["one"]);
}
