//! PostgreSQL as a store, on a real server: `MXCRYPT_TEST_POSTGRES` is its address (`tools/postgres.sh` starts one).

use std::{
    env,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
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

/// What the proxy does with a connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cut {
    /// Before the statement reaches the server.
    Before,
    /// After the server has done it, and before its response arrives.
    After,
    /// While the server is at it.
    Meanwhile,
}

/// Stands between us and the server, and cuts the connection at every `every`-th statement in which `word` stands.
fn proxy(word: &'static str, every: usize, cut: Cut) -> String {
    let target = server();
    let (before, rest) = target.split_once('@').unwrap();
    let (host, database) = rest.split_once('/').unwrap();
    let (host, database) = (host.to_owned(), database.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = format!("{before}@127.0.0.1:{port}/{database}?sslmode=disable");
    let seen = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&host).unwrap());
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (mut from_server, mut to_client) = (server, client);
            let muted = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let (is_muted, seen) = (muted.clone(), seen.clone());
            thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(length @ 1..) = from_client.read(&mut bytes) {
                    let has_word =
                        bytes[..length].windows(word.len()).any(|part| part == word.as_bytes());
                    let is_due =
                        has_word && (seen.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(every);
                    if is_due && cut != Cut::Before {
                        muted.store(true, Ordering::SeqCst);
                    }
                    if !(is_due && cut == Cut::Before) {
                        let _ = to_server.write_all(&bytes[..length]);
                    }
                    if is_due {
                        if cut == Cut::After {
                            thread::sleep(Duration::from_millis(50));
                        }
                        break;
                    }
                }
                let _ = from_client.shutdown(Shutdown::Both);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(length @ 1..) = from_server.read(&mut bytes) {
                    if is_muted.load(Ordering::SeqCst)
                        || to_client.write_all(&bytes[..length]).is_err()
                    {
                        break;
                    }
                }
                let _ = to_client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// Counts one up, as R does it: what was undone by a broken connection is done again.
fn count_up(database: &mut Postgres) -> Result<()> {
    database.begin(Durability::Durable)?;
    let number = database.last_number("count")? + 1;
    database.put(&ROOM, &[format!("!{number}").as_str().into()], &[], b"")?;
    database.set_number("count", number)?;
    database.commit()
}

/// The number of each step is taken once, and none is lost or done twice: else a ratchet would be forked.
#[test]
fn a_commit_whose_response_is_lost_is_looked_up() {
    for cut in [Cut::Before, Cut::After, Cut::Meanwhile] {
        let through = store_at(&proxy("; COMMIT", 3, cut));
        let mut database = Postgres::open(&through).unwrap();
        let mut again = 0;
        for step in 1..=30 {
            loop {
                match count_up(&mut database) {
                    Ok(()) => break,
                    Err(error) => {
                        assert_eq!(error.kind, Kind::StoreUnreachable, "{error}");
                        again += 1;
                        database.rollback();
                    }
                }
            }
            database.begin(Durability::Durable).unwrap();
            assert_eq!(database.last_number("count").unwrap(), step, "{cut:?}");
            assert_eq!(database.count(&ROOM, &Query::all()).unwrap(), step as usize, "{cut:?}");
            database.rollback();
        }
        if cut == Cut::After {
            assert_eq!(again, 0, "what was committed is not done again");
        }
        if cut == Cut::Before {
            assert!(again > 5, "what was not committed is done again");
        }
    }
}

#[test]
fn a_connection_that_breaks_in_a_transaction_undoes_it() {
    for word in ["BEGIN", "INSERT INTO mxcrypt.room", "INSERT INTO mxcrypt.counter"] {
        let through = store_at(&proxy(word, 4, Cut::After));
        let mut database = Postgres::open(&through).unwrap();
        for step in 1..=10 {
            while let Err(error) = count_up(&mut database) {
                assert_eq!(error.kind, Kind::StoreUnreachable, "{error}");
            }
            database.rollback();
            let mut other =
                Postgres::open(&Address { server: server(), ..through.clone() }).unwrap();
            other.begin(Durability::Durable).unwrap();
            assert_eq!(other.last_number("count").unwrap(), step, "{word}");
            other.rollback();
        }
    }
}

/// A commit that nobody could ask about is not taken for the one after it, which would be believed saved.
#[test]
fn a_commit_that_stays_unknown_does_not_answer_for_the_next() {
    let through = store_at(&proxy("; COMMIT", 1, Cut::After));
    let mut database = Postgres::open(&Address { server: server(), ..through.clone() }).unwrap();
    let direct = database.server.clone();
    database.server.clone_from(&through.server);
    database.begin(Durability::Durable).unwrap();
    database.set_number("count", 1).unwrap();
    database.server = server().replace("mxcrypt@", "nobody@");
    assert_eq!(database.commit().unwrap_err().kind, Kind::Store);
    database.server = proxy("; COMMIT", 1, Cut::Before);
    database.begin(Durability::Durable).unwrap();
    database.set_number("count", 2).unwrap();
    assert_eq!(database.commit().unwrap_err().kind, Kind::StoreUnreachable);
    database.server = direct;
    database.begin(Durability::Durable).unwrap();
    assert_eq!(database.last_number("count").unwrap(), 1);
    database.rollback();
}

/// Each question is a round trip: it is asked again only after another has written.
#[test]
fn what_is_known_is_not_asked_again() {
    let through = store_at(&proxy("mxcrypt.room WHERE", 3, Cut::Before));
    let mut database = Postgres::open(&through).unwrap();
    let mut other = Postgres::open(&Address { server: server(), ..through.clone() }).unwrap();
    count_up(&mut other).unwrap();
    let mut read = || -> Result<(bool, usize)> {
        database.begin(Durability::Durable)?;
        let found = database.get(&ROOM, &["!1".into()])?.is_some();
        let rows = database.select(&ROOM, &Query::all())?.len();
        database.commit()?;
        Ok((found, rows))
    };
    for _ in 0..5 {
        assert_eq!(read().unwrap(), (true, 1));
    }
    count_up(&mut other).unwrap();
    assert_eq!(read().unwrap_err().kind, Kind::StoreUnreachable, "the third question");
    assert_eq!(read().unwrap(), (true, 2));
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

/// A worker that was not restarted when another machine got the next version: it would not keep to its rules.
#[test]
fn a_newer_schema_stops_those_who_do_not_know_it() {
    let name = format!("newer_{}", u64::from_be_bytes(random_bytes().unwrap()));
    let pooled = pool::take(&server()).unwrap();
    pooled.connection.run(&format!("CREATE DATABASE {name}")).unwrap();
    let place = Address {
        server: server().replace("/postgres", &format!("/{name}")),
        ..store_at(&server())
    };
    let mut database = Postgres::open(&place).unwrap();
    count_up(&mut database).unwrap();
    let there = pool::take(&place.server).unwrap();
    there.connection.run("UPDATE mxcrypt.version SET number = number + 1").unwrap();
    assert_eq!(count_up(&mut database).unwrap_err().kind, Kind::StoreNewer);
    assert_eq!(Postgres::open(&place).err().unwrap().kind, Kind::StoreNewer);
    there.connection.run("UPDATE mxcrypt.version SET number = number - 1").unwrap();
    count_up(&mut database).unwrap();
    drop((database, there));
    pool::forget(&place.server);
    pooled.connection.run(&format!("DROP DATABASE {name}")).unwrap();
}

/// Else who waited for the lock would take the step that another has just taken.
#[test]
fn what_an_administrator_set_as_default_changes_nothing() {
    let options = "options=-c%20default_transaction_isolation%3Dserializable\
                   %20-c%20standard_conforming_strings%3Doff";
    let address = store_at(&format!("{}?{options}", server()));
    let (mut one, mut two) = (Postgres::open(&address).unwrap(), Postgres::open(&address).unwrap());
    one.begin(Durability::Durable).unwrap();
    let waits = thread::spawn(move || {
        two.begin(Durability::Durable).unwrap();
        two.last_number("count").unwrap()
    });
    thread::sleep(Duration::from_millis(300));
    one.set_number("count", 1).unwrap();
    one.commit().unwrap();
    assert_eq!(waits.join().unwrap(), 1);
}

/// The server ends idle connections too, as administrators and failovers do.
#[test]
fn connections_that_the_server_ended_are_made_again() {
    let address = store_at(&server());
    let mut database = Postgres::open(&address).unwrap();
    count_up(&mut database).unwrap();
    let name = format!("ended-{}", std::process::id());
    let named =
        Address { server: format!("{}?application_name={name}", server()), ..address.clone() };
    let mut other = Postgres::open(&named).unwrap();
    count_up(&mut other).unwrap();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
    );
    let cut = || {
        pool::take(&server()).unwrap().connection.run(&end).unwrap();
        thread::sleep(Duration::from_millis(50));
    };
    cut();
    count_up(&mut other).unwrap();
    // Also where nothing is begun.
    cut();
    assert!(Postgres::is_there(&named).unwrap());
    cut();
    other.store_id().unwrap();
    cut();
    Postgres::open(&named).unwrap();
    // In the middle of a transaction.
    other.begin(Durability::Durable).unwrap();
    other.set_number("count", 9).unwrap();
    cut();
    let failed = other.set_number("count", 10).and_then(|()| other.commit());
    assert_eq!(failed.unwrap_err().kind, Kind::StoreUnreachable);
    other.rollback();
    count_up(&mut database).unwrap();
    database.begin(Durability::Durable).unwrap();
    assert_eq!(database.last_number("count").unwrap(), 4);
    database.rollback();
}

/// What an administrator is asked to do is enough, and who was given too little is told what is missing.
#[test]
fn a_role_without_rights_is_told_what_it_needs() {
    let name = format!("mxcrypt_{}", u32::from_be_bytes(random_bytes().unwrap()));
    let admin = pool::take(&server()).unwrap();
    for sql in ["CREATE ROLE", "CREATE DATABASE"] {
        admin.connection.run(&format!("{sql} {name}")).unwrap();
    }
    let database = server().replace("/postgres", &format!("/{name}"));
    let address = store_at(&format!("{database}?options=-c%20role%3D{name}"));
    let refused = || Postgres::open(&address).err().unwrap().message;
    assert!(refused().contains("CREATE SCHEMA mxcrypt AUTHORIZATION"), "{}", refused());
    let inside = pool::take(&database).unwrap();
    inside.connection.run(&format!("CREATE SCHEMA mxcrypt AUTHORIZATION {name}")).unwrap();
    Postgres::open(&address).unwrap();
    for taken in ["SELECT ON mxcrypt.store", "USAGE ON SCHEMA mxcrypt"] {
        inside.connection.run(&format!("REVOKE {taken} FROM {name}")).unwrap();
        assert!(refused().contains("USAGE on the schema"), "{}", refused());
    }
    drop(inside);
    pool::forget(&address.server);
    admin.connection.run(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
    admin.connection.run(&format!("DROP ROLE {name}")).unwrap();
}

#[test]
fn a_database_that_can_only_be_read_is_said_so() {
    let address =
        store_at(&format!("{}?options=-c%20default_transaction_read_only%3Don", server()));
    drop(Postgres::open(&Address { server: server(), ..address.clone() }).unwrap());
    let refused = Postgres::open(&address).err().unwrap();
    assert_eq!(refused.kind, Kind::StoreUnreachable);
    assert!(refused.message.contains("can only be read"), "{}", refused.message);
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let begun = Instant::now();
    let refused = |place: &str, limit| pool::connect_within(place, limit).err().unwrap();
    let gone = format!("postgresql://mxcrypt@127.0.0.1:{port}/postgres");
    assert_eq!(refused(&gone, Duration::from_millis(300)).kind, Kind::StoreUnreachable);
    let (server, long) = (server(), Duration::from_secs(30));
    let wrong_user = server.replace("mxcrypt@", "nobody@");
    let no_database = server.replace("/postgres", "/elsewhere");
    let no_service = format!("{server}?service=nowhere");
    for place in [wrong_user, no_database, no_service, format!("{server}?sslmode=nonsense")] {
        assert_eq!(refused(&place, long).kind, Kind::StoreRefused, "{place}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "what stays so is not tried again");
}

/// Passes everything on, and counts connections on which something is sent.
fn counting_proxy(target: &str) -> (String, Arc<AtomicUsize>) {
    let (before, rest) = target.split_once('@').unwrap();
    let (host, database) = rest.split_once('/').unwrap();
    let host = host.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&host).unwrap());
            let ends = [(client.try_clone(), server.try_clone(), 1), (Ok(server), Ok(client), 0)];
            for (from, to, counts) in ends {
                let counted = counted.clone();
                thread::spawn(move || {
                    let (mut from, mut to) = (from.unwrap(), to.unwrap());
                    let mut first = [0];
                    if from.read(&mut first).is_ok_and(|bytes| bytes == 1) {
                        counted.fetch_add(counts, Ordering::SeqCst);
                        let _ = to.write_all(&first);
                        let _ = std::io::copy(&mut from, &mut to);
                    }
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    (format!("{before}@127.0.0.1:{port}/{database}"), count)
}

/// Where some wrong ones lock an account, each counts. libpq would try it again without TLS.
#[test]
fn a_wrong_password_is_tried_once() {
    let scratch = Scratch::new();
    let passwords = scratch.path().join("passwords");
    drop(crate::store::private_file::replace(&passwords, b"*:*:*:*:wrong"));
    let passwords = passwords.to_str().unwrap().replace('/', "%2F");
    for place in [server(), env::var("MXCRYPT_TEST_POOLER").unwrap()] {
        let (proxy, count) = counting_proxy(&place);
        let address = Address::read(&format!("{proxy}?passfile={passwords}")).unwrap();
        let refused = Postgres::open(&address).err().unwrap();
        assert_eq!(refused.kind, Kind::StoreRefused);
        let message = refused.message;
        assert!(message.contains("authentication failed"), "{message}");
        assert!(message.contains("pgpass") && !message.contains("auth.c"), "{message}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

/// A server that says in its own language why it refuses whoever comes, as the protocol has it. None here has German.
fn refusing_server(code: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = client.read(&mut [0; 8192]);
            let fields =
                format!("SFATAL\0VFATAL\0C{code}\0MSo nicht\0Fauth.c\0L332\0Rauth_failed\0\0");
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let _ = client.write_all(&[b"E".as_slice(), &length, fields.as_bytes()].concat());
        }
    });
    (format!("postgresql://mxcrypt@127.0.0.1:{port}/postgres?sslmode=disable"), count)
}

#[test]
fn a_refusal_is_known_in_any_language() {
    for code in ["28P01", "28000", "3D000", "42501"] {
        let (place, count) = refusing_server(code);
        let refused = pool::connect_within(&place, Duration::from_secs(30)).err().unwrap();
        assert_eq!(refused.kind, Kind::StoreRefused, "{refused}");
        assert!(refused.message.contains("FATAL:  So nicht"), "{refused}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
    for code in ["53300", "57P03"] {
        let (place, count) = refusing_server(code);
        let away = pool::connect_within(&place, Duration::from_millis(500)).err().unwrap();
        assert_eq!(away.kind, Kind::StoreUnreachable, "{away}");
        assert!(count.load(Ordering::SeqCst) > 1);
    }
}

/// The first host takes all and says nothing, as one without power behind a firewall does.
#[test]
fn a_host_that_is_silent_does_not_keep_the_next_from_being_asked() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let hosts = server().replacen('@', &format!("@{silent},"), 1);
    let pooled = pool::connect_within(&format!("{hosts}?connect_timeout=2"), pool::OUTAGE).unwrap();
    assert!(pooled.connection.run("SELECT 1").is_ok());
}

/// Ends a wait within a second or so.
fn expect_interrupt<T>(work: impl FnOnce() -> Result<T>) {
    let begun = Instant::now();
    assert_eq!(work().err().unwrap().kind, Kind::Interrupted);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn an_interrupt_ends_each_wait_for_the_database() {
    let address = store_at(&server());
    let (mut one, mut two) = (Postgres::open(&address).unwrap(), Postgres::open(&address).unwrap());
    two.wait_for_commit(Duration::ZERO).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    interrupts::watch(|| true);
    for place in [silent, closed] {
        let place = Address::read(&format!("postgresql://mxcrypt@{place}/postgres")).unwrap();
        expect_interrupt(|| Postgres::open(&place));
        expect_interrupt(|| Lock::take(&place, "listen"));
    }
    expect_interrupt(|| two.wait_for_commit(Duration::from_secs(60)));
    interrupts::watch(|| false);
    thread::sleep(Duration::from_secs(1));
    one.begin(Durability::Durable).unwrap();
    one.set_number("count", 1).unwrap();
    interrupts::watch(|| true);
    expect_interrupt(|| two.begin(Durability::Durable));
    interrupts::watch(|| false);
    thread::sleep(Duration::from_secs(1));
    one.commit().unwrap();
    // What was left waits for nothing any more.
    two.begin(Durability::Durable).unwrap();
    assert_eq!(two.last_number("count").unwrap(), 1);
    two.set_number("count", 2).unwrap();
    interrupts::watch(|| true);
    expect_interrupt(|| two.query("SELECT pg_sleep(60)::text::bytea", &[]));
    two.rollback();
    interrupts::watch(|| false);
    thread::sleep(Duration::from_secs(1));
    // The server was told that nobody waits, and has undone it.
    one.begin(Durability::Durable).unwrap();
    assert_eq!(one.last_number("count").unwrap(), 1);
    one.rollback();
}

/// Who would be told that a commit was interrupted could not know what was saved.
#[test]
fn an_interrupt_waits_until_it_is_known_whether_it_was_committed() {
    let through = store_at(&proxy("; COMMIT", 1, Cut::After));
    let mut database = Postgres::open(&through).unwrap();
    database.begin(Durability::Durable).unwrap();
    database.set_number("count", 1).unwrap();
    interrupts::watch(|| true);
    database.commit().unwrap();
    assert!(interrupts::came());
    // One that nobody can find out does not keep R for ever.
    let mut database = Postgres::open(&store_at(&server())).unwrap();
    interrupts::watch(|| false);
    thread::sleep(Duration::from_secs(1));
    database.begin(Durability::Durable).unwrap();
    database.set_number("count", 1).unwrap();
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert!(database.query(end, &[]).is_err());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    database.server = format!("postgresql://mxcrypt@{}/postgres", silent.local_addr().unwrap());
    let begun = Instant::now();
    interrupts::watch(|| true);
    assert_eq!(database.commit().unwrap_err().kind, Kind::Interrupted);
    assert!(begun.elapsed() < COMMIT_LIMIT + Duration::from_secs(3));
}

/// A database whose administrator has set this and that.
fn odd_database(settings: &[&str]) -> String {
    let name = format!("odd_{}", u64::from_be_bytes(random_bytes().unwrap()));
    let pooled = pool::take(&server()).unwrap();
    pooled.connection.run(&format!("CREATE DATABASE {name}")).unwrap();
    for setting in settings {
        pooled.connection.run(&format!("ALTER DATABASE {name} SET {setting}")).unwrap();
    }
    name
}

#[test]
fn what_an_administrator_set_for_a_database_changes_nothing() {
    let name = odd_database(&[
        "statement_timeout = '100ms'",
        "lock_timeout = '50ms'",
        "idle_in_transaction_session_timeout = '100ms'",
        "idle_session_timeout = '100ms'",
        "search_path = nowhere, public, pg_catalog",
        "bytea_output = escape",
        "standard_conforming_strings = off",
        "default_transaction_isolation = serializable",
        "client_encoding = latin1",
        "synchronous_commit = off",
        "\"DateStyle\" = 'German'",
        "row_security = off",
    ]);
    for place in [server(), env::var("MXCRYPT_TEST_POOLER").unwrap()] {
        let place = place.replace("/postgres", &format!("/{name}"));
        let address = store_at(&place);
        let (mut one, mut two) =
            (Postgres::open(&address).unwrap(), Postgres::open(&address).unwrap());
        // What somebody put where names are searched first.
        let trap = "CREATE OR REPLACE FUNCTION public.decode(text, text) RETURNS bytea LANGUAGE sql AS \
                    $$ SELECT ''::bytea $$";
        pool::take(&place).unwrap().connection.run(trap).unwrap();
        one.begin(Durability::Durable).unwrap();
        let waits = thread::spawn(move || {
            two.begin(Durability::Durable).unwrap();
            let number = two.last_number("count").unwrap();
            two.rollback();
            number
        });
        one.set_number("count", 1).unwrap();
        thread::sleep(Duration::from_secs(1));
        one.commit().unwrap();
        assert_eq!(waits.join().unwrap(), 1);
        let sql = "SELECT count(*) FROM mxcrypt.worker WHERE store = $1 AND worker = $2";
        let worker = [Parameter::Integer(one.store), Parameter::Bytes(&one.worker)];
        let pooled = pool::take(&place).unwrap();
        assert_eq!(pooled.connection.query(sql, &worker).unwrap().integer(0, 0), Some(1));
        if !pooled.behind_pooler {
            let lock = Lock::take(&address, "listen").unwrap().unwrap();
            one.wait_for_commit(Duration::ZERO).unwrap();
            thread::sleep(Duration::from_millis(500));
            assert!(lock.is_held());
        }
    }
}

#[test]
fn a_database_that_only_reads_says_what_to_change() {
    let name = odd_database(&["default_transaction_read_only = on"]);
    let address = store_at(&server().replace("/postgres", &format!("/{name}")));
    let refused = Postgres::open(&address).err().unwrap();
    assert_eq!(refused.kind, Kind::StoreUnreachable);
    assert!(refused.message.contains("default_transaction_read_only = off"), "{refused}");
}

#[test]
fn tls_is_used_and_a_certificate_of_somebody_else_is_refused() {
    let pooled = pool::take(&format!("{}?sslmode=require", server())).unwrap();
    let sql = "SELECT (ssl)::int::bigint FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(pooled.connection.query(sql, &[]).unwrap().integer(0, 0), Some(1));
    let strict = format!("{}?sslmode=verify-full&sslrootcert=/dev/null", server());
    assert!(pool::connect_within(&strict, Duration::ZERO).is_err());
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
