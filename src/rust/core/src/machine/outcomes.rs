//! What becomes of what is in the outbox.

use std::collections::BTreeSet;

use super::{Machine, Work, outbox::is_encrypted};
use crate::{
    error::{Error, Kind, Result},
    judgement::room_event::RoomEvent,
    primitives::{account::MEGOLM, canonical_json::Json},
    store::{
        Query,
        records::{OutboundSession, OutboxBody, OutboxRow, OutboxState, Room},
    },
};

/// How many messages later an outcome is forgotten for which nobody came.
const KEPT_OUTCOMES: i64 = 1000;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is still on its way.
    Waiting,
    /// The server has it.
    Sent {
        /// The event id.
        event_id: String,
        /// Devices that could not be given the key, as user and device ids.
        unreached: Vec<(String, String)>,
        /// Devices that were not given the key, because of the isolation mode.
        withheld: Vec<(String, String)>,
    },
    /// It will never be sent.
    Refused {
        /// The error code.
        code: String,
        /// What the server or the machine says.
        message: String,
    },
}

impl Machine {
    /// What became of what bears these numbers.
    ///
    /// # Errors
    /// Those of the store.
    pub fn outcomes(&mut self, numbers: &[i64]) -> Result<Vec<Outcome>> {
        self.work(0, |work| {
            let mut told = BTreeSet::new();
            numbers.iter().map(|number| work.outcome(*number, &mut told)).collect()
        })
    }

    /// Forgets messages whose outcome was seen.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget(&mut self, numbers: &[i64]) -> Result<()> {
        self.work(0, |work| {
            for number in numbers {
                let row: Option<OutboxRow> = work.tx.get(&[(*number).into()])?;
                let done = |row: &OutboxRow| row.event_id.is_some() || row.refusal.is_some();
                if row.as_ref().is_some_and(done) {
                    work.tx.delete::<OutboxRow>(&[(*number).into()])?;
                }
            }
            Ok(())
        })
    }

    /// How many messages are on their way.
    ///
    /// # Errors
    /// Those of the store.
    pub fn waiting_to_send(&mut self) -> Result<usize> {
        self.work(0, |work| {
            let state = |state: OutboxState| Query::equal("state", state.as_str());
            let queued = work.tx.count::<OutboxRow>(&state(OutboxState::Queued))?;
            Ok(queued + work.tx.count::<OutboxRow>(&state(OutboxState::Fixed))?)
        })
    }
}

impl Work<'_> {
    /// Refuses everything that is queued for a room.
    pub(super) fn refuse_queued(&self, room_id: &str, code: &str, message: &str) -> Result<()> {
        for row in self.rows(room_id, OutboxState::Queued)? {
            self.refuse(row, code, message)?;
        }
        Ok(())
    }

    /// A message that may have gone out in the clear must not go again once the room is known to be
    /// encrypted.
    pub(super) fn refuse_plain(&self, room: &Room, rows: Vec<OutboxRow>) -> Result<Vec<OutboxRow>> {
        let (plain, others): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| matches!(row.body, OutboxBody::Event { .. }) && !is_encrypted(row));
        if room.encryption.is_none() {
            return Ok(plain.into_iter().chain(others).collect());
        }
        for row in plain {
            let message = "The room is encrypted now. It was given to the server in the clear \
                           before that was known, and whether it arrived is not known.";
            self.refuse(row, "MXCRYPT_NOW_ENCRYPTED", message)?;
        }
        Ok(others)
    }

    pub(super) fn refuse(&self, mut row: OutboxRow, code: &str, message: &str) -> Result<()> {
        self.verification_refused(&row, code)?;
        row.state = OutboxState::Refused;
        row.refusal = Some((code.to_owned(), message.to_owned()));
        row.attempted_at = self.now;
        self.tx.put(&row)
    }

    pub(super) fn sent(&self, mut row: OutboxRow, event_id: &str) -> Result<()> {
        self.remember_own(&row, event_id)?;
        self.verification_requested(&row, event_id)?;
        row.state = OutboxState::Sent;
        row.event_id = Some(event_id.to_owned());
        row.attempted_at = self.now;
        // The plaintext has done its duty.
        row.wire = None;
        if let OutboxBody::Event { content, .. } = &mut row.body {
            content.clear();
        }
        self.tx.put(&row)
    }

    /// A row that was certainly not sent may be encrypted anew, under a session that may have
    /// changed meanwhile.
    pub(super) fn not_attempted(&self, mut row: OutboxRow) -> Result<()> {
        row.attempts = row.attempts.saturating_sub(1);
        if row.attempts == 0 && row.body.to_device().is_none() {
            row.state = OutboxState::Queued;
            row.wire = None;
        }
        self.tx.put(&row)
    }

    /// An event of our own that comes back with a sync proves that it was sent, also when the
    /// answer to it was lost and the server has forgotten the transaction since.
    pub(super) fn recognise_own(&self, room_id: &str, event: &RoomEvent) -> Result<()> {
        if event.sender != self.own.user_id {
            return Ok(());
        }
        for row in self.rows(room_id, OutboxState::Fixed)? {
            if is_the_event_of(&row, event) {
                self.sent(row, &event.event_id)?;
            }
        }
        Ok(())
    }

    fn outcome(&self, number: i64, told: &mut BTreeSet<String>) -> Result<Outcome> {
        let Some(row) = self.tx.get::<OutboxRow>(&[number.into()])? else {
            return Err(Error::new(Kind::Argument, "There is no message of this number."));
        };
        Ok(match (row.event_id, row.refusal) {
            (Some(event_id), _) => {
                let session: Option<OutboundSession> = if told.insert(row.room_id.clone()) {
                    self.tx.get(&[row.room_id.as_str().into()])?
                } else {
                    None
                };
                let (unreached, withheld) = session
                    .map(|session| (session.unreached, session.withheld))
                    .unwrap_or_default();
                let withheld = withheld.into_iter().collect();
                Outcome::Sent { event_id, unreached, withheld }
            }
            (None, Some((code, message))) => Outcome::Refused { code, message },
            (None, None) => Outcome::Waiting,
        })
    }

    /// Outcomes that nobody came for, because a process ended, go in the end.
    pub(super) fn forget_old_outcomes(&self) -> Result<()> {
        let old = self.tx.last_number("outbox")? - KEPT_OUTCOMES;
        for state in [OutboxState::Sent, OutboxState::Refused] {
            let done = Query::equal("state", state.as_str()).until("number", old);
            self.tx.delete_where::<OutboxRow>(&done)?;
        }
        Ok(())
    }
}

fn is_the_event_of(row: &OutboxRow, event: &RoomEvent) -> bool {
    if event.transaction_id.as_ref() == Some(&row.transaction_id) {
        return true;
    }
    let Some((_, body)) = &row.wire else { return false };
    let Ok(sent) = Json::parse_object(body) else { return false };
    let is_megolm = sent.get("algorithm").and_then(Json::as_str) == Some(MEGOLM);
    is_megolm && sent.get("ciphertext") == event.content.get("ciphertext")
}
