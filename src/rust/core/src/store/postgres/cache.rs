//! What was read of a store and written to it, kept for as long as nobody else commits: a round trip to another machine
//! takes longer than what is done with its answer, and a sync without news asks sixty times for what did not change.
//!
//! The row of the store, which each transaction locks and reads, names the last commit. Where that is the one after
//! which all this was kept, it is still so. Bodies are kept as the database has them, sealed.

use std::{collections::HashMap, mem};

use super::super::database::{Row, Table, Value};

/// About how many bytes are kept of a store. A process may have a thousand.
pub(super) const MOST_BYTES: usize = 512 * 1024;
/// What is larger is not kept: it would take the place of all else.
const MOST_AT_ONCE: usize = MOST_BYTES / 8;
/// About what an answer takes beside its bytes.
const OVERHEAD: usize = 128;

/// See the module.
#[derive(Default)]
pub(super) struct Cache {
    /// The commit after which all this was so; empty where none is known.
    commit: String,
    tables: HashMap<&'static str, OfTable>,
    numbers: HashMap<&'static str, i64>,
    bytes: usize,
}

#[derive(Default)]
struct OfTable {
    /// By their keys; none where there is no such row.
    rows: HashMap<Vec<u8>, Option<Row>>,
    /// By what was asked.
    answers: HashMap<String, Answer>,
}

/// What was found.
#[derive(Clone)]
pub(super) enum Answer {
    Rows(Vec<Row>),
    Count(usize),
    Texts(Vec<String>),
}

impl Cache {
    /// Keeps what is kept only if `commit` is still the last.
    pub(super) fn begin(&mut self, commit: &str) {
        if commit.is_empty() || self.commit != commit {
            *self = Self { commit: commit.to_owned(), ..Self::default() };
        }
    }

    /// All this is so after `commit`, too.
    pub(super) fn commit(&mut self, commit: String) {
        self.commit = commit;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The row `key`, or that there is none; nothing where that is not known.
    pub(super) fn row(&self, table: &Table, key: &[u8]) -> Option<Option<Row>> {
        self.tables.get(table.name)?.rows.get(key).cloned()
    }

    /// Keeps a row that was read.
    pub(super) fn keep_row(&mut self, table: &Table, key: Vec<u8>, row: Option<Row>) {
        let size = key.len() + row.as_ref().map_or(0, size);
        if self.has_room(size) {
            self.tables.entry(table.name).or_default().rows.insert(key, row);
        }
    }

    /// Keeps a row as it is written, or that it was deleted. What was asked about the table may have another answer
    /// now.
    pub(super) fn change_row(&mut self, table: &Table, key: Vec<u8>, row: Option<Row>) {
        if let Some(of_table) = self.tables.get_mut(table.name) {
            of_table.answers.clear();
            of_table.rows.remove(&key);
        }
        self.keep_row(table, key, row);
    }

    pub(super) fn forget(&mut self, table: &Table) {
        self.tables.remove(table.name);
    }

    pub(super) fn answer(&self, table: &Table, asked: &str) -> Option<Answer> {
        self.tables.get(table.name)?.answers.get(asked).cloned()
    }

    /// Keeps an answer of so many bytes.
    pub(super) fn keep_answer(
        &mut self,
        table: &Table,
        asked: String,
        bytes: usize,
        answer: impl FnOnce() -> Answer,
    ) {
        if self.has_room(asked.len() + bytes) {
            self.tables.entry(table.name).or_default().answers.insert(asked, answer());
        }
    }

    pub(super) fn number(&self, counter: &str) -> Option<i64> {
        self.numbers.get(counter).copied()
    }

    pub(super) fn keep_number(&mut self, counter: &'static str, value: i64) {
        self.numbers.insert(counter, value);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let tables = self.tables.values();
        let of_table = |of_table: &OfTable| {
            let rows =
                of_table.rows.iter().map(|(key, row)| key.len() + row.as_ref().map_or(0, size));
            let answers = of_table.answers.values().map(|answer| match answer {
                Answer::Rows(rows) => rows.iter().map(size).sum(),
                Answer::Count(_) | Answer::Texts(_) => 0,
            });
            rows.chain(answers).sum::<usize>()
        };
        tables.map(of_table).sum()
    }

    /// Whether something of so many bytes is kept. What is forgotten or replaced is counted on until there is too
    /// much, and all begins anew.
    fn has_room(&mut self, bytes: usize) -> bool {
        if bytes > MOST_AT_ONCE {
            return false;
        }
        self.bytes += bytes + OVERHEAD;
        if self.bytes > MOST_BYTES {
            *self = Self { commit: mem::take(&mut self.commit), ..Self::default() };
        }
        true
    }
}

/// About how many bytes a row takes.
pub(super) fn size(row: &Row) -> usize {
    let values = row.key.iter().chain(&row.plain).map(|value| match value {
        Value::Integer(_) => 8,
        Value::Text(text) => text.len(),
    });
    values.sum::<usize>() + row.body.len() + OVERHEAD
}
