//! Keys go to the backup: a batch at a time, beside everything else.
//!
//! Each session that is kept, or becomes better, takes a number that rises
//! ([`InboundSession::changed`]); the backup remembers the number it has come to. So a session that
//! becomes better is due again, and another version begins from the beginning.

use serde_json::{Value, json};

use super::{
    MINUTE, Machine, Millis, SECOND, Work,
    path::{path, percent_encode},
    pump::Pump,
};
use crate::{
    error::Result,
    judgement::{exported_session::for_backup, key_backup::BackupVersion},
    primitives::key_backup::encrypt,
    store::{
        Query,
        records::{Ask, InboundSession, KeyBackup},
    },
};

/// How many keys go to the backup in one request.
const BATCH: i64 = 200;
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
    pub fn hurry_backup(&mut self) -> Result<()> {
        self.work(0, |work| {
            let backup = work.key_backup()?;
            work.tx.put_single(&KeyBackup { rest_until: 0, ..backup })
        })
    }
}

impl Work<'_> {
    /// How many sessions are not in the backup.
    pub(super) fn not_backed_up(&self, backup: &KeyBackup) -> Result<usize> {
        let later = Query::all().after("changed", backup.done);
        let unnumbered = match backup.unnumbered_done {
            true => 0,
            false => self.tx.count::<InboundSession>(&Query::equal("changed", 0))?,
        };
        Ok(self.tx.count::<InboundSession>(&later)? + unnumbered)
    }

    /// Sessions that came from an earlier version of the backup, or are from before there was one,
    /// have no number.
    fn number_sessions(&self, backup: &mut KeyBackup) -> Result<()> {
        if backup.unnumbered_done {
            return Ok(());
        }
        let some = Query::equal("changed", 0).limit(BATCH as usize);
        let sessions = self.tx.select::<InboundSession>(&some)?;
        backup.unnumbered_done = sessions.len() < BATCH as usize;
        for mut session in sessions {
            session.changed = self.tx.take_number("session change")?;
            self.tx.put(&session)?;
        }
        Ok(())
    }

    /// The next sessions that are not in the backup, in the order in which they changed. Moves
    /// `done` over numbers that no session bears any more.
    fn next_to_back_up(&self, backup: &mut KeyBackup) -> Result<Vec<InboundSession>> {
        let last = self.tx.last_number("session change")?;
        while backup.done < last {
            let window = Query::all().after("changed", backup.done);
            let window = window.until("changed", backup.done + BATCH);
            let mut sessions = self.tx.select::<InboundSession>(&window)?;
            if !sessions.is_empty() {
                sessions.sort_by_key(|session| session.changed);
                return Ok(sessions);
            }
            backup.done = (backup.done + BATCH).min(last);
        }
        Ok(Vec::new())
    }

    /// Takes in that the sessions up to the number `up_to` are in the backup.
    pub(super) fn backed_up(&self, version: &str, up_to: i64) -> Result<()> {
        let mut backup = self.key_backup()?;
        if backup.version.as_ref().is_some_and(|shown| shown.version == version) {
            backup.done = backup.done.max(up_to);
            backup.rest_until = self.now + REST;
            self.tx.put_single(&backup)?;
        }
        Ok(())
    }

    /// Takes in that the server refuses keys: for good, or because there is another version now.
    pub(super) fn back_up_refused(&self, is_another: bool) -> Result<()> {
        let mut backup = self.key_backup()?;
        if is_another {
            backup.look = true;
        } else {
            backup.rest_until = self.now + LONG_REST;
        }
        self.tx.put_single(&backup)
    }
}

impl Pump<'_, '_> {
    /// Puts the next keys into the backup.
    pub(super) fn back_up_keys(&mut self) -> Result<()> {
        let mut backup = self.work.key_backup()?;
        let is_due = backup.enabled == Some(true)
            && !backup.look
            && backup.rest_until <= self.work.now
            && self.work.not_backed_up(&backup)? > 0;
        let is_busy = self.is_busy(|ask| matches!(ask, Ask::BackUp { .. }));
        if !is_due || is_busy || !self.work.is_backup_trusted(&backup)? {
            return Ok(());
        }
        self.work.number_sessions(&mut backup)?;
        let sessions = self.work.next_to_back_up(&mut backup)?;
        self.work.tx.put_single(&backup)?;
        let Some(version) = backup.version.filter(|_| !sessions.is_empty()) else {
            return Ok(());
        };
        let (rooms, up_to) = encrypted(&version, &sessions)?;
        let body = json!({ "rooms": rooms }).to_string();
        let mut path = path(&["room_keys", "keys"]);
        path.push_str("?version=");
        percent_encode(&version.version, &mut path);
        self.ask(Ask::BackUp { version: version.version, up_to }, "PUT", path, Some(body))
    }
}

/// As many sessions as go into one request, by room, and the number of the last one.
fn encrypted(version: &BackupVersion, sessions: &[InboundSession]) -> Result<(Value, i64)> {
    let public = version.public_key()?;
    let (mut rooms, mut bytes, mut up_to) = (json!({}), 0, 0);
    for session in sessions {
        up_to = session.changed;
        let index = session.session.first_known_index();
        let entry = &mut rooms[&session.room_id]["sessions"][&session.session_id];
        // The same session in the name of somebody who handed it on.
        let known = entry.get("first_message_index").and_then(Value::as_u64);
        if known.is_some_and(|known| known <= index.into()) {
            continue;
        }
        let text = for_backup(session)?;
        *entry = json!({
            "first_message_index": index,
            "forwarded_count": i32::from(!session.source.is_authentic()),
            // A server keeps a key with `true` over one with a lower index, which reads more.
            "is_verified": false,
            "session_data": encrypt(public, &text)?,
        });
        bytes += text.len() * 4 / 3;
        if bytes > BATCH_BYTES {
            break;
        }
    }
    Ok((rooms, up_to))
}
