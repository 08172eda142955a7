//! Rows that were put and not written yet: a statement writes many of them, in one round trip.

use std::collections::BTreeMap;

use mxcrypt_postgres_client::{Parameter, Rows};

use super::{
    super::{
        database::{Row, Table, Value},
        place,
    },
    columns::{self, Column},
    long_texts,
};
use crate::error::Result;

/// What a table has waiting at most.
const MOST_ROWS: usize = 1000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The rows that wait, by table.
#[derive(Default)]
pub(super) struct Pending(BTreeMap<&'static str, Rewritten>);

/// The rows of a table; of those with one key the last.
pub(super) struct Rewritten {
    table: Table,
    rows: BTreeMap<Vec<u8>, Waiting>,
    bytes: usize,
}

struct Waiting {
    values: Vec<Value>,
    body: Column,
}

impl Pending {
    /// Adds a row. Returns whether there are so many that they should be written.
    pub(super) fn put(
        &mut self,
        table: &Table,
        key: &[Value],
        plain: &[Value],
        body: &[u8],
    ) -> Result<bool> {
        let new = || Rewritten { table: *table, rows: BTreeMap::new(), bytes: 0 };
        let waiting = self.0.entry(table.name).or_insert_with(new);
        let values = [key, plain].concat();
        waiting.rows.insert(place(key), Waiting { values, body: Column::Bytes(body.to_vec()) });
        waiting.bytes += body.len();
        Ok(waiting.rows.len() >= MOST_ROWS || waiting.bytes >= MOST_BYTES)
    }

    /// The row `key`, if it waits.
    pub(super) fn get(&self, table: &Table, key: &[Value]) -> Option<Row> {
        let waiting = self.0.get(table.name)?.rows.get(&place(key))?;
        let (key, plain) = waiting.values.split_at_checked(table.key.len())?;
        let Column::Bytes(body) = &waiting.body else { return None };
        Some(Row { key: key.to_vec(), plain: plain.to_vec(), body: body.clone() })
    }

    /// The tables that have rows waiting.
    pub(super) fn tables(&self) -> Vec<Table> {
        self.0.values().map(|waiting| waiting.table).collect()
    }

    pub(super) fn take(&mut self, table: &str) -> Option<Rewritten> {
        self.0.remove(table)
    }
}

impl Rewritten {
    /// Writes the rows, in the place of those with their keys.
    pub(super) fn write(
        &self,
        store: i64,
        query: impl Fn(&str, &[Parameter<'_>]) -> Result<Rows>,
    ) -> Result<()> {
        let mut rows = Vec::with_capacity(self.rows.len());
        for waiting in self.rows.values() {
            let mut row: Vec<Column> = waiting.values.iter().map(Column::from).collect();
            row.push(Column::Bytes(long_texts::beside(waiting.values.iter())?));
            row.push(waiting.body.clone());
            rows.push(row);
        }
        let width = rows.first().map_or(0, Vec::len);
        let column = |place| columns::parameters(rows.iter().filter_map(move |row| row.get(place)));
        let mut parameters = vec![Parameter::Integer(store)];
        parameters.extend((0..width).map(column));
        let arrays: Vec<String> = (2..width + 2).map(|place| format!("${place}")).collect();
        let bodies = [self.table.plain, &["long_texts", "body"]].concat();
        let set: Vec<String> =
            bodies.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let sql = format!(
            "INSERT INTO mxcrypt.{} (store, {}) SELECT $1, * FROM unnest({}) \
             ON CONFLICT (store, {}) DO UPDATE SET {}",
            self.table.name,
            columns::names(&self.table),
            arrays.join(", "),
            self.table.key.join(", "),
            set.join(", "),
        );
        query(&sql, &parameters).map(|_| ())
    }
}
