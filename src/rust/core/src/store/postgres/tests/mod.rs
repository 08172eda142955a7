//! PostgreSQL as a store, on a real server: `MXCRYPT_TEST_POSTGRES` is its address (`tools/postgres.sh` starts one).

mod breaks;
mod servers;

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use super::{
    super::conformance::{self, Place},
    *,
};
use crate::primitives::store_key::StoreKey;
use crate::store::{KeySource, Location, Store, records, scratch::Scratch, sqlite::Sqlite};

static NEXT: AtomicUsize = AtomicUsize::new(0);

const ROOM: Table = Table { name: "room", key: &["room_id"], plain: &[] };

fn server() -> String {
    env::var("MXCRYPT_TEST_POSTGRES").expect("MXCRYPT_TEST_POSTGRES: the address of a server")
}

/// A store that no other test has.
fn store_at(server: &str) -> Address {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let glue = if server.contains('?') { '&' } else { '?' };
    let random = random_bytes::<4>().unwrap();
    let name = format!("{number}-{}", u32::from_be_bytes(random));
    Address::read(&format!("{server}{glue}store={name}")).unwrap()
}

struct InPostgres(Address);

impl Place for InPostgres {
    fn open(&self) -> Box<dyn Database> {
        Box::new(Postgres::open(&self.0).unwrap())
    }
}

#[test]
fn postgres_conforms() {
    conformance::conforms(|| InPostgres(store_at(&server())));
}

#[test]
fn postgres_conforms_behind_a_pooler_that_gives_each_transaction_another_server() {
    let pooler =
        env::var("MXCRYPT_TEST_POOLER").expect("MXCRYPT_TEST_POOLER: the address of PgBouncer");
    let pooled = pool::take(&pooler).unwrap();
    assert!(pooled.behind_pooler);
    assert!(!pool::take(&server()).unwrap().behind_pooler);
    conformance::conforms(|| InPostgres(store_at(&pooler)));
}

/// Both have the same tables, columns and types, so that a row of one fits into the other.
#[test]
fn the_schema_is_that_of_sqlite() {
    let scratch = Scratch::new();
    let path = scratch.path().join("crypto.sqlite");
    drop(Sqlite::open(&path).unwrap());
    let sqlite = rusqlite::Connection::open(path).unwrap();
    drop(Postgres::open(&store_at(&server())).unwrap());
    let pooled = pool::take(&server()).unwrap();
    let known_events = ["known_event", "message_index"];
    let names = records::TABLES.iter().map(|sealed| sealed.table.name).chain(known_events);
    for name in names {
        let sql = format!("SELECT name || ' ' || type FROM pragma_table_info('{name}') ORDER BY 1");
        let mut statement = sqlite.prepare(&sql).unwrap();
        let columns = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let wanted: Vec<String> = columns.map(Result::unwrap).collect();
        let sql = format!(
            "SELECT (column_name || ' ' || CASE WHEN data_type = 'bigint' THEN 'INTEGER' \
             WHEN column_name = 'body' THEN 'BLOB' ELSE 'TEXT' END)::bytea \
             FROM information_schema.columns WHERE table_schema = 'mxcrypt' AND table_name = '{name}' \
             AND column_name NOT IN ('store', 'long_texts') ORDER BY 1"
        );
        let rows = pooled.connection.query(&sql, &[]).unwrap();
        let found: Vec<_> = (0..rows.len())
            .map(|row| String::from_utf8(rows.bytes(row, 0).unwrap().to_vec()).unwrap())
            .collect();
        assert_eq!(found, wanted, "{name}");
    }
}

/// Counts one up, as R does it: what was undone by a broken connection is done again.
fn count_up(database: &mut Postgres) -> Result<()> {
    database.begin(Durability::Durable)?;
    let number = database.last_number("count")? + 1;
    database.put(&ROOM, &[format!("!{number}").as_str().into()], &[], b"")?;
    database.set_number("count", number)?;
    database.commit()
}

/// What a process keeps of a store with very much in it has an end.
#[test]
fn what_is_kept_of_a_store_is_bounded() {
    let mut database = Postgres::open(&store_at(&server())).unwrap();
    for first in 0..40 {
        database.begin(Durability::Durable).unwrap();
        for number in 0..50 {
            let key = [format!("!{first}-{number}").as_str().into()];
            database.put(&ROOM, &key, &[], &[7; 1000]).unwrap();
            database.get(&ROOM, &key).unwrap().unwrap();
        }
        database.select(&ROOM, &Query::all().after("room_id", "!").limit(first)).unwrap();
        database.commit().unwrap();
        assert!(database.cache.borrow().bytes() <= cache::MOST_BYTES);
    }
}

/// Rows of one store are sealed to it, and are found by it alone.
#[test]
fn stores_of_one_database_know_nothing_of_each_other() {
    let (one, two) = (store_at(&server()), store_at(&server()));
    let (mut first, mut second) = (Postgres::open(&one).unwrap(), Postgres::open(&two).unwrap());
    assert_ne!(first.store_id().unwrap(), second.store_id().unwrap());
    count_up(&mut first).unwrap();
    // While one is inside a transaction, the other can be too.
    first.begin(Durability::Durable).unwrap();
    count_up(&mut second).unwrap();
    second.begin(Durability::Durable).unwrap();
    assert_eq!(second.last_number("count").unwrap(), 1);
    assert_eq!(second.delete(&ROOM, &Query::all()).unwrap(), 1);
    second.commit().unwrap();
    assert_eq!(first.count(&ROOM, &Query::all()).unwrap(), 1);
    first.rollback();
}

#[test]
fn a_store_is_opened_with_its_key_alone() {
    let place = format!("{}?store=key-{}", server(), u64::from_be_bytes(random_bytes().unwrap()));
    let at = |key: KeySource| Location::at(&place, key).unwrap();
    assert_eq!(at(KeySource::File).open().err().unwrap().kind, Kind::StoreKeyMissing);
    assert!(!at(KeySource::File).is_there().unwrap());
    let key = StoreKey::generate().unwrap();
    let open = |key: &StoreKey| at(KeySource::Given(key.clone())).open();
    let mut store: Store = open(&key).unwrap();
    store.transaction(|tx| tx.take_number("inbox")).unwrap();
    assert!(at(KeySource::File).is_there().unwrap());
    assert_eq!(open(&StoreKey::generate().unwrap()).err().unwrap().kind, Kind::StoreKeyWrong);
    assert_eq!(open(&key).unwrap().transaction(|tx| tx.take_number("inbox")).unwrap(), 2);
}

/// Who waits is told at once, by another process on any machine.
#[test]
fn a_wait_ends_when_another_has_committed() {
    for place in [server(), env::var("MXCRYPT_TEST_POOLER").unwrap()] {
        let address = store_at(&place);
        let (mut one, mut two) =
            (Postgres::open(&address).unwrap(), Postgres::open(&address).unwrap());
        let timed = |database: &mut Postgres, limit: u64| {
            let begun = Instant::now();
            database.wait_for_commit(Duration::from_millis(limit)).unwrap();
            begun.elapsed()
        };
        timed(&mut one, 0);
        if place == server() {
            assert!(timed(&mut one, 100) >= Duration::from_millis(100));
        }
        count_up(&mut two).unwrap();
        assert!(
            timed(&mut one, 60_000) < Duration::from_secs(30),
            "what came before is not missed"
        );
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            count_up(&mut two).unwrap();
        });
        assert!(timed(&mut one, 60_000) < Duration::from_secs(30));
        later.join().unwrap();
    }
}

#[test]
fn a_lock_is_one_processs_until_its_connection_ends() {
    let name = format!("application_name=lock-{}", std::process::id());
    let place = Address { server: format!("{}?{name}", server()), ..store_at(&server()) };
    let other = Address { server: server(), ..place.clone() };
    let lock = Lock::take(&place, "listen").unwrap().unwrap();
    assert!(lock.is_held());
    let mut database = Postgres::open(&other).unwrap();
    let mut is_held = |name: &str| {
        database.begin(Durability::Eventual).unwrap();
        let is_held = database.is_held(name).unwrap();
        database.rollback();
        is_held
    };
    assert!(is_held("listen") && !is_held("another"));
    assert!(Lock::take(&other, "listen").unwrap().is_none());
    assert!(Lock::take(&other, "another").unwrap().is_some());
    // Nor is it given twice to one process, and it can be taken once it is given back.
    assert!(Lock::take(&place, "listen").unwrap().is_none());
    let second = Lock::take(&place, "second").unwrap().unwrap();
    assert!(Lock::take(&other, "second").unwrap().is_none());
    drop(second);
    assert!(Lock::take(&other, "second").unwrap().is_some());
    assert!(lock.is_held());
    let connections = pool::take(&server()).unwrap();
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE '{name}' = 'application_name=' || application_name"
    );
    assert_eq!(connections.connection.query(&sql, &[]).unwrap().integer(0, 0), Some(1));
    assert!(Lock::take(&store_at(&server()), "listen").unwrap().is_some());
    let (_, name) = name.split_once('=').unwrap();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
    );
    pool::take(&server()).unwrap().connection.run(&end).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(!lock.is_held(), "it ended with its connection, and that is noticed");
    assert!(!is_held("listen"));
    assert!(Lock::take(&other, "listen").unwrap().is_some());
    let pooler = env::var("MXCRYPT_TEST_POOLER").unwrap();
    let refused = Lock::take(&store_at(&pooler), "listen").err().unwrap();
    assert_eq!(refused.kind, Kind::StoreUnsupported);
}

/// There and back: all rows, counters and files that wait; and what was left is closed.
#[test]
fn a_store_moves_between_a_directory_and_a_database() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name);
    let key = StoreKey::generate().unwrap();
    let given = || KeySource::Given(key.clone());
    let address = store_at(&server());
    let in_database =
        |key: KeySource| Location::at(address.as_str(), key).unwrap().with_files_in(at("cache"));
    let directory = Location::new(at("store"), given());
    let mut store = directory.open().unwrap();
    store.transaction(|tx| tx.take_number("inbox")).unwrap();
    std::fs::write(at("waits"), b"bytes").unwrap();
    store.keep_file(1, "file-1", &at("waits")).unwrap();
    assert_eq!(
        directory.move_to(2, &in_database(KeySource::File)).unwrap_err().kind,
        Kind::StoreKeyMissing
    );
    let other = KeySource::Given(StoreKey::generate().unwrap());
    assert_eq!(directory.move_to(2, &in_database(other)).unwrap_err().kind, Kind::StoreKeyWrong);
    assert_eq!(store.transaction(|tx| tx.last_number("inbox")).unwrap(), 1, "it is used on");
    directory.move_to(2, &in_database(given())).unwrap();
    assert_eq!(store.transaction(|tx| tx.last_number("inbox")).unwrap_err().kind, Kind::StoreMoved);
    let mut moved = in_database(given()).open().unwrap();
    assert_eq!(moved.transaction(|tx| tx.take_number("inbox")).unwrap(), 2);
    assert!(moved.fetch_file("file-1", &at("fetched")).unwrap());
    let damaged = |place: &Location| -> usize {
        place.check().unwrap().iter().map(|report| report.damaged).sum()
    };
    assert_eq!(damaged(&in_database(given())), 0);
    in_database(given()).vacuum().unwrap();
    let back = Location::new(at("back"), given());
    in_database(given()).move_to(3, &back).unwrap();
    assert_eq!(moved.transaction(|tx| tx.take_number("inbox")).unwrap_err().kind, Kind::StoreMoved);
    assert_eq!(back.open().unwrap().transaction(|tx| tx.take_number("inbox")).unwrap(), 3);
    assert_eq!(damaged(&back), 0);
    // A store in a database is copied with the tools of the database.
    let copied = in_database(given()).back_up(&at("copy"), "now", false).unwrap_err().message;
    assert!(copied.contains(address.as_str()) && copied.contains("copy:"), "{copied}");
    assert!(!at("copy").exists());
}

#[test]
fn a_store_is_not_moved_to_itself_under_another_name() {
    let scratch = Scratch::new();
    let key = StoreKey::generate().unwrap();
    let at = |place: &str| {
        let location = Location::at(place, KeySource::Given(key.clone())).unwrap();
        location.with_files_in(scratch.path().join("cache"))
    };
    let address = store_at(&server());
    let mut store = at(address.as_str()).open().unwrap();
    store.transaction(|tx| tx.take_number("inbox")).unwrap();
    let pooler = env::var("MXCRYPT_TEST_POOLER").unwrap();
    let others = [
        address.as_str().replacen('@', "@127.0.0.1:1,", 1),
        address.as_str().replace("postgresql:", "postgres:"),
        format!("{}&connect_timeout=9", address.as_str()),
        format!("{pooler}?store={}", address.name),
    ];
    for other in others {
        let begun = Instant::now();
        let refused = at(address.as_str()).move_to(1, &at(&other)).unwrap_err();
        assert_eq!(refused.kind, Kind::Argument, "{refused}");
        assert!(refused.message.contains(&other), "{refused}");
        assert!(begun.elapsed() < LOCK_LIMIT / 2);
        // Whoever uses it notices nothing.
        store.transaction(|tx| tx.take_number("inbox")).unwrap();
    }
    // A move that was not finished is, and to another place.
    store
        .transaction(|tx| {
            tx.put_single(&crate::store::Closure::Leaving { to: "x".into(), id: [1; 16] })
        })
        .unwrap();
    let same = format!("{}&connect_timeout=9", address.as_str());
    assert_eq!(at(address.as_str()).move_to(1, &at(&same)).unwrap_err().kind, Kind::Argument);
    let elsewhere = store_at(&server());
    at(address.as_str()).move_to(1, &at(elsewhere.as_str())).unwrap();
    at(address.as_str()).move_to(1, &at(elsewhere.as_str())).unwrap();
    let mut moved = at(elsewhere.as_str()).open().unwrap();
    assert_eq!(moved.transaction(|tx| tx.take_number("inbox")).unwrap(), 6);
}
