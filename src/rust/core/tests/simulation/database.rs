//! A database in memory, which can be killed at any commit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use mxcrypt_core::{
    Error, Kind, Result,
    store::{Database, Query, Table, Value, database::Row},
};

type Key = Vec<Value>;
type Rows = BTreeMap<SortKey, (Key, Vec<Value>, Vec<u8>)>;

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

#[derive(Clone, Default)]
struct Data {
    tables: BTreeMap<&'static str, Rows>,
    counters: BTreeMap<&'static str, i64>,
    indices: BTreeMap<(i64, u32), [u8; 16]>,
}

/// When the process is to be killed.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// While it commits, before anything is durable.
    BeforeCommit,
    /// As soon as the commit is durable.
    AfterCommit,
}

/// What survives a process: the disk.
#[derive(Clone, Default)]
pub struct Disk {
    data: Arc<Mutex<Data>>,
    /// Commits until the process is killed.
    fuse: Arc<Mutex<Option<(usize, Kill)>>>,
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
        Box::new(Memory { disk: self.clone(), work: None.into() })
    }

    /// Says whether the process dies at this commit.
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

struct Memory {
    disk: Disk,
    work: Mutex<Option<Data>>,
}

/// The error a killed process ends with.
pub fn killed() -> Error {
    Error::new(Kind::Internal, "killed")
}

impl Memory {
    fn with<T>(&self, f: impl FnOnce(&mut Data) -> T) -> T {
        f(self.work.lock().unwrap().as_mut().expect("inside a transaction"))
    }
}

impl Database for Memory {
    fn begin(&mut self) -> Result<()> {
        *self.work.lock().unwrap() = Some(self.disk.data.lock().unwrap().clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let kill = self.disk.burns();
        let work = self.work.lock().unwrap().take().expect("inside a transaction");
        if matches!(kill, Some(Kill::BeforeCommit)) {
            return Err(killed());
        }
        *self.disk.data.lock().unwrap() = work;
        if kill.is_some() { Err(killed()) } else { Ok(()) }
    }

    fn rollback(&mut self) {
        *self.work.lock().unwrap() = None;
    }

    fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>> {
        Ok(self.with(|data| {
            let row = data.tables.get(table.name)?.get(&sort_key(key))?.clone();
            Some(Row { key: row.0, plain: row.1, body: row.2 })
        }))
    }

    fn put(&self, table: &Table, key: &[Value], plain: &[Value], body: &[u8]) -> Result<()> {
        self.with(|data| {
            let rows = data.tables.entry(table.name).or_default();
            rows.insert(sort_key(key), (key.to_vec(), plain.to_vec(), body.to_vec()));
        });
        Ok(())
    }

    fn delete(&self, table: &Table, query: &Query) -> Result<usize> {
        let doomed = self.select(table, query)?;
        self.with(|data| {
            let rows = data.tables.entry(table.name).or_default();
            doomed.iter().for_each(|row| drop(rows.remove(&sort_key(&row.key))));
        });
        Ok(doomed.len())
    }

    fn select(&self, table: &Table, query: &Query) -> Result<Vec<Row>> {
        Ok(self.with(|data| {
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
        }))
    }

    fn count(&self, table: &Table, query: &Query) -> Result<usize> {
        Ok(self.select(table, query)?.len())
    }

    fn take_number(&self, counter: &'static str) -> Result<i64> {
        Ok(self.with(|data| {
            let number = data.counters.entry(counter).or_default();
            *number += 1;
            *number
        }))
    }

    fn last_number(&self, counter: &'static str) -> Result<i64> {
        Ok(self.with(|data| data.counters.get(counter).copied().unwrap_or(0)))
    }

    fn remember_index(&self, session: i64, index: u32, tag: &[u8; 16]) -> Result<[u8; 16]> {
        Ok(self.with(|data| *data.indices.entry((session, index)).or_insert(*tag)))
    }
}
