//! Uploads keys to the backup: a batch at a time, beside everything else.
//!
//! Each session that is kept, or becomes better, takes a number that rises
//! ([`InboundSession::changed`]); the backup remembers the number it has come to. So a session that
//! becomes better is due again, and another version begins from the beginning.

use std::collections::{BTreeMap, btree_map};

use serde::Serialize;
use vodozemac::Curve25519PublicKey;

use super::{
    MINUTE, Machine, Millis, SECOND, Work, backup_status, failures,
    inbound_sessions::{self, is_proven},
    key_backup,
    pump::Pump,
    request_table::{Body, HALVINGS, KEYS_PER_BACKUP},
    tracking,
};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::{exported_session::for_backup, send_response},
    primitives::{canonical_json::Object, key_backup::encrypt, parallel},
    store::{
        Query,
        records::{Ask, BackupVersion, InboundSession, KeyBackup},
    },
};

/// How many sessions are looked at for one request.
const BATCH: i64 = KEYS_PER_BACKUP as i64;
/// How many bytes, about.
const BATCH_BYTES: usize = 1 << 20;
/// After each batch others have their turn: a sync is not kept waiting for thousands of keys.
const REST: Millis = SECOND;
/// After a batch that was refused.
const LONG_REST: Millis = 15 * MINUTE;

impl Machine {
    /// Lets the next keys go to the backup at once.
    ///
    /// # Errors
    /// Those of the store.
    pub fn hurry_backup(&mut self, now: Millis) -> Result<()> {
        self.work(now, |work| {
            let backup = key_backup::key_backup(work)?;
            work.tx.put_single(&KeyBackup { rest_until: 0, ..backup })
        })
    }
}

/// Sessions that came from an earlier version of the backup, or are from before there was one,
/// have no number.
fn number_sessions(work: &Work<'_>, backup: &mut KeyBackup) -> Result<()> {
    if backup.unnumbered_done {
        return Ok(());
    }
    let some = Query::equal("changed", 0).limit(BATCH as usize);
    let sessions = work.tx.select::<InboundSession>(&some)?;
    backup.unnumbered_done = sessions.len() < BATCH as usize;
    for mut session in sessions {
        session.changed = work.tx.take_number("session change")?;
        work.tx.put(&session)?;
    }
    Ok(())
}

/// Whether there may be sessions that are not in the backup. Counting them takes time with each batch of
/// the many that there may be.
fn may_have_more(work: &Work<'_>, backup: &KeyBackup) -> Result<bool> {
    Ok(!backup.unnumbered_done || work.tx.last_number("session change")? > backup.done)
}

/// The next sessions that are not in the backup, in the order in which they changed. Moves
/// `done` over numbers that no session bears any more.
fn next_to_back_up(work: &Work<'_>, backup: &mut KeyBackup) -> Result<Vec<InboundSession>> {
    let last = work.tx.last_number("session change")?;
    while backup.done < last {
        let window = Query::all().after("changed", backup.done);
        let window = window.until("changed", backup.done + BATCH);
        let mut sessions = work.tx.select_map(&window, |session: InboundSession| session)?;
        if !sessions.is_empty() {
            sessions.sort_by_key(|session| session.changed);
            return Ok(sessions);
        }
        backup.done = (backup.done + BATCH).min(last);
    }
    Ok(Vec::new())
}

/// Records that the sessions up to the number `up_to` are in the backup, by the response `body`.
///
/// # Errors
/// [`Kind::Answer`] when it is no such response.
pub(super) fn backed_up(work: &Work<'_>, version: &str, up_to: i64, body: &str) -> Result<()> {
    send_response::keys_backed_up(body)?;
    let mut backup = key_backup::key_backup(work)?;
    if backup.version.as_ref().is_some_and(|shown| shown.version == version) {
        backup.done = backup.done.max(up_to);
        backup.rest_until = work.now + REST;
        work.tx.put_single(&backup)?;
    }
    Ok(())
}

/// Records that the server refuses keys for good.
pub(super) fn back_up_refused(work: &Work<'_>) -> Result<()> {
    let backup = key_backup::key_backup(work)?;
    work.tx.put_single(&KeyBackup { rest_until: work.now + LONG_REST, ..backup })
}

/// Records that there is no such version of the backup any more.
pub(super) fn version_is_gone(work: &Work<'_>) -> Result<()> {
    let backup = key_backup::key_backup(work)?;
    work.tx.put_single(&KeyBackup { look: true, ..backup })
}

/// Puts the next keys into the backup.
pub(super) fn back_up_keys(pump: &mut Pump<'_, '_>) -> Result<()> {
    let mut backup = key_backup::key_backup(pump.work)?;
    let is_due = backup.enabled == Some(true)
        && !backup.look
        && tracking::is_due(backup.rest_until, pump.work.now)
        && may_have_more(pump.work, &backup)?;
    let next = Ask::BackUp { version: String::new(), up_to: 0 };
    if !is_due
        || pump.is_busy(&next)
        || !pump.may_ask(&next)?
        || !backup_status::is_backup_trusted(pump.work, &backup)?
    {
        return Ok(());
    }
    number_sessions(pump.work, &mut backup)?;
    let mut changed = next_to_back_up(pump.work, &mut backup)?;
    // A batch that the server does not take is tried in smaller parts: one key may be the reason.
    let failures =
        failures::failure(pump.work, &next.subject())?.map_or(0, |failure| failure.failures);
    changed.truncate(pump.largest_batch(&next)?);
    if failures > HALVINGS
        && let [alone] = changed.as_mut_slice()
    {
        // It moves behind the others, and they go on.
        alone.changed = pump.work.tx.take_number("session change")?;
        pump.work.tx.put(&*alone)?;
        changed = next_to_back_up(pump.work, &mut backup)?;
        changed.truncate(1);
    }
    let mut sessions = Vec::with_capacity(changed.len());
    for session in changed {
        sessions.push((session.changed, inbound_sessions::best_of(pump.work, session)?));
    }
    pump.work.tx.put_single(&backup)?;
    let Some(version) = backup.version.filter(|_| !sessions.is_empty()) else {
        return Ok(());
    };
    let (body, up_to) = encrypted(&version, &sessions)?;
    pump.ask(Ask::BackUp { version: version.version, up_to }, Body::Json(body))
}

/// A key as the backup holds it.
#[derive(Serialize)]
struct Entry {
    first_message_index: u32,
    /// A server keeps the lower number. One that has read nothing may be in the name of somebody
    /// who handed it on, and gives way to the one that proves to be its sender's.
    forwarded_count: i32,
    /// A server keeps a key with `true` over one with a lower index, which reads more.
    is_verified: bool,
    session_data: Object,
}

/// The body of a request.
#[derive(Serialize)]
struct Keys<'a> {
    rooms: BTreeMap<&'a str, KeysOfRoom<'a>>,
}

#[derive(Default, Serialize)]
struct KeysOfRoom<'a> {
    sessions: BTreeMap<&'a str, Entry>,
}

/// As many sessions as go into one request, the body of that, and the number of the last one.
fn encrypted(version: &BackupVersion, sessions: &[(i64, InboundSession)]) -> Result<(String, i64)> {
    let public = version.public_key()?;
    let entries = parallel::map(sessions.iter().collect(), |(_, session)| entry(public, session));
    let mut keys = Keys { rooms: BTreeMap::new() };
    let (mut bytes, mut up_to) = (0, 0);
    for ((number, session), entry) in sessions.iter().zip(entries) {
        let (entry, length) = entry?;
        up_to = *number;
        let room = keys.rooms.entry(&session.room_id).or_default();
        // Otherwise several rows changed, and this is the best of them again.
        if let btree_map::Entry::Vacant(place) = room.sessions.entry(&session.session_id) {
            place.insert(entry);
            bytes += length + session.room_id.len() + session.session_id.len();
        }
        if bytes > BATCH_BYTES {
            break;
        }
    }
    let body = serde_json::to_string(&keys).or_fail(Kind::Internal, "Keys for the backup")?;
    Ok((body, up_to))
}

/// A session, encrypted, and how many bytes that takes, about.
fn entry(public: Curve25519PublicKey, session: &InboundSession) -> Result<(Entry, usize)> {
    let text = for_backup(session)?;
    let entry = Entry {
        first_message_index: session.session.first_known_index(),
        forwarded_count: i32::from(!is_proven(session)),
        is_verified: false,
        session_data: encrypt(public, &text)?,
    };
    Ok((entry, text.len() * 4 / 3))
}
