//! Checks every row of a store, and changes nothing.
//!
//! What is consistent: the rows of a page, with the counters and the facts they refer to, because a page is read in one
//! transaction. The write lock is held no longer than that, so others go on using a large store meanwhile, and a row that
//! they write behind the page that is being read is not seen. So nothing is concluded from two pages, and before a file
//! counts as missing its row is read again.

use std::path::Path;

use super::{
    Location, NeededFile, SINGLE, Seals, Single, Store, Transaction, Value, beside,
    database::{Row, Table},
    known_events, message_indices,
    records::{self, Sealed},
    whole,
};
use crate::{
    error::{Error, Kind, Result},
    primitives::parallel,
};

/// How many damaged rows of a table are named.
const MOST_NAMED: usize = 100;

/// A row that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its key, which is not sealed.
    pub row: String,
    /// What is wrong.
    pub reason: String,
}

/// What was found in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Its name; `database` for what lies below all tables.
    pub table: &'static str,
    /// How many rows were read.
    pub rows: usize,
    /// How many of them are damaged.
    pub damaged: usize,
    /// What is wrong with the first of these.
    pub damage: Vec<Damage>,
}

impl TableReport {
    fn new(table: &'static str) -> Self {
        Self { table, rows: 0, damaged: 0, damage: Vec::new() }
    }

    fn add(&mut self, row: String, reason: String) {
        self.damaged += 1;
        if self.damage.len() < MOST_NAMED {
            self.damage.push(Damage { row, reason });
        }
    }
}

/// A row, and what is wrong with it as far as the transaction knows that read it.
type Judged = (Row, Result<()>);

impl Store {
    /// Checks every row, also of a store that is closed. `beside` is where its files are; none if it keeps those that
    /// wait itself.
    ///
    /// # Errors
    /// [`Kind::StoreKeyWrong`] when no row opens; [`Kind::StoreLocked`]
    pub fn check(&mut self, beside: Option<&Path>) -> Result<Vec<TableReport>> {
        let mut below = TableReport::new("database");
        match self.database.check() {
            Ok(faults) => faults.into_iter().for_each(|fault| below.add(String::new(), fault)),
            Err(error) => below.add(String::new(), error.message),
        }
        let (mut reports, mut opened, mut sealed_rows) = (vec![below], 0, 0);
        for table in whole::tables() {
            let sealed = records::TABLES.iter().find(|sealed| sealed.table.name == table.name);
            let mut report = TableReport::new(table.name);
            let of_table = self.check_table(table, sealed, beside, &mut report)?;
            if sealed.is_some() {
                (opened, sealed_rows) = (opened + of_table, sealed_rows + report.rows);
            }
            reports.push(report);
        }
        if opened == 0 && sealed_rows > 0 {
            let message = "The store key opens no row: it is the key of another store.";
            return Err(Error::new(Kind::StoreKeyWrong, message));
        }
        // Each store has it since it was begun.
        let key_check = [records::KeyCheck::NAME.into()];
        if let Ok(None) = self.read(|tx| tx.database.get(&SINGLE, &key_check))
            && let Some(single) = reports.iter_mut().find(|report| report.table == SINGLE.name)
        {
            let row = format!("name {}", records::KeyCheck::NAME);
            single.add(row, "It is missing: the store was emptied, or rows were deleted.".into());
        }
        Ok(reports)
    }

    /// Returns how many rows could be opened.
    fn check_table(
        &mut self,
        table: &'static Table,
        sealed: Option<&Sealed>,
        beside: Option<&Path>,
        report: &mut TableReport,
    ) -> Result<usize> {
        let mut after: Option<Vec<Value>> = None;
        let mut opened = 0;
        loop {
            let rows = match self.read(|tx| judged_page(tx, table, after.as_deref())) {
                Ok(rows) => rows,
                Err(error) if error.kind == Kind::StoreLocked => return Err(error),
                Err(error) => {
                    let place = after.map_or_else(String::new, |key| shown(table, &key));
                    report.add(place, format!("The rows from here on: {}", error.message));
                    return Ok(opened);
                }
            };
            let Some((last, _)) = rows.last() else { return Ok(opened) };
            after = Some(last.key.clone());
            report.rows += rows.len();
            for (row, files) in open_all(&self.seals, sealed, rows)? {
                let fault = match files {
                    Ok(files) => {
                        opened += 1;
                        self.missing_file(table, &row, &files, beside)?
                    }
                    Err(error) => Some(error.message),
                };
                if let Some(fault) = fault {
                    report.add(shown(table, &row.key), fault);
                }
            }
        }
    }

    /// What is wrong with the files of a row, if the row still needs them.
    fn missing_file(
        &mut self,
        table: &Table,
        row: &Row,
        files: &[NeededFile],
        beside: Option<&Path>,
    ) -> Result<Option<String>> {
        let mut fault = None;
        for file in files {
            fault = fault.or(match beside {
                Some(beside) => file.fault(beside),
                None if file.directory == beside::WAITING && !self.keeps_file(&file.name)? => {
                    Some(format!("Its file {} is not kept.", file.path()))
                }
                None => None,
            });
        }
        let Some(fault) = fault else { return Ok(None) };
        let now = self.read(|tx| tx.database.get(table, &row.key))?;
        Ok(now.filter(|now| now.body == row.body).map(|_| fault))
    }
}

impl Location {
    /// Checks the store, also one that is closed: see [`Store::check`].
    ///
    /// # Errors
    /// [`Kind::Store`] when there is none; [`Kind::StoreKeyMissing`], [`Kind::StoreKeyWrong`],
    /// [`Kind::StoreLocked`].
    pub fn check(&self) -> Result<Vec<TableReport>> {
        self.check_exists()?;
        let beside = (!self.keeps_files()).then(|| self.directory());
        self.open_closed()?.check(beside)
    }

    /// Gives back the space of what was deleted.
    ///
    /// # Errors
    /// As [`Location::open`]; [`Kind::Store`] when there is no store.
    pub fn vacuum(&self) -> Result<()> {
        self.check_exists()?;
        self.open()?.vacuum()
    }
}

/// The next rows, and what can be said of them in the transaction that reads them.
fn judged_page(
    tx: &Transaction<'_>,
    table: &Table,
    after: Option<&[Value]>,
) -> Result<Vec<Judged>> {
    let rows = whole::page(tx.database, table, after)?;
    let judge = |row: Row| {
        let judged = match table.name {
            name if name == known_events::TABLE.name => tx.check_known_event(&row),
            name if name == message_indices::TABLE.name => message_indices::check(&row),
            _ => Ok(()),
        };
        let judged = judged.and_then(|()| check_number(tx, table, &row));
        (row, judged)
    };
    Ok(rows.into_iter().map(judge).collect())
}

/// Opens rows on all cores, and returns with each what files it needs, or what is wrong with it.
fn open_all(
    seals: &Seals,
    sealed: Option<&Sealed>,
    rows: Vec<Judged>,
) -> Result<Vec<(Row, Result<Vec<NeededFile>>)>> {
    let Some(sealed) = sealed else {
        return Ok(rows
            .into_iter()
            .map(|(row, judged)| (row, judged.map(|()| Vec::new())))
            .collect());
    };
    let seal = seals.of(&sealed.table)?;
    Ok(parallel::map(rows, |(row, judged)| {
        let files = judged.and_then(|()| (sealed.open)(seal, &row));
        (row, files)
    }))
}

/// Where numbers come from: a table, a column of it, and the counter they were taken from.
const NUMBERED: &[(&str, &str, &str)] = &[
    ("archived_event", "number", "archive"),
    ("failure", "number", "failure"),
    ("heartbeat", "number", "outbox"),
    ("held_timeline", "number", "held timeline"),
    ("inbound_session", "changed", "session change"),
    ("inbox", "number", "inbox"),
    ("olm_message", "number", "olm message"),
    ("outbox", "number", "outbox"),
    ("own_bundle", "number", "own bundle"),
    ("received_bundle", "number", "received bundle"),
    ("request", "number", "request"),
    ("verification", "number", "verification"),
    ("withheld_key", "number", "withheld key"),
];

/// A number above its counter would be given out a second time.
fn check_number(tx: &Transaction<'_>, table: &Table, row: &Row) -> Result<()> {
    let column = |wanted: &str| {
        let columns = table.key.iter().chain(table.plain);
        let mut values = columns.zip(row.key.iter().chain(&row.plain));
        values.find_map(|(name, value)| match value {
            Value::Integer(number) if *name == wanted => Some(*number),
            _ => None,
        })
    };
    let (number, counter, highest) = match table.name {
        "known_event" | "event_facts" => {
            let counter = known_events::COUNTER;
            let newest = known_events::generation(tx.last_number(counter)?);
            (column("generation"), counter, newest)
        }
        "message_index" => {
            let counter = "inbound session";
            (column("block").map(message_indices::session_of), counter, tx.last_number(counter)?)
        }
        name => match NUMBERED.iter().find(|(table, ..)| *table == name) {
            Some((_, name, counter)) => (column(name), *counter, tx.last_number(counter)?),
            None => return Ok(()),
        },
    };
    // Events of an archive that came later than newer ones are counted down.
    if number.is_some_and(|number| number.abs() <= highest) {
        return Ok(());
    }
    let message = format!("Its number is above that of the counter \"{counter}\", {highest}.");
    Err(Error::new(Kind::StoreTampered, message))
}

fn shown(table: &Table, key: &[Value]) -> String {
    let text = |(name, value): (&&str, &Value)| match value {
        Value::Integer(number) => format!("{name} {number}"),
        Value::Text(text) => format!("{name} {text}"),
    };
    table.key.iter().zip(key).map(text).collect::<Vec<_>>().join(", ")
}
