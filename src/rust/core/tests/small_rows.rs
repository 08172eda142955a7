//! The rows of a few bytes that events leave: what is noticed when the file is altered, how long they are kept, and
//! how a store from before they were introduced is brought over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use mxcrypt_core::{
    Kind,
    store::{
        KeySource, Location, Query, Store,
        records::{Facts, KeyCheck, Original, SharedFacts, TakenEvent},
    },
};
use rusqlite::Connection;

#[path = "../src/store/scratch.rs"]
mod scratch;
use scratch::Scratch;

const MIGRATION: &str = include_str!("../src/store/migrations/0016_small_rows.sql");

fn begun(scratch: &Scratch) -> Store {
    Location::new(scratch.path(), KeySource::File).open().unwrap()
}

fn sqlite(dir: &Path) -> Connection {
    Connection::open(dir.join("crypto.sqlite")).unwrap()
}

fn facts(sender: &str) -> Facts {
    Facts {
        sender: sender.to_owned(),
        event_type: "m.room.message".to_owned(),
        encrypted: true,
        is_edit: false,
    }
}

/// Alice said `$1` and `$2`, and Mallory said `$3`.
fn remembered(scratch: &Scratch) -> Store {
    let mut store = begun(scratch);
    store
        .transaction(|tx| {
            for (event_id, sender) in [("$1", "@alice:b"), ("$2", "@alice:b"), ("$3", "@mallory:b")]
            {
                tx.remember_facts("!room:b", event_id, &facts(sender))?;
                assert!(tx.is_new_event("!room:b", event_id, b"what it said")?);
            }
            Ok(())
        })
        .unwrap();
    store
}

fn sender_of(store: &mut Store, event_id: &str) -> Result<Option<String>, Kind> {
    let found = store.read(|tx| tx.facts_of("!room:b", event_id));
    found.map(|facts| facts.map(|facts| facts.sender)).map_err(|error| error.kind)
}

#[test]
fn events_are_known_again_and_named_nowhere() {
    let scratch = Scratch::new();
    let mut store = remembered(&scratch);
    assert_eq!(sender_of(&mut store, "$1").unwrap().unwrap(), "@alice:b");
    assert_eq!(sender_of(&mut store, "$3").unwrap().unwrap(), "@mallory:b");
    assert_eq!(sender_of(&mut store, "$4"), Ok(None));
    let is_new = |store: &mut Store, room_id: &str, digest: &[u8]| {
        store.transaction(|tx| tx.is_new_event(room_id, "$1", digest)).unwrap()
    };
    assert!(!is_new(&mut store, "!room:b", b"what it said"));
    assert!(is_new(&mut store, "!other:b", b"what it said"));
    // Another event under its id is new, once.
    for digest in [&b"other"[..], b"third"] {
        assert!(is_new(&mut store, "!room:b", digest));
        assert!(!is_new(&mut store, "!room:b", digest));
    }
    assert!(!is_new(&mut store, "!room:b", b"what it said"));
    drop(store);
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for word in ["@alice", "@mallory", "!room:b", "m.room.message", "what it said"] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word}");
        }
    }
}

/// What the writer of a file wants is that an edit by Mallory counts for a message of Alice.
#[test]
fn altered_rows_of_events_are_noticed() {
    let alterations = [
        // The facts of others, the row of another, the number of other facts.
        "UPDATE event_facts SET body =
         (SELECT body FROM old_facts f WHERE f.number != event_facts.number)",
        "UPDATE known_event SET body = (SELECT body FROM old_event e
         WHERE substr(e.body, 1, 4) != substr(known_event.body, 1, 4))",
        "UPDATE known_event SET body = CAST((SELECT substr(e.body, 1, 4) FROM old_event e
         WHERE substr(e.body, 1, 4) != substr(known_event.body, 1, 4)) || substr(body, 5) AS BLOB)",
        // No facts, facts that contradict, another digest, another generation.
        "UPDATE known_event SET body = CAST(x'00000000' || substr(body, 5) AS BLOB)",
        "UPDATE known_event SET body = CAST(x'00000001' || substr(body, 5) AS BLOB)",
        "UPDATE known_event SET body =
         CAST(substr(body, 1, 4) || x'00000007' || substr(body, 9) AS BLOB)",
        "UPDATE known_event SET generation = generation + 1",
        "UPDATE event_facts SET generation = generation + 1",
    ];
    for alteration in alterations {
        let scratch = Scratch::new();
        drop(remembered(&scratch));
        let other = sqlite(scratch.path());
        other
            .execute_batch(
                "CREATE TEMP TABLE old_event AS SELECT * FROM known_event;
                 CREATE TEMP TABLE old_facts AS SELECT * FROM event_facts",
            )
            .unwrap();
        assert!(other.execute(alteration, []).unwrap() > 0, "{alteration}");
        drop(other);
        let mut store = begun(&scratch);
        for event_id in ["$1", "$2", "$3"] {
            let found = sender_of(&mut store, event_id);
            assert_eq!(found, Err(Kind::StoreTampered), "{alteration}");
        }
    }
    // Whoever deletes the facts gains none: not even by taking their number.
    let scratch = Scratch::new();
    drop(remembered(&scratch));
    sqlite(scratch.path()).execute("DELETE FROM event_facts", []).unwrap();
    assert_eq!(sender_of(&mut begun(&scratch), "$1"), Ok(None));
}

#[test]
fn events_are_forgotten_by_generations_and_their_facts_with_them() {
    let scratch = Scratch::new();
    let mut store = remembered(&scratch);
    let mut later = |events: i64, event_id: &str| {
        store
            .transaction(|tx| {
                for _ in tx.last_number("known event")?..events {
                    tx.take_number("known event")?;
                }
                tx.remember_facts("!room:b", event_id, &facts("@alice:b"))?;
                Ok((
                    tx.facts_of("!room:b", "$1")?.is_some(),
                    tx.facts_of("!room:b", "$3")?.is_some(),
                ))
            })
            .unwrap();
        let known = |id| sender_of(&mut store, id).unwrap().is_some();
        let known = ["$1", "$3", "$4"].map(known);
        (known, store.read(|tx| tx.count::<SharedFacts>(&Query::all())).unwrap())
    };
    assert_eq!(later(13 * 8192, "$4"), ([true, true, true], 2));
    // Alice's facts are those of a later event too.
    assert_eq!(later(14 * 8192, "$5"), ([false, false, true], 1));
}

#[test]
fn an_index_stands_for_one_event() {
    let scratch = Scratch::new();
    let mut store = begun(&scratch);
    let bind = |store: &mut Store, session: i64, index: u32, event_id: &str| {
        store.transaction(|tx| tx.bind_index(session, index, event_id, 7)).unwrap()
    };
    let indices = [0, 63, 64, 5, u32::MAX, 4];
    for session in [1, 2] {
        for index in indices {
            assert!(bind(&mut store, session, index, &format!("${index}")));
        }
    }
    for index in indices {
        assert!(bind(&mut store, 1, index, &format!("${index}")));
        assert!(!bind(&mut store, 1, index, "$other"));
    }
    // Tags of another place are those of no event.
    let swap = "UPDATE message_index SET body = (SELECT body FROM message_index b
        WHERE b.block = message_index.block + ((message_index.block < 2 << 26) * 2 - 1) * (1 << 26))";
    sqlite(scratch.path()).execute(swap, []).unwrap();
    for index in indices {
        assert!(!bind(&mut store, 1, index, &format!("${index}")));
    }
}

/// Makes of a store what version 15 of the schema would have.
fn turned_back(scratch: &Scratch) {
    let mut store = begun(scratch);
    let original = |number: i64, facts| Original {
        room_id: "!room:b".to_owned(),
        event_id: format!("${number}"),
        number,
        facts,
    };
    let taken = |number: i64, digest: &str| TakenEvent {
        room_id: "!room:b".to_owned(),
        event_id: format!("${number}"),
        digest: digest.to_owned(),
        number,
    };
    store
        .transaction(|tx| {
            tx.put(&original(1, Some(facts("@alice:b"))))?;
            tx.put(&original(2, None))?;
            tx.put(&original(3, Some(facts("@mallory:b"))))?;
            tx.put(&taken(1, "AAAA"))?;
            tx.put(&taken(1, "BBBB"))?;
            tx.put(&taken(4, "AAAA"))?;
            tx.put_single(&KeyCheck { known_events: false })?;
            for index in [0, 1, 62, 63, 64, 1000] {
                assert!(tx.bind_index(1, index, &format!("${index}"), 7)?);
                assert!(tx.bind_index(300, index, &format!("${index}"), 7)?);
            }
            Ok(())
        })
        .unwrap();
    drop(store);
    let old = sqlite(scratch.path());
    old.execute_batch(
        "ALTER TABLE message_index RENAME TO block_index;
         CREATE TABLE message_index (session INTEGER NOT NULL, message_index INTEGER NOT NULL,
           tag BLOB NOT NULL CHECK (length(tag) = 16), PRIMARY KEY (session, message_index)) WITHOUT ROWID;",
    )
    .unwrap();
    let blocks: Vec<(i64, Vec<u8>)> = old
        .prepare("SELECT block, body FROM block_index")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (block, body) in blocks {
        let taken = u64::from_be_bytes(body[..8].try_into().unwrap());
        let slots = (0..64).filter(|slot| taken >> slot & 1 == 1);
        for (slot, tag) in slots.zip(body[8..].chunks(16)) {
            let (session, index) = (block >> 26, (block & ((1 << 26) - 1)) * 64 + slot);
            let row = rusqlite::params![session, index, tag];
            old.execute("INSERT INTO message_index VALUES (?, ?, ?)", row).unwrap();
        }
    }
    old.execute_batch(
        "DROP TABLE block_index; DROP TABLE known_event; DROP TABLE event_facts; DROP TABLE file_piece;
         PRAGMA user_version = 15; PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .unwrap();
}

fn assert_nothing_is_lost(store: &mut Store) {
    assert_eq!(sender_of(store, "$1").unwrap().unwrap(), "@alice:b");
    assert_eq!(sender_of(store, "$2"), Ok(None));
    assert_eq!(sender_of(store, "$3").unwrap().unwrap(), "@mallory:b");
    store
        .transaction(|tx| {
            for (event_id, digest, is_new) in [
                ("$1", [0, 0, 0], false),
                ("$1", [4, 16, 65], false),
                ("$4", [0, 0, 0], false),
                ("$4", [4, 16, 65], true),
                ("$3", [0, 0, 0], true),
            ] {
                let found = tx.is_new_event("!room:b", event_id, &digest)?;
                assert_eq!(found, is_new, "{event_id} {digest:?}");
            }
            // Two events have this id, whatever comes now.
            tx.remember_facts("!room:b", "$2", &facts("@alice:b"))?;
            assert_eq!(tx.facts_of("!room:b", "$2")?, None);
            for session in [1, 300] {
                for index in [0, 1, 62, 63, 64, 1000] {
                    assert!(tx.bind_index(session, index, &format!("${index}"), 7)?);
                    assert!(!tx.bind_index(session, index, "$other", 7)?);
                }
                assert!(tx.bind_index(session, 2, "$2", 7)?);
            }
            assert_eq!(tx.count::<Original>(&Query::all())?, 0);
            assert_eq!(tx.count::<TakenEvent>(&Query::all())?, 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_old_store_keeps_what_it_knew_of_events() {
    let scratch = Scratch::new();
    turned_back(&scratch);
    assert_nothing_is_lost(&mut begun(&scratch));
}

/// The process is killed after each statement: what is on the disk then is opened anew.
#[test]
fn an_old_store_is_brought_over_whole_wherever_that_is_killed() {
    let old = Scratch::new();
    turned_back(&old);
    let statements: Vec<&str> = MIGRATION.split_inclusive(";\n").collect();
    assert!(statements.len() >= 6);
    for done in 0..=statements.len() {
        let (work, killed) = (copy_of(&old), Scratch::new());
        let process = sqlite(work.path());
        // All pages that were changed are in the file by then, as far as they ever are before a commit.
        process.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE").unwrap();
        statements[..done].iter().for_each(|sql| process.execute_batch(sql).unwrap());
        copy_files(&work, &killed);
        drop(process);
        assert_nothing_is_lost(&mut begun(&killed));
    }
    // Between the schema and the rows that need the key.
    let work = copy_of(&old);
    let process = sqlite(work.path());
    process.execute_batch(&format!("BEGIN; {MIGRATION} PRAGMA user_version = 16; COMMIT")).unwrap();
    drop(process);
    assert_nothing_is_lost(&mut begun(&work));
}

/// A row that cannot be brought over stops it: nothing has changed then, and no edit counts that should not.
#[test]
fn what_cannot_be_brought_over_stays() {
    let scratch = Scratch::new();
    turned_back(&scratch);
    let old = sqlite(scratch.path());
    old.execute("UPDATE original SET body = x'01' WHERE event_id = '$3'", []).unwrap();
    drop(old);
    for _ in 0..2 {
        let refused = Location::new(scratch.path(), KeySource::File).open().err().unwrap();
        assert_eq!(refused.kind, Kind::StoreTampered);
        let file = sqlite(scratch.path());
        let count = |table: &str| -> i64 {
            file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(["original", "taken_event", "known_event"].map(count), [3, 3, 0]);
    }
}

fn copy_of(scratch: &Scratch) -> Scratch {
    let copy = Scratch::new();
    copy_files(scratch, &copy);
    copy
}

/// The shared memory of SQLite ends with the processes that use it.
fn copy_files(from: &Scratch, to: &Scratch) {
    for entry in fs::read_dir(from.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sqlite-shm") {
            fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
        }
    }
}
