//! A simulation: machines and a model homeserver in one process, from a seed.
//!
//! Responses are lost after the server acted, doubled, late, partial and out of order; events of members
//! cannot be read; processes are killed at every commit and restarted, the power goes and takes back what was
//! not flushed, and two processes share each store. People come,
//! go, sign in with new devices, block devices and rely on their own. In the end everything heals, and then
//! these must hold:
//!
//! * no ratchet index was used for two plaintexts;
//! * every device that was entitled to a message has been shown it, readable;
//! * nobody else could read any: not who never was there, not who had left or was blocked when it was
//!   said by somebody who knew;
//! * a message that was refused was told, and is still there;
//! * a device that lost its disk reads all that it could, from its key backup;
//! * nothing secret is in what the server saw.
//!
//! In some runs the server never succeeds with side work: all of it but the last must still hold, and that
//! too once the server is repaired. The server refuses some events, also in a later call than the one that
//! promised them.
//!
//! The server acts as Synapse, as Synapse with workers, as the Conduit family or as Dendrite, or differs
//! from the specification in ways drawn at random: all must hold with each of them.
//!
//! In some runs the server turns round what it delivers, or says that it reaches nobody. Then it can
//! keep messages from people, who are told, and all but the second must still hold.
//!
//! `SIMULATION_SEEDS=5000 cargo test --release --test simulation` runs more; a failure names its
//! seed, and `SIMULATION_SEED=17` runs that one again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

mod chance;
mod database;
mod device;
mod secrets;

use std::{collections::BTreeSet, env, panic};

use chance::Chance;
use database::Kill;
use device::{Device, SIDE_WORK};
use mxcrypt_core::store::records::LocalTrust;
use mxcrypt_model_server::{Behaviour, Deviation, ModelServer};
use serde_json::{Value, json};

const STEPS: usize = 120;
/// A day in 2027: what was written without a clock is older than any bound.
const TODAY: i64 = 1_800_000_000_000;
/// When all workers of a server know what was uploaded today.
const SETTLED: i64 = TODAY + 10_000;

/// A message that was promised to be sent, and who must, and who must not, read it.
struct Promise {
    text: String,
    sender: usize,
    readers: Vec<usize>,
    barred: Vec<usize>,
}

struct World {
    server: ModelServer,
    now: i64,
    room_id: String,
    devices: Vec<Device>,
    promises: Vec<Promise>,
    /// How many devices there were before the first message: a device that comes later is known only to those
    /// who heard of it.
    first_devices: usize,
    /// A device that comes and goes, and whether it is in the room.
    guest: (usize, bool),
    /// Who has ever blocked whom, and who does now.
    ever_blocked: BTreeSet<(usize, usize)>,
    blocked: BTreeSet<(usize, usize)>,
    hostile: bool,
    /// A device of a user who left before the first message, and of one who never was there.
    outsiders: Vec<Device>,
}

#[test]
fn invariants_hold_for_every_seed() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATION_SEED") {
        let behaviour = draw_behaviour(&mut Chance::new(seed));
        println!("the server differs in {:?}", behaviour.deviations().collect::<Vec<_>>());
        return run(seed);
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(300);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let mut mine = (first..seeds).step_by(threads as usize);
                    mine.find(|seed| panic::catch_unwind(|| run(*seed)).is_err())
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap()).min()
    });
    if let Some(seed) = failed {
        panic!("seed {seed} failed: SIMULATION_SEED={seed} cargo test --release --test simulation");
    }
}

fn run(seed: u64) {
    let mut chance = Chance::new(seed);
    let mut world = World::new(&mut chance);
    for _ in 0..STEPS {
        world.step(&mut chance);
    }
    world.heal();
    world.check();
}

impl World {
    fn new(chance: &mut Chance) -> Self {
        let mut server = ModelServer::new("sim");
        server.behave(draw_behaviour(chance));
        let users = 2 + chance.below(2);
        let names: Vec<String> = (0..users).map(|n| format!("user{n}")).collect();
        for name in names.iter().map(String::as_str).chain(["guest", "leaver", "stranger"]) {
            let body = json!({"username": name, "password": "pw", "inhibit_login": true,
                "auth": {"type": "m.login.dummy"}});
            device::call(&mut server, TODAY, "POST", "/_matrix/client/v3/register", None, body);
        }
        let mut devices: Vec<Device> =
            names.iter().map(|name| Device::login(&mut server, TODAY, name)).collect();
        for _ in 0..chance.below(3) {
            let name = &names[chance.below(users)];
            devices.push(Device::login(&mut server, TODAY, name));
        }
        let mut outsiders: Vec<Device> =
            ["leaver", "stranger"].map(|name| Device::login(&mut server, TODAY, name)).into();
        let first_devices = devices.len();
        devices.push(Device::login(&mut server, TODAY, "guest"));
        let room_id = make_room(&mut server, chance, &devices, &outsiders[0]);
        // Everyone's keys are on the server, and everyone has synced, before anybody speaks. What
        // was said before a first sync is history, which nobody promises to deliver.
        for now in [TODAY, SETTLED] {
            for device in devices.iter_mut().chain(&mut outsiders) {
                device.sync(&mut server, now, None);
                device.pump(&mut server, now, None);
            }
        }
        devices[0].make_backup(&mut server);
        let hostile = chance.one_in(4);
        let failing: Vec<&str> = SIDE_WORK.into_iter().filter(|_| chance.one_in(6)).collect();
        for device in &mut devices {
            device.hostile = hostile;
            device.failing = failing.clone();
        }
        Self {
            server,
            now: SETTLED + 1,
            room_id,
            devices,
            promises: Vec::new(),
            first_devices,
            guest: (first_devices, true),
            ever_blocked: BTreeSet::new(),
            blocked: BTreeSet::new(),
            hostile,
            outsiders,
        }
    }

    fn step(&mut self, chance: &mut Chance) {
        self.now += [10, 500, 20_000][chance.below(3)];
        let which = chance.below(self.devices.len());
        if chance.one_in(5) {
            let kill = match chance.below(3) {
                0 => Kill::BeforeCommit,
                1 => Kill::AfterCommit,
                _ => Kill::PowerCut(chance.below(4)),
            };
            let commits = chance.below(4);
            self.devices[which].disk.arm(commits, kill);
        }
        if chance.one_in(8) {
            self.devices[which].switch_process();
        }
        if chance.one_in(15) {
            self.devices[which].cut_power(chance.below(4));
        }
        if chance.one_in(10) {
            return self.something_changes(chance, which);
        }
        match chance.below(30) {
            0 => self.devices[which].retry(self.now),
            1 => self.devices[which].leave(self.now),
            _ => {}
        }
        let device = &mut self.devices[which];
        match chance.below(8) {
            0 | 1 => self.say(which),
            2 => self.say_to_those_who_are_there(which),
            3 | 4 => device.pump(&mut self.server, self.now, Some(chance)),
            5 | 6 => {
                device.sync(&mut self.server, self.now, Some(chance));
                device.pump(&mut self.server, self.now, Some(chance));
            }
            _ => device.show(),
        }
    }

    /// Somebody comes, goes, signs in, or decides something about a device.
    fn something_changes(&mut self, chance: &mut Chance, which: usize) {
        let other = chance.below(self.devices.len());
        let (user, device_id) =
            (self.devices[other].user.clone(), self.devices[other].device_id.clone());
        match chance.below(5) {
            0 => self.guest_comes_or_goes(),
            1 if self.devices.len() < 7 && which != self.guest.0 => {
                let name = self.devices[which].user.split(':').next().unwrap()[1..].to_owned();
                let mut device = Device::login(&mut self.server, self.now, &name);
                device.hostile = self.hostile;
                device.catch_up(&mut self.server, self.now);
                let behaviour = self.server.behaviour();
                if [Deviation::KeysComeLate, Deviation::LimitsWithoutTime]
                    .iter()
                    .any(|late| behaviour.has(*late))
                {
                    // Before others can hear of its keys it was promised nothing.
                    self.now += 60_000;
                    device.catch_up(&mut self.server, self.now);
                }
                device.failing = self.devices[0].failing.clone();
                self.devices.push(device);
            }
            2 if other != which => {
                let block = !self.blocked.contains(&(which, other));
                let local = if block { LocalTrust::Blocked } else { LocalTrust::Unset };
                if self.devices[which].decide(&user, &device_id, local) {
                    self.ever_blocked.insert((which, other));
                    if block {
                        self.blocked.insert((which, other));
                    } else {
                        self.blocked.remove(&(which, other));
                    }
                }
            }
            // Of one's own: they hand keys on to each other.
            3 if other != which
                && user == self.devices[which].user
                && !self.blocked.contains(&(which, other)) =>
            {
                self.devices[which].decide(&user, &device_id, LocalTrust::Verified);
            }
            _ => self.devices[which].rotate(&self.room_id),
        }
    }

    fn guest_comes_or_goes(&mut self) {
        let (guest, is_in) = self.guest;
        let room = self.room_id.replace('!', "%21");
        let in_room = format!("/_matrix/client/v3/rooms/{room}");
        if is_in {
            let path = format!("{in_room}/leave");
            self.devices[guest].call(&mut self.server, self.now, "POST", &path, json!({}));
        } else {
            let invite = json!({"user_id": self.devices[guest].user});
            let path = format!("{in_room}/invite");
            self.devices[0].call(&mut self.server, self.now, "POST", &path, invite);
            let path = format!("/_matrix/client/v3/join/{room}");
            self.devices[guest].call(&mut self.server, self.now, "POST", &path, json!({}));
        }
        self.guest = (guest, !is_in);
    }

    /// Something is said, whatever the speaker knows.
    fn say(&mut self, which: usize) {
        if which == self.guest.0 {
            return;
        }
        let text = format!("plain text number {}", self.promises.len());
        if self.devices[which].say(self.now, &self.room_id, &text) {
            let readers = (0..self.first_devices).collect();
            self.promises.push(Promise { text, sender: which, readers, barred: Vec::new() });
        }
    }

    /// Something is said by somebody who knows who is there, and sent at once.
    fn say_to_those_who_are_there(&mut self, which: usize) {
        let (guest, is_in) = self.guest;
        if which == guest {
            return;
        }
        // What was said before goes out to those who are there now.
        self.devices[which].catch_up(&mut self.server, self.now);
        let text = format!("plain text number {}", self.promises.len());
        assert!(self.devices[which].say(self.now, &self.room_id, &text));
        self.devices[which].pump(&mut self.server, self.now, None);
        if self.devices[which].waiting_to_send() > 0 {
            // Another process has it, and may send it to somebody who comes meanwhile.
            let readers = (0..self.first_devices).collect();
            self.promises.push(Promise { text, sender: which, readers, barred: Vec::new() });
            return;
        }
        let is_barred =
            |device: usize| self.blocked.contains(&(which, device)) || device == guest && !is_in;
        let (barred, readers) = (0..self.devices.len()).partition(|device| is_barred(*device));
        self.promises.push(Promise { text, sender: which, readers, barred });
    }

    /// No more faults: everybody syncs, sends and reads until nothing is left.
    fn heal(&mut self) {
        for device in &mut self.devices {
            device.disk.disarm();
        }
        for _ in 0..50 {
            let mut busy = false;
            for device in &mut self.devices {
                self.now += 60_000;
                // What is sent now is new to those who have had their turn.
                busy |= device.waiting_to_send() > 0;
                device.sync(&mut self.server, self.now, None);
                device.pump(&mut self.server, self.now, None);
                busy |= device.waiting_to_send() > 0;
                while device.has_more_to_show() {
                    device.show();
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
        panic!("it does not heal");
    }

    fn check(&mut self) {
        let events = self.timeline();
        let sent: Vec<&Value> =
            events.iter().filter(|event| event["type"] == "m.room.encrypted").collect();
        let mut refused = BTreeSet::new();
        for device in &self.devices {
            for (number, (text, code)) in device.refused() {
                assert!(self.hostile || code == "M_FORBIDDEN", "refused with {code}: {text}");
                assert_eq!(device.told.get(&number), Some(&text), "nobody was told");
                refused.insert(text);
            }
        }
        let promised = self.promises.len() - refused.len();
        assert_eq!(sent.len(), promised, "each promise is one event, no more no less");
        let hostile = self.hostile;
        let is_due = |promise: &&Promise| !hostile && !refused.contains(&promise.text);
        for promise in self.promises.iter().filter(is_due) {
            let blocked = |reader: &&usize| {
                let back_then_or_now = self.ever_blocked.contains(&(promise.sender, **reader));
                // What the guest was sent while it left again it is not shown.
                !back_then_or_now && **reader != self.guest.0
            };
            for reader in promise.readers.iter().filter(blocked) {
                let device = &self.devices[*reader];
                let read = device.shown.values().flatten().filter(|text| **text == promise.text);
                assert_eq!(
                    read.count(),
                    1,
                    "{} {} must be shown {:?} once; it was shown {:?}",
                    device.user,
                    device.device_id,
                    promise.text,
                    device.shown,
                );
            }
        }
        for which in 0..self.devices.len() {
            // A device of one's own that is not blocked may hand it on.
            let read = self.devices[which].was_given(&self.room_id, &events);
            for promise in self.promises.iter().filter(|p| p.barred.contains(&which)) {
                let said = |id: &String| {
                    let shown = self.devices[promise.sender].shown.get(id);
                    shown.and_then(Option::as_ref) == Some(&promise.text)
                };
                let who = &self.devices[which].user;
                assert!(!read.iter().any(said), "{who} read {:?}", promise.text);
            }
        }
        for outsider in &mut self.outsiders {
            outsider.sync(&mut self.server, self.now, None);
            let read = outsider.could_read(&self.room_id, &events);
            let encrypted = |id: &String| sent.iter().any(|event| event["event_id"] == id.as_str());
            assert!(!read.iter().any(encrypted), "{} read {read:?}", outsider.user);
        }
        self.check_backup(&events);
        let texts = self.promises.iter().map(|promise| promise.text.as_str());
        secrets::check_what_the_server_saw(&self.server, texts, &self.devices);
    }

    /// The first device loses its disk.
    fn check_backup(&mut self, events: &[Value]) {
        for device in &mut self.devices {
            device.failing.clear();
        }
        for _ in 0..100 {
            self.now += 60_000;
            self.devices[0].pump(&mut self.server, self.now, None);
        }
        assert_eq!(self.devices[0].not_backed_up(), 0);
        let name = self.devices[0].user.split(':').next().unwrap()[1..].to_owned();
        let mut next = Device::login(&mut self.server, self.now, &name);
        next.catch_up(&mut self.server, self.now);
        next.restore(&mut self.server, self.now, &self.devices[0]);
        let before = self.devices[0].could_read(&self.room_id, events);
        let after = next.could_read(&self.room_id, events);
        let lost: Vec<_> = before.iter().filter(|id| !after.contains(id)).collect();
        assert!(lost.is_empty(), "{lost:?} cannot be read from the backup");
    }

    /// All events of the room, as the server keeps them.
    fn timeline(&mut self) -> Vec<Value> {
        let path = format!(
            "/_matrix/client/v3/rooms/{}/messages?dir=f&limit=1000",
            self.room_id.replace('!', "%21").replace(':', "%3A")
        );
        let (mut events, mut from) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}{from}");
            let answer =
                self.devices[0].call(&mut self.server, self.now, "GET", &page, Value::Null);
            let answer: Value = serde_json::from_str(&answer.body).unwrap();
            let chunk = answer["chunk"].as_array().unwrap();
            events.extend(chunk.iter().cloned());
            match answer["end"].as_str().filter(|_| !chunk.is_empty()) {
                Some(end) => from = format!("&from={end}"),
                None => return events,
            }
        }
    }
}

/// How the server differs: as a server that there is, or in some ways or other.
fn draw_behaviour(chance: &mut Chance) -> Behaviour {
    let kinds = ["synapse", "synapse", "synapse_workers", "conduit", "dendrite"];
    match kinds.get(chance.below(kinds.len() + 1)) {
        Some(kind) => Behaviour::of_kind(kind).unwrap(),
        None => Behaviour::new(Deviation::ALL.into_iter().filter(|_| chance.one_in(3))),
    }
}

fn make_room(
    server: &mut ModelServer,
    chance: &mut Chance,
    devices: &[Device],
    leaver: &Device,
) -> String {
    let mut invite: BTreeSet<&str> = devices.iter().map(|device| device.user.as_str()).collect();
    invite.remove(devices[0].user.as_str());
    invite.insert(&leaver.user);
    let encryption = json!({"type": "m.room.encryption", "state_key": "", "content": {
        "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 1 + chance.below(6),
    }});
    let body = json!({"preset": "private_chat", "invite": invite, "initial_state": [encryption]});
    let answer = devices[0].call(server, TODAY, "POST", "/_matrix/client/v3/createRoom", body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let room_id = answer["room_id"].as_str().unwrap().to_owned();
    let path = format!("/_matrix/client/v3/join/{}", room_id.replace('!', "%21"));
    for device in devices.iter().chain([leaver]) {
        device.call(server, TODAY, "POST", &path, json!({}));
    }
    let leave = format!("/_matrix/client/v3/rooms/{}/leave", room_id.replace('!', "%21"));
    leaver.call(server, TODAY, "POST", &leave, json!({}));
    room_id
}
