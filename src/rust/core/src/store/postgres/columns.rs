//! Rows and conditions, as statements have them.

use mxcrypt_postgres_client::{Parameter, Rows};

use super::{
    super::database::{Query, Row, Table, Value},
    long_texts,
};
use crate::error::{Error, Kind, Result};

/// What stands in a column.
#[derive(Debug, Clone)]
pub(super) enum Column {
    Integer(i64),
    Bytes(Vec<u8>),
}

impl From<&Value> for Column {
    fn from(value: &Value) -> Self {
        match value {
            Value::Integer(number) => Column::Integer(*number),
            Value::Text(text) => Column::Bytes(long_texts::column(text).into_owned()),
        }
    }
}

impl Column {
    pub(super) fn parameter(&self) -> Parameter<'_> {
        match self {
            Column::Integer(number) => Parameter::Integer(*number),
            Column::Bytes(bytes) => Parameter::Bytes(bytes),
        }
    }
}

/// All of a column, for a statement that writes many rows. The values of a column are of one type.
pub(super) fn parameters<'c>(columns: impl Iterator<Item = &'c Column>) -> Parameter<'c> {
    let (mut integers, mut bytes) = (Vec::new(), Vec::new());
    for column in columns {
        match column {
            Column::Integer(number) => integers.push(*number),
            Column::Bytes(value) => bytes.push(value.as_slice()),
        }
    }
    if integers.is_empty() { Parameter::ManyBytes(bytes) } else { Parameter::Integers(integers) }
}

/// What follows `WHERE`, and its values; `$1` is the store.
pub(super) struct Condition {
    pub(super) sql: String,
    values: Vec<Wanted>,
}

enum Wanted {
    One(Column),
    Among(Vec<Column>),
}

impl Wanted {
    fn parameter(&self) -> Parameter<'_> {
        match self {
            Wanted::One(column) => column.parameter(),
            Wanted::Among(columns) => parameters(columns.iter()),
        }
    }
}

impl Condition {
    pub(super) fn of(store: i64, query: &Query) -> Self {
        let mut condition = Self {
            sql: "store = $1".to_owned(),
            values: vec![Wanted::One(Column::Integer(store))],
        };
        for (column, value) in &query.equal {
            condition.and(&format!("{column} = "), "", Wanted::One(value.into()));
        }
        for (column, wanted) in &query.among {
            let wanted = wanted.iter().map(Column::from).collect();
            condition.and(&format!("{column} = ANY("), ")", Wanted::Among(wanted));
        }
        if let Some((column, value)) = &query.after {
            condition.and(&format!("{column} > "), "", Wanted::One(value.into()));
        }
        if let Some((column, value)) = query.until {
            condition.and(&format!("{column} <= "), "", Wanted::One(Column::Integer(value)));
        }
        condition
    }

    /// The row `key` of `table`.
    pub(super) fn of_key(store: i64, table: &Table, key: &[Value]) -> Self {
        let columns = table.key.iter().zip(key);
        let query =
            columns.fold(Query::all(), |query, (name, value)| query.and(name, value.clone()));
        Self::of(store, &query)
    }

    pub(super) fn above(&mut self, column: &str, value: Vec<u8>) {
        self.and(&format!("{column} > "), "", Wanted::One(Column::Bytes(value)));
    }

    fn and(&mut self, before: &str, after: &str, value: Wanted) {
        self.values.push(value);
        let place = self.values.len();
        self.sql.push_str(&format!(" AND {before}${place}{after}"));
    }

    pub(super) fn parameters(&self) -> Vec<Parameter<'_>> {
        self.values.iter().map(Wanted::parameter).collect()
    }
}

/// The columns of a row, in the order in which [`row`] reads them.
pub(super) fn names(table: &Table) -> String {
    [table.key, table.plain, &["long_texts", "body"]].concat().join(", ")
}

/// A row as it was written.
pub(super) fn row(table: &Table, rows: &Rows, number: usize) -> Result<Row> {
    let (keys, plains) = (table.key.len(), table.key.len() + table.plain.len());
    let mut values: Vec<Value> =
        (0..plains).map(|column| value(rows, number, column)).collect::<Result<_>>()?;
    long_texts::put_back(&mut values, bytes(rows, number, plains)?)?;
    let plain = values.split_off(keys);
    Ok(Row { key: values, plain, body: bytes(rows, number, plains + 1)?.to_vec() })
}

fn value(rows: &Rows, number: usize, column: usize) -> Result<Value> {
    if rows.is_integer(column) {
        return rows.integer(number, column).map(Value::Integer).ok_or_else(another_schema);
    }
    long_texts::text(bytes(rows, number, column)?)
}

pub(super) fn bytes(rows: &Rows, number: usize, column: usize) -> Result<&[u8]> {
    rows.bytes(number, column).ok_or_else(another_schema)
}

/// Bytes, in a statement that is written in full.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn another_schema() -> Error {
    Error::new(Kind::Store, "The tables of the schema mxcrypt are not those of this package.")
}
