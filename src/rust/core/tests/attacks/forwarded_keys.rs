//! Keys that another device of ours hands on, and what is known of where they come from.

use mxcrypt_core::{
    judgement::trust::Trust,
    machine::{Handed, Unsigned},
    primitives::{
        keys::{decode_base64, encode_base64},
        megolm,
    },
    store::records::{InboundSession, KeySource, LocalTrust},
};
use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;

use crate::{
    scene::{Forger, MEGOLM, Person, Scene, megolm_event, room_key, text_of},
    to_device::invite,
};

const PATIENCE: i64 = 10_000;

/// Alice relies on her phone. Bob's and the phone's messages are made by hand.
struct Scenery {
    scene: Scene,
    alice: Person,
    phone: Forger,
    bob: Forger,
    room_id: String,
    /// What Bob encrypts with.
    session: GroupSession,
}

impl Scenery {
    fn new() -> Self {
        let mut scene = Scene::new();
        let mut alice = scene.person("alice");
        let (phone, bob) = (scene.forger("alice"), scene.forger("bob"));
        let room_id = scene.room(&mut [&mut alice]);
        invite(&mut scene, &alice.token, &room_id, &bob.user);
        scene.enter(&bob.token, &room_id);
        rely(&mut scene, &mut alice, &phone);
        Self { scene, alice, phone, bob, room_id, session: megolm::outbound() }
    }

    /// Bob says something. What comes back is his key from before it.
    fn bob_says(&mut self, text: &str) -> String {
        let key = self.session.session_key().to_base64();
        let event = megolm_event(&mut self.session, &self.room_id, text);
        self.bob.post(&mut self.scene, &self.room_id, &event);
        key
    }

    fn bob_gives(&mut self, key: &str) {
        let mut content = room_key(&self.room_id, &self.session);
        content["session_key"] = json!(key);
        self.bob.give_key(&mut self.scene, &mut self.alice, content, |_| {});
    }

    /// What Alice can read now; she asks for what she misses.
    fn alice_reads(&mut self) -> Vec<String> {
        let read = self.alice.reads(&mut self.scene);
        self.scene.now += PATIENCE + 1;
        self.alice.pump(&mut self.scene);
        read
    }

    fn forwarded(&self, key: &str) -> Value {
        json!({"algorithm": MEGOLM, "room_id": self.room_id,
            "session_id": self.session.session_id(), "session_key": exported(key),
            "sender_key": self.bob.account.curve25519_key().to_base64(),
            "sender_claimed_ed25519_key": self.bob.account.ed25519_key().to_base64(),
            "forwarding_curve25519_key_chain": []})
    }

    fn phone_hands_on(&mut self, content: Value) {
        let payload = self.phone.payload(&mut self.alice, "m.forwarded_room_key", content);
        self.phone.give(&mut self.scene, &mut self.alice, &payload);
    }

    fn waits(&mut self) -> Vec<String> {
        self.alice.machine.undecrypted(self.alice.now).unwrap().iter().map(text_of).collect()
    }

    /// Mallory comes into the room.
    fn mallory(&mut self) -> Forger {
        let mallory = self.scene.forger("mallory");
        invite(&mut self.scene, &self.alice.token, &self.room_id, &mallory.user);
        self.scene.enter(&mallory.token, &self.room_id);
        mallory
    }

    /// What the sync with what the phone hands on complains of.
    fn is_discarded(&mut self, content: Value) -> String {
        self.phone_hands_on(content);
        self.alice.sync(&mut self.scene).problems.join(", ")
    }

    /// How Alice reads what Bob said first, or later, perhaps under an id of the server's choice.
    fn said(&mut self, n: usize, event_id: Option<&str>) -> Handed {
        let path =
            format!("rooms/{}/messages?dir=f&limit=100", crate::scene::encoded(&self.room_id));
        let token = self.alice.token.clone();
        let page = self.scene.call(Some(&token), "GET", &path, Value::Null);
        let mut page = crate::scene::parse(&page.body);
        let chunk = page["chunk"].as_array_mut().unwrap();
        chunk.retain(|event| event["type"] == "m.room.encrypted");
        if let Some(id) = event_id {
            chunk[n]["event_id"] = id.into();
        }
        let page = page.to_string();
        let read = self
            .alice
            .machine
            .read_history(self.scene.now, &self.room_id, &page, Unsigned::HandedOver)
            .unwrap();
        read.events.into_iter().nth(n).unwrap()
    }
}

/// `alice` relies on a device of hers.
fn rely(scene: &mut Scene, alice: &mut Person, device: &Forger) {
    alice.machine.refresh_devices(scene.now, std::slice::from_ref(&alice.user)).unwrap();
    alice.reads(scene);
    let key = device.account.ed25519_key().to_base64();
    let (user, trust) = (&device.user, LocalTrust::Verified);
    alice.machine.set_local_trust(scene.now, user, &device.device_id, Some(&key), trust).unwrap();
}

/// A session key in the form in which it is handed on.
fn exported(key: &str) -> String {
    let mut session = megolm::inbound(key).unwrap();
    session.export_at(session.first_known_index()).unwrap().to_base64()
}

/// The same session by its id, and another ratchet.
fn poisoned(content: &Value) -> Value {
    let mut bytes = decode_base64(content["session_key"].as_str().unwrap()).unwrap();
    // Behind the version and the index.
    bytes[5..5 + 128].fill(7);
    let mut poisoned = content.clone();
    poisoned["session_key"] = encode_base64(&bytes).into();
    poisoned
}

/// CVE-2022-39252: a key that nobody asked for, or that comes from another device than was asked.
#[test]
fn a_key_that_was_not_asked_for_is_discarded() {
    let mut scenery = Scenery::new();
    let key = scenery.bob_says("one");
    let content = scenery.forwarded(&key);
    assert!(scenery.is_discarded(content.clone()).contains("nobody asked"));
    scenery.alice_reads();
    let Scenery { scene, alice, bob, .. } = &mut scenery;
    // A device of hers, too, that was not there when she asked.
    let mut tablet = scene.forger("alice");
    rely(scene, alice, &tablet);
    for sender in [bob, &mut tablet] {
        let payload = sender.payload(alice, "m.forwarded_room_key", content.clone());
        sender.give(scene, alice, &payload);
        let problems = alice.sync(scene).problems;
        assert!(problems[0].contains("that was asked"), "{problems:?}");
    }
    assert_eq!(scenery.alice.machine.undecrypted(scenery.scene.now).unwrap().len(), 1);
}

/// Rule 20: a device that was asked may answer with another key than it was asked for.
#[test]
fn a_key_of_another_session_or_algorithm_is_discarded() {
    let mut scenery = Scenery::new();
    let key = scenery.bob_says("one");
    assert_eq!(scenery.alice_reads(), ["(unknown_session)"]);
    let good = scenery.forwarded(&key);
    let another = exported(&megolm::outbound().session_key().to_base64());
    for (member, value, problem) in [
        ("session_key", json!(another), "not of its session"),
        ("session_key", json!("AAAA"), "not an exported"),
        ("algorithm", json!("m.megolm.v2"), "not for Megolm"),
        ("sender_key", json!(null), "no sender_key"),
        ("sender_claimed_ed25519_key", json!(7), "no sender_claimed_ed25519_key"),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        let found = scenery.is_discarded(bad);
        assert!(found.contains(problem), "{found}");
    }
    assert_eq!(scenery.alice.machine.undecrypted(scenery.scene.now).unwrap().len(), 1);
    scenery.phone_hands_on(good);
    assert_eq!(scenery.alice_reads(), ["one"]);
}

/// A user who forwards a key that reads nothing does not keep the creator's own out.
#[test]
fn a_poisoned_key_gives_way_to_its_makers() {
    let mut scenery = Scenery::new();
    let key = scenery.bob_says("one");
    scenery.alice_reads();
    let poison = poisoned(&scenery.forwarded(&key));
    scenery.phone_hands_on(poison);
    assert_eq!(scenery.alice_reads(), [""; 0]);
    assert_eq!(scenery.waits(), ["(wrong_key)"]);
    scenery.bob_gives(&key);
    scenery.bob_says("two");
    assert_eq!(scenery.alice_reads(), ["one", "two"]);
    assert_eq!(scenery.said(0, None).event.key_source, Some(KeySource::Direct));
}

/// Nor does it keep out the true key where that comes from another device, which proves nothing either,
/// but for this: it reads what waits.
#[test]
fn a_poisoned_key_gives_way_to_one_that_reads() {
    let mut scenery = Scenery::new();
    let early = scenery.bob_says("one");
    let key = scenery.bob_says("two");
    scenery.alice_reads();
    let mut poison = poisoned(&scenery.forwarded(&early));
    // Also where it is said to be of another device.
    for other in [false, true] {
        if other {
            poison["sender_key"] = json!(scenery.phone.account.curve25519_key().to_base64());
        }
        scenery.phone_hands_on(poison.clone());
        assert_eq!(scenery.alice_reads(), [""; 0]);
    }
    assert_eq!(scenery.waits(), ["(wrong_key)", "(wrong_key)"]);
    let content = scenery.forwarded(&key);
    scenery.phone_hands_on(content);
    assert_eq!(scenery.alice_reads(), ["two"]);
    // The poison, once more, changes nothing.
    scenery.phone_hands_on(poison);
    let content = scenery.forwarded(&early);
    scenery.phone_hands_on(content);
    assert_eq!(scenery.alice_reads(), ["one"]);
}

/// Under a key that has read its sender's events, what does not decrypt was altered, and does not wait.
#[test]
fn what_a_proven_key_does_not_read_does_not_wait() {
    let mut scenery = Scenery::new();
    let key = scenery.bob_says("one");
    scenery.alice_reads();
    let content = scenery.forwarded(&key);
    scenery.phone_hands_on(content);
    assert_eq!(scenery.alice_reads(), ["one"]);
    let mut junk = megolm_event(&mut megolm::outbound(), &scenery.room_id, "junk");
    junk["session_id"] = json!(scenery.session.session_id());
    scenery.bob.post(&mut scenery.scene, &scenery.room_id, &junk);
    assert_eq!(scenery.alice_reads(), ["(bad_message)"]);
    assert_eq!(scenery.waits(), [""; 0]);
}

/// Mallory posts junk that names Bob's session before Bob's event is seen: the key is requested on her
/// account, and is not hers.
#[test]
fn a_forwarded_key_has_no_owner() {
    let mut scenery = Scenery::new();
    let mallory = scenery.mallory();
    let key = scenery.session.session_key().to_base64();
    let said = megolm_event(&mut scenery.session, &scenery.room_id, "one");
    let mut junk = said.clone();
    junk["ciphertext"] =
        megolm_event(&mut megolm::outbound(), "!x:here", "x")["ciphertext"].clone();
    mallory.post(&mut scenery.scene, &scenery.room_id, &junk);
    assert_eq!(scenery.alice_reads(), ["(unknown_session)"]);
    let content = scenery.forwarded(&key);
    scenery.phone_hands_on(content);
    scenery.bob.post(&mut scenery.scene, &scenery.room_id, &said);
    assert_eq!(scenery.alice_reads(), ["one"]);
    let row = scenery.said(1, None);
    assert_eq!(row.event.key_source, Some(KeySource::Forwarded));
    // Bob's device is known by now.
    assert_eq!((text_of(&row).as_str(), row.trust), ("one", Trust::Unsigned));
    mallory.post(&mut scenery.scene, &scenery.room_id, &said);
    assert_eq!(scenery.alice_reads(), ["(sender_mismatch)"]);
    scenery.bob_gives(&key);
    scenery.bob_says("two");
    assert_eq!(scenery.alice_reads(), ["two"]);
    assert_eq!(scenery.said(1, None).event.key_source, Some(KeySource::Direct));
}

/// Earlier versions kept it under the name of the user who had named the session.
#[test]
fn a_forwarded_key_of_an_old_store_loses_its_owner() {
    let mut scenery = Scenery::new();
    let mallory = scenery.mallory();
    let key = scenery.session.session_key().to_base64();
    let said = megolm_event(&mut scenery.session, &scenery.room_id, "one");
    let mut session = megolm::inbound(&key).unwrap();
    scenery.alice.look(|tx| {
        tx.put(&InboundSession {
            room_id: scenery.room_id.clone(),
            session_id: session.session_id(),
            number: tx.take_number("inbound session")?,
            session: megolm::imported(&session.export_at(0).unwrap().to_base64())?,
            sender: Some(mallory.user.clone()),
            sender_key: scenery.bob.account.curve25519_key().to_base64(),
            sender_signing_key: scenery.bob.account.ed25519_key().to_base64(),
            source: KeySource::Forwarded,
            forwarder: Some("PHONE".into()),
            shared_history: false,
            changed: tx.take_number("session change")?,
            first_read: 0,
        })
    });
    scenery.bob.post(&mut scenery.scene, &scenery.room_id, &said);
    assert_eq!(scenery.alice_reads(), ["one"]);
    mallory.post(&mut scenery.scene, &scenery.room_id, &said);
    assert_eq!(scenery.alice_reads(), ["(sender_mismatch)"]);
}

/// Nor does it take the place of what the creator gave.
#[test]
fn a_poisoned_key_does_not_replace_its_makers() {
    let mut scenery = Scenery::new();
    let early = scenery.bob_says("one");
    let key = scenery.bob_says("two");
    scenery.bob_gives(&key);
    assert_eq!(scenery.alice_reads(), ["(unknown_index)", "two"]);
    let poison = poisoned(&scenery.forwarded(&early));
    scenery.phone_hands_on(poison);
    scenery.bob_says("three");
    assert_eq!(scenery.alice_reads(), ["three"]);
}

/// A lower index of the same ratchet is taken from anybody, and who made it is known as before.
#[test]
fn a_lower_index_of_a_makers_own_key_stays_the_makers() {
    let mut scenery = Scenery::new();
    let early = scenery.bob_says("one");
    let key = scenery.bob_says("two");
    scenery.bob_gives(&key);
    assert_eq!(scenery.alice_reads(), ["(unknown_index)", "two"]);
    let content = scenery.forwarded(&early);
    scenery.phone_hands_on(content);
    assert_eq!(scenery.alice_reads(), ["one"]);
    let first = scenery.said(0, None).event;
    assert_eq!((first.key_source, first.forwarder), (Some(KeySource::Direct), None));
}

/// The creator's own word is worth more than the phone's, and takes nothing away: neither what can
/// be read, nor the memory of which event stands at an index.
#[test]
fn a_key_that_was_handed_on_becomes_its_makers() {
    for later in [false, true] {
        let mut scenery = Scenery::new();
        let early = scenery.bob_says("one");
        let late = scenery.bob_says("two");
        scenery.alice_reads();
        let content = scenery.forwarded(if later { &early } else { &late });
        scenery.phone_hands_on(content);
        scenery.alice_reads();
        scenery.bob_gives(if later { &late } else { &early });
        scenery.alice_reads();
        assert_eq!(text_of(&scenery.said(1, Some("$other"))), "(replayed)");
        let first = scenery.said(0, None);
        assert_eq!(text_of(&first), "one", "the maker's comes from later: {later}");
        assert_eq!(first.event.key_source, Some(KeySource::Direct));
        assert_eq!(first.event.forwarder, None);
    }
}
