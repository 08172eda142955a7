//! What stays in a store of each event that was received and dealt with: some 55 bytes, of which 18 for ever.
//!
//! `GROWTH_EVENTS=40000 GROWTH_SESSIONS=1000 cargo test --release --test growth -- --nocapture` prints it for more
//! events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;

use mxcrypt_core::{
    machine::{Machine, Unsigned},
    primitives::megolm,
    store::{
        KeySource, Location,
        records::{InboundSession, KeySource as Source},
    },
};
use rusqlite::Connection;
use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;

#[path = "../src/store/scratch.rs"]
mod scratch;
use scratch::Scratch;

const ROOM: &str = "!somewhere:example.org";
const SENDER: &str = "@somebody:example.org";

struct Stream {
    sessions: Vec<GroupSession>,
    sent: usize,
}

impl Stream {
    fn new(scratch: &Scratch, sessions: usize) -> Self {
        let sessions: Vec<_> = (0..sessions).map(|_| megolm::outbound()).collect();
        let mut store = Location::new(scratch.path(), KeySource::File).open().unwrap();
        store
            .transaction(|tx| {
                sessions.iter().try_for_each(|session| {
                    let key = vodozemac::megolm::InboundGroupSession::new(
                        &session.session_key(),
                        session.session_config(),
                    );
                    let mut row = InboundSession::new(ROOM.to_owned(), key, Source::Direct);
                    row.number = tx.take_number("inbound session")?;
                    row.sender = Some(SENDER.to_owned());
                    tx.put(&row)
                })
            })
            .unwrap();
        Machine::new(store).bind("@me:example.org", "DEVICE").unwrap();
        Self { sessions, sent: 0 }
    }

    fn event(&mut self) -> Value {
        let place = self.sent % self.sessions.len();
        let session = &mut self.sessions[place];
        self.sent += 1;
        let payload = json!({"type": "m.room.message", "room_id": ROOM,
            "content": {"msgtype": "m.text", "body": "x".repeat(200)}});
        json!({"type": "m.room.encrypted", "sender": SENDER,
            "event_id": format!("${:0>43}", self.sent), "origin_server_ts": 1_800_000_000_000i64,
            "content": {"algorithm": "m.megolm.v1.aes-sha2", "session_id": session.session_id(),
                "ciphertext": session.encrypt(payload.to_string()).to_base64()}})
    }

    fn sync(&mut self, events: usize) -> String {
        let events: Vec<Value> = (0..events).map(|_| self.event()).collect();
        json!({"next_batch": format!("s{}", self.sent),
            "rooms": {"join": {ROOM: {"timeline": {"events": events}}}}})
        .to_string()
    }
}

/// The bytes of the pages that are in use, once all events are dealt with.
fn receive(scratch: &Scratch, syncs: Vec<String>) -> f64 {
    let store = Location::new(scratch.path(), KeySource::File).open().unwrap();
    let mut machine = Machine::new(store);
    for sync in syncs {
        let now = 1_800_000_000_000;
        let since = machine.sync_token().unwrap();
        let report = machine.receive_sync(now, since.as_deref(), &sync).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let given = machine.take(now, "test", 1_000_000, Unsigned::HandedOver).unwrap();
        let unreadable = given.iter().find_map(|row| row.event.unreadable.clone());
        assert_eq!(unreadable, None);
        machine.acknowledge(now, "test", given.last().unwrap().number).unwrap();
    }
    drop(machine);
    let file = Connection::open(scratch.path().join("crypto.sqlite")).unwrap();
    let read = |pragma: &str| -> f64 {
        file.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap()
    };
    (read("page_count") - read("freelist_count")) * read("page_size")
}

/// The bytes that each of `events` leaves, of which `before` were received before.
fn growth(sessions: usize, before: usize, events: usize, per_sync: usize) -> f64 {
    let scratch = Scratch::new();
    let mut stream = Stream::new(&scratch, sessions);
    let mut syncs = |events: usize| -> Vec<String> {
        (0..events / per_sync).map(|_| stream.sync(per_sync)).collect()
    };
    let (first, second) = (syncs(before), syncs(events));
    let size = receive(&scratch, first);
    (receive(&scratch, second) - size) / events as f64
}

#[test]
fn an_event_that_was_dealt_with_leaves_few_bytes() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    if let Some(events) = number("GROWTH_EVENTS") {
        let sessions = number("GROWTH_SESSIONS").unwrap_or(1);
        let per_sync = number("GROWTH_PER_SYNC").unwrap_or(1000);
        let bytes = growth(sessions, number("GROWTH_BEFORE").unwrap_or(events), events, per_sync);
        println!("{bytes:.1} bytes an event");
        return;
    }
    for (sessions, per_sync) in [(1, 500), (100, 50), (1, 10)] {
        let bytes = growth(sessions, 4000, 4000, per_sync);
        println!("{sessions} sessions, {per_sync} events a sync: {bytes:.1}");
        assert!(bytes <= 60.0);
    }
}
