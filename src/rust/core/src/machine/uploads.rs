//! Files that must be on the server before the event that names them. Each waits beside the store, under
//! a name that its message knows, until the server has said where it is.
//!
//! A file that is uploaded twice, because a response was lost or a process died, costs the server some
//! space; the event names one of the two, and is sent once.

use std::collections::BTreeSet;

use super::{
    HOUR, Machine, Millis, Work, failures::Trouble, outbox::with_address, outcomes, pump::Pump,
    request_table::Body,
};
use crate::{
    error::Result,
    judgement::{error_response::is_unavailable, send_response},
    store::{
        Query,
        records::{Ask, OutboxBody, OutboxRow, OutboxState, Room},
    },
};

/// A file that keeps failing is given up after so long.
const LONGEST_WAIT: Millis = HOUR;

impl Machine {
    /// The names of all files that messages of the outbox need. Others may be deleted.
    ///
    /// # Errors
    /// Those of the store.
    pub fn waiting_files(&mut self) -> Result<BTreeSet<String>> {
        self.read(|work| waiting_files(work))
    }

    /// Records that a request is still being performed, so that no other process takes it for one of a dead
    /// process: an upload may take long.
    ///
    /// # Errors
    /// Those of the store.
    pub fn renew(&mut self, now: Millis, number: i64) -> Result<()> {
        self.eventual_work(now, |work| super::pump::renew(work, number))
    }
}

/// The names of all files that messages of the outbox need.
pub(super) fn waiting_files(work: &Work<'_>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for state in [OutboxState::Queued, OutboxState::Refused, OutboxState::Told] {
        for row in work.tx.select::<OutboxRow>(&Query::equal("state", state.as_str()))? {
            names.extend(row.body.uploads().iter().map(|upload| upload.file.clone()));
        }
    }
    Ok(names)
}

/// Starts the upload of the next file of a message. Returns whether there is one to wait for.
pub(super) fn upload_next(pump: &mut Pump<'_, '_>, row: &OutboxRow) -> Result<bool> {
    let Some(upload) = row.body.uploads().first() else { return Ok(false) };
    let (number, file, room_id) = (row.number, upload.file.clone(), row.room_id.clone());
    let ask = Ask::Upload { number, file, room_id };
    pump.ask(ask, Body::File(upload.clone()))?;
    Ok(true)
}

/// A file that was prepared for a room that is not encrypted must not be uploaded once it is: the server
/// could read it.
pub(super) fn refuse_exposed(
    work: &Work<'_>,
    room: &Room,
    rows: Vec<OutboxRow>,
) -> Result<Vec<OutboxRow>> {
    if room.encryption.is_none() {
        return Ok(rows);
    }
    let is_exposed = |row: &OutboxRow| row.body.uploads().iter().any(|upload| !upload.encrypted);
    let (exposed, others) = rows.into_iter().partition::<Vec<_>, _>(is_exposed);
    for row in exposed {
        let message = "The room is encrypted now, and its file is not. Send it again.";
        outcomes::refuse(work, row, "MXCRYPT_NOW_ENCRYPTED", message)?;
    }
    Ok(others)
}

/// Records where the server has put a file.
pub(super) fn uploaded(work: &Work<'_>, number: i64, file: &str, body: &str) -> Result<()> {
    let uri = send_response::content_uri(body)?;
    let Some(mut row) = waiting(work, number, file)? else { return Ok(()) };
    if let OutboxBody::Event { content, uploads, .. } = &mut row.body {
        let upload = uploads.remove(0);
        *content = with_address(content, &upload.place, &uri)?;
    }
    work.tx.put(&row)
}

/// Records that an upload failed too often. One that only fails is given up: a proxy in front of the server
/// may refuse it for ever, with a page of its own, and its room waits. A response that says that the server
/// is away, or busy, is no such failure.
pub(super) fn upload_failed(
    work: &Work<'_>,
    number: i64,
    file: &str,
    trouble: &Trouble,
) -> Result<()> {
    if is_unavailable(trouble.status) {
        return Ok(());
    }
    match waiting(work, number, file)? {
        Some(row) if row.queued_at + LONGEST_WAIT < work.now => {
            outcomes::refuse(work, row, &trouble.code, &trouble.message)
        }
        _ => Ok(()),
    }
}

/// Records that the server will never have a file.
pub(super) fn upload_refused(
    work: &Work<'_>,
    number: i64,
    file: &str,
    code: &str,
    message: &str,
) -> Result<()> {
    match waiting(work, number, file)? {
        Some(row) => outcomes::refuse(work, row, code, message),
        None => Ok(()),
    }
}

/// The message that waits for this file next. A response may come late, and after another process got
/// its own.
fn waiting(work: &Work<'_>, number: i64, file: &str) -> Result<Option<OutboxRow>> {
    let row: Option<OutboxRow> = work.tx.get(&[number.into()])?;
    Ok(row.filter(|row| {
        let next = row.body.uploads().first();
        row.state == OutboxState::Queued && next.is_some_and(|upload| upload.file == file)
    }))
}
