//! The store: everything the machine remembers, in sealed rows behind one contract.

pub mod attachment_files;
mod backup;
mod beside;
mod check;
mod closure;
#[cfg(test)]
mod conformance;
pub mod database;
mod file_system;
pub mod inspection;
pub mod interrupts;
mod kept_files;
mod key_file;
mod known_events;
mod location;
mod lock;
mod message_indices;
pub mod mx_client;
mod old_events;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod private_file;
pub mod records;
mod relocation;
#[cfg(test)]
pub(crate) mod scratch;
mod sqlite;
mod whole;

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

pub use self::{
    backup::Copied,
    beside::NeededFile,
    check::{Damage, TableReport},
    closure::Closure,
    database::{Database, Durability, Query, Table, Value},
    location::{KeySource, Location, is_address},
    lock::Lock,
    relocation::relocate,
};
use self::{known_events::KnownEvents, message_indices::MessageIndices};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        parallel,
        seal::{Nonces, Seal, Tag},
        store_key::StoreKey,
    },
};

/// Something that is kept as one row.
pub trait Record: Serialize + DeserializeOwned {
    /// The table it is kept in.
    const TABLE: Table;

    /// The values of the key columns. They are part of what the row is sealed to.
    fn key(&self) -> Vec<Value>;

    /// The values of the other columns that are not sealed. The body must determine them: a row
    /// in which they differ was altered.
    fn plain(&self) -> Vec<Value> {
        Vec::new()
    }

    /// The files beside the store that it needs.
    fn files(&self) -> Vec<NeededFile> {
        Vec::new()
    }
}

/// Something of which there is one in a store.
pub trait Single: Serialize + DeserializeOwned {
    /// The name of its row.
    const NAME: &'static str;
}

const SINGLE: Table = Table { name: "single", key: &["name"], plain: &[] };

/// An open store.
pub struct Store {
    database: Box<dyn Database>,
    seals: Seals,
    /// It may be used although it is closed.
    even_closed: bool,
}

/// The keys of the tables, derived when first used.
struct Seals {
    key: StoreKey,
    store_id: [u8; 16],
    tables: BTreeMap<&'static str, OnceCell<Seal>>,
    index_tag: Tag,
    event_key: Tag,
    event_tag: Tag,
    facts_tag: Tag,
}

impl Store {
    /// A store over `database`, whose id is `store_id`.
    ///
    /// # Errors
    /// [`Kind::StoreKeyWrong`] when `key` is not the key of this store; [`Kind::StoreCopy`],
    /// [`Kind::StoreMoved`] when it is closed.
    pub fn new(database: Box<dyn Database>, key: StoreKey, store_id: [u8; 16]) -> Result<Self> {
        let mut store = Self::even_closed(database, key, store_id)?;
        store.even_closed = false;
        if let Err(error) = store.check_key() {
            if error.kind == Kind::StoreTampered {
                // With another key, what says that a store is closed seems altered.
                store.even_closed = true;
                store.check_key()?;
            }
            return Err(error);
        }
        Ok(store)
    }

    /// The same, also of a store that is closed (see [`Closure`]), for those who check, restore or move it. The
    /// key is not tried.
    ///
    /// # Errors
    /// [`Kind::Internal`] if a key cannot be derived.
    pub fn even_closed(
        database: Box<dyn Database>,
        key: StoreKey,
        store_id: [u8; 16],
    ) -> Result<Self> {
        let names = records::TABLES.iter().map(|sealed| sealed.table.name);
        let tables = names.map(|name| (name, OnceCell::new())).collect();
        let tag = |purpose: &str| Tag::new(&key, store_id, purpose);
        let seals = Seals {
            index_tag: tag("message index")?,
            event_key: tag("event")?,
            event_tag: tag("known event")?,
            facts_tag: tag("event facts")?,
            key,
            store_id,
            tables,
        };
        Ok(Self { database, seals, even_closed: true })
    }

    /// The id of this store.
    pub fn id(&self) -> [u8; 16] {
        self.seals.store_id
    }

    /// Does `work` in one transaction: all of it is durable, or nothing of it happened.
    ///
    /// # Errors
    /// Those of `work`, and those of the database.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.open(true, Durability::Durable, work)
    }

    /// Does `work` in one transaction that the power may take back: what is done again by itself, and from which
    /// nothing has left the process. A durable transaction takes it to the disk.
    ///
    /// # Errors
    /// Those of `work`, and those of the database.
    pub fn eventual_transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.open(true, Durability::Eventual, work)
    }

    /// Does `work` in one transaction that cannot write.
    ///
    /// # Errors
    /// Those of `work` and of the database; [`Kind::Internal`] when `work` writes.
    pub fn read<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.open(false, Durability::Eventual, work)
    }

    /// See [`Database::empty_log`].
    pub fn empty_log(&mut self) {
        self.database.empty_log();
    }

    /// See [`Database::wait_for_commit`].
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn wait_for_commit(&mut self, limit: Duration) -> Result<()> {
        self.database.wait_for_commit(limit)
    }

    /// See [`Database::vacuum`].
    ///
    /// # Errors
    /// [`Kind::StoreLocked`], [`Kind::Store`]
    pub fn vacuum(&mut self) -> Result<()> {
        self.database.vacuum()
    }

    fn open<T>(
        &mut self,
        writable: bool,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.database.begin(durability)?;
        // Rolls back when `work` fails, and also when it panics.
        let mut open = RollBack(Some(self.database.as_mut()));
        let done = match &open.0 {
            Some(database) => {
                let (database, seals) = (&**database, &self.seals);
                let tx = Transaction::begin(database, seals, writable);
                // Each time: another process may have moved the store since it was opened.
                if !self.even_closed
                    && let Some(closure) = tx.get_single::<Closure>()?
                {
                    return Err(closure.refusal());
                }
                let done = work(&tx)?;
                tx.write_all()?;
                done
            }
            None => return Err(Error::new(Kind::Internal, "A transaction was lost.")),
        };
        if let Some(database) = open.0.take() {
            database.commit()?;
        }
        Ok(done)
    }

    /// Whether the key opens the store.
    fn check_key(&mut self) -> Result<()> {
        self.transaction(|tx| match tx.get_single::<records::KeyCheck>() {
            Ok(Some(check)) if check.known_events => Ok(()),
            Ok(_) => {
                old_events::convert(tx)?;
                tx.put_single(&records::KeyCheck { known_events: true })
            }
            Err(error) if error.kind == Kind::StoreTampered => Err(Error::new(
                Kind::StoreKeyWrong,
                "The store key does not open this store: it is another store's, or was \
                     altered. Put the key back that belongs to this store.",
            )),
            Err(error) => Err(error),
        })
    }
}

struct RollBack<'a>(Option<&'a mut dyn Database>);

impl Drop for RollBack<'_> {
    fn drop(&mut self) {
        if let Some(database) = &mut self.0 {
            database.rollback();
        }
    }
}

impl Seals {
    fn of(&self, table: &Table) -> Result<&Seal> {
        let cell = self.tables.get(table.name).ok_or_else(|| {
            Error::new(Kind::Internal, format!("There is no table {}.", table.name))
        })?;
        if let Some(seal) = cell.get() {
            return Ok(seal);
        }
        let seal = Seal::new(&self.key, self.store_id, table.name)?;
        Ok(cell.get_or_init(|| seal))
    }
}

/// What can be done inside a transaction: records in, records out.
pub struct Transaction<'a> {
    database: &'a dyn Database,
    seals: &'a Seals,
    writable: bool,
    /// The counters that were read, and whether numbers were taken. Like the rows below, they are written at the end.
    numbers: RefCell<BTreeMap<&'static str, (i64, bool)>>,
    indices: RefCell<MessageIndices>,
    known_events: RefCell<KnownEvents>,
    nonces: Nonces,
    /// A record before it is sealed. Growing would leave copies of secrets behind; only an account exceeds it.
    plain: RefCell<Zeroizing<Vec<u8>>>,
}

/// The bytes of most records.
const RECORD: usize = 4096;
/// How many values a statement looks for.
pub const BATCH: usize = 256;

impl<'a> Transaction<'a> {
    fn begin(database: &'a dyn Database, seals: &'a Seals, writable: bool) -> Self {
        Self {
            database,
            seals,
            writable,
            numbers: RefCell::default(),
            indices: RefCell::default(),
            known_events: RefCell::default(),
            nonces: Nonces::default(),
            plain: RefCell::new(Zeroizing::new(Vec::new())),
        }
    }

    /// Writes what is written once, at the end.
    fn write_all(&self) -> Result<()> {
        self.write_known_events()?;
        self.indices.take().write(self.database)?;
        for (counter, (number, taken)) in self.numbers.take() {
            if taken {
                self.writable()?.set_number(counter, number)?;
            }
        }
        Ok(())
    }
}

impl Transaction<'_> {
    /// The record `key`.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn get<R: Record>(&self, key: &[Value]) -> Result<Option<R>> {
        self.database.get(&R::TABLE, key)?.map(|row| self.open(row)).transpose()
    }

    /// What the members of `P` say of the record `key`. To read a ratchet that stands beside them takes longer than all
    /// else.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn get_part<R: Record, P: DeserializeOwned>(&self, key: &[Value]) -> Result<Option<P>> {
        let row = self.database.get(&R::TABLE, key)?;
        row.map(|row| self.read(&R::TABLE, &row)).transpose()
    }

    /// Writes `record`, in place of the one with its key if there is one.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn put<R: Record>(&self, record: &R) -> Result<()> {
        self.write(&R::TABLE, &record.key(), &record.plain(), record)
    }

    /// Deletes the record `key`.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn delete<R: Record>(&self, key: &[Value]) -> Result<()> {
        let columns = R::TABLE.key.iter().zip(key);
        let query =
            columns.fold(Query::all(), |query, (column, value)| query.and(column, value.clone()));
        self.delete_where::<R>(&query)?;
        Ok(())
    }

    /// Deletes records and returns how many.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn delete_where<R: Record>(&self, query: &Query) -> Result<usize> {
        self.writable()?.delete(&R::TABLE, query)
    }

    /// Finds records, in the order of their keys.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn select<R: Record>(&self, query: &Query) -> Result<Vec<R>> {
        self.database.select(&R::TABLE, query)?.into_iter().map(|row| self.open(row)).collect()
    }

    /// What `f` makes of records, in the order of their keys. They are opened on all cores.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn select_map<R: Record, T: Send>(
        &self,
        query: &Query,
        f: impl Fn(R) -> T + Sync,
    ) -> Result<Vec<T>> {
        let seal = self.seals.of(&R::TABLE)?;
        let rows = self.database.select(&R::TABLE, query)?;
        parallel::map(rows, |row| open_row(seal, &row).map(&f)).into_iter().collect()
    }

    /// Records in which `column` is one of `values`: a statement reads many of them, and they are opened on all cores.
    /// They come in the order of their keys within each [`BATCH`] of values.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn select_among<'v, R: Record + Send>(
        &self,
        column: &'static str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<Vec<R>> {
        let values: Vec<&str> = values.into_iter().collect();
        let mut found = Vec::new();
        for batch in values.chunks(BATCH) {
            found.extend(self.select_map(&Query::among(column, batch.iter().copied()), |row| row)?);
        }
        Ok(found)
    }

    /// Counts records without opening them.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn count<R: Record>(&self, query: &Query) -> Result<usize> {
        self.database.count(&R::TABLE, query)
    }

    /// The only record of its kind.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn get_single<S: Single>(&self) -> Result<Option<S>> {
        let row = self.database.get(&SINGLE, &[S::NAME.into()])?;
        row.map(|row| self.read(&SINGLE, &row)).transpose()
    }

    /// Writes the only record of its kind.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn put_single<S: Single>(&self, single: &S) -> Result<()> {
        self.write(&SINGLE, &[S::NAME.into()], &[], single)
    }

    /// See [`Database::texts`].
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn texts<R: Record>(&self, column: &str, query: &Query) -> Result<Vec<String>> {
        self.database.texts(&R::TABLE, column, query)
    }

    /// Takes a number that was never given out before and never will be again, also after the row
    /// that bore it is gone. Numbers rise by one, beginning at one.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn take_number(&self, counter: &'static str) -> Result<i64> {
        self.writable()?;
        if !whole::COUNTERS.contains(&counter) {
            let message = format!("The counter {counter} is not listed, so it would not be moved.");
            return Err(Error::new(Kind::Internal, message));
        }
        let number = self.last_number(counter)? + 1;
        self.numbers.borrow_mut().insert(counter, (number, true));
        Ok(number)
    }

    /// See [`Database::is_held`].
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn is_held(&self, lock: &str) -> Result<bool> {
        self.database.is_held(lock)
    }

    /// The number that was taken last; zero before the first.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn last_number(&self, counter: &'static str) -> Result<i64> {
        if let Some((number, _)) = self.numbers.borrow().get(counter) {
            return Ok(*number);
        }
        let number = self.database.last_number(counter)?;
        self.numbers.borrow_mut().insert(counter, (number, false));
        Ok(number)
    }

    /// Binds an index of a session to an event, for ever. Returns whether the index was free or
    /// stands for this very event; if not, it is a replay.
    ///
    /// # Errors
    /// [`Kind::Store`]
    pub fn bind_index(
        &self,
        session: i64,
        message_index: u32,
        event_id: &str,
        origin_server_ts: i64,
    ) -> Result<bool> {
        let tag = self.seals.index_tag.of(&[
            &session.to_be_bytes(),
            &message_index.to_be_bytes(),
            event_id.as_bytes(),
            &origin_server_ts.to_be_bytes(),
        ]);
        let mut indices = self.indices.borrow_mut();
        Ok(indices.remember(self.writable()?, session, message_index, &tag)? == tag)
    }

    /// The database, if this transaction may write.
    fn writable(&self) -> Result<&dyn Database> {
        if self.writable {
            return Ok(self.database);
        }
        Err(Error::new(Kind::Internal, "A transaction that only reads tried to write."))
    }

    fn open<R: Record>(&self, row: database::Row) -> Result<R> {
        open_row(self.seals.of(&R::TABLE)?, &row)
    }

    fn read<B: DeserializeOwned>(&self, table: &Table, row: &database::Row) -> Result<B> {
        read_row(self.seals.of(table)?, table, row)
    }

    fn write(
        &self,
        table: &Table,
        key: &[Value],
        plain: &[Value],
        body: &impl Serialize,
    ) -> Result<()> {
        // Wiping it after each record would cost more than sealing; the end of the transaction wipes all of it.
        let mut bytes = self.plain.borrow_mut();
        bytes.clear();
        bytes.reserve(RECORD);
        serde_json::to_writer(&mut **bytes, body).or_fail(Kind::Internal, "A record")?;
        let sealed = self.seals.of(table)?.seal(&self.nonces, &place(key), &bytes)?;
        self.writable()?.put(table, key, plain, &sealed)
    }
}

fn open_row<R: Record>(seal: &Seal, row: &database::Row) -> Result<R> {
    let record: R = read_row(seal, &R::TABLE, row)?;
    if record.plain() != row.plain {
        return Err(Error::new(
            Kind::StoreTampered,
            format!("The open columns of a row of {} were altered.", R::TABLE.name),
        ));
    }
    Ok(record)
}

fn read_row<B: DeserializeOwned>(seal: &Seal, table: &Table, row: &database::Row) -> Result<B> {
    let body = seal.open(&place(&row.key), &row.body)?;
    serde_json::from_slice(&body)
        .or_fail(Kind::Store, &format!("A row of {} cannot be read", table.name))
}

/// The key of a row as bytes, each column delimited.
fn place(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for value in key {
        match value {
            Value::Integer(number) => {
                bytes.push(b'i');
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Value::Text(text) => {
                bytes.push(b't');
                bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    bytes
}
