//! What every database must do that stores are kept in: the same tests over SQLite and over PostgreSQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{
    database::{Database, Durability, Query, Row, Table, Value},
    scratch::Scratch,
    sqlite::Sqlite,
};

const DURABLE: Durability = Durability::Durable;
/// Numbers as key, a text beside it.
const OUTBOX: Table = Table { name: "outbox", key: &["number"], plain: &["room_id", "state"] };
/// Texts as key, a number beside it.
const WITHHELD: Table =
    Table { name: "withheld_key", key: &["room_id", "session_id", "sender"], plain: &["number"] };
const ROOM: Table = Table { name: "room", key: &["room_id"], plain: &[] };

/// A place that can be opened any number of times.
pub(super) trait Place: Sync {
    fn open(&self) -> Box<dyn Database>;
}

struct InSqlite(Scratch);

impl Place for InSqlite {
    fn open(&self) -> Box<dyn Database> {
        Box::new(Sqlite::open(&self.0.path().join("crypto.sqlite")).unwrap())
    }
}

fn room(database: &dyn Database, id: &str, body: &[u8]) {
    database.put(&ROOM, &[id.into()], &[], body).unwrap();
}

fn queue(database: &dyn Database, number: i64, room_id: &str, state: &str) {
    database.put(&OUTBOX, &[number.into()], &[room_id.into(), state.into()], b"body").unwrap();
}

fn numbers(rows: &[Row]) -> Vec<i64> {
    let number = |row: &Row| match &row.key[..] {
        [Value::Integer(number)] => *number,
        other => panic!("{other:?}"),
    };
    rows.iter().map(number).collect()
}

fn texts(rows: &[Row]) -> Vec<String> {
    let text = |row: &Row| match &row.key[..] {
        [Value::Text(text)] => text.clone(),
        other => panic!("{other:?}"),
    };
    rows.iter().map(text).collect()
}

fn rows_come_back_in_the_order_of_their_keys(place: &dyn Place) {
    let mut database = place.open();
    database.begin(DURABLE).unwrap();
    for number in [300, 2, -5, 10, i64::MAX] {
        queue(&*database, number, "!a", "queued");
    }
    // Before and after the commit, and to another connection.
    let all = |database: &dyn Database| database.select(&OUTBOX, &Query::all()).unwrap();
    assert_eq!(numbers(&all(&*database)), [-5, 2, 10, 300, i64::MAX]);
    database.commit().unwrap();
    let mut other = place.open();
    other.begin(DURABLE).unwrap();
    assert_eq!(numbers(&all(&*other)), [-5, 2, 10, 300, i64::MAX]);
    for id in ["!b", "!B", "!\u{e9}", "!a", "", "!a b", "!\u{1F511}", "!\u{ffff}"] {
        room(&*other, id, b"");
    }
    // Texts are ordered by their bytes, whatever the language.
    let found = other.select(&ROOM, &Query::all()).unwrap();
    let wanted = ["", "!B", "!a", "!a b", "!b", "!\u{e9}", "!\u{ffff}", "!\u{1F511}"];
    assert_eq!(texts(&found), wanted);
    other.commit().unwrap();
}

fn a_row_takes_the_place_of_the_one_with_its_key(place: &dyn Place) {
    let mut database = place.open();
    database.begin(DURABLE).unwrap();
    queue(&*database, 1, "!a", "queued");
    queue(&*database, 1, "!b", "sent");
    let read = |database: &dyn Database| database.get(&OUTBOX, &[1.into()]).unwrap().unwrap();
    assert_eq!(read(&*database).plain, ["!b".into(), "sent".into()]);
    database.commit().unwrap();
    database.begin(DURABLE).unwrap();
    assert_eq!(read(&*database).plain, ["!b".into(), "sent".into()]);
    database.put(&OUTBOX, &[1.into()], &["!c".into(), "sent".into()], &[0, 255, 0]).unwrap();
    assert_eq!(read(&*database).body, [0, 255, 0]);
    assert_eq!(database.count(&OUTBOX, &Query::all()).unwrap(), 1);
    assert_eq!(read(&*database).body, [0, 255, 0]);
    assert_eq!(database.delete(&OUTBOX, &Query::equal("number", 1)).unwrap(), 1);
    assert!(database.get(&OUTBOX, &[1.into()]).unwrap().is_none());
    queue(&*database, 1, "!d", "queued");
    assert_eq!(read(&*database).plain[0], "!d".into());
    database.commit().unwrap();
}

fn queries_find_what_they_ask_for(place: &dyn Place) {
    let mut database = place.open();
    database.begin(DURABLE).unwrap();
    for number in 1..=9 {
        let room_id = ["!a", "!b", "!c"][number as usize % 3];
        queue(&*database, number, room_id, if number < 5 { "queued" } else { "sent" });
    }
    let found = |query: Query| {
        let rows = database.select(&OUTBOX, &query).unwrap();
        assert_eq!(database.count(&OUTBOX, &query).unwrap(), rows.len());
        numbers(&rows)
    };
    assert_eq!(found(Query::equal("room_id", "!a")), [3, 6, 9]);
    assert_eq!(found(Query::equal("room_id", "!a").and("state", "sent")), [6, 9]);
    assert_eq!(found(Query::all().after("number", 7)), [8, 9]);
    assert_eq!(found(Query::all().until("number", 2)), [1, 2]);
    assert_eq!(found(Query::all().after("number", 2).until("number", 4)), [3, 4]);
    assert_eq!(found(Query::among("room_id", ["!a", "!c", "!z"])), [2, 3, 5, 6, 8, 9]);
    assert_eq!(found(Query::equal("state", "sent").and_among("room_id", ["!b"])), [7]);
    assert!(found(Query::among("room_id", [])).is_empty());
    assert!(found(Query::equal("room_id", "! a")).is_empty());
    let first = Query::all().after("number", 1).limit(2);
    assert_eq!(numbers(&database.select(&OUTBOX, &first).unwrap()), [2, 3]);
    let rooms = database.texts(&OUTBOX, "room_id", &Query::all()).unwrap();
    assert_eq!(rooms, ["!a", "!b", "!c"]);
    let rooms = database.texts(&OUTBOX, "room_id", &Query::equal("state", "sent").limit(2));
    assert_eq!(rooms.unwrap(), ["!a", "!b"]);
    assert!(database.texts(&OUTBOX, "room_id", &Query::equal("state", "x")).unwrap().is_empty());
    assert_eq!(database.delete(&OUTBOX, &Query::all().until("number", 4)).unwrap(), 4);
    assert_eq!(database.delete(&OUTBOX, &Query::equal("room_id", "!a")).unwrap(), 2);
    assert_eq!(database.delete(&OUTBOX, &Query::equal("room_id", "!a")).unwrap(), 0);
    assert_eq!(numbers(&database.select(&OUTBOX, &Query::all()).unwrap()), [5, 7, 8]);
    database.commit().unwrap();
}

/// Others choose ids. What the specification does not allow must still not stop a sync.
fn any_text_can_be_a_key(place: &dyn Place) {
    let mut database = place.open();
    // One that does not become shorter when it is compressed.
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 75)
    };
    let long: String = (0..70_000).map(|_| letter()).collect();
    let longer = format!("{long}\u{1F511}");
    let keys: [&str; 8] = ["", "\0", "a\0b", "a\0", "'; DROP TABLE room; --", "$1", &long, &longer];
    let key = |text: &str| [text.into(), text.into(), "s".into()];
    database.begin(DURABLE).unwrap();
    for (number, text) in keys.iter().enumerate() {
        let plain = [(number as i64).into()];
        database.put(&WITHHELD, &key(text), &plain, &[number as u8]).unwrap();
        database
            .put(&OUTBOX, &[(number as i64).into()], &[(*text).into(), "".into()], b"")
            .unwrap();
    }
    database.commit().unwrap();
    database.begin(DURABLE).unwrap();
    for (number, text) in keys.iter().enumerate() {
        let row = database.get(&WITHHELD, &key(text)).unwrap().expect("a row");
        assert_eq!((row.body, row.key), (vec![number as u8], key(text).to_vec()));
        let of_room = database.select(&WITHHELD, &Query::equal("room_id", *text)).unwrap();
        assert_eq!(of_room.len(), 1);
        assert_eq!(of_room[0].key, key(text));
        let queued = database.select(&OUTBOX, &Query::equal("room_id", *text)).unwrap();
        assert_eq!(numbers(&queued), [number as i64]);
        assert_eq!(queued[0].plain[0], (*text).into());
    }
    let mut all = database.texts(&WITHHELD, "room_id", &Query::all()).unwrap();
    all.sort();
    let mut wanted: Vec<_> = keys.iter().filter(|text| !text.is_empty()).collect();
    wanted.sort();
    assert!(all.iter().eq(wanted.into_iter()), "each once, and none empty");
    assert_eq!(database.delete(&WITHHELD, &Query::equal("session_id", &*longer)).unwrap(), 1);
    assert!(database.get(&WITHHELD, &key(&longer)).unwrap().is_none());
    assert!(database.get(&WITHHELD, &key(&long)).unwrap().is_some());
    database.commit().unwrap();
}

fn what_is_not_committed_never_was(place: &dyn Place) {
    let mut database = place.open();
    database.begin(DURABLE).unwrap();
    room(&*database, "!kept", b"1");
    database.set_number("counter", 5).unwrap();
    database.commit().unwrap();
    database.begin(DURABLE).unwrap();
    room(&*database, "!kept", b"2");
    room(&*database, "!undone", b"");
    database.set_number("counter", 6).unwrap();
    database.rollback();
    database.rollback();
    database.begin(DURABLE).unwrap();
    room(&*database, "!dropped", b"");
    drop(database);
    let mut database = place.open();
    database.begin(Durability::Eventual).unwrap();
    assert_eq!(texts(&database.select(&ROOM, &Query::all()).unwrap()), ["!kept"]);
    assert_eq!(database.get(&ROOM, &["!kept".into()]).unwrap().unwrap().body, b"1");
    assert_eq!(database.last_number("counter").unwrap(), 5);
    assert_eq!(database.last_number("another").unwrap(), 0);
    database.commit().unwrap();
}

/// Two who take the same step of a ratchet encrypt two messages with one key.
fn transactions_come_one_after_the_other(place: &dyn Place) {
    const EACH: i64 = 50;
    let worker = || {
        let mut database = place.open();
        for _ in 0..EACH {
            database.begin(DURABLE).unwrap();
            let number = database.last_number("steps").unwrap() + 1;
            assert!(database.get(&OUTBOX, &[number.into()]).unwrap().is_none(), "{number}");
            queue(&*database, number, "!a", "queued");
            database.set_number("steps", number).unwrap();
            database.commit().unwrap();
        }
    };
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(worker)));
    });
    let mut database = place.open();
    database.begin(DURABLE).unwrap();
    assert_eq!(database.last_number("steps").unwrap(), 3 * EACH);
    assert_eq!(database.count(&OUTBOX, &Query::all()).unwrap(), 3 * EACH as usize);
    database.commit().unwrap();
}

fn who_begins_waits_for_the_one_inside(place: &dyn Place) {
    let mut first = place.open();
    first.begin(DURABLE).unwrap();
    let (inside, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut second = place.open();
            second.begin(DURABLE).unwrap();
            inside.send(Instant::now()).unwrap();
            assert_eq!(second.get(&ROOM, &["!a".into()]).unwrap().unwrap().body, b"first");
            second.commit().unwrap();
        });
        thread::sleep(Duration::from_millis(500));
        room(&*first, "!a", b"first");
        let committed = Instant::now();
        first.commit().unwrap();
        assert!(has_begun.recv().unwrap() >= committed);
    });
}

fn many_rows_are_written_in_one_transaction(place: &dyn Place) {
    let mut database = place.open();
    database.begin(DURABLE).unwrap();
    for number in 0..3000 {
        let body = vec![1; if number % 100 == 0 { 300_000 } else { 20 }];
        let plain = ["!a".into(), "queued".into()];
        database.put(&OUTBOX, &[number.into()], &plain, &body).unwrap();
    }
    assert_eq!(database.get(&OUTBOX, &[100.into()]).unwrap().unwrap().body.len(), 300_000);
    assert_eq!(database.get(&OUTBOX, &[2999.into()]).unwrap().unwrap().body.len(), 20);
    database.commit().unwrap();
    database.begin(DURABLE).unwrap();
    assert_eq!(database.count(&OUTBOX, &Query::all()).unwrap(), 3000);
    database.commit().unwrap();
}

/// What a database remembers of earlier transactions must be so still: nothing that another changed meanwhile, and
/// nothing that was undone. Three take turns at random, beside a map that is known to be right.
fn nobody_sees_what_is_no_longer_so(place: &dyn Place) {
    type Model = (BTreeMap<i64, (String, u8)>, i64);
    let mut all = [place.open(), place.open(), place.open()];
    let mut model: Model = Model::default();
    let mut state = 7_u64;
    let mut up_to = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..250 {
        let database = all[up_to(3) as usize].as_mut();
        let mut inside = model.clone();
        database.begin(DURABLE).unwrap();
        for _ in 0..up_to(8) {
            let (number, room_id) = (up_to(6) as i64, format!("!{}", up_to(3)));
            match up_to(9) {
                0 | 1 => {
                    let (plain, body) = ([room_id.as_str().into(), "s".into()], up_to(250) as u8);
                    database.put(&OUTBOX, &[number.into()], &plain, &[body]).unwrap();
                    inside.0.insert(number, (room_id, body));
                }
                2 => {
                    let deleted = database.delete(&OUTBOX, &Query::equal("number", number));
                    let was = usize::from(inside.0.remove(&number).is_some());
                    assert_eq!(deleted.unwrap(), was);
                }
                3 => {
                    database.delete(&OUTBOX, &Query::equal("room_id", &*room_id)).unwrap();
                    inside.0.retain(|_, (of_row, _)| *of_row != room_id);
                }
                4 => {
                    inside.1 += 1;
                    database.set_number("counter", inside.1).unwrap();
                }
                5 => assert_eq!(database.last_number("counter").unwrap(), inside.1),
                6 => {
                    let row = database.get(&OUTBOX, &[number.into()]).unwrap();
                    let found = row.map(|row| (row.plain[0].clone(), row.body));
                    let wanted = inside.0.get(&number);
                    let wanted =
                        wanted.map(|(room_id, body)| (room_id.as_str().into(), vec![*body]));
                    assert_eq!(found, wanted);
                }
                7 => {
                    let query = Query::equal("room_id", &*room_id);
                    let rows = database.select(&OUTBOX, &query).unwrap();
                    let of_room = inside.0.iter().filter(|(_, (of_row, _))| *of_row == room_id);
                    assert!(numbers(&rows).iter().eq(of_room.map(|(number, _)| number)));
                    assert_eq!(database.count(&OUTBOX, &query).unwrap(), rows.len());
                }
                _ => {
                    let rooms = database.texts(&OUTBOX, "room_id", &Query::all()).unwrap();
                    let wanted: BTreeSet<_> =
                        inside.0.values().map(|(room_id, _)| room_id).collect();
                    assert!(rooms.iter().eq(wanted));
                }
            }
        }
        if up_to(4) == 0 {
            database.rollback();
        } else {
            database.commit().unwrap();
            model = inside;
        }
    }
}

/// All of it, each in a place of its own.
pub(super) fn conforms<P: Place>(new: impl Fn() -> P) {
    for rule in [
        rows_come_back_in_the_order_of_their_keys,
        a_row_takes_the_place_of_the_one_with_its_key,
        queries_find_what_they_ask_for,
        any_text_can_be_a_key,
        what_is_not_committed_never_was,
        transactions_come_one_after_the_other,
        who_begins_waits_for_the_one_inside,
        many_rows_are_written_in_one_transaction,
        nobody_sees_what_is_no_longer_so,
    ] {
        rule(&new());
    }
}

#[test]
fn sqlite_conforms() {
    conforms(|| InSqlite(Scratch::new()));
}
