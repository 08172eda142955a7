//! The store contract over SQLite.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql,
    backup::{Backup, StepResult},
    params, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    database::{Database, Durability, LOOK_EVERY, Query, Row, Table, Value},
    file_system, interrupts, private_file,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The numbered steps from an empty file to the schema of this version, oldest first.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_identity.sql"),
    include_str!("migrations/0003_healing.sql"),
    include_str!("migrations/0004_relations.sql"),
    include_str!("migrations/0005_secret_sharing.sql"),
    include_str!("migrations/0006_verification.sql"),
    include_str!("migrations/0007_key_backup.sql"),
    include_str!("migrations/0008_key_bundles.sql"),
    include_str!("migrations/0009_bounds.sql"),
    include_str!("migrations/0010_taken_events.sql"),
    include_str!("migrations/0011_session_owners.sql"),
    include_str!("migrations/0012_failures.sql"),
    include_str!("migrations/0013_archive.sql"),
    include_str!("migrations/0014_heartbeats.sql"),
    include_str!("migrations/0015_owed_keys.sql"),
    include_str!("migrations/0016_small_rows.sql"),
    include_str!("migrations/0017_kept_files.sql"),
];

/// The schema that [`Sqlite::open`] brings every file to.
pub(super) fn schema_version() -> usize {
    MIGRATIONS.len()
}

pub(super) const DISK_FULL: &str = "The disk of the store is full.";

/// How long to wait for another process that is inside a transaction.
const LOCK_LIMIT: Duration = Duration::from_secs(20);
/// The pauses between its looks, in milliseconds; the last stands for all that follow.
const PAUSES: [u64; 8] = [1, 2, 5, 10, 15, 20, 25, 50];

/// A store in one SQLite file.
pub(crate) struct Sqlite {
    connection: Connection,
    /// What SQLite is set to.
    durability: Durability,
    /// Whether it can be changed.
    has_log: bool,
    /// Another number after each commit of another connection, as it was when a wait ended.
    data_version: i64,
    /// The statements that are made most often. To write one takes as long as to find its row.
    statements: RefCell<HashMap<(Verb, &'static str), Arc<str>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Verb {
    Get,
    Put,
}

impl Sqlite {
    /// Opens the file at `path`, makes it when it is not there, and brings its schema up to date.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            match private_file::create_new(path) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).or_fail(Kind::Store, "The store cannot be made"),
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(refusal)?;
        connection.busy_handler(Some(patience())).map_err(refusal)?;
        let has_log = configure(&connection, path).map_err(refusal)?;
        let durability = Durability::Durable;
        let statements = RefCell::default();
        let mut sqlite = Self { connection, durability, has_log, data_version: 0, statements };
        sqlite.migrate()?;
        Ok(sqlite)
    }

    /// The id of this store, made from `new_id` when the store is new.
    pub(crate) fn store_id(&mut self, new_id: [u8; 16]) -> Result<[u8; 16]> {
        self.begin(Durability::Durable)?;
        let insert = "INSERT INTO store (id) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM store)";
        self.connection.execute(insert, [&new_id[..]]).map_err(refusal)?;
        let id = self
            .connection
            .query_row("SELECT id FROM store", [], |row| row.get(0))
            .map_err(refusal)?;
        self.commit()?;
        Ok(id)
    }

    /// The version of the schema.
    fn version(&self) -> Result<usize> {
        let mut statement =
            self.connection.prepare_cached("PRAGMA user_version").map_err(refusal)?;
        let version: u32 = statement.query_row([], |row| row.get(0)).map_err(refusal)?;
        Ok(version as usize)
    }

    fn statement(&self, verb: Verb, table: &Table) -> Arc<str> {
        let write = || match verb {
            Verb::Get => {
                let condition = equals(table.key);
                format!("SELECT {} FROM {} WHERE {condition}", columns(table), table.name)
            }
            Verb::Put => {
                let values = vec!["?"; table.key.len() + table.plain.len() + 1].join(", ");
                let columns = columns(table);
                let bodies = [table.plain, &["body"]].concat();
                let set = |column| format!("{column} = excluded.{column}");
                let set = bodies.into_iter().map(set).collect::<Vec<_>>().join(", ");
                // A row that is there is changed in its place, with those entries of indices only that change.
                format!(
                    "INSERT OR REPLACE INTO {} ({columns}) VALUES ({values}) \
                     ON CONFLICT ({}) DO UPDATE SET {set}",
                    table.name,
                    table.key.join(", "),
                )
            }
        };
        let mut statements = self.statements.borrow_mut();
        statements.entry((verb, table.name)).or_insert_with(|| write().into()).clone()
    }

    /// The log is one file, written from its beginning to its end: flushing it for a durable commit takes
    /// all commits before it to the disk. Without a log, a commit that is not flushed can damage
    /// the file.
    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        if self.durability != durability && self.has_log {
            let level = match durability {
                Durability::Durable => "FULL",
                Durability::Eventual => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", level).map_err(refusal)?;
            self.durability = durability;
        }
        Ok(())
    }

    fn migrate(&mut self) -> Result<()> {
        self.begin(Durability::Durable)?;
        let version = self.version()?;
        for step in &MIGRATIONS[version..] {
            self.connection.execute_batch(step).map_err(refusal)?;
        }
        // Writing the same number again would cost every opening a write to the disk.
        if version < MIGRATIONS.len() {
            self.connection
                .pragma_update(None, "user_version", MIGRATIONS.len() as i64)
                .map_err(refusal)?;
        }
        self.commit()
    }
}

/// Says whether to wait further for another process, and waits. SQLite's own wait cannot be interrupted.
fn patience() -> impl FnMut(i32) -> bool + Send + 'static {
    let mut begun = Instant::now();
    move |looks| {
        if looks == 0 {
            begun = Instant::now();
        }
        let [.., longest] = PAUSES;
        let pause = usize::try_from(looks).ok().and_then(|looks| PAUSES.get(looks));
        let pause = Duration::from_millis(*pause.unwrap_or(&longest));
        begun.elapsed() < LOCK_LIMIT && interrupts::sleep(pause).is_ok()
    }
}

/// Returns whether the file has a write-ahead log.
fn configure(connection: &Connection, path: &Path) -> rusqlite::Result<bool> {
    // A plan must not depend on the value that is bound: SQLite would compile the statement again
    // for each.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let has_log = file_system::shares_memory(path);
    let journal = if has_log { "WAL" } else { "DELETE" };
    connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
    // A commit must be on the disk before bytes made from it leave the process. On macOS only
    // fullfsync reaches the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // What was deleted is gone from the file, from the log, and never was in a temporary file.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 0, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // KiB. What does not fit is written twice: to the log before the commit, and again.
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(has_log)
}

fn locked() -> Error {
    Error::new(
        Kind::StoreLocked,
        format!(
            "Another process has been writing to this store for {} seconds. Wait for it to \
             finish, or end it, and try again.",
            LOCK_LIMIT.as_secs()
        ),
    )
}

fn refusal(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) if interrupts::came() => interrupts::error(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => locked(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::new(
            Kind::Store,
            "crypto.sqlite is not a readable SQLite file. Restore a copy with mx_store_restore(), or sign in as \
             a new device.",
        ),
        Some(ErrorCode::DiskFull) => Error::new(Kind::Store, DISK_FULL),
        _ => Error::new(Kind::Store, format!("The store cannot be used: {error}")),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Database for Sqlite {
    fn begin(&mut self, durability: Durability) -> Result<()> {
        self.set_durability(durability)?;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(refusal)?;
        // A newer mxcrypt in another process may have brought it up to date since it was opened.
        let version = self.version()?;
        if version > MIGRATIONS.len() {
            self.rollback();
            return Err(Error::new(
                Kind::StoreNewer,
                format!(
                    "The store is of schema version {version}, this mxcrypt knows up to {}. \
                     Install the version of mxcrypt that wrote the store, or a newer one.",
                    MIGRATIONS.len()
                ),
            ));
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.connection.execute_batch("COMMIT").map_err(|error| {
            self.rollback();
            refusal(error)
        })
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            // A failed rollback leaves the transaction open, and the next `begin` says so.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn empty_log(&mut self) {
        // One that others are reading is emptied later, as it fills.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    fn wait_for_commit(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let version = "PRAGMA data_version";
            let version =
                self.connection.query_row(version, [], |row| row.get(0)).map_err(refusal)?;
            let left = limit.saturating_sub(begun.elapsed());
            if version != self.data_version || left.is_zero() {
                self.data_version = version;
                return Ok(());
            }
            interrupts::sleep(left.min(LOOK_EVERY))?;
        }
    }

    fn is_held(&self, lock: &str) -> Result<bool> {
        let path = self.connection.path().map(Path::new);
        Ok(path
            .and_then(Path::parent)
            .is_none_or(|directory| super::lock::is_held(directory, lock)))
    }

    fn check(&mut self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check").map_err(refusal)?;
        let found = statement.query_map([], |row| row.get::<_, String>(0)).map_err(refusal)?;
        let mut found: Vec<String> = found.collect::<rusqlite::Result<_>>().map_err(refusal)?;
        found.retain(|line| line != "ok");
        Ok(found)
    }

    fn vacuum(&mut self) -> Result<()> {
        // It rewrites the whole file through the log, in one transaction.
        self.set_durability(Durability::Durable)?;
        self.connection.execute_batch("VACUUM").map_err(refusal)?;
        self.empty_log();
        Ok(())
    }

    fn back_up(&mut self, path: &Path) -> Result<()> {
        private_file::create_new(path).or_fail(Kind::Store, "The copy cannot be made")?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(path, flags).map_err(refusal)?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(refusal)?;
        // All pages in one step: it holds a lock for readers, which keeps no writer of a log out. In several steps it
        // would begin again with each commit of another process.
        let begun = Instant::now();
        loop {
            match backup.step(-1).map_err(refusal)? {
                StepResult::Done => break,
                _ if begun.elapsed() > LOCK_LIMIT => return Err(locked()),
                _ => interrupts::sleep(Duration::from_millis(50))?,
            }
        }
        drop(backup);
        copy.close().map_err(|(_, error)| refusal(error))
    }

    fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>> {
        let sql = self.statement(Verb::Get, table);
        let mut statement = self.connection.prepare_cached(&sql).map_err(refusal)?;
        statement
            .query_row(params_from_iter(key), |row| read(table, row))
            .optional()
            .map_err(refusal)
    }

    fn put(&self, table: &Table, key: &[Value], plain: &[Value], body: &[u8]) -> Result<()> {
        let sql = self.statement(Verb::Put, table);
        let mut statement = self.connection.prepare_cached(&sql).map_err(refusal)?;
        let values = key.iter().chain(plain).map(|value| value as &dyn ToSql);
        let body: &dyn ToSql = &body;
        statement.execute(params_from_iter(values.chain([body]))).map_err(refusal)?;
        Ok(())
    }

    fn delete(&self, table: &Table, query: &Query) -> Result<usize> {
        let (condition, values) = condition(query);
        let sql = format!("DELETE FROM {}{condition}", table.name);
        let mut statement = self.connection.prepare_cached(&sql).map_err(refusal)?;
        statement.execute(params_from_iter(values)).map_err(refusal)
    }

    fn select(&self, table: &Table, query: &Query) -> Result<Vec<Row>> {
        let (condition, values) = condition(query);
        let sql = format!(
            "SELECT {} FROM {}{condition} ORDER BY {}{}",
            columns(table),
            table.name,
            table.key.join(", "),
            query.limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}")),
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(refusal)?;
        let rows = statement.query_map(params_from_iter(values), |row| read(table, row));
        rows.map_err(refusal)?.collect::<rusqlite::Result<_>>().map_err(refusal)
    }

    fn count(&self, table: &Table, query: &Query) -> Result<usize> {
        let (condition, values) = condition(query);
        let sql = format!("SELECT count(*) FROM {}{condition}", table.name);
        let mut statement = self.connection.prepare_cached(&sql).map_err(refusal)?;
        let counted: i64 =
            statement.query_row(params_from_iter(values), |row| row.get(0)).map_err(refusal)?;
        Ok(counted as usize)
    }

    fn texts(&self, table: &Table, column: &str, query: &Query) -> Result<Vec<String>> {
        // One step a text, over an index: DISTINCT would visit every row.
        let (condition, mut values) = condition(query);
        let glue = if condition.is_empty() { " WHERE" } else { " AND" };
        let sql = format!("SELECT min({column}) FROM {}{condition}{glue} {column} > ?", table.name);
        let mut statement = self.connection.prepare_cached(&sql).map_err(refusal)?;
        let mut texts: Vec<String> = Vec::new();
        while query.limit.is_none_or(|limit| texts.len() < limit) {
            values.push(texts.last().map_or("", String::as_str).into());
            let next: Option<String> = statement
                .query_row(params_from_iter(&values), |row| row.get(0))
                .map_err(refusal)?;
            values.pop();
            match next {
                Some(next) => texts.push(next),
                None => break,
            }
        }
        Ok(texts)
    }

    fn last_number(&self, counter: &'static str) -> Result<i64> {
        let sql = "SELECT coalesce(max(value), 0) FROM counter WHERE name = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(refusal)?;
        statement.query_row([counter], |row| row.get(0)).map_err(refusal)
    }

    fn set_number(&self, counter: &'static str, value: i64) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO counter (name, value) VALUES (?1, ?2)";
        let mut statement = self.connection.prepare_cached(sql).map_err(refusal)?;
        statement.execute(params![counter, value]).map_err(refusal)?;
        Ok(())
    }
}

fn columns(table: &Table) -> String {
    [table.key, table.plain, &["body"]].concat().join(", ")
}

fn read(table: &Table, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let value = |column| match row.get_ref(column)? {
        ValueRef::Integer(value) => Ok(Value::Integer(value)),
        other => Ok(Value::Text(other.as_str()?.to_owned())),
    };
    let (keys, plains) = (table.key.len(), table.key.len() + table.plain.len());
    Ok(Row {
        key: (0..keys).map(value).collect::<rusqlite::Result<_>>()?,
        plain: (keys..plains).map(value).collect::<rusqlite::Result<_>>()?,
        body: row.get(plains)?,
    })
}

fn equals(columns: &[&str]) -> String {
    columns.iter().map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ")
}

fn condition(query: &Query) -> (String, Vec<Value>) {
    let mut parts = Vec::new();
    let mut values = Vec::new();
    for (column, value) in &query.equal {
        parts.push(format!("{column} = ?"));
        values.push(value.clone());
    }
    for (column, wanted) in &query.among {
        // The last one is named again, so that lists of about the same length are one statement, which is prepared once.
        let length = if wanted.is_empty() { 0 } else { wanted.len().next_power_of_two() };
        parts.push(format!("{column} IN ({})", vec!["?"; length].join(", ")));
        let again = wanted.last().into_iter().cycle().take(length - wanted.len());
        values.extend(wanted.iter().chain(again).cloned());
    }
    if let Some((column, value)) = &query.after {
        parts.push(format!("{column} > ?"));
        values.push(value.clone());
    }
    if let Some((column, value)) = query.until {
        parts.push(format!("{column} <= ?"));
        values.push(Value::Integer(value));
    }
    let sql =
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
    (sql, values)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::store::scratch::Scratch;

    /// 1 is NORMAL, 2 is FULL: with that, a commit flushes the log.
    #[test]
    fn a_durable_transaction_flushes_whatever_came_before_it() {
        let scratch = Scratch::new();
        let mut sqlite = Sqlite::open(&scratch.path().join("crypto.sqlite")).unwrap();
        if !sqlite.has_log {
            return;
        }
        let (durable, eventual) = (Durability::Durable, Durability::Eventual);
        for (durability, level) in [(durable, 2), (eventual, 1), (eventual, 1), (durable, 2)] {
            sqlite.begin(durability).unwrap();
            sqlite.commit().unwrap();
            let set: i64 =
                sqlite.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
            assert_eq!(set, level, "{durability:?}");
        }
    }

    /// It has begun before a newer mxcrypt was installed, and would write rows that this one no longer understands.
    #[test]
    fn a_newer_schema_stops_those_who_do_not_know_it() {
        let scratch = Scratch::new();
        let path = scratch.path().join("crypto.sqlite");
        let (mut one, two) = (Sqlite::open(&path).unwrap(), Sqlite::open(&path).unwrap());
        let set = |version: i64| two.connection.pragma_update(None, "user_version", version);
        set(MIGRATIONS.len() as i64 + 1).unwrap();
        assert_eq!(one.begin(Durability::Durable).unwrap_err().kind, Kind::StoreNewer);
        set(MIGRATIONS.len() as i64).unwrap();
        one.begin(Durability::Durable).unwrap();
        one.commit().unwrap();
    }

    #[test]
    fn a_wait_ends_when_another_connection_has_committed() {
        let scratch = Scratch::new();
        let path = scratch.path().join("crypto.sqlite");
        let (mut one, mut two) = (Sqlite::open(&path).unwrap(), Sqlite::open(&path).unwrap());
        let write = |sqlite: &mut Sqlite, value| {
            sqlite.begin(Durability::Eventual).unwrap();
            sqlite.set_number("test", value).unwrap();
            sqlite.commit().unwrap();
        };
        let mut wait = |limit: u64| {
            let begun = Instant::now();
            one.wait_for_commit(Duration::from_millis(limit)).unwrap();
            // Its own commits are no news.
            write(&mut one, i64::try_from(limit).unwrap());
            begun.elapsed()
        };
        wait(0);
        assert!(wait(60) >= Duration::from_millis(60));
        // One that came before the wait is not missed, nor one that comes meanwhile.
        write(&mut two, 1);
        assert!(wait(60_000) < Duration::from_secs(30));
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            write(&mut two, 2);
        });
        assert!(wait(60_000) < Duration::from_secs(30));
        later.join().unwrap();
    }

    #[test]
    fn an_interrupt_ends_the_wait_for_another_process() {
        let scratch = Scratch::new();
        let path = scratch.path().join("crypto.sqlite");
        let (mut one, mut two) = (Sqlite::open(&path).unwrap(), Sqlite::open(&path).unwrap());
        one.begin(Durability::Durable).unwrap();
        let begun = Instant::now();
        interrupts::watch(|| true);
        assert_eq!(two.begin(Durability::Durable).unwrap_err().kind, Kind::Interrupted);
        assert!(begun.elapsed() < LOCK_LIMIT / 4);
        one.commit().unwrap();
        two.begin(Durability::Durable).unwrap();
        two.commit().unwrap();
    }

    /// Rows come in the order of their key, which is no reason to visit all of a room for one.
    #[test]
    fn rows_of_the_archive_are_found_without_visiting_others() {
        let scratch = Scratch::new();
        let sqlite = Sqlite::open(&scratch.path().join("crypto.sqlite")).unwrap();
        let sql = "EXPLAIN QUERY PLAN SELECT body FROM archived_event
                   WHERE room_id = ? AND event_id = ? ORDER BY room_id, sent_at, number";
        let plan: String =
            sqlite.connection.query_row(sql, ["!a", "$b"], |row| row.get("detail")).unwrap();
        assert!(plan.contains("INDEX archived_event_id (room_id=? AND event_id=?)"), "{plan}");
        let sql = "EXPLAIN QUERY PLAN SELECT min(file_name) FROM archived_media
                   WHERE file_name > ? AND file_name > ?";
        let plan: String =
            sqlite.connection.query_row(sql, ["", "a"], |row| row.get("detail")).unwrap();
        assert!(plan.contains("INDEX archived_media_file (file_name>?"), "{plan}");
    }
}
