//! A few people with one device each, and short ways to let them act.

use mxcrypt_model_server::{ModelServer, Request};
use serde_json::{Value, json};

pub(crate) struct World {
    pub(crate) server: ModelServer,
    pub(crate) now: u64,
    transactions: u64,
}

/// A logged-in device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) id: String,
    pub(crate) token: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { server: ModelServer::default(), now: 1_000, transactions: 0 }
    }

    /// A request as it goes over the wire.
    pub(crate) fn raw(
        &mut self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> (u16, Value) {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            token: token.map(str::to_owned),
            body: body.to_vec(),
        };
        let response = self.server.handle(self.now, &request);
        (response.status, serde_json::from_str(&response.body).unwrap())
    }

    /// A request below `/_matrix/client/v3/`, by someone.
    pub(crate) fn ask(
        &mut self,
        who: &Device,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        self.ask_as(Some(&who.token.clone()), method, path, body)
    }

    pub(crate) fn ask_as(
        &mut self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let path = format!("/_matrix/client/v3/{path}");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.raw(token, method, &path, &body)
    }

    pub(crate) fn get(&mut self, who: &Device, path: &str) -> Value {
        expect_ok(self.ask(who, "GET", path, Value::Null))
    }

    pub(crate) fn post(&mut self, who: &Device, path: &str, body: Value) -> Value {
        expect_ok(self.ask(who, "POST", path, body))
    }

    pub(crate) fn put(&mut self, who: &Device, path: &str, body: Value) -> Value {
        expect_ok(self.ask(who, "PUT", path, body))
    }

    /// The status and code of a request that is to fail.
    pub(crate) fn fails(
        &mut self,
        who: &Device,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, String) {
        refusal(self.ask(who, method, path, body))
    }

    pub(crate) fn register(&mut self, name: &str) -> Device {
        let body = json!({"username": name, "password": "pw", "auth": {"type": "m.login.dummy"}});
        device(&expect_ok(self.ask_as(None, "POST", "register", body)))
    }

    pub(crate) fn log_in(&mut self, name: &str, mut more: Value) -> Value {
        more["type"] = json!("m.login.password");
        more["identifier"] = json!({"type": "m.id.user", "user": name});
        more["password"] = json!("pw");
        expect_ok(self.ask_as(None, "POST", "login", more))
    }

    pub(crate) fn create_room(&mut self, who: &Device, body: Value) -> String {
        text(&self.post(who, "createRoom", body)["room_id"])
    }

    /// A room that everyone is in, the first of them its creator.
    pub(crate) fn room_of(&mut self, people: &[&Device], body: Value) -> String {
        let mut body = body;
        body["preset"] = json!("public_chat");
        let room = self.create_room(people[0], body);
        for person in &people[1..] {
            self.join(person, &room);
        }
        room
    }

    pub(crate) fn encrypted_room_of(&mut self, people: &[&Device]) -> String {
        let encryption =
            json!({"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}});
        self.room_of(people, json!({"initial_state": [encryption]}))
    }

    pub(crate) fn join(&mut self, who: &Device, room: &str) {
        self.post(who, &format!("join/{room}"), json!({}));
    }

    pub(crate) fn leave(&mut self, who: &Device, room: &str) {
        self.post(who, &format!("rooms/{room}/leave"), json!({}));
    }

    pub(crate) fn invite(&mut self, who: &Device, room: &str, user: &str) {
        self.post(who, &format!("rooms/{room}/invite"), json!({"user_id": user}));
    }

    pub(crate) fn say(&mut self, who: &Device, room: &str, body: &str) -> String {
        self.transactions += 1;
        let path = format!("rooms/{room}/send/m.room.message/txn{}", self.transactions);
        text(&self.put(who, &path, json!({"msgtype": "m.text", "body": body}))["event_id"])
    }

    pub(crate) fn set_state(&mut self, who: &Device, room: &str, kind: &str, content: Value) {
        self.put(who, &format!("rooms/{room}/state/{kind}"), content);
    }

    /// A sync, with query parameters to go on after `timeout=0`.
    pub(crate) fn sync(&mut self, who: &Device, query: &str) -> Value {
        self.get(who, &format!("sync?timeout=0{query}"))
    }

    pub(crate) fn sync_since(&mut self, who: &Device, since: &str) -> Value {
        self.sync(who, &format!("&since={since}"))
    }

    /// The token of a sync that is of no other interest.
    pub(crate) fn token(&mut self, who: &Device) -> String {
        next_batch(&self.sync(who, ""))
    }
}

pub(crate) fn device(answer: &Value) -> Device {
    Device {
        user: text(&answer["user_id"]),
        id: text(&answer["device_id"]),
        token: text(&answer["access_token"]),
    }
}

pub(crate) fn expect_ok((status, body): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{body}");
    body
}

pub(crate) fn refusal((status, body): (u16, Value)) -> (u16, String) {
    assert_ne!(status, 200, "{body}");
    (status, text(&body["errcode"]))
}

pub(crate) fn refused(status: u16, errcode: &str) -> (u16, String) {
    (status, errcode.to_owned())
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(crate) fn next_batch(sync: &Value) -> String {
    text(&sync["next_batch"])
}

/// Message bodies, or else types with the state key, of a list of events.
pub(crate) fn outline(events: &Value) -> Vec<String> {
    let line = |event: &Value| match event["content"]["body"].as_str() {
        Some(body) => body.to_owned(),
        None => format!(
            "{}/{}",
            event["type"].as_str().unwrap().trim_start_matches("m.room."),
            event["state_key"].as_str().unwrap_or("-")
        ),
    };
    events.as_array().unwrap().iter().map(line).collect()
}

pub(crate) fn event_ids(events: &Value) -> Vec<String> {
    events.as_array().unwrap().iter().map(|event| text(&event["event_id"])).collect()
}

pub(crate) fn timeline(sync: &Value, section: &str, room: &str) -> Vec<String> {
    outline(&sync["rooms"][section][room]["timeline"]["events"])
}

pub(crate) fn state(sync: &Value, section: &str, room: &str) -> Vec<String> {
    outline(&sync["rooms"][section][room]["state"]["events"])
}

pub(crate) fn lazy_filter(limit: usize) -> String {
    let filter =
        json!({"room": {"timeline": {"limit": limit}, "state": {"lazy_load_members": true}}});
    format!("&filter={}", encode(&filter.to_string()))
}

pub(crate) fn limit_filter(limit: usize) -> String {
    format!("&filter={}", encode(&json!({"room": {"timeline": {"limit": limit}}}).to_string()))
}

pub(crate) fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
