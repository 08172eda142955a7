//! What goes to the key backup, and what may come out of it. Rules 33, 34 and 37.

use mxcrypt_core::{
    Kind,
    judgement::{
        backup_answer::Part,
        exported_session,
        secret_storage::{SecretStorage, StorageSecret},
        trust::Trust,
    },
    machine::{Awaited, Handed, Keeping, Signer, Storage, Unsigned},
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::SigningKey,
        key_backup::{ALGORITHM, BackupKey, encrypt},
        keys::{decode_base64, encode_base64},
        megolm,
    },
    store::{
        Query,
        records::{BackupRequest, BackupVersion, InboundSession, KeyBackup, KeySource, LocalTrust},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;

use crate::handed_on::HandedOn;
use crate::scene::{
    Forger, MEGOLM, Person, Scene, encoded, megolm_event, parse, room_key, text_of,
};

/// After this keys go to the backup again, and are looked for.
const PATIENCE: i64 = 11_000;
/// What was said so long before a device came it was not given the key of.
const HOUR: i64 = 3_600_000;

/// Alice's phone has an identity, secret storage and a backup; Bob has said "one" to her.
struct Scenery {
    scene: Scene,
    phone: Person,
    bob: Person,
    room_id: String,
    storage: SecretStorage,
    recovery_key: String,
}

fn scenery() -> Scenery {
    let mut scene = Scene::new();
    let (mut phone, mut bob) = (scene.person("alice"), scene.person("bob"));
    phone
        .machine
        .make_identity(scene.now, &Storage::New { passphrase: None }, false, true)
        .unwrap();
    let data = phone
        .machine
        .identity_account_data(scene.now, &SecretStorage::read("{}").unwrap())
        .unwrap();
    let event =
        |(kind, content): &(String, String)| json!({"type": kind, "content": parse(content)});
    let events: Vec<Value> = data.iter().map(event).collect();
    let sync = json!({"account_data": {"events": events}}).to_string();
    let recovery_key = phone.machine.recovery_key().unwrap().unwrap().to_string();
    publish(&mut scene, &mut phone);
    let made = parse(&phone.machine.backup_upload().unwrap());
    post(&mut scene, &phone, "room_keys/version", made);
    look(&mut scene, &mut phone);
    assert!(phone.machine.backup_status().unwrap().key_held);
    let room_id = scene.room(&mut [&mut phone, &mut bob]);
    bob.say(&mut scene, &room_id, "one");
    assert_eq!(phone.reads(&mut scene), ["one"]);
    let storage = SecretStorage::read(&sync).unwrap();
    Scenery { scene, phone, bob, room_id, storage, recovery_key }
}

fn post(scene: &mut Scene, who: &Person, path: &str, body: Value) {
    let answer = scene.call(Some(&who.token), "POST", path, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The identity that was made becomes that of its user.
fn publish(scene: &mut Scene, who: &mut Person) {
    let name = who.user.trim_start_matches('@').split(':').next().unwrap();
    let auth = json!({"type": "m.login.password", "password": "pw",
        "identifier": {"type": "m.id.user", "user": name}});
    let upload = parse(&who.machine.signing_keys_upload(Some(&auth.to_string())).unwrap());
    post(scene, who, "keys/device_signing/upload", upload);
    who.machine.identity_published(scene.now).unwrap();
    refresh(scene, who);
    sign_device(scene, who);
}

fn sign_device(scene: &mut Scene, who: &mut Person) {
    let body = parse(&who.machine.signatures_upload().unwrap().unwrap());
    post(scene, who, "keys/signatures/upload", body);
    refresh(scene, who);
}

/// Asks for the devices and the identity of its own user.
fn refresh(scene: &mut Scene, who: &mut Person) {
    who.machine.refresh_devices(scene.now, std::slice::from_ref(&who.user)).unwrap();
    assert_eq!(who.pump(scene), []);
}

fn look(scene: &mut Scene, who: &mut Person) {
    who.wants_backup_version();
    assert_eq!(who.pump(scene), []);
}

/// Time passes, and what became due is done.
fn later(scene: &mut Scene, who: &mut Person) {
    scene.now += PATIENCE;
    assert_eq!(who.pump(scene), []);
}

/// Another device of Alice's, which has the recovery key.
fn laptop(s: &mut Scenery) -> Person {
    s.scene.now += HOUR;
    let mut laptop = s.scene.person("alice");
    restore(s, &mut laptop);
    laptop
}

fn restore(s: &mut Scenery, laptop: &mut Person) {
    refresh(&mut s.scene, laptop);
    let secret = StorageSecret::RecoveryKey(&s.recovery_key);
    laptop.machine.import_identity(s.scene.now, &s.storage, secret).unwrap();
    sign_device(&mut s.scene, laptop);
    look(&mut s.scene, laptop);
    laptop.machine.open_backup(s.scene.now, &s.storage, secret).unwrap();
}

fn version(scene: &mut Scene, who: &Person) -> Value {
    parse(&scene.call(Some(&who.token), "GET", "room_keys/version", Value::Null).body)
}

/// What the backup holds of a room.
fn part(s: &mut Scenery, room_id: &str) -> Part {
    let mut keys = backup_keys(&mut s.scene, &s.phone)[room_id].clone();
    keys["room_id"] = json!(room_id);
    Part::read(&keys.to_string()).unwrap()
}

fn backup_keys(scene: &mut Scene, who: &Person) -> Value {
    let number = version(scene, who)["version"].as_str().unwrap().to_owned();
    let path = format!("room_keys/keys?version={number}");
    parse(&scene.call(Some(&who.token), "GET", &path, Value::Null).body)["rooms"].clone()
}

/// The server puts what it likes into the backup, whose public key it knows.
fn plant(s: &mut Scenery, room_id: &str, session_id: &str, session: &Value) {
    let shown = version(&mut s.scene, &s.phone);
    let public = shown["auth_data"]["public_key"].as_str().unwrap();
    let public = mxcrypt_core::primitives::keys::curve25519(public).unwrap();
    let data = encrypt(public, session.to_string().as_bytes()).unwrap();
    let entry = json!({"first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": parse(&Json::Object(data).text().unwrap())});
    put_key(s, room_id, session_id, entry);
}

/// Puts an entry in the place of the one that is there.
fn put_key(s: &mut Scenery, room_id: &str, session_id: &str, entry: Value) {
    let shown = version(&mut s.scene, &s.phone);
    let path = format!(
        "room_keys/keys/{}/{}?version={}",
        encoded(room_id),
        session_id.replace('+', "%2B").replace('/', "%2F"),
        shown["version"].as_str().unwrap()
    );
    s.scene.call(Some(&s.phone.token), "DELETE", &path, Value::Null);
    assert_eq!(s.scene.call(Some(&s.phone.token), "PUT", &path, entry).status, 200);
}

/// A session as the backup holds it, from the index `from` on, that names the device of `maker`.
fn session_data(session: &GroupSession, from: u32, maker: (&str, &str)) -> Value {
    let mut inbound = megolm::inbound(&session.session_key().to_base64()).unwrap();
    json!({"algorithm": MEGOLM, "forwarding_curve25519_key_chain": [],
        "sender_key": maker.0, "sender_claimed_keys": {"ed25519": maker.1},
        "session_key": inbound.export_at(from).unwrap().to_base64()})
}

fn keys_of(person: &mut Person) -> (String, String) {
    let keys = person.machine.identity_keys().unwrap();
    (keys.curve25519.to_base64(), keys.ed25519.to_base64())
}

/// The history of a room, after what it lacks was looked for; newest first.
fn history(scene: &mut Scene, who: &mut Person, room_id: &str) -> Vec<Handed> {
    let path = format!("rooms/{}/messages?dir=b&limit=100", encoded(room_id));
    let page = scene.call(Some(&who.token), "GET", &path, Value::Null).body;
    let mode = Unsigned::AsTheModeSays;
    who.machine.read_history(scene.now, room_id, &page, mode).unwrap();
    assert_eq!(who.pump(scene), []);
    let events = who.machine.read_history(scene.now, room_id, &page, mode).unwrap().events;
    events.into_iter().filter(|row| row.event.encrypted).collect()
}

fn texts(rows: &[Handed]) -> Vec<String> {
    rows.iter().map(text_of).collect()
}

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

/// The server shows a version of its own, and waits for the keys.
fn is_given_nothing(s: &mut Scenery, auth_data: Value) {
    let made = json!({"algorithm": ALGORITHM, "auth_data": auth_data});
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    look(&mut s.scene, &mut s.phone);
    s.bob.machine.rotate_room_key(s.scene.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "next");
    assert_eq!(s.phone.reads(&mut s.scene), ["next"]);
    for _ in 0..3 {
        later(&mut s.scene, &mut s.phone);
    }
    assert_eq!(version(&mut s.scene, &s.phone)["count"], 0, "{auth_data}");
    let status = s.phone.machine.backup_status().unwrap();
    let shown = parse(&status.version.unwrap().auth_data);
    assert_eq!(shown, auth_data);
    assert!(!status.trusted && !status.key_held && status.backed_up == 0);
    assert!(status.signatures.iter().all(|signature| !signature.trusted));
}

fn signed(auth_data: &Value, user: &str, name: &str, key: &SigningKey) -> Value {
    let mut object = Json::parse_object(&auth_data.to_string()).unwrap();
    let before = object.remove("signatures");
    key.sign(&mut object, user).unwrap();
    let mut value = parse(&Json::Object(object).canonical(Numbers::Canonical).unwrap());
    let made = format!("ed25519:{}", key.public());
    let signature = value["signatures"][user][&made].take();
    value["signatures"] = before.map_or(json!({}), |b| parse(&b.text().unwrap()));
    value["signatures"][user][format!("ed25519:{name}")] = signature;
    value
}

#[test]
fn nothing_goes_to_a_backup_that_is_not_trusted() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let true_one = version(&mut s.scene, &s.phone)["auth_data"].clone();
    let public = BackupKey::random().unwrap().public().to_base64();
    let theirs = json!({ "public_key": public });
    let user = s.phone.user.clone();
    let forged = SigningKey::random().unwrap();
    let master = s.phone.machine.user_trust(std::slice::from_ref(&user)).unwrap();
    let master = master[0].master_key.clone().unwrap();
    is_given_nothing(&mut s, theirs.clone());
    // With the signatures of the true one, and with false ones in our names.
    let copied = json!({"public_key": public, "signatures": true_one["signatures"]});
    is_given_nothing(&mut s, copied);
    let device_id = s.phone.device_id.clone();
    for name in [master.as_str(), device_id.as_str(), "UNKNOWN", &forged.public()] {
        is_given_nothing(&mut s, signed(&theirs, &user, name, &forged));
    }
    // Of a device that the server added to us.
    let mut added = s.scene.forger("alice");
    is_given_nothing(&mut s, signed_by_device(&theirs, &mut added, "added"));
    for odd in [json!({}), json!({"public_key": encode_base64(&[0; 32])})] {
        is_given_nothing(&mut s, odd);
    }
}

/// Whoever has the password can make an identity, and a backup that it signs.
#[test]
fn nothing_goes_to_the_backup_of_an_identity_that_replaced_ours() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let mut thief = s.scene.person("alice");
    refresh(&mut s.scene, &mut thief);
    thief
        .machine
        .make_identity(s.scene.now, &Storage::New { passphrase: None }, true, true)
        .unwrap();
    publish(&mut s.scene, &mut thief);
    let made = parse(&thief.machine.backup_upload().unwrap());
    refresh(&mut s.scene, &mut s.phone);
    assert!(s.phone.machine.identity_status().unwrap().changed);
    is_given_nothing(&mut s, made["auth_data"].clone());
}

fn signed_by_device(auth_data: &Value, device: &mut Forger, device_id: &str) -> Value {
    let mut object: Object = Json::parse_object(&auth_data.to_string()).unwrap();
    let key_id = format!("ed25519:{device_id}");
    let sign = |bytes: &[u8]| device.account.sign(bytes);
    mxcrypt_core::primitives::signing::sign(&mut object, &device.user, &key_id, sign).unwrap();
    parse(&Json::Object(object).canonical(Numbers::Canonical).unwrap())
}

#[test]
fn keys_go_to_a_backup_that_our_verified_device_has_made() {
    let mut s = scenery();
    let mut laptop = laptop(&mut s);
    laptop.machine.make_backup(s.scene.now, true, None).unwrap();
    let made = parse(&laptop.machine.backup_upload().unwrap());
    post(&mut s.scene, &laptop, "room_keys/version", made);
    look(&mut s.scene, &mut laptop);
    refresh(&mut s.scene, &mut s.phone);
    later(&mut s.scene, &mut s.phone);
    look(&mut s.scene, &mut s.phone);
    later(&mut s.scene, &mut s.phone);
    let status = s.phone.machine.backup_status().unwrap();
    assert!(status.trusted && !status.key_held);
    assert_eq!(version(&mut s.scene, &s.phone)["count"], 1);
    // Once that device is blocked, only the identity vouches for it.
    let by = |signer: Signer| status.signatures.iter().find(|s| s.signer == signer).unwrap();
    assert!(by(Signer::Identity).trusted && by(Signer::Device).trusted);
    s.phone
        .machine
        .set_local_trust(s.scene.now, &laptop.user, &laptop.device_id, None, LocalTrust::Blocked)
        .unwrap();
    let status = s.phone.machine.backup_status().unwrap();
    let by = |signer: Signer| status.signatures.iter().find(|s| s.signer == signer).unwrap();
    assert!(by(Signer::Identity).trusted && !by(Signer::Device).trusted);
}

#[test]
fn another_version_is_judged_and_begun_from_the_beginning() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    assert_eq!(version(&mut s.scene, &s.phone)["count"], 1);
    // The same backup under another number, as after a server lost it and a device put it back.
    let shown = version(&mut s.scene, &s.phone);
    let made = json!({"algorithm": ALGORITHM, "auth_data": shown["auth_data"]});
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    s.bob.machine.rotate_room_key(s.scene.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    assert_eq!(s.phone.reads(&mut s.scene), ["two"]);
    later(&mut s.scene, &mut s.phone);
    later(&mut s.scene, &mut s.phone);
    let shown = version(&mut s.scene, &s.phone);
    assert_eq!((&shown["version"], &shown["count"]), (&json!("2"), &json!(2)));
}

#[test]
fn a_version_that_is_not_trusted_is_looked_at_again() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let true_one = version(&mut s.scene, &s.phone)["auth_data"].clone();
    let public = BackupKey::random().unwrap().public().to_base64();
    is_given_nothing(&mut s, json!({ "public_key": public }));
    let made = json!({"algorithm": ALGORITHM, "auth_data": true_one});
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    for _ in 0..3 {
        s.scene.now += HOUR;
        later(&mut s.scene, &mut s.phone);
    }
    assert_eq!(version(&mut s.scene, &s.phone)["count"], 2);
}

#[test]
fn a_backup_that_was_deleted_is_not_made_anew() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let path = "room_keys/version/1";
    s.scene.call(Some(&s.phone.token), "DELETE", path, Value::Null);
    s.bob.machine.rotate_room_key(s.scene.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    s.phone.reads(&mut s.scene);
    for _ in 0..3 {
        later(&mut s.scene, &mut s.phone);
    }
    let status = s.phone.machine.backup_status().unwrap();
    assert_eq!((status.version, status.backed_up), (None, 0));
    assert_eq!(version(&mut s.scene, &s.phone)["errcode"], "M_NOT_FOUND");
}

/// An answer that was lost, and one that comes twice.
#[test]
fn a_batch_whose_answer_is_lost_goes_again() {
    let mut s = scenery();
    s.bob.machine.rotate_room_key(s.scene.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    s.scene.now += PATIENCE;
    s.phone.sync(&mut s.scene);
    let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
    let upload = requests.iter().find(|request| request.kind == "back_up").unwrap();
    assert_eq!(s.phone.machine.backup_status().unwrap().backed_up, 1);
    // Another process does not repeat it meanwhile.
    let mut other = s.phone.another();
    let busy = other.requests(s.scene.now).unwrap().requests;
    assert!(!busy.iter().any(|request| request.kind == "back_up"));
    s.scene.now += PATIENCE;
    let again = other.requests(s.scene.now).unwrap().requests;
    assert!(again.iter().any(|again| again.path == upload.path));
}

#[test]
fn the_key_of_another_backup_is_refused() {
    let mut s = scenery();
    let public = BackupKey::random().unwrap().public().to_base64();
    let made = json!({"algorithm": ALGORITHM, "auth_data": {"public_key": public}});
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    let mut laptop = s.scene.person("alice");
    look(&mut s.scene, &mut laptop);
    let secret = StorageSecret::RecoveryKey(&s.recovery_key);
    let error = laptop.machine.open_backup(s.scene.now, &s.storage, secret).unwrap_err();
    assert_eq!(error.kind, Kind::KeyBackup);
    assert!(!laptop.machine.backup_status().unwrap().key_held);
    // What a server shows does not have the key forgotten.
    look(&mut s.scene, &mut s.phone);
    assert!(!s.phone.machine.backup_status().unwrap().key_held);
    s.scene.call(Some(&s.phone.token), "DELETE", "room_keys/version/2", Value::Null);
    look(&mut s.scene, &mut s.phone);
    assert!(s.phone.machine.backup_status().unwrap().key_held);
}

/// A verified device gave it before it was known which version the server has.
#[test]
fn a_key_that_came_before_the_version_is_compared_with_it() {
    let mut s = scenery();
    let mut laptop = laptop(&mut s);
    let offered = |key| KeyBackup { offered: Some(key), look: true, ..KeyBackup::default() };
    laptop.look(|tx| tx.put_single(&offered(BackupKey::random()?)));
    look(&mut s.scene, &mut laptop);
    let status = laptop.machine.backup_status().unwrap();
    assert!(!status.key_held && status.enabled.is_none());
}

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

#[test]
fn a_key_that_becomes_better_goes_to_the_backup_again() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let room_id = s.room_id.clone();
    let mut forger = s.scene.forger("mallory");
    let mut session = megolm::outbound();
    let early = room_key(&room_id, &session);
    session.encrypt("x");
    let late = room_key(&room_id, &session);
    let place = |s: &mut Scenery| {
        let keys = backup_keys(&mut s.scene, &s.phone);
        keys[&room_id]["sessions"][session.session_id()]["first_message_index"].clone()
    };
    forger.give_key(&mut s.scene, &mut s.phone, late, |_| {});
    s.phone.sync(&mut s.scene);
    later(&mut s.scene, &mut s.phone);
    assert_eq!(place(&mut s), 1);
    forger.give_key(&mut s.scene, &mut s.phone, early, |_| {});
    s.phone.sync(&mut s.scene);
    later(&mut s.scene, &mut s.phone);
    assert_eq!(place(&mut s), 0);
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

#[test]
fn a_verified_device_of_ours_gives_the_key_of_the_backup() {
    let mut s = scenery();
    let mut laptop = s.scene.person("alice");
    look(&mut s.scene, &mut laptop);
    refresh(&mut s.scene, &mut s.phone);
    refresh(&mut s.scene, &mut laptop);
    let fingerprint =
        |person: &mut Person| person.machine.identity_keys().unwrap().ed25519.to_base64();
    let (phones, laptops) = (fingerprint(&mut s.phone), fingerprint(&mut laptop));
    let signed = s.phone.machine.device_signature_upload(&laptop.device_id, &laptops).unwrap();
    post(&mut s.scene, &s.phone, "keys/signatures/upload", parse(&signed));
    let (user, phone) = (s.phone.user.clone(), s.phone.device_id.clone());
    laptop
        .machine
        .set_local_trust(s.scene.now, &user, &phone, Some(&phones), LocalTrust::Verified)
        .unwrap();
    assert!(!laptop.machine.backup_status().unwrap().key_held);
    for _ in 0..3 {
        for person in [&mut laptop, &mut s.phone] {
            refresh(&mut s.scene, person);
            person.sync(&mut s.scene);
            assert_eq!(person.pump(&mut s.scene), []);
        }
    }
    assert!(laptop.machine.backup_status().unwrap().key_held);
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

/// The server plants a key under the name of a session that nobody gave this device yet. What that one
/// cannot read waits for the true one, whoever brings it.
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

/// The server shows a version that Alice's devices have no key of, and the one before is still there.
#[test]
fn a_key_of_an_older_version_reads_that_and_nothing_of_the_newer() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let old = version(&mut s.scene, &s.phone).to_string();
    let path = "room_keys/keys?version=1";
    let answer = s.scene.call(Some(&s.phone.token), "GET", path, Value::Null).body;
    let mut keys = parse(&answer)["rooms"][&s.room_id].clone();
    keys["room_id"] = json!(s.room_id);
    let part = Part::read(&keys.to_string()).unwrap();
    let public = BackupKey::random().unwrap().public().to_base64();
    let made = json!({"algorithm": ALGORITHM, "auth_data": {"public_key": public}});
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    s.scene.now += HOUR;
    let mut laptop = s.scene.person("alice");
    refresh(&mut s.scene, &mut laptop);
    look(&mut s.scene, &mut laptop);
    let secret = StorageSecret::RecoveryKey(&s.recovery_key);
    assert_eq!(laptop.machine.older_backups().unwrap(), [""; 0]);
    let refused = laptop.machine.open_backup(laptop.now, &s.storage, secret).unwrap_err();
    assert_eq!(refused.kind, Kind::KeyBackup);
    let status = laptop.machine.backup_status().unwrap();
    assert!(!status.key_held && !status.trusted && status.misfit.is_some());
    assert_eq!(laptop.machine.older_backups().unwrap(), ["1"]);
    let new = version(&mut s.scene, &s.phone).to_string();
    assert!(!laptop.machine.opens_backup(&new).unwrap());
    assert!(laptop.machine.opens_backup(&old).unwrap());
    let older = BackupVersion::read(&old).unwrap();
    let now = s.scene.now;
    let newer = BackupVersion::read(&new).unwrap();
    assert!(laptop.machine.restore_keys(now, &part, Some(&newer)).is_err());
    assert!(laptop.machine.restore_keys(now, &part, None).is_err());
    let restored = laptop.machine.restore_keys(now, &part, Some(&older)).unwrap();
    assert_eq!(restored[0].1, None);
    laptop.machine.older_backup_restored(laptop.now, "1").unwrap();
    assert_eq!(laptop.machine.older_backups().unwrap(), [""; 0]);
    assert_eq!(texts(&history(&mut s.scene, &mut laptop, &s.room_id)), ["one"]);
    // The current version has none of it.
    assert_eq!(laptop.machine.backup_status().unwrap().backed_up, 0);
}

/// What a broken server says changes nothing of what is known, and is asked again, but seldom.
#[test]
fn a_version_that_is_not_told_stops_nothing() {
    for (status, body) in [
        (500, "{}"),
        (405, "Method Not Allowed"),
        (404, r#"{"errcode":"M_UNRECOGNIZED","error":"x"}"#),
        (200, r#"{"version":"1","auth_data":{}}"#),
    ] {
        let mut s = scenery();
        s.phone.wants_backup_version();
        let mut asked = 0;
        let pump = |s: &mut Scenery, asked: &mut i32| {
            let broken = |kind: &str, response: Response| match kind {
                "backup_version" => {
                    *asked += 1;
                    Response { status, body: body.into() }
                }
                _ => response,
            };
            s.phone.pump_for(&mut s.scene, Awaited::default(), broken);
        };
        pump(&mut s, &mut asked);
        let known = s.phone.machine.backup_status().unwrap();
        assert!(known.key_held && known.failure.is_some(), "{status}");
        assert_eq!(asked, 1);
        // Keys go on to the version that is known.
        s.scene.now += PATIENCE;
        pump(&mut s, &mut asked);
        assert_eq!(s.phone.machine.backup_status().unwrap().backed_up, 1, "{status}");
        assert_eq!(asked, 2);
        // Some hours.
        s.phone.wants_backup_version();
        for _ in 0..6 * 6 {
            s.scene.now += 600_000;
            pump(&mut s, &mut asked);
        }
        assert!((5..=30).contains(&asked), "{asked}");
        look(&mut s.scene, &mut s.phone);
        assert_eq!(s.phone.machine.backup_status().unwrap().failure, None);
    }
}

/// A stranger gives a key for a room whose id no PostgreSQL can store: the server fails with the batch.
#[test]
fn a_strangers_room_id_does_not_stop_the_backup() {
    let mut s = scenery();
    let mut mallory = s.scene.forger("mallory");
    let odd = room_key("!a\u{0}b:here", &megolm::outbound());
    mallory.give_key(&mut s.scene, &mut s.phone, odd, |_| {});
    s.phone.sync(&mut s.scene);
    s.bob.machine.rotate_room_key(s.bob.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    s.phone.sync(&mut s.scene);
    let mut refused = 0;
    for _ in 0..200 {
        s.scene.now += 20 * 60 * 1000;
        let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
        for request in requests {
            let body = request.body.unwrap_or_default();
            let http = mxcrypt_model_server::Request {
                method: request.method.into(),
                path: request.path.clone(),
                token: Some(s.phone.token.clone()),
                body: body.clone().into_bytes(),
            };
            let response = if request.kind == "back_up" && body.contains("\\u0000") {
                refused += 1;
                let body = r#"{"errcode":"M_UNKNOWN","error":"Internal server error"}"#;
                Response { status: 500, body: body.into() }
            } else {
                s.scene.server.handle(s.scene.now as u64, &http)
            };
            let reply = mxcrypt_core::machine::Reply::Answer {
                status: response.status,
                body: response.body,
            };
            s.phone.machine.replies(s.scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    let status = s.phone.machine.backup_status().unwrap();
    assert!(
        status.backed_up >= 2,
        "{} of {}, refused {refused} times",
        status.backed_up,
        status.sessions
    );
}

/// Room ids of sixty kilobytes: the batch has a size that no server takes.
#[test]
fn a_strangers_long_room_ids_do_not_make_a_batch_too_large() {
    let mut s = scenery();
    let mut mallory = s.scene.forger("mallory");
    for n in 0..60 {
        let odd = room_key(&format!("!{n}{}:here", "x".repeat(60_000)), &megolm::outbound());
        mallory.give_key(&mut s.scene, &mut s.phone, odd, |_| {});
    }
    s.phone.sync(&mut s.scene);
    s.scene.now += 20 * 60 * 1000;
    let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
    let batch = requests.into_iter().find(|request| request.kind == "back_up");
    let size = batch.map_or(0, |batch| batch.body.unwrap().len());
    assert!(size < 2 << 20, "{size} bytes");
}

/// A new backup was made because the key of the old one is known to somebody. The server shows the old one.
#[test]
fn no_key_goes_to_a_backup_that_was_replaced() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let old = version(&mut s.scene, &s.phone);
    s.phone.machine.make_backup(s.scene.now, true, None).unwrap();
    let made = parse(&s.phone.machine.backup_upload().unwrap());
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    look(&mut s.scene, &mut s.phone);
    later(&mut s.scene, &mut s.phone);
    let new = version(&mut s.scene, &s.phone);
    assert_ne!(old["version"], new["version"]);
    // Without our signatures it is nobody's.
    let mut shown = old.clone();
    shown["auth_data"]["signatures"] = json!({});
    s.phone.machine.backup_version_received(s.scene.now, 200, &shown.to_string()).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    s.phone.sync(&mut s.scene);
    s.scene.now += PATIENCE;
    let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
    let sent: Vec<&str> = requests
        .iter()
        .filter(|request| request.kind == "back_up")
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(sent, Vec::<&str>::new());
}
