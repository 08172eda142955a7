//! Rows and counters that were set and not written yet: a statement writes the rows of all tables, in one round trip.

use std::collections::BTreeMap;

use mxcrypt_postgres_client::{Parameter, Rows};

use super::{
    super::{
        database::{Row, Table, Value},
        place,
    },
    columns::{self, Column, hex},
    long_texts,
};
use crate::error::Result;

/// What waits of a table at most.
const MOST_ROWS: usize = 1000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What waits.
#[derive(Default)]
pub(super) struct Pending {
    tables: BTreeMap<&'static str, Rewritten>,
    numbers: BTreeMap<&'static str, i64>,
}

/// The rows of a table; of those with one key the last.
struct Rewritten {
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
    ) -> bool {
        let new = || Rewritten { table: *table, rows: BTreeMap::new(), bytes: 0 };
        let waiting = self.tables.entry(table.name).or_insert_with(new);
        let values = [key, plain].concat();
        waiting.rows.insert(place(key), Waiting { values, body: Column::Bytes(body.to_vec()) });
        waiting.bytes += body.len();
        waiting.rows.len() >= MOST_ROWS || waiting.bytes >= MOST_BYTES
    }

    /// The row whose key is `place`, if it waits.
    pub(super) fn get(&self, table: &Table, place: &[u8]) -> Option<Row> {
        let waiting = self.tables.get(table.name)?.rows.get(place)?;
        let (key, plain) = waiting.values.split_at_checked(table.key.len())?;
        let Column::Bytes(body) = &waiting.body else { return None };
        Some(Row { key: key.to_vec(), plain: plain.to_vec(), body: body.clone() })
    }

    pub(super) fn has(&self, table: &Table) -> bool {
        self.tables.contains_key(table.name)
    }

    pub(super) fn set_number(&mut self, counter: &'static str, value: i64) {
        self.numbers.insert(counter, value);
    }

    pub(super) fn number(&self, counter: &str) -> Option<i64> {
        self.numbers.get(counter).copied()
    }

    /// What writes the counters, before a `COMMIT`.
    pub(super) fn numbers_statement(&self, store: i64) -> String {
        if self.numbers.is_empty() {
            return String::new();
        }
        let counters = self.numbers.iter();
        let values = counters.map(|(name, value)| {
            format!("({store}, decode('{}', 'hex'), {value})", hex(name.as_bytes()))
        });
        format!(
            "INSERT INTO mxcrypt.counter (store, name, value) VALUES {} \
             ON CONFLICT (store, name) DO UPDATE SET value = excluded.value; ",
            values.collect::<Vec<_>>().join(", ")
        )
    }

    /// Writes the rows, in the place of those with their keys.
    pub(super) fn write_rows(
        &mut self,
        store: i64,
        query: impl Fn(&str, &[Parameter<'_>]) -> Result<Rows>,
    ) -> Result<()> {
        let written = std::mem::take(&mut self.tables);
        let written: Vec<(Table, Vec<Vec<Column>>)> = written
            .into_values()
            .map(|waiting| Ok((waiting.table, waiting.columns()?)))
            .collect::<Result<_>>()?;
        let mut parameters = vec![Parameter::Integer(store)];
        let mut inserts: Vec<String> =
            written.iter().map(|(table, rows)| insert(table, rows, &mut parameters)).collect();
        let Some(last) = inserts.pop() else { return Ok(()) };
        let first = inserts.iter().enumerate();
        let first: Vec<String> =
            first.map(|(number, insert)| format!("written_{number} AS ({insert})")).collect();
        let with =
            if first.is_empty() { String::new() } else { format!("WITH {} ", first.join(", ")) };
        query(&(with + &last), &parameters).map(|_| ())
    }
}

impl Rewritten {
    /// The columns of each row, in the order in which [`insert`] names them.
    fn columns(self) -> Result<Vec<Vec<Column>>> {
        let rows = self.rows.into_values().map(|waiting| {
            let mut row: Vec<Column> = waiting.values.iter().map(Column::from).collect();
            row.push(Column::Bytes(long_texts::beside(waiting.values.iter())?));
            row.push(waiting.body);
            Ok(row)
        });
        rows.collect()
    }
}

/// The statement that writes rows of a table. Its values are added to `parameters`, of which the first is the store.
fn insert<'r>(
    table: &Table,
    rows: &'r [Vec<Column>],
    parameters: &mut Vec<Parameter<'r>>,
) -> String {
    let width = rows.first().map_or(0, Vec::len);
    let before = parameters.len();
    let column = |place| columns::parameters(rows.iter().filter_map(move |row| row.get(place)));
    parameters.extend((0..width).map(column));
    let arrays: Vec<String> =
        (before + 1..=before + width).map(|place| format!("${place}")).collect();
    let bodies = [table.plain, &["long_texts", "body"]].concat();
    let set: Vec<String> =
        bodies.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO mxcrypt.{} (store, {}) SELECT $1, * FROM unnest({}) \
         ON CONFLICT (store, {}) DO UPDATE SET {}",
        table.name,
        columns::names(table),
        arrays.join(", "),
        table.key.join(", "),
        set.join(", "),
    )
}
