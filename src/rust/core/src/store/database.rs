//! The store contract: what the core asks of a database.
//!
//! A database sees rows whose bodies are sealed, and the few columns rows are found by. It decides
//! nothing and never holds a secret in the clear, so that another one (PostgreSQL) can
//! take SQLite's place. Keys are logical: no database-made row number is part of one.

use std::{path::Path, time::Duration};

use super::interrupts;
use crate::error::{Error, Kind, Result};

/// How often [`Database::wait_for_commit`] looks, where a database does not tell.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A value in a column that rows are found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

/// A table: its key columns, and the other columns that are not sealed.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The name.
    pub name: &'static str,
    /// The columns of the primary key, in order.
    pub key: &'static [&'static str],
    /// The columns rows can also be found by.
    pub plain: &'static [&'static str],
}

/// Which rows are wanted. Rows always come in the order of their key.
#[derive(Debug, Default, Clone)]
pub struct Query {
    pub(super) equal: Vec<(&'static str, Value)>,
    pub(super) among: Vec<(&'static str, Vec<Value>)>,
    pub(super) after: Option<(&'static str, Value)>,
    pub(super) until: Option<(&'static str, i64)>,
    pub(super) limit: Option<usize>,
}

impl Query {
    /// Every row.
    pub fn all() -> Self {
        Self::default()
    }

    /// Rows in which `column` is `value`.
    pub fn equal(column: &'static str, value: impl Into<Value>) -> Self {
        Self::all().and(column, value)
    }

    /// Of these, rows in which `column` is `value`.
    pub fn and(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.equal.push((column, value.into()));
        self
    }

    /// Rows in which `column` is one of `values`: one statement in place of many. Whoever asks for a great many does
    /// so in batches.
    pub fn among<'v>(column: &'static str, values: impl IntoIterator<Item = &'v str>) -> Self {
        Self::all().and_among(column, values)
    }

    /// Of these, rows in which `column` is one of `values`.
    pub fn and_among<'v>(
        mut self,
        column: &'static str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Self {
        self.among.push((column, values.into_iter().map(Value::from).collect()));
        self
    }

    /// Of these, rows in which `column` is above `value`.
    pub fn after(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.after = Some((column, value.into()));
        self
    }

    /// Of these, rows in which `column` is `value` or below.
    pub fn until(mut self, column: &'static str, value: i64) -> Self {
        self.until = Some((column, value));
        self
    }

    /// The first `limit` of these.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The key of the only row that can be wanted, where all of it is named and nothing else.
    #[cfg(feature = "postgres")]
    pub(super) fn key(&self, table: &Table) -> Option<Vec<Value>> {
        let Self { equal, among, after: None, until: None, limit: None } = self else {
            return None;
        };
        if !among.is_empty() || equal.len() != table.key.len() {
            return None;
        }
        let value = |column| equal.iter().find(|(name, _)| name == column).map(|(_, value)| value);
        table.key.iter().map(|column| value(column).cloned()).collect()
    }

    /// Whether a row is wanted, for databases without a language of their own. `value` says what
    /// stands in a column.
    pub fn admits<'a>(&self, value: impl Fn(&str) -> Option<&'a Value>) -> bool {
        let number = |column: &str| match value(column) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        };
        self.equal.iter().all(|(column, wanted)| value(column) == Some(wanted))
            && self
                .among
                .iter()
                .all(|(column, wanted)| value(column).is_some_and(|found| wanted.contains(found)))
            && self.after.as_ref().is_none_or(|(column, bound)| match (value(column), bound) {
                (Some(Value::Integer(found)), Value::Integer(bound)) => found > bound,
                (Some(Value::Text(found)), Value::Text(bound)) => found > bound,
                _ => false,
            })
            && self.until.is_none_or(|(column, bound)| number(column).is_some_and(|n| n <= bound))
    }

    /// How many rows are wanted at most.
    pub fn most(&self) -> Option<usize> {
        self.limit
    }
}

/// A row as a database holds it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The values of the key columns.
    pub key: Vec<Value>,
    /// The values of the other columns that are not sealed.
    pub plain: Vec<Value>,
    /// The sealed body; or a few bytes that a tag protects.
    pub body: Vec<u8>,
}

/// What a transaction survives once it is committed. The end of the process it always survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the power, too, with all that was committed before it: it is on the disk when
    /// `commit` returns.
    Durable,
    /// The end of the power only once a durable transaction was committed after it. What is lost until then is
    /// the end of what was committed, never a part from the middle.
    Eventual,
}

/// A transactional database of sealed rows.
///
/// Between [`Database::begin`] and [`Database::commit`] nobody else writes.
pub trait Database: Send {
    /// Begins a transaction that may write. Waits while another process is inside one, and gives
    /// up with [`crate::Kind::StoreLocked`] after a limit.
    fn begin(&mut self, durability: Durability) -> Result<()>;

    /// Commits the transaction. When this fails nothing of it happened.
    fn commit(&mut self) -> Result<()>;

    /// Undoes the transaction. Harmless outside of one.
    fn rollback(&mut self);

    /// Empties the log of commits, where a database has one: it holds what was deleted until it is used again.
    /// Does what it can while others read.
    fn empty_log(&mut self) {}

    /// Waits until another connection has committed something since this was last called, for at most `limit`. May
    /// return earlier: the caller looks whether there is what it waits for. Not called inside of a transaction.
    fn wait_for_commit(&mut self, limit: Duration) -> Result<()> {
        interrupts::sleep(limit.min(LOOK_EVERY))
    }

    /// Whether a process has the lock of this name (see [`super::Lock`]). True where that cannot be known.
    fn is_held(&self, lock: &str) -> Result<bool> {
        let _ = lock;
        Ok(true)
    }

    /// What is wrong with the database below its rows, in words; nothing where it cannot say.
    fn check(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Gives back the space of what was deleted, if that is not done by itself.
    fn vacuum(&mut self) -> Result<()> {
        Ok(())
    }

    /// Copies all of it to a new SQLite file at `path`, as it is at one time, while others use it.
    fn back_up(&mut self, _path: &Path) -> Result<()> {
        Err(Error::new(Kind::Internal, "This database is not copied."))
    }

    /// The row `key`.
    fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>>;

    /// Writes a row, in place of the one with its key if there is one.
    fn put(&self, table: &Table, key: &[Value], plain: &[Value], body: &[u8]) -> Result<()>;

    /// Deletes rows and returns how many. Their bytes are overwritten, not only unlinked.
    fn delete(&self, table: &Table, query: &Query) -> Result<usize>;

    /// Finds rows, in the order of their keys.
    fn select(&self, table: &Table, query: &Query) -> Result<Vec<Row>>;

    /// Counts rows without reading them.
    fn count(&self, table: &Table, query: &Query) -> Result<usize>;

    /// The texts that stand in `column`, which is not sealed, of the rows that are wanted; each
    /// once, in order, and none empty. A limit counts texts, not rows. Does not visit every row where there is an index.
    fn texts(&self, table: &Table, column: &str, query: &Query) -> Result<Vec<String>>;

    /// The value of a counter; zero before it was set.
    fn last_number(&self, counter: &'static str) -> Result<i64>;

    /// Sets a counter.
    fn set_number(&self, counter: &'static str, value: i64) -> Result<()>;
}
