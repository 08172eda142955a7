//! The store contract over PostgreSQL: any number of stores in one database, each used by any number of processes on
//! any number of machines.
//!
//! A transaction holds the row of its store from its first statement to its end, so that transactions of a store come
//! one after the other, as in SQLite, and two processes never take the same step of a ratchet. Every statement after that
//! sees all that was committed before (`READ COMMITTED`).
//!
//! A connection can break at any time. Before the commit that undoes the transaction, and the work is done again
//! ([`Kind::StoreUnreachable`]). While it commits nobody knows: then the number of the last commit, which each process
//! writes with its transaction, says whether it happened.

mod address;
mod cache;
mod columns;
mod commit;
mod failures;
mod lock;
mod long_texts;
mod notifications;
mod pending;
mod pool;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use mxcrypt_postgres_client::{Failure, Parameter, Rows};

pub use self::{address::Address, lock::Lock};
use self::{
    cache::{Answer, Cache},
    columns::{Condition, another_schema},
    failures::{gone, is_passing, refusal},
    pending::Pending,
    pool::Pooled,
};
use super::{
    database::{Database, Durability, Query, Row, Table, Value},
    interrupts, place,
};
use crate::{
    error::{Error, Kind, Result},
    primitives::seal::random_bytes,
};

/// Whatever an administrator has set as the default: others would see the rows as they were before the lock was waited
/// for.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How long to wait for another process that is inside a transaction.
const LOCK_LIMIT: Duration = Duration::from_secs(20);
/// A transaction that does nothing for so long is ended by the server: its process is gone, and others wait for it.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How often a transaction is begun again after the server refused it for no fault of it.
const MOST_TRIES: usize = 10;
/// The pause before the second try; it grows with each.
const PAUSE: Duration = Duration::from_millis(20);

/// A store in PostgreSQL.
pub(crate) struct Postgres {
    server: String,
    name: String,
    /// The number of the store, which is in the key of each of its rows.
    store: i64,
    /// What this object is called in the table of workers, and the number of the commit that it tried last. One of
    /// which is not known what became of it keeps its number to itself.
    worker: [u8; 16],
    commits: i64,
    open: Option<Open>,
    cache: RefCell<Cache>,
}

/// A transaction.
struct Open {
    pooled: Pooled,
    pending: RefCell<Pending>,
    /// Whether there is something that is told when it is committed.
    wrote: Cell<bool>,
    awaited: bool,
    /// The version of the schema.
    schema: usize,
}

/// The database of the store at `address`, made when it is not there.
///
/// # Errors
/// [`Kind::Argument`] when it is no address; [`Kind::StoreUnreachable`], [`Kind::StoreNewer`], [`Kind::Store`].
pub fn open(address: &str) -> Result<Box<dyn Database>> {
    Ok(Box::new(Postgres::open(&Address::read(address)?)?))
}

impl Postgres {
    /// Connects to the server of `address`, makes the schema when it is not there, and brings it up to date.
    pub(crate) fn open(address: &Address) -> Result<Self> {
        Self::open_with_id(address, random_bytes()?)
    }

    /// The same. If there is no such store yet, its id will be `new_id`.
    pub(crate) fn open_with_id(address: &Address, new_id: [u8; 16]) -> Result<Self> {
        let pooled = pool::take_tested(&address.server)?;
        let found = schema::migrate(&pooled)
            .and_then(|()| schema::store_number(&pooled, &address.name, new_id));
        if found.is_ok() {
            pool::give_back(&address.server, pooled);
        }
        let worker = random_bytes()?;
        let (server, name) = (address.server.clone(), address.name.clone());
        Ok(Self {
            server,
            name,
            store: found?,
            worker,
            commits: 0,
            open: None,
            cache: RefCell::default(),
        })
    }

    /// Whether there is a store at `address`. Nothing is made.
    pub(crate) fn is_there(address: &Address) -> Result<bool> {
        let pooled = pool::take_tested(&address.server)?;
        let rows = pooled
            .connection
            .query("SELECT coalesce(to_regclass('mxcrypt.store')::oid::bigint, 0)", &[])
            .map_err(refusal)?;
        let mut is_there = rows.integer(0, 0).ok_or_else(another_schema)? != 0;
        if is_there {
            let name = Parameter::Bytes(address.name.as_bytes());
            let sql = "SELECT number FROM mxcrypt.store WHERE name = $1";
            is_there = !pooled.connection.query(sql, &[name]).map_err(refusal)?.is_empty();
        }
        pool::give_back(&address.server, pooled);
        Ok(is_there)
    }

    /// The id of this store.
    pub(crate) fn store_id(&self) -> Result<[u8; 16]> {
        let pooled = pool::take_tested(&self.server)?;
        let sql = "SELECT id FROM mxcrypt.store WHERE number = $1";
        let rows = pooled.connection.query(sql, &[Parameter::Integer(self.store)]);
        let rows = rows.map_err(refusal)?;
        pool::give_back(&self.server, pooled);
        let id = rows.bytes(0, 0).ok_or_else(gone)?;
        id.try_into().map_err(|_| another_schema())
    }

    /// One try to begin. The connection is kept where it is of use.
    fn try_to_begin(
        &self,
        pooled: Pooled,
        durability: Durability,
    ) -> std::result::Result<Option<Open>, Failure> {
        let begun = pooled.connection.run(&format!(
            "{BEGIN}; {}\
             SET LOCAL synchronous_commit = {}; \
             SELECT (awaited_until > now())::int, encode(last_commit, 'hex'), \
             (SELECT number FROM mxcrypt.version) \
             FROM mxcrypt.store WHERE number = {} FOR UPDATE",
            pooled.settings,
            match durability {
                Durability::Durable => "on",
                Durability::Eventual => "off",
            },
            self.store
        ));
        match begun {
            Ok(rows) if rows.is_empty() => {
                roll_back(&self.server, pooled);
                Ok(None)
            }
            Ok(rows) => {
                let text = |column| rows.bytes(0, column).unwrap_or_default();
                self.cache.borrow_mut().begin(&String::from_utf8_lossy(text(1)));
                Ok(Some(Open {
                    awaited: text(0) == b"1",
                    schema: String::from_utf8_lossy(text(2)).parse().unwrap_or(0),
                    pooled,
                    pending: RefCell::default(),
                    wrote: Cell::new(false),
                }))
            }
            Err(failure) => {
                if failure.is_lost {
                    pool::forget(&self.server);
                } else {
                    roll_back(&self.server, pooled);
                }
                Err(failure)
            }
        }
    }

    fn transaction(&self) -> Result<&Open> {
        self.open
            .as_ref()
            .ok_or_else(|| Error::new(Kind::Internal, "There is no open transaction."))
    }

    /// Runs a statement in the open transaction.
    fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Rows> {
        self.transaction()?.pooled.connection.query(sql, parameters).map_err(refusal)
    }

    /// Writes the rows that wait, if some are of `table`: what reads them comes after this.
    fn write_pending(&self, table: &Table) -> Result<()> {
        if self.transaction()?.pending.borrow().has(table) { self.write_rows() } else { Ok(()) }
    }

    fn write_rows(&self) -> Result<()> {
        let mut pending = self.transaction()?.pending.borrow_mut();
        pending.write_rows(self.store, |sql, parameters| self.query(sql, parameters))
    }
}

fn roll_back(server: &str, pooled: Pooled) {
    // A connection on which this fails is of no more use, and closing it undoes the transaction too.
    if pooled.connection.run("ROLLBACK").is_ok() {
        pool::give_back(server, pooled);
    }
}

impl Database for Postgres {
    fn begin(&mut self, durability: Durability) -> Result<()> {
        self.rollback();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_begin(pool::take(&self.server)?, durability) {
                // A newer mxcrypt on another machine has brought the schema up to date meanwhile.
                Ok(Some(open)) if open.schema > schema::VERSION => {
                    roll_back(&self.server, open.pooled);
                    return Err(schema::newer(open.schema));
                }
                Ok(Some(open)) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Ok(None) => return Err(gone()),
                Err(failure)
                    if tries < MOST_TRIES && (failure.is_lost || is_passing(&failure.code)) =>
                {
                    interrupts::sleep(PAUSE * tries as u32)?;
                }
                Err(failure) => return Err(refusal(failure)),
            }
        }
    }

    fn commit(&mut self) -> Result<()> {
        if let Err(error) = self.write_rows() {
            self.rollback();
            return Err(error);
        }
        let Some(open) = self.open.take() else { return Ok(()) };
        let wrote = open.wrote.get();
        self.commits += i64::from(wrote);
        let (last, committed) = (self.last_commit(), self.end(open));
        let cache = self.cache.get_mut();
        match &committed {
            Ok(()) if wrote => cache.commit(last),
            Ok(()) => {}
            Err(_) => cache.clear(),
        }
        committed
    }

    fn rollback(&mut self) {
        if let Some(open) = self.open.take() {
            if open.wrote.get() {
                self.cache.get_mut().clear();
            }
            roll_back(&self.server, open.pooled);
        }
    }

    fn vacuum(&mut self) -> Result<()> {
        let pooled = pool::take_tested(&self.server)?;
        for table in super::whole::tables() {
            let sql = format!("VACUUM mxcrypt.{}", table.name);
            pooled.connection.run(&sql).map_err(refusal)?;
        }
        pool::give_back(&self.server, pooled);
        Ok(())
    }

    fn wait_for_commit(&mut self, limit: Duration) -> Result<()> {
        notifications::wait(&self.server, self.store, limit)
    }

    fn is_held(&self, lock: &str) -> Result<bool> {
        lock::is_held(&self.transaction()?.pooled.connection, &self.name, lock)
    }

    fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>> {
        let place = place(key);
        if let Some(row) = self.transaction()?.pending.borrow().get(table, &place) {
            return Ok(Some(row));
        }
        if let Some(row) = self.cache.borrow().row(table, &place) {
            return Ok(row);
        }
        let condition = Condition::of_key(self.store, table, key);
        let names = columns::names(table);
        let sql = format!("SELECT {names} FROM mxcrypt.{} WHERE {}", table.name, condition.sql);
        let rows = self.query(&sql, &condition.parameters())?;
        let row = if rows.is_empty() { None } else { Some(columns::row(table, &rows, 0)?) };
        self.cache.borrow_mut().keep_row(table, place, row.clone());
        Ok(row)
    }

    fn put(&self, table: &Table, key: &[Value], plain: &[Value], body: &[u8]) -> Result<()> {
        let open = self.transaction()?;
        open.wrote.set(true);
        let row = Row { key: key.to_vec(), plain: plain.to_vec(), body: body.to_vec() };
        self.cache.borrow_mut().change_row(table, place(key), Some(row));
        let is_much = open.pending.borrow_mut().put(table, key, plain, body);
        if is_much { self.write_rows() } else { Ok(()) }
    }

    fn delete(&self, table: &Table, query: &Query) -> Result<usize> {
        let key = query.key(table);
        if let Some(key) = &key
            && let Some(None) = self.cache.borrow().row(table, &place(key))
        {
            return Ok(0);
        }
        self.write_pending(table)?;
        let condition = Condition::of(self.store, query);
        let sql = format!("DELETE FROM mxcrypt.{} WHERE {}", table.name, condition.sql);
        let deleted = self.query(&sql, &condition.parameters())?.changed();
        if deleted == 0 {
            return Ok(0);
        }
        self.transaction()?.wrote.set(true);
        let mut cache = self.cache.borrow_mut();
        match key {
            Some(key) => cache.change_row(table, place(&key), None),
            None => cache.forget(table),
        }
        Ok(deleted)
    }

    fn select(&self, table: &Table, query: &Query) -> Result<Vec<Row>> {
        let asked = format!("rows {query:?}");
        if let Some(Answer::Rows(rows)) = self.cache.borrow().answer(table, &asked) {
            return Ok(rows);
        }
        self.write_pending(table)?;
        let condition = Condition::of(self.store, query);
        let sql = format!(
            "SELECT {} FROM mxcrypt.{} WHERE {} ORDER BY {}{}",
            columns::names(table),
            table.name,
            condition.sql,
            table.key.join(", "),
            query.limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}")),
        );
        let found = self.query(&sql, &condition.parameters())?;
        let rows = (0..found.len()).map(|number| columns::row(table, &found, number));
        let rows: Vec<Row> = rows.collect::<Result<_>>()?;
        let bytes = rows.iter().map(cache::size).sum();
        let answer = || Answer::Rows(rows.clone());
        self.cache.borrow_mut().keep_answer(table, asked, bytes, answer);
        Ok(rows)
    }

    fn count(&self, table: &Table, query: &Query) -> Result<usize> {
        let asked = format!("count {query:?}");
        if let Some(Answer::Count(count)) = self.cache.borrow().answer(table, &asked) {
            return Ok(count);
        }
        self.write_pending(table)?;
        let condition = Condition::of(self.store, query);
        let sql = format!("SELECT count(*) FROM mxcrypt.{} WHERE {}", table.name, condition.sql);
        let counted = self.query(&sql, &condition.parameters())?.integer(0, 0);
        let count = counted.ok_or_else(another_schema)? as usize;
        self.cache.borrow_mut().keep_answer(table, asked, 0, || Answer::Count(count));
        Ok(count)
    }

    fn texts(&self, table: &Table, column: &str, query: &Query) -> Result<Vec<String>> {
        let asked = format!("{column} {query:?}");
        if let Some(Answer::Texts(texts)) = self.cache.borrow().answer(table, &asked) {
            return Ok(texts);
        }
        self.write_pending(table)?;
        let place = [table.key, table.plain].concat().iter().position(|name| *name == column);
        let place = place.ok_or_else(|| Error::new(Kind::Internal, "There is no such column."))?;
        let mut texts = Vec::new();
        let mut last = Vec::new();
        // One step a text, over an index: DISTINCT would visit every row.
        while query.limit.is_none_or(|limit| texts.len() < limit) {
            let mut condition = Condition::of(self.store, query);
            condition.above(column, last);
            let sql = format!(
                "SELECT {} FROM mxcrypt.{} WHERE {} ORDER BY {column} LIMIT 1",
                columns::names(table),
                table.name,
                condition.sql,
            );
            let rows = self.query(&sql, &condition.parameters())?;
            if rows.is_empty() {
                break;
            }
            last = columns::bytes(&rows, 0, place)?.to_vec();
            let row = columns::row(table, &rows, 0)?;
            match row.key.into_iter().chain(row.plain).nth(place) {
                Some(Value::Text(text)) => texts.push(text),
                _ => return Err(another_schema()),
            }
        }
        let bytes = texts.iter().map(String::len).sum();
        let answer = || Answer::Texts(texts.clone());
        self.cache.borrow_mut().keep_answer(table, asked, bytes, answer);
        Ok(texts)
    }

    fn last_number(&self, counter: &'static str) -> Result<i64> {
        if let Some(value) = self.transaction()?.pending.borrow().number(counter) {
            return Ok(value);
        }
        if let Some(value) = self.cache.borrow().number(counter) {
            return Ok(value);
        }
        let sql = "SELECT value FROM mxcrypt.counter WHERE store = $1 AND name = $2";
        let parameters = [Parameter::Integer(self.store), Parameter::Bytes(counter.as_bytes())];
        let value = self.query(sql, &parameters)?.integer(0, 0).unwrap_or(0);
        self.cache.borrow_mut().keep_number(counter, value);
        Ok(value)
    }

    fn set_number(&self, counter: &'static str, value: i64) -> Result<()> {
        let open = self.transaction()?;
        open.wrote.set(true);
        open.pending.borrow_mut().set_number(counter, value);
        self.cache.borrow_mut().keep_number(counter, value);
        Ok(())
    }
}
