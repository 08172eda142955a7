//! What a server or a stranger may do with a dehydrated device of ours, and what those of others are
//! given.

use mxcrypt_core::{
    Kind,
    judgement::secret_storage::{SecretStorage, StorageSecret},
    machine::{Machine, RehydratedKeys, Rehydration, Storage},
    primitives::{
        account,
        canonical_json::Json,
        dehydrated_device::{DehydrationKey, SECRET},
        olm,
    },
    store::{
        Query,
        records::{
            InboundSession, Isolation, KeyShare, KeySource, LocalTrust, OlmRepair, OlmSession,
        },
    },
};
use mxcrypt_model_server::{Request, Response};
use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey,
    megolm::GroupSession,
    olm::{Account, Session},
};

use crate::{
    identities::{ask_about, make_identity},
    scene::{Person, Scene, parse, room_key},
};

const ROOM: &str = "!r:here";
const MALLORY: &str = "@mallory:here";

/// Alice has an identity, secret storage, and a dehydrated device.
struct Scenery {
    scene: Scene,
    alice: Person,
    storage: SecretStorage,
    recovery_key: String,
    /// As it was put on the server.
    device: Value,
}

fn scenery() -> Scenery {
    let mut scene = Scene::new();
    let mut alice = scene.person("alice");
    alice
        .machine
        .make_identity(scene.now, &Storage::New { passphrase: None }, false, false)
        .unwrap();
    let mut data = alice
        .machine
        .identity_account_data(scene.now, &SecretStorage::read("{}").unwrap())
        .unwrap();
    let recovery_key = alice.machine.recovery_key().unwrap().unwrap().to_string();
    make_identity(&mut scene, &mut alice);
    let secret = StorageSecret::RecoveryKey(&recovery_key);
    let sealed = alice.machine.seal_dehydration_key(&read(&data), secret).unwrap();
    data.push((SECRET.into(), sealed.unwrap()));
    let storage = read(&data);
    // The key that is there is used.
    assert_eq!(alice.machine.seal_dehydration_key(&storage, secret).unwrap(), None);
    let device = parse(&alice.machine.make_dehydrated_device(&storage, secret).unwrap().1);
    Scenery { scene, alice, storage, recovery_key, device }
}

fn read(data: &[(String, String)]) -> SecretStorage {
    let event =
        |(kind, content): &(String, String)| json!({"type": kind, "content": parse(content)});
    let events: Vec<Value> = data.iter().map(event).collect();
    SecretStorage::read(&json!({"account_data": {"events": events}}).to_string()).unwrap()
}

impl Scenery {
    fn put(&mut self) {
        let request = Request {
            method: "PUT".into(),
            path: "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device".into(),
            token: Some(self.alice.token.clone()),
            body: self.device.to_string().into_bytes(),
        };
        assert_eq!(self.scene.server.handle(0, &request).status, 200);
    }

    fn device_id(&self) -> &str {
        self.device["device_id"].as_str().unwrap()
    }

    fn open(&self) -> Result<Rehydration, Kind> {
        let secret = StorageSecret::RecoveryKey(&self.recovery_key);
        let stored = json!({"device_id": self.device["device_id"],
            "device_data": self.device["device_data"]});
        let opened = Rehydration::open(&self.storage, secret, &stored.to_string());
        opened.map_err(|error| error.kind)
    }

    /// The account of the device, in the hands of the process that opened it.
    fn account(&self) -> Account {
        let secret = StorageSecret::RecoveryKey(&self.recovery_key);
        let key = self.storage.fetch(SECRET, secret).unwrap().unwrap();
        let data = Json::parse_object(&self.device["device_data"].to_string()).unwrap();
        DehydrationKey::from_base64(&key).unwrap().open(&data).unwrap()
    }

    /// What comes of events that the device was sent.
    fn receive(&mut self, events: &[Value]) -> RehydratedKeys {
        let mut device = self.open().unwrap();
        receive(&mut self.alice.machine, &mut device, events)
    }

    fn sessions(&self) -> Vec<InboundSession> {
        self.alice.look(|tx| tx.select(&Query::all()))
    }
}

fn receive(machine: &mut Machine, device: &mut Rehydration, events: &[Value]) -> RehydratedKeys {
    let body = json!({"events": events}).to_string();
    machine.receive_dehydrated_events(1, device, &body).unwrap()
}

/// Somebody who sends to the dehydrated device.
struct Sender {
    account: Account,
    session: Session,
    to: Value,
}

impl Sender {
    fn new(device: &Value) -> Self {
        Self::of(Account::new(), device)
    }

    fn of(account: Account, device: &Value) -> Self {
        let id = device["device_id"].as_str().unwrap();
        let identity_key = Curve25519PublicKey::from_base64(id).unwrap();
        let keys = device["one_time_keys"].as_object().unwrap();
        let key = keys.values().next().unwrap()["key"].as_str().unwrap();
        let key = Curve25519PublicKey::from_base64(key).unwrap();
        let session = olm::outbound(&account, identity_key, key).unwrap();
        Self { account, session, to: device.clone() }
    }

    fn payload(&self, event_type: &str, content: Value) -> Value {
        let id = self.to["device_id"].as_str().unwrap();
        json!({
            "type": event_type,
            "content": content,
            "sender": MALLORY,
            "recipient": self.to["device_keys"]["user_id"],
            "keys": {"ed25519": self.account.ed25519_key().to_base64()},
            "recipient_keys": {"ed25519": self.to["device_keys"]["keys"][format!("ed25519:{id}")]},
        })
    }

    fn encrypt(&mut self, payload: &Value) -> Value {
        let sent = olm::encrypt(&mut self.session, payload.to_string().as_bytes()).unwrap();
        let (message_type, body) = olm::parts(&sent);
        let id = self.to["device_id"].as_str().unwrap();
        let part = json!({id: {"type": message_type, "body": body}});
        json!({
            "type": "m.room.encrypted",
            "sender": MALLORY,
            "content": {
                "algorithm": "m.olm.v1.curve25519-aes-sha2",
                "sender_key": self.account.curve25519_key().to_base64(),
                "ciphertext": part,
            },
        })
    }

    fn key(&mut self, session: &GroupSession) -> Value {
        let payload = self.payload("m.room_key", room_key(ROOM, session));
        self.encrypt(&payload)
    }
}

#[test]
fn the_keys_that_it_was_sent_are_kept_as_from_their_maker() {
    let mut own = scenery();
    let mut mallory = Sender::new(&own.device);
    let sessions = [GroupSession::new(Default::default()), GroupSession::new(Default::default())];
    let events: Vec<Value> = sessions.iter().map(|session| mallory.key(session)).collect();
    let found = own.receive(&events);
    let keys = sessions.map(|session| (ROOM.to_owned(), session.session_id())).to_vec();
    assert_eq!(found, RehydratedKeys { keys: keys.clone(), ..RehydratedKeys::default() });
    let kept = own.sessions();
    assert_eq!(kept.len(), 2);
    for session in &kept {
        assert_eq!(session.source, KeySource::Direct);
        assert_eq!(session.sender.as_deref(), Some(MALLORY));
        assert_eq!(session.sender_key, mallory.account.curve25519_key().to_base64());
    }
    // A process that starts over finds the same, and changes nothing; also where one event is
    // missing.
    assert_eq!(own.receive(&events).keys, keys);
    assert_eq!(own.receive(&events[1..]).keys, keys[1..]);
    assert_eq!(own.sessions().len(), 2);
    // Nothing of its Olm sessions is left.
    assert_eq!(own.alice.look(|tx| tx.count::<OlmSession>(&Query::all())), 0);
}

#[test]
fn another_device_does_not_open() {
    let mut own = scenery();
    assert!(own.open().is_ok());
    let genuine = own.device.clone();
    let other = {
        let secret = StorageSecret::RecoveryKey(&own.recovery_key);
        parse(&own.alice.machine.make_dehydrated_device(&own.storage, secret).unwrap().1)
    };
    // Of the same key, under another name.
    own.device["device_data"] = other["device_data"].clone();
    assert_eq!(own.open().err(), Some(Kind::DehydratedDevice));
    // Of another key.
    let key = DehydrationKey::random().unwrap();
    let data = Json::Object(key.seal(&own.account()).unwrap()).text().unwrap();
    own.device = genuine.clone();
    own.device["device_data"] = parse(&data);
    assert_eq!(own.open().err(), Some(Kind::DehydratedDevice));
    // Cut short.
    let pickle = genuine["device_data"]["device_pickle"].as_str().unwrap();
    own.device["device_data"]["device_pickle"] = pickle[..pickle.len() / 2].into();
    assert_eq!(own.open().err(), Some(Kind::DehydratedDevice));
    own.device["device_data"]["algorithm"] = "m.other".into();
    assert_eq!(own.open().err(), Some(Kind::DehydratedDevice));
}

#[test]
fn events_that_repeat_bring_nothing_and_come_to_an_end() {
    let mut own = scenery();
    let event = Sender::new(&own.device).key(&GroupSession::new(Default::default()));
    let mut device = own.open().unwrap();
    let body = json!({"events": [event, event], "next_batch": "d1"}).to_string();
    let machine = &mut own.alice.machine;
    let first = machine.receive_dehydrated_events(1, &mut device, &body).unwrap();
    assert_eq!((first.keys.len(), first.problems.len()), (1, 0));
    let again = |_| machine.receive_dehydrated_events(1, &mut device, &body);
    let mut answers = (0..200).map(again).skip_while(Result::is_ok);
    assert_eq!(answers.next().unwrap().unwrap_err().kind, Kind::Answer);
    drop(answers);
    // Batches that hold nothing may come; the last one is always taken.
    let empty = json!({"events": []}).to_string();
    assert!(own.alice.machine.receive_dehydrated_events(1, &mut device, &empty).is_ok());
}

#[test]
fn what_was_not_for_the_device_is_left_out() {
    let mut own = scenery();
    let session = GroupSession::new(Default::default());
    let mut mallory = Sender::new(&own.device);
    let own_key = own.alice.identity_key();
    let mut for_alice = mallory.key(&session);
    let part = for_alice["content"]["ciphertext"][own.device_id()].take();
    for_alice["content"]["ciphertext"] = json!({own_key: part});
    let signing_key = own.alice.machine.identity_keys().unwrap().ed25519.to_base64();
    let changed = |mallory: &mut Sender, name: &str, value: Value| {
        let mut payload = mallory.payload("m.room_key", room_key(ROOM, &session));
        payload[name] = value;
        mallory.encrypt(&payload)
    };
    let events = [
        for_alice,
        changed(&mut mallory, "recipient_keys", json!({"ed25519": signing_key})),
        changed(&mut mallory, "recipient", MALLORY.into()),
        json!({"type": "m.room.encrypted", "sender": MALLORY, "content": {}}),
        json!({"type": "m.room.encrypted", "sender": "nobody"}),
        json!(5),
    ];
    let found = own.receive(&events);
    assert_eq!((found.keys.len(), found.problems.len()), (0, events.len()));
    assert!(own.sessions().is_empty());
}

#[test]
fn a_sender_whose_keys_do_not_fit_gives_no_key() {
    let mut own = scenery();
    // Mallory's device is known with another Ed25519 key than she claims.
    let forger = own.scene.forger("mallory");
    ask_about(&mut own.scene, &mut own.alice, &[MALLORY], |response| response);
    let session = GroupSession::new(Default::default());
    let mut mallory = Sender::of(forger.account, &own.device);
    let mut claims = mallory.payload("m.room_key", room_key(ROOM, &session));
    claims["keys"]["ed25519"] = Account::new().ed25519_key().to_base64().into();
    let mut rewritten = mallory.key(&session);
    rewritten["sender"] = "@bob:here".into();
    let events = [mallory.encrypt(&claims), rewritten];
    let found = own.receive(&events);
    assert_eq!((found.keys.len(), found.problems.len()), (0, 2), "{:?}", found.problems);
    // The same, honestly.
    let honest = mallory.key(&session);
    let found = own.receive(&[events[0].clone(), honest]);
    assert_eq!((found.keys.len(), found.problems.len()), (1, 1));
}

#[test]
fn nothing_but_room_keys_is_taken() {
    let mut own = scenery();
    let mut mallory = Sender::new(&own.device);
    let content = json!({"request_id": "r", "secret": "x", "room_id": ROOM, "transaction_id": "t",
        "from_device": "D", "methods": ["m.sas.v1"], "timestamp": 1});
    let mut events = Vec::new();
    for event_type in
        ["m.secret.send", "m.forwarded_room_key", "m.dummy", "m.key.verification.request"]
    {
        events.push(mallory.encrypt(&mallory.payload(event_type, content.clone())));
        events.push(json!({"type": event_type, "sender": MALLORY, "content": content}));
    }
    let session = GroupSession::new(Default::default());
    events.push(
        json!({"type": "m.room_key", "sender": MALLORY, "content": room_key(ROOM, &session)}),
    );
    assert_eq!(own.receive(&events), RehydratedKeys::default());
    assert!(own.sessions().is_empty());
    assert!(own.alice.machine.verifications().unwrap().is_empty());
}

/// Takes the signature of the owner's identity from device keys.
fn unsigned(device: &mut Value) {
    let id = device["device_id"].as_str().unwrap().to_owned();
    let user = device["device_keys"]["user_id"].as_str().unwrap().to_owned();
    let signatures = device["device_keys"]["signatures"][&user].as_object_mut().unwrap();
    assert_eq!(signatures.len(), 2);
    signatures.retain(|name, _| *name == format!("ed25519:{id}"));
}

#[test]
fn a_dehydrated_device_is_given_keys_only_where_its_owner_signed_it() {
    for mode in [Isolation::All, Isolation::VerifiedUsers, Isolation::Signed] {
        for signed in [true, false] {
            let mut own = scenery();
            if !signed {
                unsigned(&mut own.device);
            }
            own.put();
            let Scenery { mut scene, mut alice, device, .. } = own;
            let mut bob = scene.person("bob");
            make_identity(&mut scene, &mut bob);
            bob.machine.set_isolation(scene.now, mode).unwrap();
            let room_id = scene.room(&mut [&mut bob, &mut alice]);
            bob.say(&mut scene, &room_id, "hello");
            let shares = bob.look(|tx| tx.select::<KeyShare>(&Query::all()));
            let given = shares.iter().any(|share| share.device_id == device["device_id"]);
            assert_eq!(given, signed, "{mode:?}");
            // Its owner's other device is no worse off for it.
            assert!(shares.iter().any(|share| share.device_id == alice.device_id), "{mode:?}");
        }
    }
}

/// Not even if somebody compared its fingerprint: it has to be signed.
#[test]
fn a_fingerprint_is_no_signature() {
    let mut own = scenery();
    unsigned(&mut own.device);
    own.put();
    let device_id = own.device_id().to_owned();
    let fingerprint = own.account().ed25519_key().to_base64();
    let Scenery { mut scene, mut alice, .. } = own;
    let mut bob = scene.person("bob");
    let room_id = scene.room(&mut [&mut bob, &mut alice]);
    ask_about(&mut scene, &mut bob, &["@alice:here"], |response| response);
    let local = LocalTrust::Verified;
    bob.machine
        .set_local_trust(scene.now, "@alice:here", &device_id, Some(&fingerprint), local)
        .unwrap();
    bob.say(&mut scene, &room_id, "hello");
    let shares = bob.look(|tx| tx.select::<KeyShare>(&Query::all()));
    assert!(shares.iter().all(|share| share.device_id != device_id));
}

/// Sends to `to` what the dehydrated device of Alice says: `payload` over Olm.
fn says(own: &Scenery, to: &mut Person, one_time_key: &str, event_type: &str) -> Value {
    let account = own.account();
    let keys = to.machine.identity_keys().unwrap();
    let key = Curve25519PublicKey::from_base64(one_time_key).unwrap();
    let mut session = olm::outbound(&account, keys.curve25519, key).unwrap();
    let payload = json!({
        "type": event_type,
        "content": room_key(ROOM, &GroupSession::new(Default::default())),
        "sender": "@alice:here",
        "recipient": to.user,
        "keys": {"ed25519": account.ed25519_key().to_base64()},
        "recipient_keys": {"ed25519": keys.ed25519.to_base64()},
    });
    let sent = olm::encrypt(&mut session, payload.to_string().as_bytes()).unwrap();
    let (message_type, body) = olm::parts(&sent);
    json!({
        "type": "m.room.encrypted",
        "sender": "@alice:here",
        "content": {
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": account.curve25519_key().to_base64(),
            "ciphertext": {keys.curve25519.to_base64(): {"type": message_type, "body": body}},
        },
    })
}

#[test]
fn what_a_dehydrated_device_says_is_dropped() {
    let mut own = scenery();
    own.put();
    let mut bob = own.scene.person("bob");
    let claim = json!({"one_time_keys": {"@bob:here": {&bob.device_id: "signed_curve25519"}}});
    let token = own.alice.token.clone();
    let mut claimed = || {
        let answer = own.scene.call(Some(&token), "POST", "keys/claim", claim.clone());
        let keys = parse(&answer.body)["one_time_keys"]["@bob:here"][&bob.device_id].clone();
        keys.as_object().unwrap().values().next().unwrap()["key"].as_str().unwrap().to_owned()
    };
    let keys = [claimed(), claimed()];
    let kept = |bob: &Person| bob.look(|tx| tx.count::<InboundSession>(&Query::all()));
    // Before it is known what it is, it is a device like any other.
    let event = says(&own, &mut bob, &keys[0], "m.room_key");
    give(&mut own.scene, &mut bob, event);
    assert_eq!(kept(&bob), 1);
    ask_about(&mut own.scene, &mut bob, &["@alice:here"], |response: Response| response);
    let event = says(&own, &mut bob, &keys[1], "m.room_key");
    give(&mut own.scene, &mut bob, event);
    assert_eq!(kept(&bob), 1);
    // Neither does it verify, or ask for anything.
    let request = json!({"from_device": own.device_id(), "methods": ["m.sas.v1"],
        "transaction_id": "t", "timestamp": own.scene.now});
    let request = json!({"type": "m.key.verification.request", "sender": "@alice:here",
        "content": request});
    give(&mut own.scene, &mut bob, request.clone());
    assert!(bob.machine.verifications().unwrap().is_empty());
    let mut of_another = request;
    of_another["content"]["from_device"] = own.alice.device_id.clone().into();
    give(&mut own.scene, &mut bob, of_another);
    assert_eq!(bob.machine.verifications().unwrap().len(), 1);
}

fn give(scene: &mut Scene, to: &mut Person, event: Value) {
    to.sync_with(scene, |answer| answer["to_device"] = json!({"events": [event]}));
}

/// A device that says of itself, inside of its first message, that it is dehydrated.
#[test]
fn a_dehydrated_device_that_introduces_itself_is_dropped_too() {
    let mut own = scenery();
    let mut mallory = Sender::new(&own.device);
    let session = GroupSession::new(Default::default());
    let mut payload = mallory.payload("m.room_key", room_key(ROOM, &session));
    let keys = account::dehydrated_device_keys(&mallory.account, MALLORY).unwrap();
    payload["sender_device_keys"] = parse(&Json::Object(keys).text().unwrap());
    let event = mallory.encrypt(&payload);
    let found = own.receive(&[event]);
    assert_eq!((found.keys.len(), found.problems.len()), (0, 1));
}

/// One that is known is one under every name.
#[test]
fn a_dehydrated_device_gives_the_next_one_no_keys() {
    let mut own = scenery();
    own.put();
    ask_about(&mut own.scene, &mut own.alice, &["@alice:here"], |response| response);
    let first = own.account();
    let secret = StorageSecret::RecoveryKey(&own.recovery_key);
    own.device = parse(&own.alice.machine.make_dehydrated_device(&own.storage, secret).unwrap().1);
    for (account, given) in [(Account::new(), 1), (first, 0)] {
        let mut sender = Sender::of(account, &own.device);
        let key = room_key(ROOM, &GroupSession::new(Default::default()));
        let mut payload = sender.payload("m.room_key", key);
        payload["sender"] = "@alice:here".into();
        let mut event = sender.encrypt(&payload);
        event["sender"] = "@alice:here".into();
        assert_eq!(own.receive(&[event]).keys.len(), given);
    }
}

/// Whether anybody wanted a one-time key of the device, to send it something over Olm.
fn is_claimed(own: &Scenery) -> bool {
    let claim = format!("\"{}\":\"signed_curve25519\"", own.device_id());
    own.scene.server.seen().any(|body| String::from_utf8_lossy(body).contains(&claim))
}

/// What it says comes before it is known what it is.
#[test]
fn no_session_is_made_to_answer_a_dehydrated_device() {
    let mut own = scenery();
    let room_id = own.scene.room(&mut [&mut own.alice]);
    own.alice.say(&mut own.scene, &room_id, "hello");
    let session = own.sessions().remove(0);
    own.put();
    let request = json!({"action": "request", "requesting_device_id": own.device_id(),
        "request_id": "r", "body": {"algorithm": crate::scene::MEGOLM, "room_id": room_id,
        "session_id": session.session_id}});
    let request =
        json!({"type": "m.room_key_request", "sender": "@alice:here", "content": request});
    give(&mut own.scene, &mut own.alice, request);
    assert_eq!(own.alice.pump(&mut own.scene), Vec::new());
    assert!(!is_claimed(&own));

    let mut bob = own.scene.person("bob");
    let some_key = own.alice.identity_key();
    let broken = says(&own, &mut bob, &some_key, "m.room_key");
    give(&mut own.scene, &mut bob, broken);
    assert_eq!(bob.look(|tx| tx.count::<OlmRepair>(&Query::all())), 1);
    assert_eq!(bob.pump(&mut own.scene), Vec::new());
    assert!(!is_claimed(&own));
    assert_eq!(bob.look(|tx| tx.count::<OlmRepair>(&Query::all())), 0);
}

#[test]
fn nobody_asks_a_dehydrated_device() {
    let mut own = scenery();
    own.put();
    let Scenery { mut scene, mut alice, device, .. } = own;
    let mut laptop = scene.person("alice");
    ask_about(&mut scene, &mut alice, &["@alice:here"], |response| response);
    let fingerprint = laptop.machine.identity_keys().unwrap().ed25519.to_base64();
    let body = alice.machine.device_signature_upload(&laptop.device_id, &fingerprint).unwrap();
    scene.call(Some(&alice.token), "POST", "keys/signatures/upload", parse(&body));
    // The laptop is signed, relies on its identity, and lacks its private keys.
    ask_about(&mut scene, &mut laptop, &["@alice:here"], |response| response);
    let fingerprint = alice.machine.identity_keys().unwrap().ed25519.to_base64();
    let local = LocalTrust::Verified;
    let device_id = device["device_id"].as_str().unwrap();
    let dehydrated = device["device_keys"]["keys"][format!("ed25519:{device_id}")].as_str();
    for (id, key) in [(alice.device_id.as_str(), Some(&*fingerprint)), (device_id, dehydrated)] {
        laptop.machine.set_local_trust(scene.now, "@alice:here", id, key, local).unwrap();
    }
    scene.now += 60_000;
    assert_eq!(laptop.pump(&mut scene), Vec::new());
    let asked: Vec<Value> = scene
        .server
        .seen()
        .filter_map(|body| serde_json::from_slice::<Value>(body).ok())
        .filter(|body| body.to_string().contains("requesting_device_id"))
        .collect();
    assert!(!asked.is_empty());
    for body in asked {
        let to = body["messages"]["@alice:here"].as_object().unwrap();
        assert_eq!(to.keys().collect::<Vec<_>>(), [&alice.device_id]);
    }
    let only = laptop.machine.request_verification(scene.now, "@alice:here", Some(device_id), None);
    assert!(only.is_err());
}
