//! Which versions of the key backup this device gives keys to, and which key opens them. Rules 33 and 37.

use mxcrypt_core::{
    Kind,
    judgement::{backup_answer::Part, secret_storage::StorageSecret},
    machine::{Awaited, Reply, Signer, Storage},
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::SigningKey,
        key_backup::{ALGORITHM, BackupKey},
        keys::encode_base64,
    },
    store::records::{BackupVersion, KeyBackup, LocalTrust},
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    backup_scenery::{
        HOUR, PATIENCE, Scenery, history, laptop, later, look, post, publish, refresh, scenery,
        texts, version,
    },
    scene::{Forger, Person, parse},
};

/// The server returns a version of its own, and waits for the keys.
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

/// Anyone who has the password can make an identity, and a backup that it signs.
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
    // The key is kept whatever a server returns.
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

/// The server returns a version that Alice's devices have no key of, and the one before is still
/// there.
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

/// One process has made a new version; another asked before that, and its response comes last.
#[test]
fn a_response_from_before_does_not_bring_back_an_older_version() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let old = version(&mut s.scene, &s.phone);
    let mut other = s.phone.another();
    s.phone.wants_backup_version();
    let requests = other.requests(s.scene.now).unwrap().requests;
    let by_pump = requests.iter().find(|ask| ask.kind == "backup_version").unwrap().number;
    let by_hand = other.number_request().unwrap();
    let made = json!({"algorithm": ALGORITHM, "auth_data": old["auth_data"]});
    post(&mut s.scene, &s.phone, "room_keys/version", made);
    let new = version(&mut s.scene, &s.phone);
    let (phone, now) = (&mut s.phone.machine, s.scene.now);
    let number = phone.number_request().unwrap();
    phone.backup_version_received(now, number, 200, &new.to_string()).unwrap();
    other.backup_version_received(now, by_hand, 200, &old.to_string()).unwrap();
    let late = Reply::Answer { status: 200, body: old.to_string() };
    other.replies(now, vec![(by_pump, late)]).unwrap();
    let known = phone.backup_status().unwrap().version.unwrap();
    assert_eq!(known.version, new["version"].as_str().unwrap());
}

/// A new backup was made because the key of the old one is known to somebody. The server returns the old one.
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
    let number = s.phone.machine.number_request().unwrap();
    s.phone.machine.backup_version_received(s.scene.now, number, 200, &shown.to_string()).unwrap();
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
