//! Messages that will never be sent. A caller who waits for one is told by its outcome. Nobody may be
//! waiting: the call that sent it ended when the network failed, or its process died. Then an event in the
//! inbox tells of it, and the message stays until it is sent again or discarded.

use std::collections::BTreeSet;

use super::{MINUTE, Machine, Millis, Work, failures, inbox};
use crate::{
    error::{Error, Kind, Result},
    judgement::room_event::{REACTION, REDACTION},
    primitives::canonical_json::{Json, Object},
    store::{
        Query, Record,
        records::{Ask, Event, Failure, Lane, OutboxBody, OutboxRow, OutboxState},
    },
};

/// The type of the event.
const SEND_FAILED: &str = "mxcrypt.send_failed";
/// A caller that has not come for an outcome by then is dead.
const PATIENCE: Millis = MINUTE;
/// How many refused messages are kept.
const MOST_KEPT: usize = 1000;

/// A message in the outbox that was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Its number.
    pub number: i64,
    /// The room.
    pub room_id: String,
    /// The event type.
    pub event_type: String,
    /// The content as JSON text, before encryption.
    pub content: String,
    /// How far it has come.
    pub state: OutboxState,
    /// When it was put there.
    pub queued_at: i64,
    /// How often it was given to the transport.
    pub attempts: u32,
    /// The error code and text: why it was refused, or why it waits, if that is known.
    pub reason: Option<(String, String)>,
}

impl Machine {
    /// The messages that were not sent, in the order in which they were queued.
    ///
    /// # Errors
    /// Those of the store.
    pub fn unsent(&mut self, now: Millis) -> Result<Vec<Unsent>> {
        self.eventual_work(now, |work| {
            let mut unsent = Vec::new();
            for state in
                [OutboxState::Queued, OutboxState::Fixed, OutboxState::Refused, OutboxState::Told]
            {
                for row in work.tx.select::<OutboxRow>(&Query::equal("state", state.as_str()))? {
                    unsent.extend(as_unsent(work, row)?);
                }
            }
            unsent.sort_by_key(|message| message.number);
            Ok(unsent)
        })
    }

    /// Notes that nobody waits for the outcome of messages any more. From then on they are kept, also
    /// without power: the caller is told that they wait.
    ///
    /// # Errors
    /// Those of the store.
    pub fn leave(&mut self, now: Millis, numbers: &[i64]) -> Result<()> {
        self.work(now, |work| {
            for number in numbers {
                if let Some(row) = work.tx.get::<OutboxRow>(&[(*number).into()])? {
                    work.tx.put(&OutboxRow { awaited: false, ..row })?;
                }
            }
            tell_refusals(work)
        })
    }

    /// Sends refused messages again. The caller waits for their outcomes, and for those of the ones among
    /// them that are on their way.
    ///
    /// # Errors
    /// [`Kind::Argument`] when one is no message that was not sent.
    pub fn retry(&mut self, now: Millis, numbers: &[i64]) -> Result<()> {
        self.work(now, |work| {
            for row in unsent_rows(work, numbers)? {
                let mut row = OutboxRow { awaited: true, ..row };
                if matches!(row.state, OutboxState::Refused | OutboxState::Told) {
                    row.state = OutboxState::Queued;
                    (row.wire, row.refusal, row.attempts) = (None, None, 0);
                    row.first_attempted_at = 0;
                    // Whether the room is encrypted by now is requested again.
                    if let OutboxBody::Event { plain_allowed, .. } = &mut row.body {
                        *plain_allowed = false;
                    }
                }
                work.tx.put(&row)?;
            }
            Ok(())
        })
    }

    /// Keeps those of `numbers` that were refused, whose caller was told so: nobody else has them.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keep_refused(&mut self, now: Millis, numbers: &[i64]) -> Result<()> {
        self.work(now, |work| {
            for number in numbers {
                let row: Option<OutboxRow> = work.tx.get(&[(*number).into()])?;
                if let Some(row) = row.filter(|row| row.state == OutboxState::Refused) {
                    work.tx.put(&OutboxRow { state: OutboxState::Told, awaited: false, ..row })?;
                }
            }
            Ok(())
        })
    }

    /// Deletes messages that were not sent. One that was given to the transport may have arrived.
    ///
    /// # Errors
    /// As [`Machine::retry`].
    pub fn discard(&mut self, now: Millis, numbers: &[i64]) -> Result<()> {
        self.work(now, |work| {
            for row in unsent_rows(work, numbers)? {
                work.tx.delete::<OutboxRow>(&row.key())?;
                let (number, room_id) = (row.number, row.room_id);
                let upload = Ask::Upload { number, file: String::new(), room_id: room_id.clone() };
                failures::request_done(work, &upload)?;
                failures::request_done(work, &Ask::Send { number, lane: Lane::Room(room_id) })?;
            }
            Ok(())
        })
    }
}

fn unsent_rows(work: &Work<'_>, numbers: &[i64]) -> Result<Vec<OutboxRow>> {
    let mut rows = Vec::new();
    for number in numbers.iter().collect::<BTreeSet<_>>() {
        let row = work.tx.get::<OutboxRow>(&[(*number).into()])?;
        let row = row.filter(|row| is_message(row) && row.state != OutboxState::Sent);
        rows.push(row.ok_or_else(|| {
            let message = format!("There is no message {number} in the outbox.");
            Error::new(Kind::Argument, message)
        })?);
    }
    Ok(rows)
}

fn as_unsent(work: &Work<'_>, row: OutboxRow) -> Result<Option<Unsent>> {
    let (event_type, content) = match &row.body {
        _ if !is_message(&row) => return Ok(None),
        OutboxBody::Event { event_type, content, .. } => (event_type.clone(), content.clone()),
        OutboxBody::Redaction { event_id, content } => {
            let mut content = Json::parse_object(content)?;
            content.insert("redacts".to_owned(), Json::String(event_id.clone()));
            (REDACTION.to_owned(), Json::Object(content).text()?)
        }
        OutboxBody::Reaction { content } => (REACTION.to_owned(), content.clone()),
        OutboxBody::RoomKeys { .. } | OutboxBody::ToDevice { .. } => return Ok(None),
    };
    let waits = |failure: Failure| (failure.code, failure.message);
    let reason = match row.refusal {
        Some(refusal) => Some(refusal),
        None => failures::why_waiting(work, &row.room_id, row.number)?.map(waits),
    };
    Ok(Some(Unsent {
        number: row.number,
        room_id: row.room_id,
        event_type,
        content,
        state: row.state,
        queued_at: row.queued_at,
        attempts: row.attempts,
        reason,
    }))
}

/// Tells of messages that were refused while nobody waited for them.
pub(super) fn tell_refusals(work: &Work<'_>) -> Result<()> {
    let refused = Query::equal("state", OutboxState::Refused.as_str());
    for row in work.tx.select::<OutboxRow>(&refused)? {
        if !row.awaited || (work.now - row.attempted_at).abs() > PATIENCE {
            let row = OutboxRow { state: OutboxState::Told, awaited: false, ..row };
            work.tx.put(&row)?;
            tell_refusal(work, row)?;
        }
    }
    let told = Query::equal("state", OutboxState::Told.as_str());
    let surplus = work.tx.count::<OutboxRow>(&told)?.saturating_sub(MOST_KEPT);
    if surplus > 0 {
        for oldest in work.tx.select::<OutboxRow>(&told.limit(surplus))? {
            work.tx.delete::<OutboxRow>(&oldest.key())?;
        }
    }
    Ok(())
}

fn tell_refusal(work: &Work<'_>, row: OutboxRow) -> Result<()> {
    let Some(message) = as_unsent(work, row)? else { return Ok(()) };
    let (code, text) = message.reason.unwrap_or_default();
    let body = format!("A message of type {} was not sent: {text}", message.event_type);
    let mut content = Object::from([
        ("body".to_owned(), Json::String(body)),
        ("number".to_owned(), Json::Integer(message.number)),
        ("event_type".to_owned(), Json::String(message.event_type)),
        ("content".to_owned(), Json::parse(&message.content)?),
        ("errcode".to_owned(), Json::String(code)),
        ("error".to_owned(), Json::String(text)),
        ("queued_at".to_owned(), Json::Integer(message.queued_at)),
    ]);
    // One that nests as deep as can be read is too deep inside of another.
    if Json::parse(&Json::Object(content.clone()).text()?).is_err() {
        content.insert("content".to_owned(), Json::String(message.content));
    }
    // Nobody sent it: a server cannot make one.
    inbox::hand_over(
        work,
        Event {
            room_id: message.room_id,
            event_type: SEND_FAILED.to_owned(),
            content: Json::Object(content).text()?,
            ..Event::default()
        },
    )
}

/// Whether a row is a message of our user: verifications and heartbeats say themselves what becomes of theirs.
fn is_message(row: &OutboxRow) -> bool {
    match &row.body {
        OutboxBody::Event { verifies, delay, .. } => !verifies && delay.is_none(),
        OutboxBody::Redaction { .. } | OutboxBody::Reaction { .. } => true,
        OutboxBody::RoomKeys { .. } | OutboxBody::ToDevice { .. } => false,
    }
}
