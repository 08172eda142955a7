//! A device: a machine over a disk, a login, and what its user has been shown.

use std::collections::BTreeMap;

use mxcrypt_core::{
    Error, Result,
    judgement::backup_answer::{Part, Scope, write_parts},
    machine::{Machine, Message, Reply, Unsigned, WireRequest},
    primitives::store_key::StoreKey,
    store::{
        Query, Store, Transaction,
        records::{Isolation, KeyBackup, KeySource, LocalTrust, OutboxRow, OutboxState},
    },
};
use mxcrypt_model_server::{ModelServer, Request, Response};
use serde_json::{Value, json};

use crate::{
    chance::Chance,
    database::{Disk, killed},
};

pub const NAME: &str = "sim";

pub struct Device {
    pub user: String,
    pub device_id: String,
    pub token: String,
    pub disk: Disk,
    key: StoreKey,
    machine: Machine,
    /// Another process at work on the same store.
    second: Machine,
    /// Answers that are still on their way to this device.
    late: Vec<(i64, Reply)>,
    late_syncs: Vec<(Option<String>, String)>,
    /// The events its user was shown, by event id: readable text, or none.
    pub shown: BTreeMap<String, Option<String>>,
    /// Processes that ended before their time.
    pub deaths: usize,
    /// Its server turns round what it delivers, and says that it reaches nobody.
    pub hostile: bool,
}

/// What can go wrong on the way; `None` at the end of a run, when everything heals.
pub type Faults<'a> = Option<&'a mut Chance>;

fn chance(faults: &mut Faults<'_>, n: usize) -> bool {
    faults.as_mut().is_some_and(|chance| chance.one_in(n))
}

impl Device {
    pub fn login(server: &mut ModelServer, now: i64, user: &str) -> Self {
        let body = json!({"type": "m.login.password", "password": "pw",
            "identifier": {"type": "m.id.user", "user": user}});
        let answer = call(server, now, "POST", "/_matrix/client/v3/login", None, body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let (disk, key) = (Disk::default(), StoreKey::generate().unwrap());
        let (machine, second) = (open(&disk, &key), open(&disk, &key));
        let mut device = Self {
            user: text("user_id"),
            device_id: text("device_id"),
            token: text("access_token"),
            disk,
            key,
            machine,
            second,
            late: Vec::new(),
            late_syncs: Vec::new(),
            shown: BTreeMap::new(),
            deaths: 0,
            hostile: false,
        };
        device.machine.bind(&device.user, &device.device_id).unwrap();
        // Nobody here has an identity.
        device.machine.set_isolation(Isolation::All).unwrap();
        device
    }

    /// A process that is killed leaves its disk, and nothing else.
    fn survive(&mut self, died: Error) {
        assert_eq!(died, killed(), "the only error a simulation expects");
        self.deaths += 1;
        self.late.clear();
        self.late_syncs.clear();
        self.disk.disarm();
        self.machine = open(&self.disk, &self.key);
    }

    /// From now on the other process acts, and gets what was on its way to this one.
    pub fn switch_process(&mut self) {
        std::mem::swap(&mut self.machine, &mut self.second);
    }

    /// A sync and whatever becomes due, with nothing going wrong.
    pub fn catch_up(&mut self, server: &mut ModelServer, now: i64) {
        self.disk.disarm();
        self.sync(server, now, None);
        self.pump(server, now, None);
    }

    /// Decides something about another device. False when it is not known here.
    pub fn decide(&mut self, user: &str, device_id: &str, local: LocalTrust) -> bool {
        let machine = &mut self.machine;
        self.disk.safely(|| machine.set_local_trust(user, device_id, None, local).is_ok())
    }

    /// Why messages of its own were refused.
    pub fn refused(&self) -> Vec<(String, String)> {
        let refused = Query::equal("state", OutboxState::Refused.as_str());
        let rows = self.look(|tx| tx.select::<OutboxRow>(&refused));
        rows.into_iter().filter_map(|row| row.refusal).collect()
    }

    pub fn rotate(&mut self, room_id: &str) {
        let rotated = self.machine.rotate_room_key(room_id);
        self.or_die(rotated);
    }

    fn or_die<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.survive(error)).ok()
    }

    pub fn call(
        &self,
        server: &mut ModelServer,
        now: i64,
        method: &str,
        path: &str,
        body: Value,
    ) -> Response {
        call(server, now, method, path, Some(&self.token), body)
    }

    /// Queues a message. What was not committed before a death was never promised.
    pub fn say(&mut self, now: i64, room_id: &str, text: &str) -> bool {
        let message = Message {
            room_id: room_id.to_owned(),
            event_type: "m.room.message".into(),
            content: json!({"msgtype": "m.text", "body": text}).to_string(),
            transaction_id: None,
            demand_encryption: true,
            audience: None,
        };
        let before = self.waiting_to_send();
        let sent = self.machine.send(now, vec![message]);
        match self.or_die(sent) {
            Some(_) => true,
            // It may have died just after the commit.
            None => self.waiting_to_send() > before,
        }
    }

    /// Performs what is due, until nothing is, or until something goes wrong.
    pub fn pump(&mut self, server: &mut ModelServer, now: i64, mut faults: Faults<'_>) {
        self.deliver_late(now, &mut faults);
        for _ in 0..200 {
            let requests = self.machine.requests(now);
            let Some(requests) = self.or_die(requests) else { return };
            if requests.requests.is_empty() {
                return;
            }
            let mut replies = Vec::new();
            let mut broken = false;
            for request in requests.requests {
                let reply = if broken {
                    Some(Reply::NotTried)
                } else {
                    self.perform(server, now, &request, &mut faults)
                };
                if let Some(reply) = reply {
                    broken |= !matches!(&reply, Reply::Answer { status, .. } if *status < 500);
                    replies.push((request.number, reply));
                } else {
                    broken = true;
                }
            }
            let troubles = self.machine.replies(now, replies);
            let Some(troubles) = self.or_die(troubles) else { return };
            for trouble in &troubles {
                assert!(trouble.status >= 500, "the model server refused: {trouble:?}");
            }
            if broken {
                return;
            }
        }
        panic!("the pump does not come to an end");
    }

    /// The reply, or none while it is on its way.
    fn perform(
        &mut self,
        server: &mut ModelServer,
        now: i64,
        request: &WireRequest,
        faults: &mut Faults<'_>,
    ) -> Option<Reply> {
        if chance(faults, 12) {
            return Some(Reply::NoAnswer);
        }
        if chance(faults, 20) {
            return Some(Reply::Answer { status: 502, body: "<html>".into() });
        }
        let body = request.body.clone().unwrap_or_default();
        let send = |server: &mut ModelServer| {
            let request = Request {
                method: request.method.into(),
                path: request.path.clone(),
                token: Some(self.token.clone()),
                body: body.clone().into_bytes(),
            };
            server.handle(now as u64, &request)
        };
        let mut response = send(server);
        if chance(faults, 12) {
            response = send(server);
        }
        if chance(faults, 12) {
            return Some(Reply::NoAnswer);
        }
        if self.hostile && request.path.ends_with("/keys/query") && chance(faults, 10) {
            response.body = unreachable(&response.body);
        }
        let reply = Reply::Answer { status: response.status, body: response.body };
        if chance(faults, 12) {
            self.late.push((request.number, reply));
            return None;
        }
        Some(reply)
    }

    fn deliver_late(&mut self, now: i64, faults: &mut Faults<'_>) {
        let mut waiting = std::mem::take(&mut self.late);
        while !waiting.is_empty() {
            let which = faults.as_mut().map_or(0, |chance| chance.below(waiting.len()));
            let reply = waiting.swap_remove(which);
            let again = chance(faults, 6).then(|| reply.clone());
            for reply in std::iter::once(reply).chain(again) {
                let taken = self.machine.replies(now, vec![reply]);
                if self.or_die(taken).is_none() {
                    return;
                }
            }
        }
    }

    /// One sync, whose answer may be lost, late or doubled.
    pub fn sync(&mut self, server: &mut ModelServer, now: i64, mut faults: Faults<'_>) {
        let machine = &mut self.machine;
        let since = self.disk.safely(|| machine.sync_token().unwrap());
        let mut path = "/_matrix/client/v3/sync?filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A3%7D%2C%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D".to_owned();
        if let Some(since) = &since {
            path.push_str("&since=");
            path.push_str(since);
        }
        let answer = self.call(server, now, "GET", &path, Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.body);
        if chance(&mut faults, 10) {
            return;
        }
        if chance(&mut faults, 8) {
            self.late_syncs.push((since, answer.body));
            return;
        }
        let body = if self.hostile && chance(&mut faults, 2) {
            turned_round(&answer.body)
        } else {
            answer.body
        };
        let mut answers = vec![(since, body)];
        answers.append(&mut self.late_syncs);
        if chance(&mut faults, 6) {
            answers.push(answers[0].clone());
        }
        for (since, body) in answers {
            let taken = self.machine.receive_sync(now, since.as_deref(), &body);
            let Some(report) = self.or_die(taken) else { return };
            assert!(self.hostile || report.problems.is_empty(), "{:?}", report.problems);
        }
    }

    /// Shows its user what there is to show. A process may die before it could say that it did.
    pub fn show(&mut self) {
        let taken = self.machine.take(NAME, 5, Unsigned::AsTheModeSays);
        let Some(rows) = self.or_die(taken) else { return };
        let last = rows.last().map(|row| row.number);
        for row in rows {
            let Some(event_id) = row.event.event_id else { continue };
            let readable = row.event.unreadable.is_none();
            let text = readable.then(|| {
                let content: Value = serde_json::from_str(&row.event.content).unwrap();
                content["body"].as_str().unwrap_or_default().to_owned()
            });
            let shown = self.shown.entry(event_id).or_insert(None);
            assert!(readable || shown.is_none(), "what was readable became unreadable");
            *shown = text.or(shown.take());
        }
        if let Some(last) = last {
            let handed = self.machine.handed(NAME, last);
            self.or_die(handed);
        }
    }

    pub fn has_more_to_show(&mut self) -> bool {
        !self.machine.take(NAME, 1, Unsigned::AsTheModeSays).unwrap().is_empty()
    }

    pub fn waiting_to_send(&mut self) -> usize {
        let machine = &mut self.machine;
        self.disk.safely(|| machine.waiting_to_send().unwrap())
    }

    /// Makes a key backup of its user.
    pub fn make_backup(&mut self, server: &mut ModelServer) {
        self.machine.make_backup(false).unwrap();
        let body = serde_json::from_str(&self.machine.backup_upload().unwrap()).unwrap();
        self.call(server, 0, "POST", "/_matrix/client/v3/room_keys/version", body);
        self.machine.look_at_backup().unwrap();
        self.pump(server, 0, None);
    }

    /// How many of its sessions are not in the backup.
    pub fn not_backed_up(&mut self) -> usize {
        let status = self.machine.backup_status().unwrap();
        status.sessions - status.backed_up
    }

    /// Takes all keys from the backup whose private key `lost` had.
    pub fn restore(&mut self, server: &mut ModelServer, now: i64, lost: &Device) {
        let backup: KeyBackup = lost.look(|tx| tx.get_single()).unwrap();
        let offered = KeyBackup { offered: backup.private, look: true, ..KeyBackup::default() };
        self.look(|tx| tx.put_single(&offered));
        self.pump(server, now, None);
        let path = "/_matrix/client/v3/room_keys/keys?version=1";
        let keys = self.call(server, now, "GET", path, Value::Null);
        let mut lines = Vec::new();
        write_parts(keys.body.as_bytes(), Scope::All, 3, &mut lines).unwrap();
        for line in String::from_utf8(lines).unwrap().lines() {
            let taken = self.machine.restore_keys(now, &Part::read(line).unwrap()).unwrap();
            assert!(taken.iter().all(|(_, reason)| reason.is_none()), "{taken:?}");
        }
    }

    /// What this device can read of all that was ever sent to a room, were it given everything.
    pub fn could_read(&mut self, room_id: &str, events: &[Value]) -> Vec<String> {
        self.could_read_with(room_id, events, |_| true)
    }

    /// The same without what its user's own devices handed on to it.
    pub fn was_given(&mut self, room_id: &str, events: &[Value]) -> Vec<String> {
        self.could_read_with(room_id, events, |source| source != Some(KeySource::Forwarded))
    }

    fn could_read_with(
        &mut self,
        room_id: &str,
        events: &[Value],
        counts: impl Fn(Option<KeySource>) -> bool,
    ) -> Vec<String> {
        let page = json!({"chunk": events}).to_string();
        let history = self.machine.read_history(room_id, &page, Unsigned::AsTheModeSays).unwrap();
        let readable = history.events.into_iter().filter(|row| row.event.unreadable.is_none());
        let counted = readable.filter(|row| counts(row.event.key_source));
        counted.filter_map(|row| row.event.event_id).collect()
    }

    /// Looks into the store as the process itself can.
    pub fn look<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T>) -> T {
        let mut store = Store::new(self.disk.open(), self.key.clone(), [1; 16]).unwrap();
        store.transaction(f).unwrap()
    }
}

/// An answer to `/keys/query` of a server that could not reach one.
fn unreachable(body: &str) -> String {
    let mut answer: Value = serde_json::from_str(body).unwrap();
    for part in ["device_keys", "master_keys", "self_signing_keys"] {
        answer[part] = json!({});
    }
    answer["failures"] = json!({"sim": {"status": 503}});
    answer.to_string()
}

/// An answer to `/sync` whose to-device events a hostile server has turned round.
fn turned_round(body: &str) -> String {
    let mut answer: Value = serde_json::from_str(body).unwrap();
    if let Some(events) = answer["to_device"]["events"].as_array_mut() {
        events.reverse();
    }
    answer.to_string()
}

fn open(disk: &Disk, key: &StoreKey) -> Machine {
    Machine::new(Store::new(disk.open(), key.clone(), [1; 16]).unwrap())
}

pub fn call(
    server: &mut ModelServer,
    now: i64,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> Response {
    let request = Request {
        method: method.into(),
        path: path.into(),
        token: token.map(str::to_owned),
        body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
    };
    server.handle(now as u64, &request)
}
