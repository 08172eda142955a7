//! A user with a key backup, for the tests of it.

use mxcrypt_core::{
    judgement::{
        backup_answer::Part,
        secret_storage::{SecretStorage, StorageSecret},
    },
    machine::{Handed, Storage, Unsigned},
    primitives::{canonical_json::Json, key_backup::encrypt, megolm},
};
use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;

use crate::scene::{MEGOLM, Person, Scene, encoded, parse, text_of};

/// After this keys go to the backup again, and are looked for.
pub const PATIENCE: i64 = 11_000;

/// What was said so long before a device came it was not given the key of.
pub const HOUR: i64 = 3_600_000;

/// Alice's phone has an identity, secret storage and a backup; Bob has said "one" to her.
pub struct Scenery {
    pub scene: Scene,
    pub phone: Person,
    pub bob: Person,
    pub room_id: String,
    pub storage: SecretStorage,
    pub recovery_key: String,
}

pub fn scenery() -> Scenery {
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

pub fn post(scene: &mut Scene, who: &Person, path: &str, body: Value) {
    let answer = scene.call(Some(&who.token), "POST", path, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The identity that was made becomes that of its user.
pub fn publish(scene: &mut Scene, who: &mut Person) {
    let name = who.user.trim_start_matches('@').split(':').next().unwrap();
    let auth = json!({"type": "m.login.password", "password": "pw",
        "identifier": {"type": "m.id.user", "user": name}});
    let upload = parse(&who.machine.signing_keys_upload(Some(&auth.to_string())).unwrap());
    post(scene, who, "keys/device_signing/upload", upload);
    who.machine.identity_published(scene.now).unwrap();
    refresh(scene, who);
    sign_device(scene, who);
}

pub fn sign_device(scene: &mut Scene, who: &mut Person) {
    let body = parse(&who.machine.signatures_upload().unwrap().unwrap());
    post(scene, who, "keys/signatures/upload", body);
    refresh(scene, who);
}

/// Requests the devices and the identity of its own user.
pub fn refresh(scene: &mut Scene, who: &mut Person) {
    who.machine.refresh_devices(scene.now, std::slice::from_ref(&who.user)).unwrap();
    assert_eq!(who.pump(scene), []);
}

pub fn look(scene: &mut Scene, who: &mut Person) {
    who.wants_backup_version();
    assert_eq!(who.pump(scene), []);
}

/// Time passes, and what became due is done.
pub fn later(scene: &mut Scene, who: &mut Person) {
    scene.now += PATIENCE;
    assert_eq!(who.pump(scene), []);
}

/// Another device of Alice's, which has the recovery key.
pub fn laptop(s: &mut Scenery) -> Person {
    s.scene.now += HOUR;
    let mut laptop = s.scene.person("alice");
    restore(s, &mut laptop);
    laptop
}

pub fn restore(s: &mut Scenery, laptop: &mut Person) {
    refresh(&mut s.scene, laptop);
    let secret = StorageSecret::RecoveryKey(&s.recovery_key);
    laptop.machine.import_identity(s.scene.now, &s.storage, secret).unwrap();
    sign_device(&mut s.scene, laptop);
    look(&mut s.scene, laptop);
    laptop.machine.open_backup(s.scene.now, &s.storage, secret).unwrap();
}

pub fn version(scene: &mut Scene, who: &Person) -> Value {
    parse(&scene.call(Some(&who.token), "GET", "room_keys/version", Value::Null).body)
}

/// What the backup holds of a room.
pub fn part(s: &mut Scenery, room_id: &str) -> Part {
    let mut keys = backup_keys(&mut s.scene, &s.phone)[room_id].clone();
    keys["room_id"] = json!(room_id);
    Part::read(&keys.to_string()).unwrap()
}

pub fn backup_keys(scene: &mut Scene, who: &Person) -> Value {
    let number = version(scene, who)["version"].as_str().unwrap().to_owned();
    let path = format!("room_keys/keys?version={number}");
    parse(&scene.call(Some(&who.token), "GET", &path, Value::Null).body)["rooms"].clone()
}

/// The server puts what it likes into the backup, whose public key it knows.
pub fn plant(s: &mut Scenery, room_id: &str, session_id: &str, session: &Value) {
    let shown = version(&mut s.scene, &s.phone);
    let public = shown["auth_data"]["public_key"].as_str().unwrap();
    let public = mxcrypt_core::primitives::keys::curve25519(public).unwrap();
    let data = encrypt(public, session.to_string().as_bytes()).unwrap();
    let entry = json!({"first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": parse(&Json::Object(data).text().unwrap())});
    put_key(s, room_id, session_id, entry);
}

/// Puts an entry in the place of the one that is there.
pub fn put_key(s: &mut Scenery, room_id: &str, session_id: &str, entry: Value) {
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
pub fn session_data(session: &GroupSession, from: u32, maker: (&str, &str)) -> Value {
    let mut inbound = megolm::inbound(&session.session_key().to_base64()).unwrap();
    json!({"algorithm": MEGOLM, "forwarding_curve25519_key_chain": [],
        "sender_key": maker.0, "sender_claimed_keys": {"ed25519": maker.1},
        "session_key": inbound.export_at(from).unwrap().to_base64()})
}

pub fn keys_of(person: &mut Person) -> (String, String) {
    let keys = person.machine.identity_keys().unwrap();
    (keys.curve25519.to_base64(), keys.ed25519.to_base64())
}

/// The history of a room, after what it lacks was looked for; newest first.
pub fn history(scene: &mut Scene, who: &mut Person, room_id: &str) -> Vec<Handed> {
    let path = format!("rooms/{}/messages?dir=b&limit=100", encoded(room_id));
    let page = scene.call(Some(&who.token), "GET", &path, Value::Null).body;
    let mode = Unsigned::AsTheModeSays;
    who.machine.read_history(scene.now, room_id, &page, mode).unwrap();
    assert_eq!(who.pump(scene), []);
    let events = who.machine.read_history(scene.now, room_id, &page, mode).unwrap().events;
    events.into_iter().filter(|row| row.event.encrypted).collect()
}

pub fn texts(rows: &[Handed]) -> Vec<String> {
    rows.iter().map(text_of).collect()
}
