//! All of a store, table by table, over the contract alone: to check it, and to move it to another database.

use super::{
    Query, Record, Store, Transaction,
    beside::NeededFile,
    database::{Database, Row, Table, Value},
    known_events, message_indices,
    records::{self, ArchivedMedia, OutboxRow},
};
use crate::error::Result;

/// How many rows are in memory at a time.
pub(super) const PAGE: usize = 256;

/// Every counter. What is not listed would be lost when a store is moved, so no number is taken from it.
pub(super) const COUNTERS: &[&str] = &[
    "archive",
    "device list",
    "failure",
    "first read",
    "held timeline",
    "inbound session",
    "inbox",
    known_events::COUNTER,
    "login lease",
    "olm message",
    "outbox",
    "own bundle",
    "received bundle",
    "request",
    "session change",
    "sync lease",
    "verification",
    "waiting event",
    "withheld key",
];

/// Every table.
pub(super) fn tables() -> impl Iterator<Item = &'static Table> {
    let sealed = records::TABLES.iter().map(|sealed| &sealed.table);
    sealed.chain([&known_events::TABLE, &message_indices::TABLE])
}

/// The next rows behind the key `after`, in the order of their keys; none at the end.
pub(super) fn page(
    database: &dyn Database,
    table: &Table,
    after: Option<&[Value]>,
) -> Result<Vec<Row>> {
    let Some(after) = after else { return database.select(table, &Query::all().limit(PAGE)) };
    let mut rows = Vec::new();
    // Those that share all columns but the last come first, then those that share one less.
    for shared in (0..table.key.len()).rev() {
        let columns = table.key.iter().zip(after).take(shared);
        let query =
            columns.fold(Query::all(), |query, (name, value)| query.and(name, value.clone()));
        let query = query.after(table.key[shared], after[shared].clone());
        rows.extend(database.select(table, &query.limit(PAGE - rows.len()))?);
        if rows.len() == PAGE {
            break;
        }
    }
    Ok(rows)
}

/// Does `f` for all rows of a table, a page at a time.
pub(super) fn each_page(
    database: &dyn Database,
    table: &Table,
    mut f: impl FnMut(Vec<Row>) -> Result<()>,
) -> Result<()> {
    let mut after: Option<Vec<Value>> = None;
    loop {
        let rows = page(database, table, after.as_deref())?;
        match rows.last() {
            Some(last) => after = Some(last.key.clone()),
            None => return Ok(()),
        }
        f(rows)?;
    }
}

/// Whether nothing is stored.
pub(super) fn is_empty(database: &dyn Database) -> Result<bool> {
    for table in tables() {
        if !database.select(table, &Query::all().limit(1))?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes all rows, and sets all counters to zero.
pub(super) fn clear(database: &dyn Database) -> Result<()> {
    tables().try_for_each(|table| database.delete(table, &Query::all()).map(drop))?;
    COUNTERS.iter().try_for_each(|counter| database.set_number(counter, 0))
}

/// Copies all rows and counters, sealed as they are. Both databases are inside a transaction.
pub(super) fn copy(from: &dyn Database, to: &dyn Database) -> Result<()> {
    for table in tables() {
        each_page(from, table, |rows| {
            rows.iter().try_for_each(|row| to.put(table, &row.key, &row.plain, &row.body))
        })?;
    }
    for counter in COUNTERS {
        let number = from.last_number(counter)?;
        if number != 0 {
            to.set_number(counter, number)?;
        }
    }
    Ok(())
}

/// The files that the rows of a table need. Rows that cannot be read need none.
fn files_of<R: Record>(tx: &Transaction<'_>) -> Result<Vec<NeededFile>> {
    let mut files = Vec::new();
    each_page(tx.database, &R::TABLE, |rows| {
        let records = rows.into_iter().filter_map(|row| tx.open::<R>(row).ok());
        files.extend(records.flat_map(|record| record.files()));
        Ok(())
    })?;
    Ok(files)
}

impl Store {
    /// The files beside the store that rows need: of all records, those that have [`Record::files`].
    pub(super) fn needed_files(&mut self) -> Result<Vec<NeededFile>> {
        self.read(|tx| Ok([files_of::<OutboxRow>(tx)?, files_of::<ArchivedMedia>(tx)?].concat()))
    }
}
