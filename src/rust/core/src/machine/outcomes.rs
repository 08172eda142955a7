//! What becomes of what is in the outbox.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    Machine, Millis, Work,
    effects::{self, Effect},
    heartbeats, outbound_sessions,
    outbox::{self, is_encrypted},
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{members::Members, room_event::RoomEvent, send_response},
    primitives::account::MEGOLM,
    store::{
        Query, Record,
        records::{OutboundSession, OutboxBody, OutboxRow, OutboxState, Room},
    },
};

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
    /// What became of the messages with these numbers.
    ///
    /// # Errors
    /// Those of the store.
    pub fn outcomes(&mut self, numbers: &[i64]) -> Result<Vec<Outcome>> {
        self.read(|work| {
            let mut told = BTreeSet::new();
            numbers.iter().map(|number| outcome(work, *number, &mut told)).collect()
        })
    }

    /// Forgets messages whose outcome was seen.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget(&mut self, now: Millis, numbers: &[i64]) -> Result<()> {
        self.eventual_work(now, |work| {
            for number in numbers {
                let row: Option<OutboxRow> = work.tx.get(&[(*number).into()])?;
                let done =
                    |row: &OutboxRow| matches!(row.state, OutboxState::Sent | OutboxState::Refused);
                if row.as_ref().is_some_and(done) {
                    work.tx.delete::<OutboxRow>(&[(*number).into()])?;
                }
            }
            Ok(())
        })
    }

    /// The number of what was put in the outbox last.
    ///
    /// # Errors
    /// Those of the store.
    pub fn last_queued(&mut self) -> Result<i64> {
        self.read(|work| work.tx.last_number("outbox"))
    }

    /// How many messages are on their way.
    ///
    /// # Errors
    /// Those of the store.
    pub fn waiting_to_send(&mut self) -> Result<usize> {
        self.read(|work| {
            let state = |state: OutboxState| Query::equal("state", state.as_str());
            let queued = work.tx.count::<OutboxRow>(&state(OutboxState::Queued))?;
            Ok(queued + work.tx.count::<OutboxRow>(&state(OutboxState::Fixed))?)
        })
    }
}

/// Refuses everything that is queued for a room.
pub(super) fn refuse_queued(
    work: &Work<'_>,
    room_id: &str,
    code: &str,
    message: &str,
) -> Result<()> {
    for row in outbox::rows(work, room_id, OutboxState::Queued)? {
        refuse(work, row, code, message)?;
    }
    Ok(())
}

/// A message that may have gone out in the clear must not go again once the room is known to be
/// encrypted.
pub(super) fn refuse_plain(
    work: &Work<'_>,
    room: &Room,
    rows: Vec<OutboxRow>,
) -> Result<Vec<OutboxRow>> {
    let (plain, others): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|row| matches!(row.body, OutboxBody::Event { .. }) && !is_encrypted(row));
    if room.encryption.is_none() {
        return Ok(plain.into_iter().chain(others).collect());
    }
    for row in plain {
        let message = "The room is encrypted now. It was given to the server in the clear \
                       before that was known, and whether it arrived is not known.";
        refuse(work, row, "MXCRYPT_NOW_ENCRYPTED", message)?;
    }
    Ok(others)
}

pub(super) fn refuse(work: &Work<'_>, mut row: OutboxRow, code: &str, message: &str) -> Result<()> {
    if row.body.delay().is_some() {
        return heartbeats::refused(work, &row, code, message);
    }
    row.state = OutboxState::Refused;
    row.refusal = Some((code.to_owned(), message.to_owned()));
    row.attempted_at = work.now;
    work.tx.put(&row)?;
    effects::push(work, Effect::MessageRefused { row: Box::new(row) });
    Ok(())
}

pub(super) fn sent(work: &Work<'_>, mut row: OutboxRow, event_id: &str) -> Result<()> {
    let what = Effect::MessageSent { row: Box::new(row.clone()), event_id: event_id.to_owned() };
    effects::push(work, what);
    row.state = OutboxState::Sent;
    row.event_id = Some(event_id.to_owned());
    row.attempted_at = work.now;
    // The plaintext is not needed any more.
    row.wire = None;
    if let OutboxBody::Event { content, .. } = &mut row.body {
        content.clear();
    }
    work.tx.put(&row)
}

/// Records that the server accepted something, by its response `body`.
pub(super) fn send_accepted(work: &Work<'_>, number: i64, body: &str) -> Result<()> {
    if heartbeats::accepted(work, number, body)? {
        return Ok(());
    }
    let Some(row) = waiting(work, number)? else { return Ok(()) };
    if row.body.to_device().is_none() {
        return sent(work, row, &send_response::event_id(body)?);
    }
    // Once the row is gone the session counts as shared: only a response of the homeserver will do.
    send_response::acknowledged(body)?;
    work.tx.delete::<OutboxRow>(&row.key())
}

/// Records that the server will never accept something.
pub(super) fn send_refused(work: &Work<'_>, number: i64, code: &str, message: &str) -> Result<()> {
    let Some(row) = waiting(work, number)? else { return Ok(()) };
    match &row.body {
        // Nothing waits for it.
        OutboxBody::ToDevice { .. } => work.tx.delete::<OutboxRow>(&row.key()),
        OutboxBody::RoomKeys { .. } => {
            // A device that should have got it did not, so the session must not be used.
            outbound_sessions::end_outbound_session(work, &row.room_id)?;
            refuse_queued(work, &row.room_id, code, message)?;
            work.tx.delete::<OutboxRow>(&row.key())
        }
        _ => refuse(work, row, code, message),
    }
}

/// A row whose bytes the server may have.
fn waiting(work: &Work<'_>, number: i64) -> Result<Option<OutboxRow>> {
    let row: Option<OutboxRow> = work.tx.get(&[number.into()])?;
    Ok(row.filter(|row| row.state == OutboxState::Fixed))
}

/// A row that was certainly not sent may be encrypted again, under a session that may have changed
/// meanwhile.
pub(super) fn not_attempted(work: &Work<'_>, number: i64) -> Result<()> {
    let Some(mut row) = waiting(work, number)? else { return Ok(()) };
    row.attempts = row.attempts.saturating_sub(1);
    if row.attempts == 0 && row.body.to_device().is_none() {
        row.state = OutboxState::Queued;
        row.wire = None;
        row.first_attempted_at = 0;
        // Whether the room is encrypted by then is asked again.
        if let OutboxBody::Event { plain_allowed, .. } = &mut row.body {
            *plain_allowed = false;
        }
    }
    work.tx.put(&row)
}

/// An event of our own that comes back with a sync proves that it was sent, also when the response
/// to it was lost and the server has forgotten the transaction since.
pub(super) fn recognise_own(work: &Work<'_>, room_id: &str, event: &RoomEvent<'_>) -> Result<()> {
    if event.sender != work.own.user_id {
        return Ok(());
    }
    heartbeats::recognise(work, room_id, event)?;
    for row in outbox::rows(work, room_id, OutboxState::Fixed)? {
        if row.body.delay().is_none() && is_the_event_of(&row, event) {
            sent(work, row, &event.event_id)?;
        }
    }
    Ok(())
}

/// The devices that were not given the key of an [`OutboundSession`].
#[derive(Default, Deserialize)]
struct LeftOut {
    unreached: Vec<(String, String)>,
    #[serde(default)]
    withheld: BTreeSet<(String, String)>,
}

/// What became of a message. The devices that were left out come with the first message of a room: `told` has
/// the rooms of which they came.
pub(super) fn outcome(
    work: &Work<'_>,
    number: i64,
    told: &mut BTreeSet<String>,
) -> Result<Outcome> {
    let Some(row) = work.tx.get::<OutboxRow>(&[number.into()])? else {
        if !(1..=work.tx.last_number("outbox")?).contains(&number) {
            return Err(Error::new(Kind::Argument, "There is no message of this number."));
        }
        let code = "MXCRYPT_DISCARDED";
        let message = "It is not in the outbox any more: another call sent it, or discarded it.";
        return Ok(Outcome::Refused { code: code.to_owned(), message: message.to_owned() });
    };
    Ok(match (row.event_id, row.refusal) {
        (Some(event_id), _) => {
            let left_out: Option<LeftOut> = if told.insert(row.room_id.clone()) {
                work.tx.get_part::<OutboundSession, _>(&[row.room_id.as_str().into()])?
            } else {
                None
            };
            let LeftOut { unreached, withheld } = left_out.unwrap_or_default();
            let withheld = withheld.into_iter().collect();
            Outcome::Sent { event_id, unreached, withheld }
        }
        (None, Some((code, message))) => Outcome::Refused { code, message },
        (None, None) => Outcome::Waiting,
    })
}

fn is_the_event_of(row: &OutboxRow, event: &RoomEvent<'_>) -> bool {
    if event.transaction_id.as_ref() == Some(&row.transaction_id) {
        return true;
    }
    let Some((_, body)) = &row.wire else { return false };
    let Ok(sent) = Members::read(body) else { return false };
    let is_megolm = sent.text("algorithm").as_deref() == Some(MEGOLM);
    is_megolm && sent.text("ciphertext") == event.content.text("ciphertext")
}
