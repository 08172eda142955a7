//! Key exports, for R.

use std::{fs::File, io::Cursor, path::Path};

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    error::OrFail,
    judgement::key_export::KeyExport as Import,
    machine::{Imported, Keeping, KeyExport},
    primitives::{
        key_export::{Decrypt, Encrypt},
        passphrase::NEW_ITERATIONS,
    },
    store::private_file::Draft,
};
use zeroize::Zeroizing;

use crate::{
    answer::{answer, number, record, string, strings},
    arguments,
    clock::now,
    handle::{Held, keep, with},
    machine::on,
};

/// A key export that is being written; none once it has its name.
pub(crate) struct Export(Option<KeyExport<Draft>>);

/// A key export that is being read.
pub(crate) struct KeyImport(pub(crate) Import<File>);

impl Held for Export {
    const NAME: &'static str = "a key export";
}

impl Held for KeyImport {
    const NAME: &'static str = "a key import";
}

fn passphrase(value: &Robj) -> Result<Zeroizing<String>> {
    arguments::text(value, "passphrase").map(Zeroizing::new)
}

#[extendr]
fn machine_begin_export(handle: Robj, path: Robj, given: Robj, rooms: Robj) -> Robj {
    on(&handle, |machine| {
        let path = arguments::text(&path, "path")?;
        let wrong = format!("{path} cannot be written");
        let draft = Draft::new(Path::new(&path)).or_fail(Kind::KeyExport, &wrong)?;
        let rooms = if rooms.is_null() { None } else { Some(arguments::texts(&rooms, "rooms")?) };
        let file = Encrypt::new(draft, &passphrase(&given)?, NEW_ITERATIONS)?;
        Ok(keep(Export(Some(machine.begin_export(file, rooms)?))))
    })
}

/// Writes some more sessions: how many are written, how many there are, and whether that is all.
#[extendr]
fn machine_export_keys(handle: Robj, export: Robj) -> Robj {
    on(&handle, |machine| {
        with(&export, |export: &mut Export| {
            let export = export.0.as_mut().ok_or_else(ended)?;
            let more = machine.export_keys(export)?;
            Ok(record([
                ("written", number(export.written as i64)),
                ("total", number(export.total as i64)),
                ("more", more.into()),
            ]))
        })
    })
}

/// Gives the file its name; or gives it up, where `replace` is `NULL`.
#[extendr]
fn key_export_end(export: Robj, replace: Robj) -> Robj {
    answer(|| {
        with(&export, |export: &mut Export| {
            let export = export.0.take();
            if replace.is_null() {
                return Ok(());
            }
            let draft = export.ok_or_else(ended)?.finish()?;
            let replace = arguments::flag(&replace, "overwrite")?;
            draft.keep(replace).or_fail(Kind::KeyExport, "The key export cannot be written")
        })
    })
}

fn ended() -> Error {
    Error::new(Kind::KeyExport, "This key export has ended.")
}

#[extendr]
fn key_import_open(path: Robj, given: Robj) -> Robj {
    answer(|| {
        let path = arguments::text(&path, "path")?;
        let file = File::open(&path).or_fail(Kind::KeyExport, &format!("{path} cannot be read"))?;
        Ok(keep(KeyImport(Import::open(file, &passphrase(&given)?)?)))
    })
}

/// Imports some more sessions. Returns what became of them, and how much of the file is read.
/// `NULL` at the end.
#[extendr]
fn machine_import_keys(handle: Robj, import: Robj) -> Robj {
    on(&handle, |machine| {
        with(&import, |KeyImport(file): &mut KeyImport| {
            let Some(sessions) = file.next_sessions()? else { return Ok(().into()) };
            let rows = machine.import_sessions(now(), sessions)?;
            Ok(record([("rows", columns(&rows)), ("progress", file.progress().into())]))
        })
    })
}

fn columns(rows: &[Imported]) -> Robj {
    let index = |row: &Imported| row.first_known_index.map(f64::from);
    record([
        ("room_id", strings(rows.iter().map(|row| row.room_id.as_deref()))),
        ("session_id", strings(rows.iter().map(|row| row.session_id.as_deref()))),
        ("sender_key", strings(rows.iter().map(|row| row.sender_key.as_deref()))),
        ("first_known_index", rows.iter().map(index).collect::<Vec<_>>().into()),
        ("status", strings(rows.iter().map(|row| Some(status(row).0)))),
        ("reason", strings(rows.iter().map(|row| status(row).1))),
    ])
}

fn status(row: &Imported) -> (&'static str, Option<&str>) {
    match &row.outcome {
        Ok(Keeping::Taken) => ("imported", None),
        Ok(Keeping::Known) => ("known", None),
        Ok(Keeping::Contradicts) => {
            ("refused", Some("Another session with this id is kept already."))
        }
        Err(error) => ("refused", Some(&error.message)),
    }
}

#[extendr]
fn key_export_encrypt(text: Robj, given: Robj, rounds: Robj) -> Robj {
    answer(|| {
        let mut text = Zeroizing::new(arguments::text(&text, "sessions")?.into_bytes());
        let rounds = u32::try_from(arguments::whole(&rounds, "rounds")?)
            .or_fail(Kind::Argument, "`rounds`")?;
        let mut file = Encrypt::new(Vec::new(), &passphrase(&given)?, rounds)?;
        file.write(&mut text)?;
        Ok(string(&String::from_utf8_lossy(&file.finish()?)))
    })
}

#[extendr]
fn key_export_decrypt(text: Robj, given: Robj) -> Robj {
    answer(|| {
        let text = arguments::text(&text, "file")?;
        let mut file = Decrypt::open(Cursor::new(text), &passphrase(&given)?)?;
        let mut all = Zeroizing::new(Vec::new());
        while let Some(part) = file.next_part()? {
            all.extend_from_slice(&part);
        }
        let text = std::str::from_utf8(&all);
        Ok(string(text.or_fail(Kind::KeyExport, "What is in the key export is not UTF-8")?))
    })
}

extendr_module! {
    mod key_export;
    fn machine_begin_export;
    fn machine_export_keys;
    fn key_export_end;
    fn key_import_open;
    fn machine_import_keys;
    fn key_export_encrypt;
    fn key_export_decrypt;
}
