//! Connections that break, commits whose response is lost, and waits that a user interrupts.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
};

use super::{super::commit::COMMIT_LIMIT, *};

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
