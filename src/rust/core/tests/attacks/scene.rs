//! A homeserver, and people with devices: honest ones, and one who forges.

use std::collections::{BTreeMap, BTreeSet};

use mxcrypt_core::{
    Result,
    machine::{
        Awaited, Handed, Machine, Message, Reply, SyncReport, Trouble, Unsigned, WireRequest,
    },
    primitives::{account, olm, store_key::StoreKey},
    store::{
        Store, Transaction,
        records::{Isolation, KeyBackup},
    },
};
use mxcrypt_model_server::{ModelServer, Request, Response};
use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey,
    olm::{Account, Session},
};

use crate::database::Disk;

pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";

/// All kinds of requests.
const KINDS: [&str; 16] = [
    "keys_upload",
    "keys_query",
    "keys_claim",
    "encryption",
    "history_visibility",
    "members",
    "gap",
    "signature",
    "backup_version",
    "back_up",
    "backed_up_key",
    "key_bundle",
    "upload",
    "send",
    "cancel_delayed",
    "list_delayed",
];

pub struct Scene {
    pub server: ModelServer,
    pub now: i64,
}

/// A day in 2027: what was written without a clock is older than any bound.
const TODAY: i64 = 1_800_000_000_000;

impl Scene {
    pub fn new() -> Self {
        Self { server: ModelServer::new("here"), now: TODAY }
    }

    pub fn call(&mut self, token: Option<&str>, method: &str, path: &str, body: Value) -> Response {
        let request = Request {
            method: method.into(),
            path: format!("/_matrix/client/v3/{path}"),
            token: token.map(str::to_owned),
            body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        };
        self.server.handle(self.now as u64, &request)
    }

    pub fn login(&mut self, name: &str) -> (String, String, String) {
        let body = json!({"username": name, "password": "pw", "inhibit_login": true,
            "auth": {"type": "m.login.dummy"}});
        self.call(None, "POST", "register", body);
        let body = json!({"type": "m.login.password", "password": "pw",
            "identifier": {"type": "m.id.user", "user": name}});
        let answer: Value =
            serde_json::from_str(&self.call(None, "POST", "login", body).body).unwrap();
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        (text("user_id"), text("device_id"), text("access_token"))
    }

    /// A device of `name`, with its keys on the server and its first sync behind it.
    pub fn person(&mut self, name: &str) -> Person {
        let mut person = self.newcomer(name);
        person.sync(self);
        person.pump(self);
        person
    }

    /// A device of `name` that has signed in, and no more.
    pub fn newcomer(&mut self, name: &str) -> Person {
        let (user, device_id, token) = self.login(name);
        let (disk, key) = (Disk::default(), StoreKey::generate().unwrap());
        let machine = open(&disk, &key);
        let now = self.now;
        let mut person = Person { user, device_id, token, disk, key, machine, now };
        person.machine.bind(&person.user, &person.device_id).unwrap();
        // Nobody here has an identity.
        person.machine.set_isolation(self.now, Isolation::All).unwrap();
        person
    }

    /// A machine of the same device on a new store, which has not synced.
    pub fn unsynced(&mut self, person: &Person) -> Machine {
        let mut machine = open(&Disk::default(), &person.key);
        machine.bind(&person.user, &person.device_id).unwrap();
        machine.set_isolation(self.now, Isolation::All).unwrap();
        let upload = machine.requests(self.now).unwrap().requests.pop().unwrap();
        let reply = Reply::Answer {
            status: 200,
            body: r#"{"one_time_key_counts":{"signed_curve25519":50}}"#.into(),
        };
        machine.replies(self.now, vec![(upload.number, reply)]).unwrap();
        machine
    }

    /// Someone with a device whose every message is made by hand.
    pub fn forger(&mut self, name: &str) -> Forger {
        let (user, device_id, token) = self.login(name);
        let account = Account::new();
        let device_keys = account::device_keys(&account, &user, &device_id).unwrap();
        let body = json!({"device_keys": parse(&device_keys)});
        assert_eq!(self.call(Some(&token), "POST", "keys/upload", body).status, 200);
        Forger { user, device_id, token, account, sessions: BTreeMap::new() }
    }

    /// An encrypted room of `people`, who have all synced since.
    pub fn room(&mut self, people: &mut [&mut Person]) -> String {
        self.room_with(people, json!({"algorithm": MEGOLM}))
    }

    pub fn room_with(&mut self, people: &mut [&mut Person], encryption: Value) -> String {
        let users: Vec<String> = people.iter().map(|person| person.user.clone()).collect();
        let state = json!([{"type": "m.room.encryption", "state_key": "", "content": encryption}]);
        let state = if encryption.is_null() { json!([]) } else { state };
        let mut invite = users[1..].to_vec();
        invite.retain(|user| *user != users[0]);
        invite.dedup();
        let body = json!({"preset": "private_chat", "invite": invite, "initial_state": state});
        let token = people[0].token.clone();
        let made: Value =
            serde_json::from_str(&self.call(Some(&token), "POST", "createRoom", body).body)
                .unwrap();
        let room_id = made["room_id"].as_str().unwrap().to_owned();
        for person in people.iter() {
            self.enter(&person.token, &room_id);
        }
        for person in people.iter_mut() {
            person.sync(self);
        }
        room_id
    }

    pub fn enter(&mut self, token: &str, room_id: &str) {
        let path = format!("join/{}", encoded(room_id));
        assert_eq!(self.call(Some(token), "POST", &path, json!({})).status, 200);
    }

    pub fn leave(&mut self, token: &str, room_id: &str) {
        let path = format!("rooms/{}/leave", encoded(room_id));
        assert_eq!(self.call(Some(token), "POST", &path, json!({})).status, 200);
    }
}

pub fn encoded(id: &str) -> String {
    id.replace('!', "%21").replace(':', "%3A").replace('$', "%24")
}

pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn open(disk: &Disk, key: &StoreKey) -> Machine {
    Machine::new(Store::new(disk.open(), key.clone(), [1; 16]).unwrap())
}

pub struct Person {
    pub user: String,
    pub device_id: String,
    pub token: String,
    pub disk: Disk,
    pub key: StoreKey,
    pub machine: Machine,
    /// When it last had to do with the server.
    pub now: i64,
}

impl Person {
    /// The process ends, and another begins on the same store.
    pub fn restart(&mut self) {
        self.machine = self.another();
    }

    /// Another process on the same store.
    pub fn another(&self) -> Machine {
        open(&self.disk, &self.key)
    }

    /// Looks into the store as the process itself can.
    pub fn look<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T>) -> T {
        let mut store = Store::new(self.disk.open(), self.key.clone(), [1; 16]).unwrap();
        store.transaction(f).unwrap()
    }

    /// Makes the version of the backup due to be requested, as if it had not been for long.
    pub fn wants_backup_version(&self) {
        self.look(|tx| {
            let backup: KeyBackup = tx.get_single()?.unwrap_or_default();
            tx.put_single(&KeyBackup { look: true, failure: None, ..backup })
        });
    }

    pub fn identity_key(&mut self) -> String {
        self.machine.identity_keys().unwrap().curve25519.to_base64()
    }

    /// The response to the next sync, as the server gives it, and the token it goes on from.
    pub fn sync_answer(&mut self, scene: &mut Scene) -> (Option<String>, Value) {
        let since = self.machine.sync_token().unwrap();
        let query = since.as_ref().map_or_else(String::new, |since| format!("?since={since}"));
        let answer = scene.call(Some(&self.token), "GET", &format!("sync{query}"), Value::Null);
        (since, parse(&answer.body))
    }

    pub fn sync(&mut self, scene: &mut Scene) -> SyncReport {
        self.sync_with(scene, |_| {})
    }

    /// A sync whose response the server has tampered with.
    pub fn sync_with(&mut self, scene: &mut Scene, tamper: impl FnOnce(&mut Value)) -> SyncReport {
        self.now = scene.now;
        let (since, mut answer) = self.sync_answer(scene);
        tamper(&mut answer);
        self.machine.receive_sync(scene.now, since.as_deref(), &answer.to_string()).unwrap()
    }

    pub fn pump(&mut self, scene: &mut Scene) -> Vec<Trouble> {
        self.pump_with(scene, |_, response| response)
    }

    /// Performs what is due; the server may tamper with responses, by their requests. What failed before is
    /// tried once more.
    pub fn pump_with(
        &mut self,
        scene: &mut Scene,
        tamper: impl FnMut(&str, Response) -> Response,
    ) -> Vec<Trouble> {
        let kinds = KINDS.map(str::to_owned).into();
        let since = self.machine.failures().unwrap();
        self.pump_for(scene, Awaited { kinds, since, ..Awaited::default() }, tamper).0
    }

    /// Performs what is due for a caller who waits for something. Says what failed, and what is held up.
    pub fn pump_for(
        &mut self,
        scene: &mut Scene,
        awaited: Awaited,
        mut tamper: impl FnMut(&str, Response) -> Response,
    ) -> (Vec<Trouble>, BTreeMap<String, Trouble>) {
        self.now = scene.now;
        let mut troubles = Vec::new();
        for _ in 0..100 {
            let due = match self.machine.requests_for(scene.now, &awaited) {
                Ok(requests) => requests,
                Err(error) => {
                    troubles.push(Trouble {
                        number: 0,
                        kind: "requests".into(),
                        subject: "requests".into(),
                        room_id: None,
                        status: 0,
                        code: error.kind.code().into(),
                        message: error.message,
                    });
                    return (troubles, BTreeMap::new());
                }
            };
            if due.sync_first {
                self.sync(scene);
            } else if due.requests.is_empty() {
                return (troubles, due.held_up);
            }
            let mut stopped = BTreeSet::new();
            for request in due.requests {
                let reply = if request.lane.as_ref().is_some_and(|lane| stopped.contains(lane)) {
                    Reply::NotTried
                } else {
                    self.perform(scene, &request, &mut tamper)
                };
                let found = self.machine.replies(scene.now, vec![(request.number, reply)]).unwrap();
                if !found.is_empty() {
                    stopped.extend(request.lane);
                }
                troubles.extend(found);
            }
        }
        panic!("the pump does not come to an end");
    }

    fn perform(
        &self,
        scene: &mut Scene,
        request: &WireRequest,
        tamper: &mut impl FnMut(&str, Response) -> Response,
    ) -> Reply {
        let http = Request {
            method: request.method.into(),
            path: request.path.clone(),
            token: Some(self.token.clone()),
            body: request.body.clone().unwrap_or_default().into_bytes(),
        };
        let response = scene.server.handle(scene.now as u64, &http);
        let response = tamper(request.kind, response);
        match response.status {
            0 => Reply::NoAnswer,
            status => Reply::Answer { status, body: response.body },
        }
    }

    pub fn queue(&mut self, scene: &Scene, room_id: &str, text: &str) -> i64 {
        let message = Message {
            room_id: room_id.to_owned(),
            event_type: "m.room.message".into(),
            content: json!({"msgtype": "m.text", "body": text}).to_string(),
            transaction_id: None,
            demand_encryption: false,
            audience: None,
        };
        self.machine.send(scene.now, vec![message]).unwrap()[0]
    }

    pub fn say(&mut self, scene: &mut Scene, room_id: &str, text: &str) {
        self.queue(scene, room_id, text);
        assert_eq!(self.pump(scene), Vec::new());
    }

    /// All events that are new to it.
    pub fn events(&mut self) -> Vec<Handed> {
        let rows = self.machine.take(self.now, "test", 10_000, Unsigned::AsTheModeSays).unwrap();
        if let Some(last) = rows.last() {
            self.machine.handed(self.now, "test", last.number).unwrap();
        }
        rows
    }

    /// The texts of new messages that it can read, and the reasons of those it cannot.
    pub fn reads(&mut self, scene: &mut Scene) -> Vec<String> {
        self.sync(scene);
        self.pump(scene);
        self.new_texts()
    }

    pub fn new_texts(&mut self) -> Vec<String> {
        self.events().iter().filter(|row| row.event.encrypted).map(text_of).collect()
    }
}

pub fn text_of(row: &Handed) -> String {
    match &row.event.unreadable {
        Some(reason) => format!("({})", reason.code),
        None => parse(&row.event.content)["body"].as_str().unwrap_or_default().to_owned(),
    }
}

pub struct Forger {
    pub user: String,
    pub device_id: String,
    pub token: String,
    pub account: Account,
    pub sessions: BTreeMap<String, Session>,
}

impl Forger {
    /// A payload that would be accepted.
    pub fn payload(&self, to: &mut Person, event_type: &str, content: Value) -> Value {
        let to_keys = to.machine.identity_keys().unwrap();
        json!({
            "type": event_type,
            "content": content,
            "sender": self.user,
            "recipient": to.user,
            "keys": {"ed25519": self.account.ed25519_key().to_base64()},
            "recipient_keys": {"ed25519": to_keys.ed25519.to_base64()},
        })
    }

    /// The content of an encrypted to-device event that holds `payload`.
    pub fn encrypt(&mut self, scene: &mut Scene, to: &mut Person, payload: &[u8]) -> Value {
        if !self.sessions.contains_key(&to.user) {
            let session = self.open_session(scene, to);
            self.sessions.insert(to.user.clone(), session);
        }
        let session = self.sessions.get_mut(&to.user).unwrap();
        let (message_type, body) = olm::parts(&olm::encrypt(session, payload).unwrap());
        let identity_key = to.identity_key();
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": self.account.curve25519_key().to_base64(),
            "ciphertext": {identity_key: {"type": message_type, "body": body}},
        })
    }

    fn open_session(&self, scene: &mut Scene, to: &mut Person) -> Session {
        let body = json!({"one_time_keys": {&to.user: {&to.device_id: "signed_curve25519"}}});
        let answer = scene.call(Some(&self.token), "POST", "keys/claim", body);
        let answer = parse(&answer.body);
        let keys = answer["one_time_keys"][&to.user][&to.device_id].as_object().unwrap();
        let key = keys.values().next().unwrap()["key"].as_str().unwrap();
        let identity_key = Curve25519PublicKey::from_base64(&to.identity_key()).unwrap();
        let key = Curve25519PublicKey::from_base64(key).unwrap();
        olm::outbound(&self.account, identity_key, key).unwrap()
    }

    /// Sends a to-device event through the server.
    pub fn send(&self, scene: &mut Scene, to: &Person, event_type: &str, content: &Value) {
        let body = json!({"messages": {&to.user: {&to.device_id: content}}});
        let transaction = scene.now;
        scene.now += 1;
        let path = format!("sendToDevice/{event_type}/{transaction}");
        assert_eq!(scene.call(Some(&self.token), "PUT", &path, body).status, 200);
    }

    /// Gives `to` a room key over Olm, in a payload that was changed.
    pub fn give_key(
        &mut self,
        scene: &mut Scene,
        to: &mut Person,
        content: Value,
        change: impl FnOnce(&mut Value),
    ) {
        let mut payload = self.payload(to, "m.room_key", content);
        change(&mut payload);
        self.give(scene, to, &payload);
    }

    /// Gives `to` a payload over Olm.
    pub fn give(&mut self, scene: &mut Scene, to: &mut Person, payload: &Value) {
        let encrypted = self.encrypt(scene, to, payload.to_string().as_bytes());
        self.send(scene, to, "m.room.encrypted", &encrypted);
    }

    /// Sends a room event as it is.
    pub fn post(&self, scene: &mut Scene, room_id: &str, content: &Value) {
        let transaction = scene.now;
        scene.now += 1;
        let path = format!("rooms/{}/send/m.room.encrypted/{transaction}", encoded(room_id));
        let answer = scene.call(Some(&self.token), "PUT", &path, content.clone());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// The content of a room key.
pub fn room_key(room_id: &str, session: &vodozemac::megolm::GroupSession) -> Value {
    json!({
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session.session_id(),
        "session_key": session.session_key().to_base64(),
    })
}

/// The content of a room event that says `text`.
pub fn megolm_event(
    session: &mut vodozemac::megolm::GroupSession,
    room_id: &str,
    text: &str,
) -> Value {
    let payload = json!({"type": "m.room.message", "room_id": room_id,
        "content": {"msgtype": "m.text", "body": text}});
    json!({
        "algorithm": MEGOLM,
        "session_id": session.session_id(),
        "ciphertext": session.encrypt(payload.to_string()).to_base64(),
    })
}

/// The encrypted room events in a sync, to tamper with.
pub fn encrypted_events<'a>(sync: &'a mut Value, room_id: &str) -> Vec<&'a mut Value> {
    let Some(events) = sync["rooms"]["join"][room_id]["timeline"]["events"].as_array_mut() else {
        return Vec::new();
    };
    events.iter_mut().filter(|event| event["type"] == "m.room.encrypted").collect()
}

/// Two users in a room.
pub fn two(encryption: Value) -> (Scene, Person, Person, String) {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room_with(&mut [&mut alice, &mut bob], encryption);
    bob.events();
    alice.events();
    (scene, alice, bob, room_id)
}

/// Makes the server respond to a request of a machine.
pub fn handle(
    scene: &mut Scene,
    token: &str,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Reply {
    let http = Request {
        method: method.into(),
        path: path.into(),
        token: Some(token.to_owned()),
        body: body.unwrap_or_default().into_bytes(),
    };
    let response = scene.server.handle(scene.now as u64, &http);
    Reply::Answer { status: response.status, body: response.body }
}
