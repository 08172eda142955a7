//! Servers as administrators set them up, and servers that refuse.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
};

use super::*;

/// The name of a new database, for which an administrator has set this and that.
fn database_with(settings: &[&str]) -> String {
    let name = format!("test_{}", u64::from_be_bytes(random_bytes().unwrap()));
    let pooled = pool::take(&server()).unwrap();
    pooled.connection.run(&format!("CREATE DATABASE {name}")).unwrap();
    for setting in settings {
        pooled.connection.run(&format!("ALTER DATABASE {name} SET {setting}")).unwrap();
    }
    name
}

/// A worker that was not restarted when another machine got the next version: it would not keep to its rules.
#[test]
fn a_newer_schema_stops_those_who_do_not_know_it() {
    let name = database_with(&[]);
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
}

/// What an administrator is asked to do is enough, and who was given too little is told what is missing.
#[test]
fn a_role_without_rights_is_told_what_it_needs() {
    let name = database_with(&[]);
    let admin = pool::take(&server()).unwrap();
    admin.connection.run(&format!("CREATE ROLE {name}")).unwrap();
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

#[test]
fn what_an_administrator_set_for_a_database_changes_nothing() {
    let name = database_with(&[
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
    let name = database_with(&["default_transaction_read_only = on"]);
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
