//! What must reach the server: first in, first out a room, each under one transaction id for ever.
//!
//! A message waits as plaintext until it is its turn. Then it is encrypted, and saved with its
//! bytes, before it is given to the transport; from then on only these bytes are sent, however
//! often it takes.

use std::collections::BTreeSet;

use super::{Machine, Millis, Work, room_events::raw, send_to_devices::NO_ROOM};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        identifier,
        room_event::{ENCRYPTED, RoomEvent},
    },
    primitives::{account::MEGOLM, canonical_json::Json, keys::encode_base64, seal::random_bytes},
    store::{
        Query,
        records::{OutboundSession, OutboxBody, OutboxRow, OutboxState, Room},
    },
};

/// How many messages later an outcome is forgotten for which nobody came.
const KEPT_OUTCOMES: i64 = 1000;

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
        row.state = OutboxState::Refused;
        row.refusal = Some((code.to_owned(), message.to_owned()));
        row.attempted_at = self.now;
        self.tx.put(&row)
    }

    pub(super) fn sent(&self, mut row: OutboxRow, event_id: &str) -> Result<()> {
        self.remember_own(&row, event_id)?;
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
    fn forget_old_outcomes(&self) -> Result<()> {
        let old = self.tx.last_number("outbox")? - KEPT_OUTCOMES;
        for state in [OutboxState::Sent, OutboxState::Refused] {
            let done = Query::equal("state", state.as_str()).until("number", old);
            self.tx.delete_where::<OutboxRow>(&done)?;
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

fn is_the_event_of(row: &OutboxRow, event: &RoomEvent) -> bool {
    if event.transaction_id.as_ref() == Some(&row.transaction_id) {
        return true;
    }
    let Some((_, body)) = &row.wire else { return false };
    let Ok(sent) = Json::parse_object(body) else { return false };
    let is_megolm = sent.get("algorithm").and_then(Json::as_str) == Some(MEGOLM);
    is_megolm && sent.get("ciphertext") == event.content.get("ciphertext")
}
