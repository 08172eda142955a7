//! A database in memory, which can be killed at any commit. With `MXCRYPT_TEST_DISK=postgres`, and the feature, the rows are
//! in PostgreSQL instead, whose power does not go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mxcrypt_core::{
    Error, Kind, Result,
    store::{Database, Durability, Query, Table, Value, database::Row},
};

type Key = Vec<Value>;
type StoredRow = (Key, Vec<Value>, Vec<u8>);
type Rows = BTreeMap<SortKey, StoredRow>;

/// `Value` is not ordered by itself: a database orders numbers as numbers and text as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Integer(i64),
    Text(String),
}
type SortKey = Vec<Sort>;

fn sort_key(key: &[Value]) -> SortKey {
    let sort = |value: &Value| match value {
        Value::Integer(number) => Sort::Integer(*number),
        Value::Text(text) => Sort::Text(text.clone()),
    };
    key.iter().map(sort).collect()
}

#[derive(Default)]
struct Data {
    tables: BTreeMap<&'static str, Rows>,
    counters: BTreeMap<&'static str, i64>,
    /// How to undo each commit that is not flushed, in their order.
    unflushed: Vec<Vec<Undo>>,
    /// How often the power went.
    power_cuts: usize,
}

/// When the process is to be killed.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// While it commits, before anything is durable.
    BeforeCommit,
    /// As soon as it has committed.
    AfterCommit,
    /// While it commits, and with it the power goes: of the commits that are not flushed so many survive.
    PowerCut(usize),
}

/// What survives a process: the disk.
#[derive(Clone, Default)]
pub struct Disk {
    #[cfg(feature = "postgres")]
    on_server: OnServer,
    data: Arc<Mutex<Data>>,
    /// Commits until the process is killed.
    fuse: Arc<Mutex<Option<(usize, Kill)>>>,
    rows_read: Arc<AtomicUsize>,
}

impl Disk {
    /// Kills the process that uses this disk at its `commits`-th commit from now.
    pub fn arm(&self, commits: usize, kill: Kill) {
        *self.fuse.lock().unwrap() = Some((commits, kill));
    }

    pub fn disarm(&self) {
        *self.fuse.lock().unwrap() = None;
    }

    /// Does what the simulation itself wants to know, at which no process dies.
    pub fn safely<T>(&self, f: impl FnOnce() -> T) -> T {
        let fuse = self.fuse.lock().unwrap().take();
        let done = f();
        *self.fuse.lock().unwrap() = fuse;
        done
    }

    pub fn open(&self) -> Box<dyn Database> {
        #[cfg(feature = "postgres")]
        if let Some(address) = &self.on_server.0 {
            let database = mxcrypt_core::store::postgres::open(address).unwrap();
            return Box::new(Killable { disk: self.clone(), database });
        }
        Box::new(Memory {
            disk: self.clone(),
            undo: Mutex::default(),
            durability: Durability::Durable,
        })
    }

    /// A disk with what this one holds now.
    #[allow(dead_code)]
    pub fn copy(&self) -> Self {
        let data = self.data.lock().unwrap();
        let (tables, counters) = (data.tables.clone(), data.counters.clone());
        let data = Data { tables, counters, ..Data::default() };
        Self { data: Arc::new(Mutex::new(data)), ..Self::default() }
    }

    /// How many rows were found so far: what a piece of work costs.
    #[allow(dead_code)]
    pub fn rows_read(&self) -> usize {
        self.rows_read.load(Ordering::Relaxed)
    }

    /// The power goes: of the commits that are not flushed, the last are lost.
    pub fn cut_power(&self, survive: usize) {
        let mut data = self.data.lock().unwrap();
        data.power_cuts += 1;
        let kept = survive.min(data.unflushed.len());
        let lost = data.unflushed.split_off(kept);
        data.unflushed.clear();
        lost.into_iter().rev().for_each(|undo| undo_all(undo, &mut data));
    }

    pub fn power_cuts(&self) -> usize {
        self.data.lock().unwrap().power_cuts
    }

    /// Whether all that was committed survives the end of the power.
    pub fn is_flushed(&self) -> bool {
        self.data.lock().unwrap().unflushed.is_empty()
    }

    /// Returns whether the process dies at this commit.
    fn burns(&self) -> Option<Kill> {
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some((0, kill)) => {
                let kill = *kill;
                *fuse = None;
                Some(kill)
            }
            Some((commits, _)) => {
                *commits -= 1;
                None
            }
            None => None,
        }
    }
}

type Undo = Box<dyn FnOnce(&mut Data) + Send>;

struct Memory {
    disk: Disk,
    /// What to do, last first, to undo the transaction that is open.
    undo: Mutex<Vec<Undo>>,
    /// Of that transaction.
    durability: Durability,
}

fn undo_all(steps: Vec<Undo>, data: &mut Data) {
    steps.into_iter().rev().for_each(|step| step(data));
}

/// The error a killed process ends with.
pub fn killed() -> Error {
    Error::new(Kind::Internal, "killed")
}

impl Memory {
    fn with<T>(&self, f: impl FnOnce(&mut Data) -> T) -> T {
        f(&mut self.disk.data.lock().unwrap())
    }

    fn find(&self, table: &Table, query: &Query) -> Vec<Row> {
        self.with(|data| {
            let rows = data.tables.entry(table.name).or_default();
            rows.values()
                .filter(|(key, plain, _)| {
                    query.admits(|column| {
                        let keys = table.key.iter().zip(key);
                        let plains = table.plain.iter().zip(plain);
                        keys.chain(plains).find(|(name, _)| **name == column).map(|(_, v)| v)
                    })
                })
                .take(query.most().unwrap_or(usize::MAX))
                .map(|(key, plain, body)| Row {
                    key: key.clone(),
                    plain: plain.clone(),
                    body: body.clone(),
                })
                .collect()
        })
    }

    fn undo_with(&self, f: impl FnOnce(&mut Data) + Send + 'static) {
        self.undo.lock().unwrap().push(Box::new(f));
    }

    fn set(&self, table: &'static str, key: SortKey, row: Option<StoredRow>) {
        let before = self.with(|data| {
            let rows = data.tables.entry(table).or_default();
            match row {
                Some(row) => rows.insert(key.clone(), row),
                None => rows.remove(&key),
            }
        });
        self.undo_with(move |data| {
            let rows = data.tables.entry(table).or_default();
            match before {
                Some(row) => drop(rows.insert(key, row)),
                None => drop(rows.remove(&key)),
            }
        });
    }
}

impl Database for Memory {
    fn begin(&mut self, durability: Durability) -> Result<()> {
        assert!(self.undo.lock().unwrap().is_empty(), "one transaction at a time");
        self.durability = durability;
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let kill = self.disk.burns();
        if let Some(Kill::BeforeCommit | Kill::PowerCut(_)) = kill {
            self.rollback();
            if let Some(Kill::PowerCut(survive)) = kill {
                self.disk.cut_power(survive);
            }
            return Err(killed());
        }
        let undo = std::mem::take(&mut *self.undo.lock().unwrap());
        // A commit that wrote nothing flushes nothing.
        if !undo.is_empty() {
            self.with(|data| match self.durability {
                Durability::Durable => data.unflushed.clear(),
                Durability::Eventual => data.unflushed.push(undo),
            });
        }
        if kill.is_some() { Err(killed()) } else { Ok(()) }
    }

    fn rollback(&mut self) {
        let undo = std::mem::take(&mut *self.undo.lock().unwrap());
        self.with(|data| undo_all(undo, data));
    }

    fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>> {
        Ok(self.with(|data| {
            let row = data.tables.get(table.name)?.get(&sort_key(key))?.clone();
            Some(Row { key: row.0, plain: row.1, body: row.2 })
        }))
    }

    fn put(&self, table: &Table, key: &[Value], plain: &[Value], body: &[u8]) -> Result<()> {
        let row = (key.to_vec(), plain.to_vec(), body.to_vec());
        self.set(table.name, sort_key(key), Some(row));
        Ok(())
    }

    fn delete(&self, table: &Table, query: &Query) -> Result<usize> {
        let doomed = self.select(table, query)?;
        doomed.iter().for_each(|row| self.set(table.name, sort_key(&row.key), None));
        Ok(doomed.len())
    }

    fn select(&self, table: &Table, query: &Query) -> Result<Vec<Row>> {
        let rows = self.find(table, query);
        self.disk.rows_read.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(rows)
    }

    fn count(&self, table: &Table, query: &Query) -> Result<usize> {
        Ok(self.find(table, query).len())
    }

    fn texts(&self, table: &Table, column: &str, query: &Query) -> Result<Vec<String>> {
        let columns = [table.key, table.plain].concat();
        let place = columns.iter().position(|name| *name == column).expect("an open column");
        let mut texts = BTreeSet::new();
        for row in self.select(table, &query.clone().limit(usize::MAX))? {
            if let Value::Text(text) = [row.key, row.plain].concat().swap_remove(place) {
                texts.insert(text);
            }
        }
        let most = query.most().unwrap_or(usize::MAX);
        Ok(texts.into_iter().filter(|text| !text.is_empty()).take(most).collect())
    }

    fn last_number(&self, counter: &'static str) -> Result<i64> {
        Ok(self.with(|data| data.counters.get(counter).copied().unwrap_or(0)))
    }

    fn set_number(&self, counter: &'static str, value: i64) -> Result<()> {
        let before = self.last_number(counter)?;
        self.undo_with(move |data| {
            data.counters.insert(counter, before);
        });
        self.with(|data| data.counters.insert(counter, value));
        Ok(())
    }
}

/// The address of a store of its own, if that is wanted.
#[cfg(feature = "postgres")]
#[derive(Clone)]
struct OnServer(Option<String>);

#[cfg(feature = "postgres")]
impl Default for OnServer {
    fn default() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if std::env::var("MXCRYPT_TEST_DISK").ok().as_deref() != Some("postgres") {
            return Self(None);
        }
        let server = std::env::var("MXCRYPT_TEST_POSTGRES").expect("the address of a server");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Some(format!("{server}?store=disk-{}-{number}", now.as_nanos())))
    }
}

/// A database whose process is killed where the disk says so.
#[cfg(feature = "postgres")]
struct Killable {
    disk: Disk,
    database: Box<dyn Database>,
}

#[cfg(feature = "postgres")]
impl Database for Killable {
    fn begin(&mut self, durability: Durability) -> Result<()> {
        self.database.begin(durability)
    }

    fn commit(&mut self) -> Result<()> {
        match self.disk.burns() {
            Some(Kill::BeforeCommit | Kill::PowerCut(_)) => {
                self.database.rollback();
                Err(killed())
            }
            Some(Kill::AfterCommit) => self.database.commit().and(Err(killed())),
            None => self.database.commit(),
        }
    }

    fn rollback(&mut self) {
        self.database.rollback();
    }

    fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>> {
        self.database.get(table, key)
    }

    fn put(&self, table: &Table, key: &[Value], plain: &[Value], body: &[u8]) -> Result<()> {
        self.database.put(table, key, plain, body)
    }

    fn delete(&self, table: &Table, query: &Query) -> Result<usize> {
        self.database.delete(table, query)
    }

    fn select(&self, table: &Table, query: &Query) -> Result<Vec<Row>> {
        let rows = self.database.select(table, query)?;
        self.disk.rows_read.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(rows)
    }

    fn count(&self, table: &Table, query: &Query) -> Result<usize> {
        self.database.count(table, query)
    }

    fn texts(&self, table: &Table, column: &str, query: &Query) -> Result<Vec<String>> {
        self.database.texts(table, column, query)
    }

    fn last_number(&self, counter: &'static str) -> Result<i64> {
        self.database.last_number(counter)
    }

    fn set_number(&self, counter: &'static str, value: i64) -> Result<()> {
        self.database.set_number(counter, value)
    }
}
