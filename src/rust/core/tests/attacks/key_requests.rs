//! Who is given a room key that asks for it, and whose keys are taken.

use mxcrypt_core::{
    judgement::trust::Trust,
    store::{
        Query,
        records::{KeySource, LocalTrust, ReceivedRequest},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{MEGOLM, Person, Scene, text_of};

const PATIENCE: i64 = 10_000;

/// Bob has said "one" to Alice's phone; then she has signed in on a laptop.
struct Scenery {
    scene: Scene,
    phone: Person,
    laptop: Person,
    bob: Person,
    room_id: String,
}

fn scenery() -> Scenery {
    let mut scene = Scene::new();
    let (mut phone, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut phone, &mut bob]);
    bob.say(&mut scene, &room_id, "one");
    assert_eq!(phone.reads(&mut scene), ["one"]);
    let mut laptop = scene.person("alice");
    assert_eq!(laptop.reads(&mut scene).len(), 1);
    phone.sync(&mut scene);
    phone.pump(&mut scene);
    Scenery { scene, phone, laptop, bob, room_id }
}

/// `one` relies on the device of `other`, whose fingerprint it compared.
pub fn rely(scene: &mut Scene, one: &mut Person, other: &mut Person) {
    one.machine.refresh_devices(scene.now, std::slice::from_ref(&other.user)).unwrap();
    assert_eq!(one.pump(scene), Vec::new());
    let fingerprint = other.machine.identity_keys().unwrap().ed25519.to_base64();
    one.machine
        .set_local_trust(
            scene.now,
            &other.user,
            &other.device_id,
            Some(&fingerprint),
            LocalTrust::Verified,
        )
        .unwrap();
}

fn exchange(scene: &mut Scene, people: &mut [&mut Person]) {
    scene.now += PATIENCE + 1;
    for _ in 0..3 {
        for person in people.iter_mut() {
            person.sync(scene);
            assert_eq!(person.pump(scene), Vec::new());
        }
    }
}

fn waiting(person: &mut Person) -> Vec<String> {
    let waiting = person.machine.undecrypted(person.now).unwrap();
    waiting.iter().map(text_of).collect()
}

fn was_said(scene: &Scene, text: &str) -> usize {
    scene.server.seen().map(|b| String::from_utf8_lossy(b).matches(text).count()).sum()
}

#[test]
fn a_verified_device_of_ours_hands_a_key_on() {
    let Scenery { mut scene, mut phone, mut laptop, .. } = scenery();
    rely(&mut scene, &mut laptop, &mut phone);
    rely(&mut scene, &mut phone, &mut laptop);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    let rows = laptop.events();
    let row = rows.iter().find(|row| text_of(row) == "one").unwrap();
    assert_eq!(row.event.key_source, Some(KeySource::Forwarded));
    assert_eq!(row.event.forwarder.as_deref(), Some(phone.device_id.as_str()));
    // Who made it is what the phone says: never more than that.
    assert!(row.trust <= Trust::NotGuaranteed);
    assert_eq!(was_said(&scene, "request_cancellation"), 1);
    assert_eq!(waiting(&mut laptop), [""; 0]);
}

#[test]
fn nobody_is_asked_whom_we_have_not_verified() {
    let Scenery { mut scene, mut phone, mut laptop, .. } = scenery();
    rely(&mut scene, &mut phone, &mut laptop);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(was_said(&scene, "requesting_device_id"), 0);
}

/// The server adds a device to us, and asks for everything.
#[test]
fn a_device_of_ours_that_is_not_verified_is_refused() {
    let Scenery { mut scene, mut phone, mut laptop, .. } = scenery();
    rely(&mut scene, &mut laptop, &mut phone);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(was_said(&scene, "requesting_device_id"), 1);
    assert_eq!(was_said(&scene, "m.unverified"), 1);
    assert_eq!(waiting(&mut laptop).len(), 1);
}

fn request(person: &Person, room_id: &str, session_id: &str) -> Value {
    json!({"action": "request", "request_id": "r", "requesting_device_id": person.device_id,
        "body": {"algorithm": MEGOLM, "room_id": room_id, "session_id": session_id}})
}

fn tell(scene: &mut Scene, from: &Person, to: &Person, content: &Value) {
    let body = json!({"messages": {&to.user: {&to.device_id: content}}});
    scene.now += 1;
    let path = format!("sendToDevice/m.room_key_request/t{}", scene.now);
    let token = from.token.clone();
    assert_eq!(scene.call(Some(&token), "PUT", &path, body).status, 200);
}

#[test]
fn others_are_given_what_they_were_given_before_and_nothing_else() {
    let Scenery { mut scene, mut phone, mut laptop, mut bob, room_id } = scenery();
    let mut mallory = scene.person("mallory");
    rely(&mut scene, &mut phone, &mut bob);
    rely(&mut scene, &mut phone, &mut mallory);
    phone.say(&mut scene, &room_id, "two");
    bob.reads(&mut scene);
    phone.sync(&mut scene);
    let mine = phone.events().into_iter().rfind(|row| row.event.encrypted).unwrap();
    let session_id = mine.event.session_id.unwrap();
    let sent = |scene: &Scene| was_said(scene, "m.olm.v1.curve25519-aes-sha2");
    let before = sent(&scene);
    // She was never given it, verified or not.
    tell(&mut scene, &mallory, &phone, &request(&mallory, &room_id, &session_id));
    phone.sync(&mut scene);
    phone.pump(&mut scene);
    assert_eq!(sent(&scene), before);
    tell(&mut scene, &bob, &phone, &request(&bob, &room_id, &session_id));
    phone.sync(&mut scene);
    phone.pump(&mut scene);
    assert_eq!(sent(&scene), before + 1);
    // Bob did not ask for it: he does not take it, and a key of Alice's hand neither.
    let report = bob.sync(&mut scene);
    assert!(report.problems[0].contains("nobody asked"), "{:?}", report.problems);
    laptop.sync(&mut scene);
}

/// Rule 42: a device that guesses the id of a request cannot cancel it for another.
#[test]
fn a_request_is_taken_back_by_whoever_made_it() {
    let Scenery { mut scene, mut phone, mut laptop, bob, .. } = scenery();
    rely(&mut scene, &mut laptop, &mut phone);
    rely(&mut scene, &mut phone, &mut laptop);
    scene.now += PATIENCE + 1;
    laptop.sync(&mut scene);
    laptop.pump(&mut scene);
    let body = scene
        .server
        .seen()
        .map(|body| String::from_utf8_lossy(body).into_owned())
        .find(|body| body.contains("requesting_device_id"))
        .unwrap();
    let name = crate::scene::parse(&body)["messages"][&phone.user][&phone.device_id]["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cancel = json!({"action": "request_cancellation", "request_id": name,
        "requesting_device_id": laptop.device_id});
    phone.sync(&mut scene);
    tell(&mut scene, &bob, &phone, &cancel);
    phone.sync(&mut scene);
    exchange(&mut scene, &mut [&mut phone, &mut laptop]);
    assert_eq!(waiting(&mut laptop), [""; 0]);
}

const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;

#[test]
fn a_key_is_not_asked_for_for_ever() {
    let Scenery { mut scene, mut phone, mut laptop, .. } = scenery();
    scene.now += WEEK + PATIENCE + 1;
    rely(&mut scene, &mut laptop, &mut phone);
    rely(&mut scene, &mut phone, &mut laptop);
    exchange(&mut scene, &mut [&mut laptop, &mut phone]);
    assert_eq!(was_said(&scene, "requesting_device_id"), 0);
}

/// The device that asked has the key by now, or is gone.
#[test]
fn an_old_request_is_forgotten() {
    for server_is_away in [false, true] {
        let Scenery { mut scene, mut phone, mut laptop, room_id, .. } = scenery();
        rely(&mut scene, &mut phone, &mut laptop);
        let waits =
            laptop.machine.undecrypted(scene.now).unwrap()[0].event.session_id.clone().unwrap();
        tell(&mut scene, &laptop, &phone, &request(&laptop, &room_id, &waits));
        phone.sync(&mut scene);
        let before = was_said(&scene, "m.olm.v1.curve25519-aes-sha2");
        if server_is_away {
            phone.machine.refresh_devices(scene.now, std::slice::from_ref(&laptop.user)).unwrap();
        }
        scene.now += WEEK + 1;
        phone.pump_with(&mut scene, |kind, response| match kind {
            "keys_query" => Response { status: 502, body: String::new() },
            _ => response,
        });
        assert_eq!(was_said(&scene, "m.olm.v1.curve25519-aes-sha2"), before);
        assert_eq!(phone.look(|tx| tx.count::<ReceivedRequest>(&Query::all())), 0);
    }
}
