//! The key backup, for R.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
};

use extendr_api::prelude::*;
use mxcrypt_core::{
    Kind,
    error::OrFail,
    judgement::backup_answer::{Part, Scope, write_parts},
    machine::{BackupStatus, SignatureReport},
    store::records::{BackupFailure, BackupVersion},
};

use crate::{
    answer::{answer, number, optional_string, record, string, strings},
    arguments,
    clock::now,
    machine::on,
    secret_storage::on_storage,
};

/// How many keys R restores at once.
const PART: usize = 500;

/// The number of a `GET /room_keys/version` that R is about to make.
#[extendr]
fn machine_number_request(handle: Robj) -> Robj {
    on(&handle, |machine| machine.number_request().map(number))
}

/// The response to `GET /room_keys/version`, the request of this number; without one the status is zero.
#[extendr]
fn machine_backup_version_received(handle: Robj, number: Robj, status: Robj, body: Robj) -> Robj {
    on(&handle, |machine| {
        let number = arguments::whole(&number, "number")?;
        let status = u16::try_from(arguments::whole(&status, "status")?).unwrap_or_default();
        // What is not UTF-8 is not JSON either, and is refused as such.
        let body = arguments::body(&body, "body").unwrap_or_default();
        machine.backup_version_received(now(), number, status, &body)
    })
}

#[extendr]
fn machine_backup_status(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(described(&machine.backup_status()?)))
}

fn described(status: &BackupStatus) -> Robj {
    let version = status.version.as_ref();
    let text = |text: Option<&String>| optional_string(text.map(String::as_str));
    record([
        ("version", text(version.map(|shown| &shown.version))),
        ("algorithm", text(version.map(|shown| &shown.algorithm))),
        ("count", number(version.map_or(0, |shown| shown.count))),
        ("refused", text(status.refused.as_ref())),
        ("key_held", status.key_held.into()),
        ("trusted", status.trusted.into()),
        ("enabled", status.enabled.map_or_else(|| ().into(), Robj::from)),
        ("under_way", status.under_way.into()),
        ("key_stored", status.key_stored.into()),
        ("replaces", status.replaces.into()),
        ("legacy", status.has_passphrase.into()),
        ("misfit", text(status.misfit.as_ref())),
        ("failure", failure(status.failure.as_ref())),
        ("keys", number(status.sessions as i64)),
        ("backed_up", number(status.backed_up as i64)),
        ("signatures", signatures(&status.signatures)),
    ])
}

fn failure(failure: Option<&BackupFailure>) -> Robj {
    failure.map_or_else(
        || ().into(),
        |failure| {
            record([
                ("status", Robj::from(i32::from(failure.status))),
                ("errcode", string(&failure.code)),
                ("message", string(&failure.message)),
            ])
        },
    )
}

fn signatures(found: &[SignatureReport]) -> Robj {
    let trusted: Vec<bool> = found.iter().map(|signature| signature.trusted).collect();
    let valid = found.iter().map(|signature| signature.valid.map_or(Rbool::na(), Rbool::from));
    record([
        ("signer", strings(found.iter().map(|signature| Some(signature.signer.as_str())))),
        ("name", strings(found.iter().map(|signature| Some(signature.name.as_str())))),
        ("valid", Logicals::from_values(valid).into()),
        ("trusted", trusted.into()),
    ])
}

#[extendr]
fn machine_enable_backup(handle: Robj, enabled: Robj) -> Robj {
    on(&handle, |machine| machine.enable_backup(now(), arguments::flag(&enabled, "enabled")?))
}

#[extendr]
fn machine_hurry_backup(handle: Robj) -> Robj {
    on(&handle, |machine| machine.hurry_backup(now()))
}

#[extendr]
fn machine_make_backup(handle: Robj, replaces: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let replaces = arguments::flag(&replaces, "replaces")?;
        machine.make_backup(now(), replaces, Some((&storage.contents, storage.secret()?)))
    })
}

#[extendr]
fn machine_seal_backup_key(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let content = machine.seal_backup_key(&storage.contents, storage.secret()?)?;
        Ok(optional_string(content.as_deref()))
    })
}

#[extendr]
fn machine_backup_key_stored(handle: Robj) -> Robj {
    on(&handle, |machine| machine.backup_key_stored(now()))
}

#[extendr]
fn machine_backup_upload(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(string(&machine.backup_upload()?)))
}

#[extendr]
fn machine_open_backup(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        machine.open_backup(now(), &storage.contents, storage.secret()?)
    })
}

/// Finds out whether secret storage holds the key of the backup.
#[extendr]
fn machine_judge_backup_key(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        machine.judge_backup_key(now(), &storage.contents, storage.secret()?)
    })
}

/// The versions before the current one that may be requested.
#[extendr]
fn machine_older_backups(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let versions = machine.older_backups()?;
        Ok(strings(versions.iter().map(|version| Some(version.as_str()))))
    })
}

/// Whether a key of this version is here.
#[extendr]
fn machine_opens_backup(handle: Robj, version: Robj) -> Robj {
    on(&handle, |machine| machine.opens_backup(&arguments::body(&version, "version")?))
}

#[extendr]
fn machine_older_backup_restored(handle: Robj, version: Robj) -> Robj {
    on(&handle, |machine| {
        machine.older_backup_restored(now(), &arguments::text(&version, "version")?)
    })
}

/// Writes the keys of a response in a file to another file, in parts that are restored one by one,
/// a line each. Returns how many keys there are.
#[extendr]
fn key_backup_parts(from: Robj, room_id: Robj, session_id: Robj, to: Robj) -> Robj {
    answer(|| {
        let (from, to) = (arguments::text(&from, "from")?, arguments::text(&to, "to")?);
        let room_id = arguments::optional_text(&room_id, "room_id")?;
        let session_id = arguments::optional_text(&session_id, "session_id")?;
        let scope = match (&room_id, &session_id) {
            (None, _) => Scope::All,
            (Some(room_id), None) => Scope::Room(room_id),
            (Some(room_id), Some(session_id)) => Scope::Session(room_id, session_id),
        };
        let from = File::open(from).or_fail(Kind::Answer, "The keys of the backup")?;
        let to = File::create(to).or_fail(Kind::Answer, "The keys of the backup")?;
        let keys = write_parts(BufReader::new(from), scope, PART, BufWriter::new(to))?;
        Ok(number(keys as i64))
    })
}

/// Restores keys of the current version, or of an older one: `older` is the response that describes
/// it.
#[extendr]
fn machine_restore_keys(handle: Robj, part: Robj, older: Robj) -> Robj {
    on(&handle, |machine| {
        let part = Part::read(&arguments::text(&part, "part")?)?;
        let older = match older.is_null() {
            true => None,
            false => Some(BackupVersion::read(&arguments::body(&older, "older")?)?),
        };
        let restored = machine.restore_keys(now(), &part, older.as_ref())?;
        Ok(record([
            ("room_id", string(&part.room_id)),
            ("session_id", strings(restored.iter().map(|(id, _)| Some(id.as_str())))),
            ("reason", strings(restored.iter().map(|(_, reason)| reason.as_deref()))),
        ]))
    })
}

extendr_module! {
    mod key_backup;
    fn machine_number_request;
    fn machine_backup_version_received;
    fn machine_backup_status;
    fn machine_enable_backup;
    fn machine_hurry_backup;
    fn machine_make_backup;
    fn machine_seal_backup_key;
    fn machine_backup_key_stored;
    fn machine_backup_upload;
    fn machine_open_backup;
    fn machine_judge_backup_key;
    fn machine_older_backups;
    fn machine_opens_backup;
    fn machine_older_backup_restored;
    fn key_backup_parts;
    fn machine_restore_keys;
}
