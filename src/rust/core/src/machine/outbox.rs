//! What must reach the server: first in, first out a room, each under one transaction id for ever.
//!
//! A message waits as plaintext until it is its turn. Then it is encrypted, and saved with its
//! bytes, before it is given to the transport; from then on only these bytes are sent, however
//! often it takes.

use std::collections::BTreeSet;

use super::{Machine, Millis, Work, room_events::raw, send_to_devices::NO_ROOM};
use crate::{
    error::{Error, Kind, Result},
    judgement::{identifier, room_event::ENCRYPTED},
    primitives::{canonical_json::Json, keys::encode_base64, seal::random_bytes},
    store::{
        Query,
        records::{OutboundSession, OutboxBody, OutboxRow, OutboxState},
    },
};

/// A message to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// The room.
    pub room_id: String,
    /// The event type.
    pub event_type: String,
    /// The content, as JSON text.
    pub content: String,
    /// A transaction id of the caller: the server takes one event for it.
    pub transaction_id: Option<String>,
    /// Encrypt also where nothing says that the room is encrypted.
    pub demand_encryption: bool,
    /// Share the room key with these members only.
    pub audience: Option<BTreeSet<String>>,
}

impl Machine {
    /// Puts messages in the outbox, durably, and says their numbers.
    ///
    /// # Errors
    /// [`Kind::Argument`] or [`Kind::Json`] when one cannot be an event; then none is put there.
    pub fn send(&mut self, now: Millis, messages: Vec<Message>) -> Result<Vec<i64>> {
        for message in &messages {
            check_message(message)?;
        }
        self.work(now, |work| {
            work.forget_old_outcomes()?;
            let put = |message: Message| {
                work.enqueue_as(
                    &message.room_id,
                    message.transaction_id,
                    OutboxBody::Event {
                        event_type: message.event_type,
                        content: message.content,
                        demand_encryption: message.demand_encryption,
                        audience: message.audience,
                        plain_allowed: false,
                        verifies: false,
                    },
                )
            };
            messages.into_iter().map(put).collect()
        })
    }

    /// Puts a redaction in the outbox and says its number. `content` is JSON text.
    ///
    /// # Errors
    /// As [`Machine::send`].
    pub fn redact(
        &mut self,
        now: Millis,
        room_id: &str,
        event_id: &str,
        content: &str,
    ) -> Result<i64> {
        check_room(room_id)?;
        Json::parse_object(content)?;
        let body =
            OutboxBody::Redaction { event_id: event_id.to_owned(), content: content.to_owned() };
        self.work(now, |work| work.enqueue(room_id, body))
    }
}

fn check_message(message: &Message) -> Result<()> {
    check_room(&message.room_id)?;
    if !identifier::is_sound(&message.event_type) || message.event_type == ENCRYPTED {
        return Err(Error::new(Kind::Argument, "This cannot be the type of an event to send."));
    }
    if message.transaction_id.as_deref().is_some_and(|id| !identifier::is_sound(id)) {
        return Err(Error::new(Kind::Argument, "This cannot be a transaction id."));
    }
    match Json::parse_exact(&message.content)? {
        Json::Object(_) => Ok(()),
        _ => Err(Error::new(Kind::Json, "The content of an event is a JSON object.")),
    }
}

fn check_room(room_id: &str) -> Result<()> {
    if identifier::is_sound(room_id) && room_id.starts_with('!') {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, "A room id begins with an exclamation mark."))
}

impl Work<'_> {
    pub(super) fn enqueue(&self, room_id: &str, body: OutboxBody) -> Result<i64> {
        self.enqueue_as(room_id, None, body)
    }

    fn enqueue_as(
        &self,
        room_id: &str,
        transaction_id: Option<String>,
        body: OutboxBody,
    ) -> Result<i64> {
        let transaction_id = match transaction_id {
            Some(id) => id,
            // Random, because a store that was restored from a copy counts the same numbers again.
            None => encode_base64(&random_bytes::<15>()?).replace('+', "-").replace('/', "_"),
        };
        let number = self.tx.take_number("outbox")?;
        let mut row = OutboxRow {
            number,
            room_id: room_id.to_owned(),
            state: OutboxState::Queued,
            transaction_id,
            queued_at: self.now,
            attempts: 0,
            attempted_at: 0,
            body,
            wire: None,
            event_id: None,
            refusal: None,
        };
        let event_type = row.body.to_device().map(str::to_owned);
        if let (
            Some(event_type),
            OutboxBody::RoomKeys { content } | OutboxBody::ToDevice { content, .. },
        ) = (event_type, &mut row.body)
        {
            // Kept once, as the bytes that are sent.
            let content = std::mem::take(content);
            fix(&mut row, &["sendToDevice", &event_type], content);
        }
        self.tx.put(&row)?;
        Ok(number)
    }

    pub(super) fn rows(&self, room_id: &str, state: OutboxState) -> Result<Vec<OutboxRow>> {
        self.tx.select(&Query::equal("room_id", room_id).and("state", state.as_str()))
    }

    /// The first rows of a room that wait for their turn.
    pub(super) fn queued(&self, room_id: &str, limit: usize) -> Result<Vec<OutboxRow>> {
        let queued = OutboxState::Queued.as_str();
        self.tx.select(&Query::equal("room_id", room_id).and("state", queued).limit(limit))
    }

    /// The rooms in which something waits.
    pub(super) fn rooms_to_send_to(&self) -> Result<BTreeSet<String>> {
        let mut rooms = BTreeSet::new();
        for state in [OutboxState::Queued, OutboxState::Fixed] {
            let waiting = Query::equal("state", state.as_str());
            rooms.extend(self.tx.texts::<OutboxRow>("room_id", &waiting)?);
        }
        rooms.remove(NO_ROOM);
        Ok(rooms)
    }

    /// Encrypts a row and fixes its bytes.
    pub(super) fn fix_encrypted(
        &self,
        row: &mut OutboxRow,
        session: &mut OutboundSession,
    ) -> Result<()> {
        let OutboxBody::Event { event_type, content, .. } = &row.body else { return Ok(()) };
        let encrypted = self.encrypt_room_event(session, event_type, content)?;
        let room_id = row.room_id.clone();
        fix(row, &["rooms", &room_id, "send", ENCRYPTED], encrypted);
        Ok(())
    }

    /// Fixes the bytes of a row that goes out in the clear.
    pub(super) fn fix_plain(&self, row: &mut OutboxRow) -> Result<()> {
        let room_id = row.room_id.clone();
        match row.body.clone() {
            OutboxBody::Event { event_type, content, .. } => {
                fix(row, &["rooms", &room_id, "send", &event_type], raw(&content)?.to_string());
            }
            OutboxBody::Redaction { event_id, content } => {
                fix(row, &["rooms", &room_id, "redact", &event_id], content);
            }
            OutboxBody::RoomKeys { .. } | OutboxBody::ToDevice { .. } => {}
        }
        Ok(())
    }

    /// Lets what is queued for a room up to `up_to` go out in the clear, as long as the room was never
    /// seen encrypted: the server was asked after it was queued.
    pub(super) fn allow_plain(&self, room_id: &str, up_to: i64) -> Result<()> {
        for mut row in self.rows(room_id, OutboxState::Queued)? {
            if let OutboxBody::Event { plain_allowed, .. } = &mut row.body
                && row.number <= up_to
            {
                *plain_allowed = true;
                self.tx.put(&row)?;
            }
        }
        Ok(())
    }
}

fn fix(row: &mut OutboxRow, path: &[&str], body: String) {
    let path = [path, &[row.transaction_id.as_str()]].concat();
    row.wire = Some((super::path::path(&path), body));
    row.state = OutboxState::Fixed;
}

pub(super) fn is_encrypted(row: &OutboxRow) -> bool {
    row.wire.as_ref().is_some_and(|(path, _)| path.contains(ENCRYPTED))
}
