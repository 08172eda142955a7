//! The rules of the store file: its key, its version, its place, and what was altered in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path};

use mxcrypt_core::{
    Kind, Result,
    machine::{Machine, Message},
    primitives::{olm, store_key::StoreKey},
    store::{
        KeySource, Location, Query, Store, Transaction, Value,
        records::{
            Binding, DeviceList, Heartbeat, InboxRow, Isolation, IsolationMode, OlmRepair,
            OlmSession, OutboxBody, Peer, Room,
        },
    },
};
use rusqlite::Connection;

#[path = "../src/store/scratch.rs"]
mod scratch;
use scratch::Scratch;

fn location(dir: &Path) -> Location {
    Location::new(dir, KeySource::File)
}

fn kind(dir: &Path) -> Kind {
    location(dir).open().err().expect("a refusal").kind
}

fn sqlite(dir: &Path) -> Connection {
    Connection::open(dir.join("crypto.sqlite")).unwrap()
}

fn begun(scratch: &Scratch) -> Store {
    location(scratch.path()).open().unwrap()
}

#[test]
fn a_missing_key_beside_a_store_is_an_error_and_never_a_new_key() {
    let scratch = Scratch::new();
    drop(begun(&scratch));
    fs::remove_file(scratch.path().join("pickle.key")).unwrap();
    assert_eq!(kind(scratch.path()), Kind::StoreKeyMissing);
    assert!(!scratch.path().join("pickle.key").exists());
}

#[test]
fn a_wrong_key_is_refused_and_so_is_that_of_another_store() {
    let (one, two) = (Scratch::new(), Scratch::new());
    drop((begun(&one), begun(&two)));
    fs::copy(two.path().join("pickle.key"), one.path().join("pickle.key")).unwrap();
    assert_eq!(kind(one.path()), Kind::StoreKeyWrong);
    for bytes in [&b""[..], b"short", &[0; 33]] {
        fs::write(one.path().join("pickle.key"), bytes).unwrap();
        assert_eq!(kind(one.path()), Kind::StoreKeyWrong);
    }
}

#[test]
fn a_key_from_outside_opens_and_leaves_no_file() {
    let scratch = Scratch::new();
    let key = StoreKey::generate().unwrap();
    let given = |key: &StoreKey| Location::new(scratch.path(), KeySource::Given(key.clone()));
    drop(given(&key).open().unwrap());
    assert!(!scratch.path().join("pickle.key").exists());
    assert!(given(&key).open().is_ok());
    let other = StoreKey::generate().unwrap();
    assert_eq!(given(&other).open().err().unwrap().kind, Kind::StoreKeyWrong);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    drop(begun(&scratch));
    sqlite(scratch.path()).pragma_update(None, "user_version", 999).unwrap();
    assert_eq!(kind(scratch.path()), Kind::StoreNewer);
    let version: i64 =
        sqlite(scratch.path()).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 999);
}

/// A store of schema version 8, before Olm sessions had devices: its sessions stay, pending repairs go.
#[test]
fn olm_sessions_of_an_old_store_stay() {
    let scratch = Scratch::new();
    let mut account = vodozemac::olm::Account::new();
    account.generate_one_time_keys(1);
    let key = *account.one_time_keys().values().next().unwrap();
    let session = olm::outbound(&account, account.curve25519_key(), key).unwrap();
    let saved = OlmSession {
        identity_key: "key".into(),
        peer: Peer::Unrecorded,
        session_id: session.session_id(),
        session,
        last_received_at: 5,
        receive_only: false,
    };
    begun(&scratch).transaction(|tx| tx.put(&saved)).unwrap();
    let read = |sql: &str| -> Vec<u8> {
        sqlite(scratch.path()).query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let (id, body) = (read("SELECT id FROM store"), read("SELECT body FROM olm_session"));
    for name in ["crypto.sqlite", "crypto.sqlite-wal", "crypto.sqlite-shm"] {
        let _ = fs::remove_file(scratch.path().join(name));
    }
    let old = sqlite(scratch.path());
    for step in [
        include_str!("../src/store/migrations/0001_initial.sql"),
        include_str!("../src/store/migrations/0002_identity.sql"),
        include_str!("../src/store/migrations/0003_healing.sql"),
        include_str!("../src/store/migrations/0004_relations.sql"),
        include_str!("../src/store/migrations/0005_secret_sharing.sql"),
        include_str!("../src/store/migrations/0006_verification.sql"),
        include_str!("../src/store/migrations/0007_key_backup.sql"),
        include_str!("../src/store/migrations/0008_key_bundles.sql"),
    ] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 8).unwrap();
    old.execute("INSERT INTO store VALUES (?)", [&id]).unwrap();
    let insert = "INSERT INTO olm_session VALUES ('key', ?, ?)";
    old.execute(insert, rusqlite::params![saved.session_id, body]).unwrap();
    old.execute("INSERT INTO olm_repair VALUES ('key', 1, x'00')", []).unwrap();
    drop(old);
    let mut store = begun(&scratch);
    let found = store.transaction(|tx| tx.select::<OlmSession>(&Query::all())).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].session_id, saved.session_id);
    let repairs = store.transaction(|tx| tx.select::<OlmRepair>(&Query::all())).unwrap();
    assert!(repairs.is_empty());
}

/// A store of schema version 13, before heartbeats: it gets their table, and what waits in its outbox has no delay.
#[test]
fn a_store_from_before_heartbeats_sends_what_it_had() {
    let scratch = Scratch::new();
    drop(begun(&scratch));
    let old = sqlite(scratch.path());
    old.execute_batch(
        "DROP TABLE heartbeat; DROP TABLE owed_key; DROP TABLE known_event; DROP TABLE event_facts; DROP TABLE file_piece;
         DROP TABLE message_index;
         CREATE TABLE message_index (session INTEGER NOT NULL, message_index INTEGER NOT NULL,
           tag BLOB NOT NULL, PRIMARY KEY (session, message_index)) WITHOUT ROWID;
         PRAGMA user_version = 13",
    )
    .unwrap();
    drop(old);
    let mut store = begun(&scratch);
    let found = store.transaction(|tx| tx.select::<Heartbeat>(&Query::all())).unwrap();
    assert!(found.is_empty());
    let body = r#"{"event":{"event_type":"m.x","content":"{}","demand_encryption":false,
        "audience":null,"plain_allowed":false}}"#;
    let body: OutboxBody = serde_json::from_str(body).unwrap();
    assert!(body.delay().is_none());
}

#[test]
fn a_store_of_mx_client_is_refused_and_gets_no_identity() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("account.pickle"), "x").unwrap();
    assert_eq!(kind(scratch.path()), Kind::StoreForeign);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let scratch = Scratch::new();
    drop(begun(&scratch));
    fs::write(scratch.path().join("crypto.sqlite"), vec![7; 8192]).unwrap();
    let _ = fs::remove_file(scratch.path().join("crypto.sqlite-wal"));
    assert_eq!(kind(scratch.path()), Kind::Store);
}

#[cfg(unix)]
#[test]
fn every_file_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let dir = scratch.path().join("store");
    let mut store = location(&dir).open().unwrap();
    store.transaction(|tx| tx.put(&Room { room_id: "!r".into(), ..Room::default() })).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "key, database and log: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn commits_are_durable_and_the_log_is_written_ahead() {
    let scratch = Scratch::new();
    drop(begun(&scratch));
    let read = |pragma: &str| -> String {
        let sql = format!("PRAGMA {pragma}");
        sqlite(scratch.path()).query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(read("journal_mode"), "wal");
}

#[test]
fn a_transaction_that_fails_or_panics_changes_nothing() {
    let scratch = Scratch::new();
    let mut store = begun(&scratch);
    let room = Room { room_id: "!r".into(), ..Room::default() };
    let failed: Result<()> = store.transaction(|tx| {
        tx.put(&room)?;
        Err(mxcrypt_core::Error::new(Kind::Internal, "stop"))
    });
    assert!(failed.is_err());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _: Result<()> = store.transaction(|tx| {
            tx.put(&room)?;
            panic!("stop")
        });
    }));
    assert!(panicked.is_err());
    let rooms = store.transaction(|tx| tx.select::<Room>(&Query::all())).unwrap();
    assert!(rooms.is_empty());
}

#[test]
fn swapped_rows_and_altered_columns_are_noticed() {
    let scratch = Scratch::new();
    let mut store = begun(&scratch);
    let list = |user: &str, outdated| DeviceList {
        user_id: user.into(),
        outdated,
        generation: 0,
        applied: 0,
        failures: 0,
        retry_at: 0,
        refused: BTreeMap::new(),
    };
    store.transaction(|tx| tx.put(&list("@a:b", true)).and(tx.put(&list("@c:d", false)))).unwrap();
    let other = sqlite(scratch.path());
    let read = |store: &mut Store| {
        store.transaction(|tx| tx.select::<DeviceList>(&Query::all())).err().map(|e| e.kind)
    };
    assert_eq!(read(&mut store), None);
    other.execute("UPDATE device_list SET outdated = 1 - outdated", []).unwrap();
    assert_eq!(read(&mut store), Some(Kind::StoreTampered));
    other.execute("UPDATE device_list SET outdated = 1 - outdated", []).unwrap();
    let swap = "UPDATE device_list SET body = (SELECT body FROM device_list b
                WHERE b.user_id != device_list.user_id)";
    other.execute(swap, []).unwrap();
    assert_eq!(read(&mut store), Some(Kind::StoreTampered));
}

#[test]
fn another_process_is_waited_for_and_then_named() {
    let scratch = Scratch::new();
    let mut store = begun(&scratch);
    let other = sqlite(scratch.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = std::thread::spawn(move || {
        store.transaction(|tx| tx.put(&Room { room_id: "!r".into(), ..Room::default() }))
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!waiting.is_finished(), "it waits");
    other.execute_batch("COMMIT").unwrap();
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_store_belongs_to_one_user_and_device_for_ever() {
    let scratch = Scratch::new();
    let mut machine = Machine::new(begun(&scratch));
    let keys = machine.identity_keys().unwrap();
    assert!(machine.binding().unwrap().is_none());
    let send = |machine: &mut Machine| machine.send(0, Vec::<Message>::new());
    assert_eq!(send(&mut machine).err().unwrap().kind, Kind::StoreBinding, "unbound yet");
    let bound: Binding = machine.bind("@a:b", "DEV").unwrap();
    assert_eq!(bound.identity_key, keys.curve25519.to_base64());
    assert_eq!(machine.bind("@a:b", "DEV").unwrap(), bound);
    for (user, device) in [("@a:b", "OTHER"), ("@c:d", "DEV")] {
        assert_eq!(machine.bind(user, device).err().unwrap().kind, Kind::StoreBinding);
    }
    drop(machine);
    let mut again = Machine::new(begun(&scratch));
    assert_eq!(again.identity_keys().unwrap(), keys, "the identity survives");
    assert!(send(&mut again).is_ok());
}

#[test]
fn nothing_secret_stands_in_the_file() {
    let scratch = Scratch::new();
    let mut machine = Machine::new(begun(&scratch));
    machine.bind("@a:b", "DEV").unwrap();
    let message = Message {
        room_id: "!r:b".into(),
        event_type: "m.room.message".into(),
        content: r#"{"body":"the eagle lands at noon"}"#.into(),
        transaction_id: None,
        demand_encryption: true,
        audience: None,
    };
    machine.send(0, vec![message]).unwrap();
    drop(machine);
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for word in ["eagle", "m.room.message", "curve25519:", "ratchet"] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word}");
        }
    }
    let mut store = begun(&scratch);
    assert_eq!(store.transaction(|tx| tx.count::<InboxRow>(&Query::all())).unwrap(), 0);
}

/// What writes is given a clock: a call without one may only read.
#[test]
fn a_transaction_that_only_reads_refuses_to_write() {
    let scratch = Scratch::new();
    let mut store = begun(&scratch);
    let row = Room { room_id: "!r".into(), ..Room::default() };
    store.transaction(|tx| tx.put(&row)).unwrap();
    let key = [Value::from("!r")];
    let refused = |store: &mut Store, write: &dyn Fn(&Transaction<'_>) -> Result<()>| {
        assert_eq!(store.read(|tx| write(tx)).unwrap_err().kind, Kind::Internal);
    };
    refused(&mut store, &|tx| tx.put(&row));
    refused(&mut store, &|tx| tx.delete::<Room>(&key));
    refused(&mut store, &|tx| tx.delete_where::<Room>(&Query::all()).map(drop));
    refused(&mut store, &|tx| tx.put_single(&IsolationMode { mode: Isolation::All }));
    refused(&mut store, &|tx| tx.take_number("inbox").map(drop));
    refused(&mut store, &|tx| tx.bind_index(1, 0, "$1", 0).map(drop));
    assert_eq!(store.read(|tx| tx.get::<Room>(&key)).unwrap(), Some(row.clone()));
}

/// Rows of many values are one statement for each batch of them, whatever its length.
#[test]
fn records_are_found_among_many_values() {
    let scratch = Scratch::new();
    let mut store = begun(&scratch);
    let list = |number: usize| DeviceList {
        user_id: format!("@user{number:04}:here"),
        outdated: false,
        generation: 0,
        applied: 0,
        failures: 0,
        retry_at: 0,
        refused: BTreeMap::new(),
    };
    store.transaction(|tx| (0..600).try_for_each(|number| tx.put(&list(number)))).unwrap();
    for length in [0, 1, 2, 3, 255, 256, 257, 300] {
        let wanted: Vec<String> = (0..length).map(|n| list(2 * n).user_id).collect();
        let among = wanted.iter().map(String::as_str).chain(["@nobody:here"]);
        let found: Vec<DeviceList> =
            store.transaction(|tx| tx.select_among("user_id", among)).unwrap();
        assert_eq!(found.into_iter().map(|found| found.user_id).collect::<Vec<_>>(), wanted);
    }
    let both = Query::among("user_id", ["@user0001:here", "@user0002:here"]);
    let both = both.and_among("user_id", ["@user0002:here", "@user0003:here"]);
    let found = store.transaction(|tx| tx.select::<DeviceList>(&both)).unwrap();
    assert_eq!(found.len(), 1);
    let none = store.transaction(|tx| tx.select::<DeviceList>(&Query::among("user_id", [])));
    assert_eq!(none.unwrap().len(), 0);
}
