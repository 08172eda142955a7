//! Exported keys, out and in.
//!
//! Specification: client-server API, end-to-end encryption, "Key exports".

use std::{
    collections::{BTreeSet, VecDeque},
    io::Write,
};

use super::{Keeping, Machine, Millis, Work, inbound_sessions};
use crate::{
    error::Result,
    judgement::{
        archive_decryption::SessionKey,
        exported_session::{Judged, for_export},
    },
    primitives::{key_export::Encrypt, parallel},
    store::{
        Query,
        records::{InboundSession, KeySource},
    },
};

/// How many rows of sessions are read at once.
const PAGE: usize = 500;

/// What became of an exported session.
pub struct Imported {
    /// The room it is said to be for.
    pub room_id: Option<String>,
    /// The id it is said to have.
    pub session_id: Option<String>,
    /// The Curve25519 key of the device that is said to have made it.
    pub sender_key: Option<String>,
    /// The first index it reads.
    pub first_known_index: Option<u32>,
    /// Whether it was kept, or why it was refused.
    pub outcome: Result<Keeping>,
}

/// A key export that is written page by page.
pub struct KeyExport<W> {
    file: Encrypt<W>,
    /// The rooms whose sessions are not written yet, the first perhaps in part.
    rooms: VecDeque<String>,
    /// The last session that was written.
    last: String,
    /// How many sessions were written.
    pub written: usize,
    /// How many there were in the beginning.
    pub total: usize,
}

impl<W: Write> KeyExport<W> {
    /// Ends the file.
    ///
    /// # Errors
    /// [`crate::Kind::KeyExport`] when it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.file.write(&mut [b']'])?;
        self.file.finish()
    }
}

impl Machine {
    /// Begins to export the sessions of `rooms`, or of all, to `file`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn begin_export<W: Write>(
        &mut self,
        mut file: Encrypt<W>,
        rooms: Option<Vec<String>>,
    ) -> Result<KeyExport<W>> {
        let (rooms, total) = self.read(|work| {
            let all = || work.tx.texts::<InboundSession>("room_id", &Query::all());
            let rooms = rooms.map_or_else(all, Ok)?;
            let of_room = |id: &String| Query::equal("room_id", id.as_str());
            let counts = rooms.iter().map(|id| work.tx.count::<InboundSession>(&of_room(id)));
            let total = counts.sum::<Result<usize>>()?;
            Ok((rooms, total))
        })?;
        file.write(&mut [b'['])?;
        Ok(KeyExport { file, rooms: rooms.into(), last: String::new(), written: 0, total })
    }

    /// Writes some more sessions. False when all are written.
    ///
    /// # Errors
    /// Those of the store, and [`crate::Kind::KeyExport`] when the file cannot be written.
    pub fn export_keys<W: Write>(&mut self, export: &mut KeyExport<W>) -> Result<bool> {
        let Some(room_id) = export.rooms.front() else { return Ok(false) };
        let sessions = self.read(|work| next_page(work, room_id, &export.last))?;
        let last = sessions.last().map(|session| session.session_id.clone());
        for data in parallel::map(sessions, |session| for_export(&session)) {
            if export.written > 0 {
                export.file.write(&mut [b','])?;
            }
            export.file.write(&mut data?)?;
            export.written += 1;
        }
        match last {
            Some(last) => export.last = last,
            None => {
                export.rooms.pop_front();
                export.last.clear();
            }
        }
        Ok(true)
    }

    /// The keys of `sessions` (room and id), or of all: all rows, for each reads the events of its own sender.
    ///
    /// # Errors
    /// Those of the store.
    pub fn session_keys(
        &mut self,
        sessions: Option<&BTreeSet<(String, String)>>,
    ) -> Result<Vec<SessionKey>> {
        self.read(|work| {
            let key = |row: InboundSession| SessionKey::from(row);
            let select = |query: &Query| work.tx.select_map(query, key);
            let Some(sessions) = sessions else { return select(&Query::all()) };
            let mut keys = Vec::with_capacity(sessions.len());
            for batch in inbound_sessions::batches(sessions) {
                keys.append(&mut select(&inbound_sessions::of_batch(&batch))?);
            }
            Ok(keys)
        })
    }

    /// Imports exported sessions, each by itself.
    ///
    /// # Errors
    /// Those of the store.
    pub fn import_sessions(&mut self, now: Millis, sessions: Vec<Judged>) -> Result<Vec<Imported>> {
        self.work(now, |work| {
            let mut rows = Vec::with_capacity(sessions.len());
            for Judged { room_id, session_id, sender_key, verdict } in sessions {
                let first_known_index =
                    verdict.as_ref().ok().map(|exported| exported.session.first_known_index());
                let outcome = match verdict {
                    Ok(exported) => Ok(inbound_sessions::keep_exported(
                        work,
                        exported,
                        KeySource::Imported,
                        None,
                    )?),
                    Err(error) => Err(error),
                };
                rows.push(Imported { room_id, session_id, sender_key, first_known_index, outcome });
            }
            Ok(rows)
        })
    }
}

/// The sessions of a room behind the session `last`, in the order of their ids: some, or none at the end.
fn next_page(work: &Work<'_>, room_id: &str, last: &str) -> Result<Vec<InboundSession>> {
    let page = Query::equal("room_id", room_id).after("session_id", last).limit(PAGE);
    let rows = work.tx.select_map(&page, |row: InboundSession| row)?;
    // The rows of the last session may go on behind a page that is full.
    let cut_off = rows.last().filter(|_| rows.len() == PAGE).map(|row| row.session_id.clone());
    let mut of_sessions: Vec<Vec<InboundSession>> = Vec::with_capacity(rows.len());
    for row in rows {
        match of_sessions.last_mut() {
            Some(rows) if rows[0].session_id == row.session_id => rows.push(row),
            _ => of_sessions.push(vec![row]),
        }
    }
    if cut_off.is_some() {
        of_sessions.pop();
    }
    let mut sessions: Vec<_> = of_sessions.into_iter().filter_map(inbound_sessions::best).collect();
    if let Some(session_id) = cut_off {
        sessions.extend(inbound_sessions::best_session(work, room_id, &session_id)?);
    }
    Ok(sessions)
}
