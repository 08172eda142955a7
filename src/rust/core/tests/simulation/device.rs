//! A device: a machine over a disk, a login, and what its user has been shown.

use std::collections::{BTreeMap, BTreeSet};

use mxcrypt_core::{
    Error, Result,
    judgement::backup_answer::{Part, Scope, write_parts},
    machine::{Awaited, Machine, Message, Reply, Unsigned, WireRequest},
    primitives::store_key::StoreKey,
    store::{
        Query, Store, Transaction,
        records::{
            Isolation, KeyBackup, KeySource, LocalTrust, OutboxBody, OutboxRow, OutboxState,
        },
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
    /// When it last had to do with the server.
    now: i64,
    pub user: String,
    pub device_id: String,
    pub token: String,
    pub disk: Disk,
    key: StoreKey,
    machine: Machine,
    /// Another process at work on the same store.
    second: Machine,
    /// Responses that are still on their way to this device.
    late: Vec<(i64, Reply)>,
    late_syncs: Vec<(Option<String>, String)>,
    /// The events its user was shown, by event id: readable text, or none.
    pub shown: BTreeMap<String, Option<String>>,
    /// Processes that ended before their time.
    pub deaths: usize,
    /// How often the power went.
    power_cuts: usize,
    /// Its server turns round what it delivers, and says that it reaches nobody.
    pub hostile: bool,
    /// Kinds of requests with which its server never succeeds.
    pub failing: Vec<&'static str>,
    /// Its messages that an event told it were refused, by their numbers.
    pub told: BTreeMap<i64, String>,
}

/// Side work: whatever becomes of it, messages must come and go.
pub const SIDE_WORK: [&str; 4] = ["keys_upload", "backup_version", "back_up", "backed_up_key"];

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
            now,
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
            power_cuts: 0,
            hostile: false,
            failing: Vec::new(),
            told: BTreeMap::new(),
        };
        device.machine.bind(&device.user, &device.device_id).unwrap();
        // Nobody here has an identity.
        device.machine.set_isolation(now, Isolation::All).unwrap();
        device
    }

    /// A process that is killed leaves its disk, and nothing else.
    fn survive(&mut self, died: Error) {
        assert_eq!(died, killed(), "the only error a simulation expects");
        self.deaths += 1;
        self.begin_anew();
    }

    /// The power goes, for both processes.
    pub fn cut_power(&mut self, survive: usize) {
        self.disk.cut_power(survive);
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        self.late.clear();
        self.late_syncs.clear();
        self.disk.disarm();
        self.machine = open(&self.disk, &self.key);
        if self.disk.power_cuts() > self.power_cuts {
            self.power_cuts = self.disk.power_cuts();
            self.second = open(&self.disk, &self.key);
        }
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
        let (machine, now) = (&mut self.machine, self.now);
        self.disk.safely(|| machine.set_local_trust(now, user, device_id, None, local).is_ok())
    }

    /// Messages of its own that were refused, and nobody was told in another way: texts and codes, by
    /// their numbers.
    pub fn refused(&self) -> BTreeMap<i64, (String, String)> {
        let mut refused = BTreeMap::new();
        for state in [OutboxState::Refused, OutboxState::Told] {
            let of_state = Query::equal("state", state.as_str());
            for row in self.look(|tx| tx.select::<OutboxRow>(&of_state)) {
                let OutboxBody::Event { content, .. } = row.body else { continue };
                refused.insert(row.number, (body_of(&content), row.refusal.unwrap().0));
            }
        }
        refused
    }

    /// Its user, who was told that messages were refused, has them sent again.
    pub fn retry(&mut self, now: i64) {
        let mut numbers: Vec<i64> = self.told.keys().copied().collect();
        let refused = self.disk.safely(|| self.refused());
        numbers.retain(|number| refused.contains_key(number));
        let retried = self.machine.retry(now, &numbers);
        if self.or_die(retried).is_some() {
            for number in numbers {
                self.told.remove(&number);
            }
        }
    }

    /// The call that sent its messages ends before they are sent.
    pub fn leave(&mut self, now: i64) {
        let machine = &mut self.machine;
        let waiting = self.disk.safely(|| machine.unsent(now).unwrap());
        let numbers: Vec<i64> = waiting.iter().map(|message| message.number).collect();
        let left = self.machine.leave(now, &numbers);
        self.or_die(left);
    }

    pub fn rotate(&mut self, room_id: &str) {
        let rotated = self.machine.rotate_room_key(self.now, room_id);
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

    /// Queues a message, and begins to send it. What was not flushed before a death was never promised.
    pub fn say(&mut self, now: i64, room_id: &str, text: &str) -> bool {
        let message = Message {
            room_id: room_id.to_owned(),
            event_type: "m.room.message".into(),
            content: json!({"msgtype": "m.text", "body": text}).to_string(),
            transaction_id: None,
            demand_encryption: true,
            audience: None,
        };
        let sent = self.machine.send(now, vec![message]);
        let Some(numbers) = self.or_die(sent) else {
            // It may have died just after the commit.
            return self.is_kept(now, text);
        };
        let requests = self.machine.requests(now);
        if let Some(requests) = self.or_die(requests) {
            let not_tried = |request: &WireRequest| (request.number, Reply::NotTried);
            let replies = requests.requests.iter().map(not_tried).collect();
            let replied = self.machine.replies(now, replies);
            self.or_die(replied);
        }
        if !self.disk.is_flushed() {
            // Others are at it, and the caller gives up.
            let left = self.machine.leave(now, &numbers);
            self.or_die(left);
        }
        self.is_kept(now, text)
    }

    /// Whether the outbox has the message. If a process died before that was flushed, it is done here: so a
    /// message is a promise or gone.
    fn is_kept(&mut self, now: i64, text: &str) -> bool {
        let rows = self.disk.safely(|| self.look(|tx| tx.select::<OutboxRow>(&Query::all())));
        let is_it = |row: &OutboxRow| match &row.body {
            // Of what was sent, the content is gone.
            OutboxBody::Event { content, .. } => !content.is_empty() && body_of(content) == text,
            _ => false,
        };
        let number = rows.into_iter().find(is_it).map(|row| row.number);
        if let Some(number) = number.filter(|_| !self.disk.is_flushed()) {
            let (machine, disk) = (&mut self.machine, &self.disk);
            disk.safely(|| machine.leave(now, &[number]).unwrap());
        }
        number.is_some()
    }

    /// Performs what is due, until nothing is, or until something goes wrong.
    pub fn pump(&mut self, server: &mut ModelServer, now: i64, mut faults: Faults<'_>) {
        self.now = now;
        self.deliver_late(now, &mut faults);
        let awaited = if faults.is_none() || chance(&mut faults, 2) {
            // Somebody waits for what is in the outbox.
            let since = self.machine.failures();
            let Some(since) = self.or_die(since) else { return };
            Awaited { kinds: vec!["messages".into()], since, ..Awaited::default() }
        } else {
            Awaited::default()
        };
        for _ in 0..200 {
            let requests = self.machine.requests_for(now, &awaited);
            let Some(requests) = self.or_die(requests) else { return };
            if requests.requests.is_empty() {
                return;
            }
            let mut replies = Vec::new();
            let (mut broken, mut stopped) = (false, BTreeSet::new());
            for request in requests.requests {
                let is_stopped = request.lane.as_ref().is_some_and(|lane| stopped.contains(lane));
                let reply = if broken || is_stopped {
                    Some(Reply::NotTried)
                } else {
                    self.perform(server, now, &request, &mut faults)
                };
                let good = matches!(&reply, Some(Reply::Answer { status: 200, .. }));
                if !good {
                    stopped.extend(request.lane);
                }
                match reply {
                    Some(reply) => replies.push((request.number, reply)),
                    // This process hears of nothing for a while.
                    None => broken = true,
                }
            }
            let troubles = self.machine.replies(now, replies);
            let Some(troubles) = self.or_die(troubles) else { return };
            for trouble in &troubles {
                let invented = [0, 403, 429].contains(&trouble.status) || trouble.status >= 500;
                assert!(invented, "the model server refused: {trouble:?}");
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
        if self.failing.contains(&request.kind) {
            let odd = [(500, "{}"), (403, "<html>"), (503, "")][now as usize % 3];
            return Some(Reply::Answer { status: odd.0, body: odd.1.into() });
        }
        if chance(faults, 30) && self.is_new_event(request) {
            let body = r#"{"errcode":"M_FORBIDDEN","error":"not now"}"#.into();
            return Some(Reply::Answer { status: 403, body });
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

    /// Whether a request is to send an event that the server cannot have seen.
    fn is_new_event(&self, request: &WireRequest) -> bool {
        let fixed = Query::equal("state", OutboxState::Fixed.as_str());
        let rows = self.disk.safely(|| self.look(|tx| tx.select::<OutboxRow>(&fixed)));
        let is_it = |row: &OutboxRow| {
            let path = row.wire.as_ref().map(|(path, _)| path);
            path == Some(&request.path) && row.attempts == 1 && row.body.to_device().is_none()
        };
        rows.iter().any(is_it)
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

    /// One sync, whose response may be lost, late or doubled.
    pub fn sync(&mut self, server: &mut ModelServer, now: i64, mut faults: Faults<'_>) {
        self.now = now;
        let machine = &mut self.machine;
        let since = self.disk.safely(|| machine.sync_token().unwrap());
        let mut path = "/_matrix/client/v3/sync?filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A3%7D%2C%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D".to_owned();
        if let Some(since) = &since {
            path.push_str("&since=");
            path.push_str(since);
        }
        let mut answer = self.call(server, now, "GET", &path, Value::Null);
        // Where nothing goes wrong, who syncs knows all: a worker that lags behind is asked again.
        if faults.is_none() && !answer.body.contains("\"rooms\"") {
            answer = self.call(server, now, "GET", &path, Value::Null);
        }
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
        let is_odd = chance(&mut faults, 4);
        let body = match &mut faults {
            Some(chance) if is_odd => with_unreadable_state(&body, chance),
            _ => body,
        };
        let mut answers = vec![(since, body)];
        answers.append(&mut self.late_syncs);
        if chance(&mut faults, 6) {
            answers.push(answers[0].clone());
        }
        for (since, body) in answers {
            let taken = self.machine.receive_sync(now, since.as_deref(), &body);
            let Some(report) = self.or_die(taken) else { return };
            // Room keys that a server kept failing to deliver go again in smaller requests. If it had
            // delivered them after all, a device gets them twice, and reads them once.
            let is_repeat = |problem: &String| problem.contains("it was read before");
            let only_repeats = report.problems.iter().all(is_repeat);
            assert!(self.hostile || only_repeats, "{:?}", report.problems);
        }
    }

    /// Shows its user what there is to show. A process may die before it could say that it did.
    pub fn show(&mut self) {
        let taken = self.machine.take(self.now, NAME, 5, Unsigned::AsTheModeSays);
        let Some(rows) = self.or_die(taken) else { return };
        let last = rows.last().map(|row| row.number);
        for row in rows {
            if row.event.event_type == "mxcrypt.send_failed" {
                let content: Value = serde_json::from_str(&row.event.content).unwrap();
                let number = content["number"].as_i64().unwrap();
                let text = content["content"]["body"].as_str().unwrap().to_owned();
                self.told.insert(number, text);
            }
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
            let handed = self.machine.handed(self.now, NAME, last);
            self.or_die(handed);
        }
    }

    pub fn has_more_to_show(&mut self) -> bool {
        !self.machine.take(self.now, NAME, 1, Unsigned::AsTheModeSays).unwrap().is_empty()
    }

    pub fn waiting_to_send(&mut self) -> usize {
        let machine = &mut self.machine;
        self.disk.safely(|| machine.waiting_to_send().unwrap())
    }

    /// Makes a key backup of its user.
    pub fn make_backup(&mut self, server: &mut ModelServer) {
        self.machine.make_backup(self.now, false, None).unwrap();
        let body = serde_json::from_str(&self.machine.backup_upload().unwrap()).unwrap();
        self.call(server, self.now, "POST", "/_matrix/client/v3/room_keys/version", body);
        self.look(|tx| {
            let backup: KeyBackup = tx.get_single()?.unwrap_or_default();
            tx.put_single(&KeyBackup { look: true, ..backup })
        });
        self.pump(server, self.now, None);
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
        // Once more for a server that had it wait.
        for now in [now, now + 60_000] {
            self.pump(server, now, None);
        }
        let path = "/_matrix/client/v3/room_keys/keys?version=1";
        let keys = self.call(server, now, "GET", path, Value::Null);
        if keys.status == 404 {
            // Some servers say so of a backup without keys.
            return;
        }
        let mut lines = Vec::new();
        write_parts(keys.body.as_bytes(), Scope::All, 3, &mut lines).unwrap();
        for line in String::from_utf8(lines).unwrap().lines() {
            let part = Part::read(line).unwrap();
            let taken = self.machine.restore_keys(now, &part, None).unwrap();
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
        let history =
            self.machine.read_history(self.now, room_id, &page, Unsigned::AsTheModeSays).unwrap();
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

fn body_of(content: &str) -> String {
    let content: Value = serde_json::from_str(content).unwrap();
    content["body"].as_str().unwrap_or_default().to_owned()
}

/// A response to `/keys/query` of a server that could not reach one.
fn unreachable(body: &str) -> String {
    let mut answer: Value = serde_json::from_str(body).unwrap();
    for part in ["device_keys", "master_keys", "self_signing_keys"] {
        answer[part] = json!({});
    }
    answer["failures"] = json!({"sim": {"status": 503}});
    answer.to_string()
}

/// A response to `/sync` whose to-device events a hostile server has turned round.
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
    let response = server.handle(now as u64, &request);
    // A client that is told to wait comes back.
    if response.status == 429 { server.handle(now as u64, &request) } else { response }
}

/// The response to a sync in which events of members bring along what nobody can follow, and some
/// cannot be read at all.
fn with_unreadable_state(body: &str, chance: &mut Chance) -> String {
    let deep = (0..200).fold(json!("x"), |inner, _| json!([inner]));
    let mut sync: Value = serde_json::from_str(body).unwrap();
    let Some(rooms) = sync["rooms"]["join"].as_object_mut() else { return body.to_owned() };
    for room in rooms.values_mut() {
        for part in ["state", "timeline"] {
            let Some(events) = room[part]["events"].as_array_mut() else { continue };
            for event in events.iter_mut().filter(|event| event["type"] == "m.room.member") {
                event["unsigned"] = json!({"prev_content": {"odd": deep}});
                if chance.one_in(3) {
                    event["sender"] = json!(7);
                }
            }
        }
    }
    sync.to_string()
}
