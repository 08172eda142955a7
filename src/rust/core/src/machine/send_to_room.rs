//! What waits to be sent to a room, a step at a time: room keys first, then events in their order;
//! before the first event whatever it takes to know who reads it.

use super::{
    Millis, SECOND,
    path::path,
    pump::{Pump, TRANSACTION_IDS_LAST},
    room_keys::{Readers, Sharing},
};
use crate::{
    error::{Error, Kind, Result},
    primitives::account::MEGOLM,
    store::records::{
        Ask, Isolation, OutboundSession, OutboxBody, OutboxRow, OutboxState, Room, SyncPosition,
    },
};

/// How old the last sync may be when a message is encrypted. Who has left since then, or signed in
/// with a new device, is not known here: a program that only sends would never hear of it.
const FRESH: Millis = 10 * SECOND;

/// How many events of a room are encrypted and given out at a time.
const EVENTS_AT_A_TIME: usize = 100;

impl Pump<'_, '_> {
    /// Does what can be done now for what waits to be sent to a room, a step at a time: room keys
    /// first, then events in their order; before the first event whatever it takes to know who
    /// reads it.
    pub(super) fn send_to_room(&mut self, room_id: &str) -> Result<()> {
        let fixed = self.work.rows(room_id, OutboxState::Fixed)?;
        let (to_device, events): (Vec<_>, Vec<_>) =
            fixed.into_iter().partition(|row| row.body.to_device().is_some());
        if !to_device.is_empty() {
            return self.send_rows(to_device);
        }
        let room = self.work.room(room_id)?;
        let events = self.work.refuse_plain(&room, events)?;
        if !events.is_empty() {
            return self.send_events_again(room_id, events);
        }
        let queued = self.work.queued(room_id, EVENTS_AT_A_TIME)?;
        let Some(first) = queued.first() else { return Ok(()) };
        match (Readers::of(&first.body), &first.body) {
            (Some(readers), OutboxBody::Event { plain_allowed, .. }) => {
                if room.encryption.is_some() || readers.demanded {
                    return self.send_encrypted(&room, &readers, queued);
                }
                if *plain_allowed { self.send_plain(queued) } else { self.ask_encryption(room_id) }
            }
            _ => self.send_plain(queued),
        }
    }

    /// Gives rows to the transport that no process has now.
    pub(super) fn send_rows(&mut self, rows: Vec<OutboxRow>) -> Result<()> {
        for mut row in rows {
            let ask = Ask::Send { number: row.number };
            let Some((path, body)) = row.wire.clone() else { continue };
            if self.is_busy(|busy| *busy == ask) {
                continue;
            }
            row.attempts += 1;
            row.attempted_at = self.work.now;
            self.work.tx.put(&row)?;
            self.ask(ask, "PUT", path, Some(body))?;
        }
        Ok(())
    }

    /// Events that may have been sent already go before all others, and wait for each other.
    fn send_events_again(&mut self, room_id: &str, events: Vec<OutboxRow>) -> Result<()> {
        let position = self.work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
        let has_gap = self
            .work
            .open_gaps()?
            .iter()
            .any(|ask| matches!(ask, Ask::Gap { room_id: of, .. } if of == room_id));
        let too_old = |row: &OutboxRow| {
            let unseen = has_gap || position.committed_at <= row.attempted_at;
            row.attempted_at + TRANSACTION_IDS_LAST < self.work.now && unseen
        };
        let sending = |row: &OutboxRow| Ask::Send { number: row.number };
        if events.iter().any(|row| self.busy.contains(&sending(row))) {
            return Ok(());
        }
        if events.iter().any(too_old) {
            self.out.sync_first = true;
            return Ok(());
        }
        self.send_rows(events)
    }

    fn send_plain(&mut self, queued: Vec<OutboxRow>) -> Result<()> {
        let mut rows = Vec::new();
        for mut row in queued {
            if let OutboxBody::Event { plain_allowed: false, .. } = row.body {
                break;
            }
            self.work.fix_plain(&mut row)?;
            rows.push(row);
        }
        self.send_rows(rows)
    }

    fn send_encrypted(
        &mut self,
        room: &Room,
        readers: &Readers,
        queued: Vec<OutboxRow>,
    ) -> Result<()> {
        let room_id = room.room_id.as_str();
        let algorithm = room.encryption.as_ref().map_or(MEGOLM, |known| known.algorithm.as_str());
        if algorithm != MEGOLM {
            let message =
                format!("The room is encrypted with {algorithm}, which is not known here.");
            return self.work.refuse_queued(room_id, "MXCRYPT_UNKNOWN_ALGORITHM", &message);
        }
        if self.ask_about(room)? {
            return Ok(());
        }
        if self.is_stale(room_id)? {
            self.out.sync_first = true;
            return Ok(());
        }
        let isolation = if readers.demanded { Isolation::All } else { self.work.isolation()? };
        match self.work.share_room_key(room, readers, isolation)? {
            // They are asked for after all rooms had their turn, together.
            Sharing::WantsDevices => return Ok(()),
            Sharing::WantsOneTimeKeys(devices) => return self.claim_one_time_keys(devices),
            Sharing::ReachesNobody => {
                let message = "No device of anybody could be given the key: nobody could read it.";
                return self.work.refuse_queued(room_id, "MXCRYPT_REACHES_NOBODY", message);
            }
            Sharing::OnlyUnsigned => {
                let message = "No device of anybody is signed by an identity that counts, and others get no key.";
                return self.work.refuse_queued(room_id, "MXCRYPT_ONLY_UNSIGNED", message);
            }
            Sharing::UnsignedOfVerified => {
                let message = "Users you verified have devices that they did not sign.";
                return self.work.refuse_queued(room_id, "MXCRYPT_UNSIGNED_DEVICES", message);
            }
            Sharing::Violation(users) => {
                let message = format!(
                    "{} had been verified, and has another identity now. Verify again, or withdraw \
                     the verification with mx_verification_withdraw().",
                    users.join(", ")
                );
                return self.work.refuse_queued(room_id, "MXCRYPT_IDENTITY_CHANGED", &message);
            }
            Sharing::Done => {}
        }
        let fixed = self.work.rows(room_id, OutboxState::Fixed)?;
        if !fixed.is_empty() {
            return self.send_rows(fixed);
        }
        let mut session: OutboundSession =
            self.work.tx.get(&[room_id.into()])?.ok_or_else(|| {
                Error::new(Kind::Internal, "There is no session to encrypt with.")
            })?;
        let left = messages_left(room, &session);
        let mut rows = Vec::new();
        for mut row in queued.into_iter().take(left) {
            match &row.body {
                body if Readers::of(body).as_ref() == Some(readers) => {
                    self.work.fix_encrypted(&mut row, &mut session)?;
                }
                OutboxBody::Redaction { .. } => self.work.fix_plain(&mut row)?,
                _ => break,
            }
            rows.push(row);
        }
        // The ratchet is saved in the transaction in which its messages are.
        self.work.tx.put(&session)?;
        self.send_rows(rows)
    }

    /// Whether what is known of a room's readers is too old. What was never synced was fetched for
    /// the first message.
    fn is_stale(&self, room_id: &str) -> Result<bool> {
        let position = self.work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
        let known_at = match position.token {
            Some(_) => position.committed_at,
            None => match self.work.tx.get::<OutboundSession>(&[room_id.into()])? {
                Some(session) => session.created_at,
                None => return Ok(false),
            },
        };
        // Also after the clock was set back.
        Ok((self.work.now - known_at).abs() > FRESH)
    }

    fn ask_encryption(&mut self, room_id: &str) -> Result<()> {
        if self.is_busy(|ask| matches!(ask, Ask::Encryption { room_id: of, .. } if of == room_id)) {
            return Ok(());
        }
        let queued = self.work.rows(room_id, OutboxState::Queued)?;
        let up_to = queued.last().map_or(0, |row| row.number);
        let path = path(&["rooms", room_id, "state", "m.room.encryption"]);
        self.ask(Ask::Encryption { room_id: room_id.to_owned(), up_to }, "GET", path, None)
    }

    /// Asks what is not known of an encrypted room, and says whether something is missing.
    fn ask_about(&mut self, room: &Room) -> Result<bool> {
        let room_id = room.room_id.clone();
        if !room.visibility_known {
            let ask = Ask::HistoryVisibility { room_id: room_id.clone() };
            if !self.busy.contains(&ask) {
                let path = path(&["rooms", &room_id, "state", "m.room.history_visibility"]);
                self.ask(ask, "GET", path, None)?;
            }
        }
        if !room.members_known {
            let generation = room.members_generation;
            let ask = Ask::Members { room_id: room_id.clone(), generation };
            if !self.busy.contains(&ask) {
                self.ask(ask, "GET", path(&["rooms", &room_id, "members"]), None)?;
            }
        }
        Ok(!room.visibility_known || !room.members_known)
    }
}

/// How many messages the session of a room may still encrypt.
fn messages_left(room: &Room, session: &OutboundSession) -> usize {
    let used = u64::from(session.session.message_index());
    let most = room.encryption.clone().unwrap_or_default().rotation_messages;
    usize::try_from(most.saturating_sub(used)).unwrap_or(usize::MAX)
}
