//! A whole store: checked, copied, restored, moved. At no time can two stores of one device be used.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

use std::{fs, path::Path};

use mxcrypt_core::{
    Error, Kind, Result,
    machine::{Machine, Message, revive},
    primitives::store_key::StoreKey,
    store::{
        Closure, KeySource, Location, Query, Record, Store, TableReport, Transaction,
        records::{
            ArchivedMedia, Facts, InboxRow, Isolation, IsolationMode, MediaFile, OutboxBody,
            OutboxRow, OwedKey, Request,
        },
        relocate,
    },
};
use rusqlite::Connection;

#[path = "simulation/database.rs"]
#[allow(dead_code)]
mod database;
use database::{Disk, Kill};
#[path = "../src/store/scratch.rs"]
mod scratch;
use scratch::Scratch;

const NOW: i64 = 1_800_000_000_000;

fn location(dir: &Path) -> Location {
    Location::new(dir, KeySource::File)
}

fn sqlite(dir: &Path) -> Connection {
    Connection::open(dir.join("crypto.sqlite")).unwrap()
}

/// Rows of many kinds: keys of one and several columns, more than a page of them, and counters.
fn fill(store: Store) {
    let mut machine = Machine::new(store);
    machine.bind("@alice:here", "DEVICE").unwrap();
    let message = |n: usize| Message {
        room_id: format!("!{}:here", n % 7),
        event_type: "m.room.message".into(),
        content: "{}".into(),
        transaction_id: None,
        demand_encryption: false,
        audience: None,
    };
    machine.send(NOW, (0..300).map(message).collect()).unwrap();
}

fn fill_more(store: &mut Store) {
    store
        .transaction(|tx| {
            tx.put_single(&IsolationMode { mode: Isolation::Signed })?;
            for n in 0..700_i64 {
                tx.put(&ArchivedMedia {
                    room_id: format!("!{}:here", n % 3),
                    event_id: format!("${n}"),
                    sent_at: n,
                    url: "mxc://here/a".to_owned(),
                    file: None,
                    tries: 0,
                    larger_than: None,
                })?;
                let facts = Facts {
                    sender: format!("@user{}:here", n % 5),
                    event_type: "m.room.message".to_owned(),
                    encrypted: true,
                    is_edit: false,
                };
                tx.is_new_event("!r:here", &format!("${n}"), b"digest")?;
                tx.remember_facts("!r:here", &format!("${n}"), &facts)?;
            }
            tx.take_number("inbound session")?;
            for index in 0..200 {
                assert!(tx.bind_index(1, index, &format!("${index}"), 1)?);
            }
            Ok(())
        })
        .unwrap();
}

fn filled(dir: &Path) {
    fill(location(dir).open().unwrap());
    fill_more(&mut location(dir).open().unwrap());
}

fn damaged(reports: &[TableReport]) -> Vec<(&str, usize)> {
    reports.iter().filter(|found| found.damaged > 0).map(|f| (f.table, f.damaged)).collect()
}

fn rows(reports: &[TableReport], table: &str) -> usize {
    reports.iter().find(|found| found.table == table).unwrap().rows
}

#[test]
fn a_check_reads_every_row_once_and_changes_nothing() {
    let scratch = Scratch::new();
    filled(scratch.path());
    let before = fs::read(scratch.path().join("crypto.sqlite")).unwrap();
    let reports = location(scratch.path()).check().unwrap();
    assert_eq!(damaged(&reports), []);
    assert_eq!(rows(&reports, "outbox"), 300);
    assert_eq!(rows(&reports, "archived_media"), 700);
    assert_eq!(rows(&reports, "known_event"), 700);
    assert_eq!(rows(&reports, "event_facts"), 5);
    assert_eq!(rows(&reports, "message_index"), 4);
    assert_eq!(fs::read(scratch.path().join("crypto.sqlite")).unwrap(), before);
}

/// Every table of the file is one that is checked, copied and moved.
#[test]
fn no_table_of_the_schema_is_left_out() {
    let scratch = Scratch::new();
    filled(scratch.path());
    let reports = location(scratch.path()).check().unwrap();
    let connection = sqlite(scratch.path());
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for name in names.map(|name| name.unwrap()) {
        let is_listed = reports.iter().any(|report| report.table == name);
        assert!(is_listed || ["store", "counter"].contains(&&*name), "{name}");
    }
}

#[test]
fn a_counter_that_is_not_listed_gives_no_number() {
    let scratch = Scratch::new();
    let mut store = location(scratch.path()).open().unwrap();
    let taken = store.transaction(|tx| tx.take_number("of my own"));
    assert_eq!(taken.unwrap_err().kind, Kind::Internal);
}

#[test]
fn each_kind_of_damage_is_found_and_the_rest_is_read() {
    let damages = [
        ("outbox", "UPDATE outbox SET body = zeroblob(60) WHERE number = 3"),
        ("outbox", "UPDATE outbox SET room_id = '!other' WHERE number = 3"),
        (
            "outbox",
            "UPDATE outbox SET body = (SELECT body FROM outbox WHERE number = 4) WHERE number = 3",
        ),
        (
            "known_event",
            "UPDATE known_event SET generation = -1 WHERE rowid = (SELECT min(event) FROM known_event)",
        ),
        (
            "known_event",
            "UPDATE known_event SET body = zeroblob(16) WHERE rowid = (SELECT max(event) FROM known_event)",
        ),
        (
            "message_index",
            "UPDATE message_index SET body = zeroblob(9) WHERE rowid = (SELECT min(block) FROM message_index)",
        ),
        (
            "message_index",
            "UPDATE message_index SET block = block + (1 << 40) WHERE rowid = (SELECT max(block) FROM message_index)",
        ),
        ("single", "UPDATE single SET body = zeroblob(40) WHERE name = 'binding'"),
        ("single", "UPDATE single SET body = zeroblob(40) WHERE name = 'key check'"),
        ("single", "DELETE FROM single WHERE name = 'key check'"),
    ];
    for (table, sql) in damages {
        let scratch = Scratch::new();
        filled(scratch.path());
        assert_eq!(sqlite(scratch.path()).execute(sql, []).unwrap(), 1, "{sql}");
        let reports = location(scratch.path()).check().unwrap();
        assert_eq!(damaged(&reports), [(table, 1)], "{sql}");
        assert_eq!(rows(&reports, "outbox"), 300);
    }
}

#[test]
fn facts_that_are_gone_are_missed_by_the_events_that_refer_to_them() {
    let scratch = Scratch::new();
    filled(scratch.path());
    let sql = "DELETE FROM event_facts WHERE number = (SELECT min(number) FROM event_facts)";
    sqlite(scratch.path()).execute(sql, []).unwrap();
    let reports = location(scratch.path()).check().unwrap();
    assert_eq!(damaged(&reports), [("known_event", 140)]);
    let report = reports.iter().find(|found| found.table == "known_event").unwrap();
    assert_eq!(report.damage.len(), 100);
}

#[test]
fn a_number_above_its_counter_is_found() {
    let scratch = Scratch::new();
    filled(scratch.path());
    let sql = "UPDATE counter SET value = 290 WHERE name = 'outbox'";
    sqlite(scratch.path()).execute(sql, []).unwrap();
    let reports = location(scratch.path()).check().unwrap();
    assert_eq!(damaged(&reports), [("outbox", 10)]);
    let report = reports.iter().find(|found| found.table == "outbox").unwrap();
    assert_eq!(report.damage[0].row, "number 291");
}

#[test]
fn a_key_that_opens_nothing_is_the_wrong_key() {
    let scratch = Scratch::new();
    filled(scratch.path());
    let key = KeySource::Given(StoreKey::generate().unwrap());
    let checked = Location::new(scratch.path(), key).check();
    assert_eq!(checked.unwrap_err().kind, Kind::StoreKeyWrong);
    assert_eq!(location(&scratch.path().join("none")).check().unwrap_err().kind, Kind::Store);
    assert!(!scratch.path().join("none").exists());
}

/// A file that waits to be sent, and one of an archived message.
fn with_files(dir: &Path) {
    filled(dir);
    let mut store = location(dir).open().unwrap();
    for name in ["files", "archive"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    fs::write(dir.join("files/file-1"), b"waits").unwrap();
    fs::write(dir.join("files/file-2"), b"nobody needs it").unwrap();
    fs::write(dir.join("archive/file-3"), b"archived").unwrap();
    fs::write(dir.join("aliases.json"), b"{}").unwrap();
    fs::write(dir.join("listen-1.lock"), b"").unwrap();
    store
        .transaction(|tx| {
            let mut row: OutboxRow = tx.get(&[1.into()])?.unwrap();
            if let OutboxBody::Event { uploads, .. } = &mut row.body {
                let upload = r#"[{"file": "file-1", "size": 5, "place": ["url"], "encrypted": true,
                    "content_type": "a/b", "name": null}]"#;
                *uploads = mxcrypt_core::store::records::Upload::read_all(upload)?;
            }
            tx.put(&row)?;
            let mut media: ArchivedMedia = tx.get(&["!0:here".into(), "$0".into()])?.unwrap();
            media.file = Some(MediaFile { name: "file-3".to_owned(), size: 8, key: None });
            tx.put(&media)
        })
        .unwrap();
}

#[test]
fn files_that_rows_need_are_looked_for() {
    let scratch = Scratch::new();
    with_files(scratch.path());
    assert_eq!(damaged(&location(scratch.path()).check().unwrap()), []);
    fs::write(scratch.path().join("files/file-1"), b"half").unwrap();
    fs::remove_file(scratch.path().join("archive/file-3")).unwrap();
    let reports = location(scratch.path()).check().unwrap();
    assert_eq!(damaged(&reports), [("outbox", 1), ("archived_media", 1)]);
}

#[test]
fn a_copy_is_whole_private_and_closed() {
    let scratch = Scratch::new();
    let (store, copy) = (scratch.path().join("store"), scratch.path().join("copy"));
    with_files(&store);
    // Others use it meanwhile.
    let mut open = location(&store).open().unwrap();
    let copied = location(&store).back_up(&copy, "today", false).unwrap();
    assert_eq!((copied.missing.len(), copied.has_key), (0, false));
    open.transaction(|tx| tx.take_number("outbox")).unwrap();
    let mut names = names(&copy);
    names.retain(|name| !name.starts_with("crypto.sqlite-"));
    assert_eq!(names, ["aliases.json", "archive", "crypto.sqlite", "files"]);
    assert_eq!(self::names(&copy.join("files")), ["file-1"]);
    assert_eq!(self::names(&copy.join("archive")), ["file-3"]);
    #[cfg(unix)]
    for name in [".", "crypto.sqlite", "files", "files/file-1", "archive/file-3", "aliases.json"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(copy.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    assert_eq!(location(&copy).open().err().unwrap().kind, Kind::StoreCopy, "also without a key");
    fs::copy(store.join("pickle.key"), copy.join("pickle.key")).unwrap();
    let refused = location(&copy).open().err().unwrap();
    assert_eq!(refused.kind, Kind::StoreCopy);
    assert!(refused.message.contains("today"));
    assert_eq!(location(&copy).vacuum().unwrap_err().kind, Kind::StoreCopy);
    let again = location(&copy).back_up(&scratch.path().join("second"), "today", false);
    assert_eq!(again.unwrap_err().kind, Kind::StoreCopy);
    // A copy can be checked.
    assert_eq!(damaged(&location(&copy).check().unwrap()), []);
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_copy_takes_nobodys_place_and_one_that_fails_leaves_nothing() {
    let scratch = Scratch::new();
    let (store, copy) = (scratch.path().join("store"), scratch.path().join("copy"));
    filled(&store);
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("something"), b"").unwrap();
    let refused = location(&store).back_up(&copy, "today", true).unwrap_err();
    assert_eq!(refused.kind, Kind::Store);
    fs::remove_file(copy.join("something")).unwrap();
    // A directory where a file should be.
    fs::create_dir(store.join("aliases.json")).unwrap();
    fs::write(store.join("bot-1.start"), b"1").unwrap();
    location(&store).back_up(&copy, "today", true).unwrap();
    let none = scratch.path().join("none");
    assert_eq!(
        location(&none).back_up(&scratch.path().join("x"), "", true).unwrap_err().kind,
        Kind::Store
    );
    assert_eq!(names(scratch.path()), ["copy", "store"]);
    assert!(names(&copy).contains(&"pickle.key".to_owned()));
}

#[test]
#[cfg(unix)]
fn a_store_is_no_copy_of_itself_under_another_name() {
    let scratch = Scratch::new();
    let (store, copy) = (scratch.path().join("store"), scratch.path().join("copy"));
    filled(&store);
    location(&store).back_up(&copy, "today", true).unwrap();
    for (real, link) in [(&store, "link"), (&copy, "other")] {
        std::os::unix::fs::symlink(real, scratch.path().join(link)).unwrap();
    }
    let at = |name: &str| scratch.path().join(name);
    for to in [at("store"), at("link"), at("store/../store")] {
        let refused = location(&store).back_up(&to, "today", true).unwrap_err();
        assert_eq!(refused.kind, Kind::Argument);
        let refused = location(&store).move_to(NOW, &location(&to)).unwrap_err();
        assert_eq!(refused.kind, Kind::Argument);
    }
    for to in [at("copy"), at("other"), at("copy/../copy")] {
        let refused = location(&copy).restore(&to, true, |store| revive(store, NOW)).unwrap_err();
        assert_eq!(refused.kind, Kind::Argument);
    }
    location(&store).open().unwrap();
    location(&copy).restore(&at("restored"), true, |store| revive(store, NOW)).unwrap();
}

#[test]
fn a_store_is_made_of_a_copy_which_stays_one() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    with_files(&at("store"));
    location(&at("store")).back_up(&at("copy"), "today", true).unwrap();
    let restored =
        location(&at("copy")).restore(&at("restored"), true, |store| revive(store, NOW)).unwrap();
    assert!(restored.has_key && restored.missing.is_empty());
    let mut machine = Machine::new(location(&at("restored")).open().unwrap());
    assert_eq!(machine.waiting_to_send().unwrap(), 300);
    assert_eq!(damaged(&location(&at("restored")).check().unwrap()), []);
    assert_eq!(location(&at("copy")).open().err().unwrap().kind, Kind::StoreCopy);
    // A store that is used is no copy.
    let refused = location(&at("store")).restore(&at("other"), true, |store| revive(store, NOW));
    assert_eq!(refused.unwrap_err().kind, Kind::Argument);
    let key = KeySource::Given(StoreKey::generate().unwrap());
    let refused = Location::new(at("copy"), key).restore(&at("other"), true, |_| Ok(()));
    assert_eq!(refused.unwrap_err().kind, Kind::StoreKeyWrong);
    // What fails leaves nothing.
    let failed = location(&at("copy"))
        .restore(&at("other"), true, |_| Err(Error::new(Kind::Internal, "killed")));
    assert!(failed.is_err());
    assert_eq!(names(scratch.path()), ["copy", "restored", "store"]);
}

#[test]
fn space_is_given_back() {
    let scratch = Scratch::new();
    filled(scratch.path());
    let mut store = location(scratch.path()).open().unwrap();
    store.transaction(|tx| tx.delete_where::<ArchivedMedia>(&Query::all())).unwrap();
    store.empty_log();
    let size = || fs::metadata(scratch.path().join("crypto.sqlite")).unwrap().len();
    let before = size();
    location(scratch.path()).vacuum().unwrap();
    assert!(size() < before, "{} of {before}", size());
    assert_eq!(damaged(&location(scratch.path()).check().unwrap()), []);
    assert_eq!(store.read(|tx| tx.count::<OutboxRow>(&Query::all())).unwrap(), 300);
}

fn key() -> StoreKey {
    StoreKey::from_bytes(&[7; 32]).unwrap()
}

fn open(disk: &Disk) -> Result<Store> {
    Store::new(disk.open(), key(), [1; 16])
}

fn even_closed(disk: &Disk) -> Store {
    Store::even_closed(disk.open(), key(), [1; 16]).unwrap()
}

fn full_disk() -> Disk {
    let disk = Disk::default();
    fill(open(&disk).unwrap());
    fill_more(&mut open(&disk).unwrap());
    disk
}

fn is_empty(disk: &Disk) -> bool {
    even_closed(disk).read(|tx| Ok(tx.get_single::<IsolationMode>()?.is_none())).unwrap()
}

fn closure(disk: &Disk) -> Option<Closure> {
    even_closed(disk).read(|tx| tx.get_single()).unwrap()
}

/// Whether a store that holds something can be used.
fn lives(disk: &Disk) -> bool {
    !is_empty(disk) && open(disk).is_ok()
}

fn move_from(from: &Disk, to: &Disk, place: &str) -> Result<()> {
    relocate(&mut even_closed(from), &mut even_closed(to), ("from", place), |_| Ok(()))
}

fn count<R: Record>(tx: &Transaction<'_>) -> usize {
    tx.count::<R>(&Query::all()).unwrap()
}

fn counts(disk: &Disk) -> Vec<usize> {
    let of_all = |tx: &Transaction<'_>| {
        Ok(vec![
            count::<OutboxRow>(tx),
            count::<ArchivedMedia>(tx),
            count::<InboxRow>(tx),
            count::<OwedKey>(tx),
            count::<Request>(tx),
            usize::try_from(tx.last_number("outbox")?).unwrap(),
            usize::try_from(tx.last_number("known event")?).unwrap(),
        ])
    };
    even_closed(disk).read(of_all).unwrap()
}

/// What is compared of two stores: that every row arrived, that it opens, and the counters.
fn assert_moved(from: &Disk, to: &Disk) {
    assert_eq!(counts(from), counts(to));
    assert_eq!(counts(to)[..2], [300, 700]);
    let scratch = Scratch::new();
    let reports = even_closed(to).check(Some(scratch.path())).unwrap();
    assert_eq!(damaged(&reports), []);
    let of_source = even_closed(from).check(Some(scratch.path())).unwrap();
    let rows = |reports: &[TableReport]| {
        let others = reports.iter().filter(|report| report.table != "single");
        others.map(|report| report.rows).collect::<Vec<_>>()
    };
    assert_eq!(rows(&reports), rows(&of_source));
}

#[test]
fn a_move_brings_everything_and_closes_the_source_for_ever() {
    let (from, to) = (full_disk(), Disk::default());
    move_from(&from, &to, "to").unwrap();
    assert!(lives(&to));
    let refused = open(&from).err().unwrap();
    assert_eq!(refused.kind, Kind::StoreMoved);
    assert!(refused.message.contains("moved to to"), "{}", refused.message);
    assert_moved(&from, &to);
    // Once more is no error, and undoes nothing.
    open(&to).unwrap().transaction(|tx| tx.take_number("outbox")).unwrap();
    move_from(&from, &to, "to").unwrap();
    assert_eq!(counts(&to)[5], 301);
    assert_eq!(move_from(&from, &Disk::default(), "other").unwrap_err().kind, Kind::StoreMoved);
    // And back.
    assert_eq!(move_from(&to, &from, "from").unwrap_err().kind, Kind::StoreMoved);
    assert!(lives(&to));
}

/// The process is killed at each commit, of either database, before it and after it. Never do both live, and when the
/// move is called again it is finished.
#[test]
fn a_move_that_is_killed_anywhere_leaves_one_store_or_is_finished_later() {
    let mut killed = Vec::new();
    // The third commit of the source is the last one, or the one that gives it back where nothing arrived.
    let kills = [None, Some(0), Some(1), Some(2)].into_iter().flat_map(|of_source| {
        [None, Some(0), Some(1)].into_iter().map(move |of_target| (of_source, of_target))
    });
    for (of_source, of_target) in kills {
        for kill in [Kill::BeforeCommit, Kill::AfterCommit] {
            let (from, to) = (full_disk(), Disk::default());
            of_source.into_iter().for_each(|commits| from.arm(commits, kill));
            of_target.into_iter().for_each(|commits| to.arm(commits, kill));
            let died = move_from(&from, &to, "to").is_err();
            from.disarm();
            to.disarm();
            let what = format!("{kill:?} at {of_source:?} and {of_target:?}");
            let alive = (lives(&from), lives(&to));
            assert_ne!(alive, (true, true), "{what}");
            assert_eq!(died, of_source.is_some() || of_target.is_some(), "{what}");
            killed.push((alive, closure(&from).is_some(), closure(&to).is_some()));
            move_from(&from, &to, "to").unwrap();
            assert_eq!((lives(&from), lives(&to)), (false, true), "{what}");
            assert_moved(&from, &to);
        }
    }
    // Each state that a killed process can leave was among them.
    for state in [
        ((true, false), false, false),
        ((false, false), true, false),
        ((true, false), false, true),
        ((false, false), true, true),
        ((false, true), true, false),
    ] {
        assert!(killed.contains(&state), "{state:?}");
    }
}

#[test]
fn what_arrived_before_a_move_was_given_up_is_not_used() {
    let (from, to, other) = (full_disk(), Disk::default(), Disk::default());
    // It arrives, and the process dies before the source is marked.
    let id = [9; 16];
    let mut source = even_closed(&from);
    source.transaction(|tx| tx.put_single(&Closure::Leaving { to: "to".to_owned(), id })).unwrap();
    assert_eq!(open(&from).err().unwrap().kind, Kind::StoreMoved);
    let mut arrived = even_closed(&to);
    fill_more(&mut arrived);
    arrived
        .transaction(|tx| tx.put_single(&Closure::Arrived { from: "from".to_owned(), id }))
        .unwrap();
    assert_eq!(open(&to).err().unwrap().kind, Kind::StoreMoved);
    // Its owner moves it elsewhere: the disk of the first place broke.
    move_from(&from, &other, "other").unwrap();
    assert!(lives(&other) && !lives(&from) && !lives(&to));
    // Moved on to the first place, it does not find what arrived there, which is older.
    open(&other).unwrap().transaction(|tx| tx.take_number("outbox")).unwrap();
    move_from(&other, &to, "to").unwrap();
    assert!(lives(&to) && !lives(&other));
    assert_eq!(counts(&to)[5], 301);
    assert_moved(&other, &to);
}

#[test]
fn a_store_moves_to_no_place_that_has_one_and_stays_usable() {
    let (from, to) = (full_disk(), full_disk());
    assert_eq!(move_from(&from, &to, "to").unwrap_err().kind, Kind::Store);
    assert!(lives(&from) && lives(&to));
    assert_eq!(closure(&from), None);
    let failed = relocate(
        &mut even_closed(&from),
        &mut even_closed(&Disk::default()),
        ("from", "to"),
        |_| Err(Error::new(Kind::Store, "The disk is full.")),
    );
    assert_eq!(failed.unwrap_err().kind, Kind::Store);
    assert!(lives(&from));
}

#[test]
fn no_copy_is_moved() {
    let from = full_disk();
    let closed = Closure::Copy { made_at: "today".to_owned() };
    open(&from).unwrap().transaction(|tx| tx.put_single(&closed)).unwrap();
    assert_eq!(move_from(&from, &Disk::default(), "to").unwrap_err().kind, Kind::StoreCopy);
    assert_eq!(closure(&from), Some(closed));
}

#[test]
fn a_key_that_does_not_open_a_store_closes_it_nowhere() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    filled(&at("store"));
    let wrong = KeySource::Given(StoreKey::generate().unwrap());
    let moved =
        Location::new(at("store"), wrong.clone()).move_to(NOW, &Location::new(at("new"), wrong));
    assert_eq!(moved.unwrap_err().kind, Kind::StoreKeyWrong);
    location(&at("store")).open().unwrap();
    // Nor does one that is closed seem damaged.
    location(&at("store")).back_up(&at("copy"), "today", true).unwrap();
    let copy = |key: KeySource| Location::new(at("copy"), key).open().err().unwrap().kind;
    assert_eq!(copy(KeySource::File), Kind::StoreCopy);
    assert_eq!(copy(KeySource::Given(StoreKey::generate().unwrap())), Kind::StoreKeyWrong);
}

#[test]
fn nothing_goes_into_a_directory_that_is_deleted_afterwards() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    filled(&at("store"));
    for inside in ["store/new", "store/a/new"] {
        let moved = location(&at("store")).move_to(NOW, &location(&at(inside)));
        assert_eq!(moved.unwrap_err().kind, Kind::Argument, "{inside}");
        let copied = location(&at("store")).back_up(&at(inside), "today", false);
        assert_eq!(copied.unwrap_err().kind, Kind::Argument, "{inside}");
    }
    assert!(!at("store/new").exists() && !at("store/a").exists());
    location(&at("store")).back_up(&at("store-copy"), "today", false).unwrap();
    location(&at("store")).open().unwrap();
}

/// Two processes move one store to two places.
#[test]
fn a_move_that_another_one_overtook_does_not_end() {
    let (from, to, other) = (full_disk(), Disk::default(), Disk::default());
    let overtaken =
        relocate(&mut even_closed(&from), &mut even_closed(&to), ("from", "to"), |_| {
            move_from(&from, &other, "other")
        });
    assert_eq!(overtaken.unwrap_err().kind, Kind::StoreMoved);
    assert!(lives(&other) && !lives(&to) && !lives(&from));
}

#[test]
fn a_directory_moves_with_its_files_and_key() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    with_files(&at("store"));
    let mut open = location(&at("store")).open().unwrap();
    location(&at("store")).move_to(NOW, &location(&at("new"))).unwrap();
    assert_eq!(open.read(|_| Ok(())).unwrap_err().kind, Kind::StoreMoved);
    drop(open);
    assert_eq!(damaged(&location(&at("new")).check().unwrap()), []);
    assert_eq!(names(&at("new").join("files")), ["file-1"]);
    location(&at("new")).open().unwrap();
    location(&at("store")).move_to(NOW, &location(&at("new"))).unwrap();
    // Not onto itself, not onto another, and nothing that is not there.
    let kind = |from: &str, to: &str| {
        location(&at(from)).move_to(NOW, &location(&at(to))).unwrap_err().kind
    };
    assert_eq!(kind("new", "new"), Kind::Argument);
    filled(&at("third"));
    assert_eq!(kind("new", "third"), Kind::Store);
    assert_eq!(kind("none", "fourth"), Kind::Store);
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other").join("pickle.key"), [1; 32]).unwrap();
    assert_eq!(kind("new", "other"), Kind::Store);
    assert_eq!(names(&at("other")), ["pickle.key"]);
    location(&at("new")).open().unwrap();
    location(&at("third")).open().unwrap();
    assert!(!at("fourth").exists());
}
