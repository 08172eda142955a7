//! Who is given the private keys of our identity, and whose are taken.

use mxcrypt_core::{
    primitives::cross_signing::{SigningKey, Usage},
    store::{
        Query,
        records::{LocalTrust, OwnIdentity, ReceivedSecretRequest, SecretRequest},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::{
    identities::{ask_about, make_identity, value},
    scene::{Forger, Person, Scene, parse},
};

const SEND: &str = "m.secret.send";
const MASTER: &str = "m.cross_signing.master";

/// Alice's phone has her identity; then she has signed in on a laptop.
struct Scenery {
    scene: Scene,
    phone: Person,
    laptop: Person,
}

fn scenery() -> Scenery {
    let mut scene = Scene::new();
    let mut phone = scene.person("alice");
    make_identity(&mut scene, &mut phone);
    let laptop = scene.person("alice");
    Scenery { scene, phone, laptop }
}

/// Signs the device of a person who has an identity, as mx_crypto_setup() does.
pub fn sign_own_device(scene: &mut Scene, person: &mut Person) {
    let body = person.machine.signatures_upload().unwrap().unwrap();
    upload(scene, person, &body);
    ask(scene, person);
}

fn upload(scene: &mut Scene, by: &Person, signatures: &str) {
    let answer = scene.call(Some(&by.token), "POST", "keys/signatures/upload", parse(signatures));
    assert_eq!(parse(&answer.body)["failures"], json!({}), "{}", answer.body);
}

/// What is left of a verification: the phone has signed the laptop, and the laptop relies on the phone.
fn verify(scene: &mut Scene, phone: &mut Person, laptop: &mut Person) {
    sign(scene, phone, laptop);
    rely(scene, laptop, phone);
}

fn sign(scene: &mut Scene, phone: &mut Person, laptop: &mut Person) {
    ask(scene, phone);
    let fingerprint = laptop.machine.identity_keys().unwrap().ed25519.to_base64();
    let body = phone.machine.device_signature_upload(&laptop.device_id, &fingerprint).unwrap();
    upload(scene, phone, &body);
}

fn rely(scene: &mut Scene, one: &mut Person, other: &mut Person) {
    let fingerprint = other.machine.identity_keys().unwrap().ed25519.to_base64();
    ask(scene, one);
    set_trust(one, &other.device_id, &fingerprint, LocalTrust::Verified);
}

fn set_trust(person: &mut Person, device_id: &str, fingerprint: &str, local: LocalTrust) {
    let user = person.user.clone();
    person.machine.set_local_trust(person.now, &user, device_id, Some(fingerprint), local).unwrap();
}

/// Requests one's own devices, and nothing else that is due.
fn ask(scene: &mut Scene, person: &mut Person) {
    let user = person.user.clone();
    ask_about(scene, person, &[&user], |response| response);
}

fn exchange(scene: &mut Scene, people: &mut [&mut Person]) {
    for _ in 0..3 {
        for person in people.iter_mut() {
            ask(scene, person);
            person.sync(scene);
            assert_eq!(person.pump(scene), Vec::new());
        }
    }
}

fn held(person: &mut Person) -> [bool; 3] {
    person.machine.identity_status().unwrap().held
}

fn was_said(scene: &Scene, text: &str) -> usize {
    scene.server.seen().map(|b| String::from_utf8_lossy(b).matches(text).count()).sum()
}

#[test]
fn a_verified_device_is_given_the_private_keys() {
    let Scenery { mut scene, mut phone, mut laptop } = scenery();
    let mut bob = scene.person("bob");
    make_identity(&mut scene, &mut bob);
    ask_about(&mut scene, &mut phone, &["@bob:here"], |response| response);
    let bobs = phone.machine.user_trust(&["@bob:here".into()]).unwrap().remove(0);
    let body = phone.machine.user_signature_upload("@bob:here", &bobs.master_key.unwrap());
    upload(&mut scene, &phone, &body.unwrap());
    ask_about(&mut scene, &mut laptop, &["@bob:here"], |response| response);

    verify(&mut scene, &mut phone, &mut laptop);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(held(&mut laptop), [true; 3]);
    // The only one who was asked has answered; nobody is sent a cancellation.
    assert_eq!(was_said(&scene, "request_cancellation"), 0);
    // Whom the identity vouches for is verified from now on, whatever the server returns next.
    let bobs = laptop.machine.user_trust(&["@bob:here".into()]).unwrap().remove(0);
    assert!(bobs.verified && bobs.was_verified);
    assert!(
        scene.server.seen().all(|bytes| !String::from_utf8_lossy(bytes).contains("\"secret\""))
    );
}

#[test]
fn a_device_that_is_not_signed_asks_nobody() {
    let Scenery { mut scene, mut phone, mut laptop } = scenery();
    rely(&mut scene, &mut laptop, &mut phone);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(was_said(&scene, "m.secret.request"), 0);
    assert_eq!(was_said(&scene, MASTER), 0);
}

#[test]
fn a_device_that_we_have_not_verified_is_not_asked() {
    let Scenery { mut scene, mut phone, mut laptop } = scenery();
    sign(&mut scene, &mut phone, &mut laptop);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(was_said(&scene, MASTER), 0);
    rely(&mut scene, &mut laptop, &mut phone);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(held(&mut laptop), [true; 3]);
}

#[test]
fn whoever_was_asked_and_did_not_answer_is_told_that_it_came() {
    let Scenery { mut scene, mut phone, mut laptop } = scenery();
    let mut tablet = scene.person("alice");
    verify(&mut scene, &mut phone, &mut laptop);
    rely(&mut scene, &mut laptop, &mut tablet);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(held(&mut laptop), [true; 3]);
    // One word a key, to the tablet alone.
    assert_eq!(was_said(&scene, "request_cancellation"), 3);
    assert_eq!(was_said(&scene, &format!("\"{}\":{{\"action\":\"request_c", phone.device_id)), 0);
    // The tablet has heard both.
    let waiting =
        |person: &Person| person.look(|tx| tx.count::<ReceivedSecretRequest>(&Query::all()));
    tablet.sync(&mut scene);
    assert_eq!(waiting(&tablet), 0);
}

/// A device of Alice's that another holds. `person` knows it, and has a session with it.
fn thief(scene: &mut Scene, person: &mut Person) -> Forger {
    let mut thief = scene.forger("alice");
    ask(scene, person);
    give(scene, &mut thief, person, "m.dummy", json!({}));
    thief
}

/// How many Olm messages the server has seen.
fn told(scene: &Scene) -> usize {
    was_said(scene, "\"ciphertext\"")
}

fn request(from: &Forger, name: &str) -> Value {
    json!({"action": "request", "name": name, "request_id": "r",
        "requesting_device_id": from.device_id})
}

#[test]
fn a_device_that_is_not_verified_is_given_nothing() {
    let Scenery { mut scene, mut phone, .. } = scenery();
    let thief = thief(&mut scene, &mut phone);
    thief.send(&mut scene, &phone, "m.secret.request", &request(&thief, MASTER));
    let before = told(&scene);
    exchange(&mut scene, &mut [&mut phone]);
    assert_eq!(told(&scene), before);
    // It asked a little early: it is verified a minute later.
    scene.now += 60_000;
    let fingerprint = thief.account.ed25519_key().to_base64();
    set_trust(&mut phone, &thief.device_id, &fingerprint, LocalTrust::Verified);
    exchange(&mut scene, &mut [&mut phone]);
    assert_eq!(told(&scene), before + 1);
}

#[test]
fn a_request_is_forgotten_after_a_quarter_of_an_hour_and_when_it_is_taken_back() {
    for taken_back in [false, true] {
        let Scenery { mut scene, mut phone, .. } = scenery();
        let thief = thief(&mut scene, &mut phone);
        let before = told(&scene);
        thief.send(&mut scene, &phone, "m.secret.request", &request(&thief, MASTER));
        if taken_back {
            let mut content = request(&thief, MASTER);
            content["action"] = "request_cancellation".into();
            thief.send(&mut scene, &phone, "m.secret.request", &content);
        } else {
            phone.sync(&mut scene);
            scene.now += 15 * 60_000 + 1;
        }
        exchange(&mut scene, &mut [&mut phone]);
        let fingerprint = thief.account.ed25519_key().to_base64();
        set_trust(&mut phone, &thief.device_id, &fingerprint, LocalTrust::Verified);
        exchange(&mut scene, &mut [&mut phone]);
        assert_eq!(told(&scene), before, "{taken_back}");
    }
}

/// Somebody else names a device of Alice's as the one that asks.
#[test]
fn another_user_can_neither_ask_for_a_device_of_ours_nor_take_back_what_it_asked() {
    let Scenery { mut scene, mut phone, mut laptop } = scenery();
    verify(&mut scene, &mut phone, &mut laptop);
    let mallory = scene.forger("mallory");
    let content = json!({"action": "request", "name": MASTER, "request_id": "r",
        "requesting_device_id": laptop.device_id});
    mallory.send(&mut scene, &phone, "m.secret.request", &content);
    phone.sync(&mut scene);
    assert_eq!(phone.look(|tx| tx.count::<ReceivedSecretRequest>(&Query::all())), 0);
    let thief = thief(&mut scene, &mut phone);
    thief.send(&mut scene, &phone, "m.secret.request", &request(&thief, MASTER));
    let mut taken_back = request(&thief, MASTER);
    taken_back["action"] = "request_cancellation".into();
    mallory.send(&mut scene, &phone, "m.secret.request", &taken_back);
    phone.sync(&mut scene);
    assert_eq!(phone.look(|tx| tx.count::<ReceivedSecretRequest>(&Query::all())), 1);
}

#[test]
fn no_more_than_fifty_requests_are_kept() {
    let Scenery { mut scene, mut phone, .. } = scenery();
    let thief = thief(&mut scene, &mut phone);
    for n in 0..60 {
        let mut content = request(&thief, MASTER);
        content["request_id"] = format!("r{n}").into();
        thief.send(&mut scene, &phone, "m.secret.request", &content);
    }
    phone.sync(&mut scene);
    assert_eq!(phone.look(|tx| tx.count::<ReceivedSecretRequest>(&Query::all())), 50);
}

fn show_another_identity(scene: &mut Scene, person: &mut Person, master: &SigningKey) {
    let user = person.user.clone();
    ask_about(scene, person, &[&user], |response: Response| {
        let mut answer = parse(&response.body);
        answer["master_keys"] = json!({&user: value(master.published(&user, Usage::Master))});
        answer["self_signing_keys"] = json!({});
        answer["user_signing_keys"] = json!({});
        Response { body: answer.to_string(), ..response }
    });
}

#[test]
fn what_is_not_held_or_was_replaced_is_not_given() {
    let Scenery { mut scene, mut phone, .. } = scenery();
    let thief = thief(&mut scene, &mut phone);
    let fingerprint = thief.account.ed25519_key().to_base64();
    set_trust(&mut phone, &thief.device_id, &fingerprint, LocalTrust::Verified);
    let before = told(&scene);
    thief.send(&mut scene, &phone, "m.secret.request", &request(&thief, "m.other"));
    exchange(&mut scene, &mut [&mut phone]);
    // Somebody has made another identity since: the old keys are secrets still.
    let key = SigningKey::random().unwrap();
    thief.send(&mut scene, &phone, "m.secret.request", &request(&thief, MASTER));
    show_another_identity(&mut scene, &mut phone, &key);
    phone.sync(&mut scene);
    phone.pump(&mut scene);
    assert_eq!(told(&scene), before);
}

/// Alice's laptop waits for her keys, which it has asked the phone for.
fn waiting_laptop() -> (Scenery, String) {
    let mut scenery = scenery();
    let Scenery { scene, phone, laptop } = &mut scenery;
    verify(scene, phone, laptop);
    exchange(scene, &mut [laptop]);
    let requests = laptop.look(|tx| tx.select::<SecretRequest>(&Query::all()));
    assert_eq!(requests.len(), 3);
    let master = requests.into_iter().find(|request| request.name == MASTER).unwrap();
    (scenery, master.request_id)
}

fn give(
    scene: &mut Scene,
    from: &mut Forger,
    to: &mut Person,
    event_type: &str,
    content: Value,
) -> String {
    let payload = from.payload(to, event_type, content);
    let encrypted = from.encrypt(scene, to, payload.to_string().as_bytes());
    from.send(scene, to, "m.room.encrypted", &encrypted);
    to.sync(scene).problems.concat()
}

#[test]
fn a_secret_is_taken_only_from_a_device_that_was_asked() {
    let (Scenery { mut scene, mut phone, mut laptop }, request_id) = waiting_laptop();
    let secret = |phone: &Person| {
        phone.look(|tx| Ok(tx.get_single::<OwnIdentity>()?.unwrap().private.master.unwrap()))
    };
    let content = json!({"request_id": request_id, "secret": &*secret(&phone).to_base64()});
    let mut mallory = scene.forger("mallory");
    let refused = "its giver is no device that was asked";
    assert!(give(&mut scene, &mut mallory, &mut laptop, SEND, content.clone()).contains(refused));
    let mut thief = thief(&mut scene, &mut laptop);
    assert!(give(&mut scene, &mut thief, &mut laptop, SEND, content.clone()).contains(refused));
    // It is verified; but it is not the one that was asked.
    let fingerprint = thief.account.ed25519_key().to_base64();
    set_trust(&mut laptop, &thief.device_id, &fingerprint, LocalTrust::Verified);
    assert!(give(&mut scene, &mut thief, &mut laptop, SEND, content.clone()).contains(refused));
    // Nor does it come in the clear.
    thief.send(&mut scene, &laptop, "m.secret.send", &content);
    laptop.sync(&mut scene);
    assert_eq!(held(&mut laptop), [false; 3]);
    exchange(&mut scene, &mut [&mut phone, &mut laptop]);
    assert_eq!(held(&mut laptop), [true; 3]);
}

#[test]
fn a_secret_must_be_asked_for_and_be_the_one_the_server_shows() {
    let (Scenery { mut scene, mut laptop, mut phone }, _) = waiting_laptop();
    let mut thief = thief(&mut scene, &mut laptop);
    let fingerprint = thief.account.ed25519_key().to_base64();
    set_trust(&mut laptop, &thief.device_id, &fingerprint, LocalTrust::Verified);
    exchange(&mut scene, &mut [&mut laptop]);
    let requests = laptop.look(|tx| tx.select::<SecretRequest>(&Query::all()));
    assert!(requests.iter().all(|request| request.asked.contains(&thief.device_id)));
    let id = requests.iter().find(|request| request.name == MASTER).unwrap().request_id.clone();
    let other = SigningKey::random().unwrap().to_base64();
    for (content, problem) in [
        (json!({"request_id": "r", "secret": &*other}), "nobody asked for it"),
        (json!({"request_id": id, "secret": &*other}), "not of the key that the server shows"),
        (json!({"request_id": id, "secret": "c2hvcnQ"}), "32 bytes"),
        (json!({"request_id": id, "secret": 7}), "it has no secret"),
        (json!({"secret": &*other}), "it has no request_id"),
    ] {
        let said = give(&mut scene, &mut thief, &mut laptop, SEND, content);
        assert!(said.contains(problem), "{said}");
    }
    assert_eq!(held(&mut laptop), [false; 3]);
    // What was wrong ends no request.
    exchange(&mut scene, &mut [&mut phone, &mut laptop]);
    assert_eq!(held(&mut laptop), [true; 3]);
    // What came once is not replaced.
    let phones = phone.look(|tx| Ok(tx.get_single::<OwnIdentity>()?.unwrap().private.master));
    let content = json!({"request_id": id, "secret": &*phones.unwrap().to_base64()});
    assert!(
        give(&mut scene, &mut thief, &mut laptop, SEND, content).contains("nobody asked for it")
    );
}

#[test]
fn a_device_that_was_blocked_since_gives_no_secret() {
    let (Scenery { mut scene, mut phone, mut laptop }, _) = waiting_laptop();
    let fingerprint = phone.machine.identity_keys().unwrap().ed25519.to_base64();
    exchange(&mut scene, &mut [&mut phone]);
    set_trust(&mut laptop, &phone.device_id, &fingerprint, LocalTrust::Blocked);
    let said = laptop.sync(&mut scene).problems.concat();
    assert!(said.contains("its giver is no device that was asked"), "{said}");
    assert_eq!(held(&mut laptop), [false; 3]);
}

/// The phone answers, and its Olm messages cannot be read. The sessions are repaired, and both are
/// verified with each other once more.
#[test]
fn a_secret_that_did_not_come_is_asked_for_again() {
    let Scenery { mut scene, mut phone, mut laptop } = scenery();
    verify(&mut scene, &mut phone, &mut laptop);
    ask(&mut scene, &mut laptop);
    laptop.pump(&mut scene);
    let asked = laptop.look(|tx| tx.select::<SecretRequest>(&Query::all()));
    assert_eq!(asked.len(), 3);
    // The phone answers, and its messages cannot be read.
    phone.sync(&mut scene);
    phone.pump(&mut scene);
    laptop.sync_with(&mut scene, |sync| {
        for event in sync["to_device"]["events"].as_array_mut().unwrap() {
            for part in event["content"]["ciphertext"].as_object_mut().unwrap().values_mut() {
                part["body"] = "AwoA".into();
            }
        }
    });
    laptop.pump(&mut scene);
    // The sessions are repaired; days pass; the devices verify each other again.
    for _ in 0..10 {
        scene.now += 24 * 60 * 60 * 1000;
        for person in [&mut laptop, &mut phone] {
            person.sync(&mut scene);
            person.pump(&mut scene);
        }
        let fingerprint = phone.machine.identity_keys().unwrap().ed25519.to_base64();
        set_trust(&mut laptop, &phone.device_id, &fingerprint, LocalTrust::Verified);
        laptop.now = scene.now;
    }
    assert_eq!(held(&mut laptop), [true; 3]);
}
