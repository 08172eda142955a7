//! What must reach the server: first in, first out per room, each under one transaction id for
//! ever.
//!
//! A message waits as plaintext until it is its turn. Then it is encrypted, and saved with its
//! bytes, before it is given to the transport; from then on only these bytes are sent, however
//! often it takes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::{
    Machine, Millis, Work, event_size,
    outbound_sessions::{self, raw},
    pump::Pump,
    request_table::{Body, path_of_row},
    rooms,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        identifier::{is_segment, is_sound},
        room_event::{ENCRYPTED, REACTION, REDACTION, RELATES_TO},
    },
    primitives::{canonical_json::Json, keys::encode_base64, seal::random_bytes},
    store::{
        Query,
        records::{Ask, Lane, OutboundSession, OutboxBody, OutboxRow, OutboxState, Upload},
    },
};

/// How many messages later an outcome is forgotten for which nobody came.
pub(super) const KEPT_OUTCOMES: i64 = 1000;

/// Bytes of the longest address of a file, without its scheme: the name of a server, and an id.
const LONGEST_ADDRESS: usize = 400;

/// The place in the outbox of what belongs to no room.
pub(super) const NO_ROOM: &str = "to-device";

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
    /// Puts messages in the outbox, durably, and returns their numbers.
    ///
    /// # Errors
    /// [`Kind::Argument`], [`Kind::Json`] or [`Kind::TooLarge`] when one cannot be an event; then
    /// none is put there.
    pub fn send(&mut self, now: Millis, messages: Vec<Message>) -> Result<Vec<i64>> {
        self.send_with_files(now, messages.into_iter().map(|one| (one, Vec::new())).collect())
    }

    /// The same for messages that need files to be on the server before them.
    ///
    /// # Errors
    /// As [`Machine::send`].
    pub fn send_with_files(
        &mut self,
        now: Millis,
        messages: Vec<(Message, Vec<Upload>)>,
    ) -> Result<Vec<i64>> {
        let mut ids = BTreeSet::new();
        for (message, _) in &messages {
            check_message(message)?;
            // The server would take one of the two, and respond as if it had taken both.
            if message.transaction_id.as_ref().is_some_and(|id| !ids.insert(id)) {
                let message = "Two messages cannot have the same transaction id.";
                return Err(Error::new(Kind::Argument, message));
            }
        }
        self.eventual_work(now, |work| {
            for (message, uploads) in &messages {
                let Message { room_id, event_type, content, demand_encryption, .. } = message;
                let encrypted =
                    *demand_encryption || rooms::room(work, room_id)?.encryption.is_some();
                // As large as it will be with its addresses.
                let content = with_longest_addresses(content, uploads)?;
                event_size::check_size(work, room_id, event_type, &content, encrypted)?;
            }
            forget_old_outcomes(work)?;
            let put = |(message, uploads): (Message, Vec<Upload>)| {
                let (room_id, transaction_id) =
                    (message.room_id.clone(), message.transaction_id.clone());
                enqueue_awaited(work, &room_id, transaction_id, body_of(message, uploads)?)
            };
            messages.into_iter().map(put).collect()
        })
    }

    /// Puts a redaction in the outbox and returns its number. `content` is JSON text.
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
        check_event_id(event_id)?;
        Json::parse_object(content)?;
        let body =
            OutboxBody::Redaction { event_id: event_id.to_owned(), content: content.to_owned() };
        self.eventual_work(now, |work| {
            event_size::check_size(work, room_id, REDACTION, content, false)?;
            enqueue_awaited(work, room_id, None, body)
        })
    }

    /// Puts a reaction to an event in the outbox and returns its number. It goes out in the clear, also in an
    /// encrypted room, as other clients send it. Nothing else can: what it says is made here.
    ///
    /// # Errors
    /// As [`Machine::send`].
    pub fn react(&mut self, now: Millis, room_id: &str, event_id: &str, key: &str) -> Result<i64> {
        check_room(room_id)?;
        let relation = json!({"rel_type": "m.annotation", "event_id": event_id, "key": key});
        let content = json!({RELATES_TO: relation}).to_string();
        self.eventual_work(now, |work| {
            event_size::check_size(work, room_id, REACTION, &content, false)?;
            enqueue_awaited(work, room_id, None, OutboxBody::Reaction { content })
        })
    }
}

/// How a message is kept here. A redaction is never encrypted, because the server must read it.
fn body_of(message: Message, uploads: Vec<Upload>) -> Result<OutboxBody> {
    if message.event_type == REDACTION {
        let mut content = Json::parse_object(&message.content)?;
        let Some(Json::String(event_id)) = content.remove("redacts") else {
            return Err(Error::new(
                Kind::Argument,
                "A redaction names the event that it takes back, in \"redacts\".",
            ));
        };
        check_event_id(&event_id)?;
        return Ok(OutboxBody::Redaction { event_id, content: Json::Object(content).text()? });
    }
    Ok(OutboxBody::Event {
        event_type: message.event_type,
        content: message.content,
        demand_encryption: message.demand_encryption,
        audience: message.audience,
        plain_allowed: false,
        verifies: false,
        uploads,
        delay: None,
    })
}

fn with_longest_addresses(content: &str, uploads: &[Upload]) -> Result<String> {
    let longest = format!("mxc://{}", "x".repeat(LONGEST_ADDRESS));
    uploads.iter().try_fold(content.to_owned(), |content, upload| {
        with_address(&content, &upload.place, &longest)
    })
}

/// A content in which the address of a file stands at its place.
pub(super) fn with_address(content: &str, place: &[String], address: &str) -> Result<String> {
    let mut content = Json::parse_object(content)?;
    let nowhere =
        || Error::new(Kind::Argument, "The content has no place for the address of a file.");
    let (last, path) = place.split_last().ok_or_else(nowhere)?;
    let mut inside = &mut content;
    for member in path {
        let Some(Json::Object(object)) = inside.get_mut(member) else { return Err(nowhere()) };
        inside = object;
    }
    inside.insert(last.clone(), Json::String(address.to_owned()));
    Json::Object(content).text()
}

pub(super) fn check_message(message: &Message) -> Result<()> {
    check_room(&message.room_id)?;
    let is_good = |text: &str| is_sound(text) && is_segment(text);
    if !is_good(&message.event_type) || message.event_type == ENCRYPTED {
        return Err(Error::new(Kind::Argument, "This cannot be the type of an event to send."));
    }
    if message.transaction_id.as_deref().is_some_and(|id| !is_good(id)) {
        return Err(Error::new(Kind::Argument, "This cannot be a transaction id."));
    }
    match Json::parse_exact(&message.content)? {
        Json::Object(_) => Ok(()),
        _ => Err(Error::new(Kind::Json, "The content of an event is a JSON object.")),
    }
}

fn check_event_id(event_id: &str) -> Result<()> {
    if is_sound(event_id) && is_segment(event_id) {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, "This cannot be the id of an event."))
}

fn check_room(room_id: &str) -> Result<()> {
    if is_sound(room_id) && is_segment(room_id) && room_id.starts_with('!') {
        return Ok(());
    }
    Err(Error::new(Kind::Argument, "A room id begins with an exclamation mark."))
}

pub(super) fn enqueue(work: &Work<'_>, room_id: &str, body: OutboxBody) -> Result<i64> {
    enqueue_as(work, room_id, None, body, false)
}

/// Puts something in the outbox that a caller waits for.
fn enqueue_awaited(
    work: &Work<'_>,
    room_id: &str,
    transaction_id: Option<String>,
    body: OutboxBody,
) -> Result<i64> {
    enqueue_as(work, room_id, transaction_id, body, true)
}

fn enqueue_as(
    work: &Work<'_>,
    room_id: &str,
    transaction_id: Option<String>,
    body: OutboxBody,
    awaited: bool,
) -> Result<i64> {
    let row = new_row(work, room_id, transaction_id, body, awaited)?;
    work.tx.put(&row)?;
    Ok(row.number)
}

/// A row that a caller saves: either with [`send_new_rows`], or by itself.
pub(super) fn staged(work: &Work<'_>, room_id: &str, body: OutboxBody) -> Result<OutboxRow> {
    new_row(work, room_id, None, body, false)
}

fn new_row(
    work: &Work<'_>,
    room_id: &str,
    transaction_id: Option<String>,
    body: OutboxBody,
    awaited: bool,
) -> Result<OutboxRow> {
    let transaction_id = match transaction_id {
        Some(id) => id,
        // Random, because a store that was restored from a copy counts the same numbers again.
        None => encode_base64(&random_bytes::<15>()?).replace('+', "-").replace('/', "_"),
    };
    let number = work.tx.take_number("outbox")?;
    let mut row = OutboxRow {
        number,
        room_id: room_id.to_owned(),
        state: OutboxState::Queued,
        transaction_id,
        queued_at: work.now,
        attempts: 0,
        attempted_at: 0,
        first_attempted_at: 0,
        body,
        wire: None,
        event_id: None,
        refusal: None,
        awaited,
    };
    if let OutboxBody::RoomKeys { content } | OutboxBody::ToDevice { content, .. } = &mut row.body {
        // Kept once, as the bytes that are sent.
        let content = std::mem::take(content);
        fix(&mut row, false, content)?;
    }
    Ok(row)
}

pub(super) fn rows(work: &Work<'_>, room_id: &str, state: OutboxState) -> Result<Vec<OutboxRow>> {
    work.tx.select(&Query::equal("room_id", room_id).and("state", state.as_str()))
}

/// The first rows of a room that wait for their turn.
pub(super) fn queued(work: &Work<'_>, room_id: &str, limit: usize) -> Result<Vec<OutboxRow>> {
    let queued = OutboxState::Queued.as_str();
    work.tx.select(&Query::equal("room_id", room_id).and("state", queued).limit(limit))
}

/// The rooms in which something waits.
pub(super) fn rooms_to_send_to(work: &Work<'_>) -> Result<BTreeSet<String>> {
    let mut rooms = BTreeSet::new();
    for state in [OutboxState::Queued, OutboxState::Fixed] {
        let waiting = Query::equal("state", state.as_str());
        rooms.extend(work.tx.texts::<OutboxRow>("room_id", &waiting)?);
    }
    rooms.remove(NO_ROOM);
    Ok(rooms)
}

/// Encrypts a row and fixes its bytes.
pub(super) fn fix_encrypted(
    work: &Work<'_>,
    row: &mut OutboxRow,
    session: &mut OutboundSession,
) -> Result<()> {
    let OutboxBody::Event { event_type, content, .. } = &row.body else { return Ok(()) };
    let encrypted = outbound_sessions::encrypt_room_event(work, session, event_type, content)?;
    fix(row, true, encrypted)
}

/// Fixes the bytes of a row that goes out in the clear.
pub(super) fn fix_plain(row: &mut OutboxRow) -> Result<()> {
    let content = match &row.body {
        OutboxBody::Event { content, .. } => raw(content)?.to_string(),
        OutboxBody::Redaction { content, .. } | OutboxBody::Reaction { content } => content.clone(),
        OutboxBody::RoomKeys { .. } | OutboxBody::ToDevice { .. } => return Ok(()),
    };
    fix(row, false, content)
}

/// Lets what is queued for a room up to `up_to` go out in the clear, as long as the room was never
/// seen encrypted: the server was asked after it was queued.
pub(super) fn allow_plain(work: &Work<'_>, room_id: &str, up_to: i64) -> Result<()> {
    for mut row in rows(work, room_id, OutboxState::Queued)? {
        if let OutboxBody::Event { plain_allowed, .. } = &mut row.body
            && row.number <= up_to
        {
            *plain_allowed = true;
            work.tx.put(&row)?;
        }
    }
    Ok(())
}

fn fix(row: &mut OutboxRow, encrypted: bool, body: String) -> Result<()> {
    row.wire = Some((path_of_row(row, encrypted)?, body));
    row.state = OutboxState::Fixed;
    Ok(())
}

pub(super) fn is_encrypted(row: &OutboxRow) -> bool {
    row.wire.as_ref().is_some_and(|(path, _)| path.contains(ENCRYPTED))
}

/// The body of a request that sends to-device events: contents by user and device.
pub(super) fn to_device_content(messages: &impl Serialize) -> Result<String> {
    // Not json!(), which would take apart what is text already.
    serde_json::to_string(&BTreeMap::from([("messages", messages)]))
        .or_fail(Kind::Internal, "A to-device request")
}

/// Puts to-device events in the outbox: contents by user and device.
pub(super) fn tell_devices(
    work: &Work<'_>,
    event_type: &str,
    messages: &impl Serialize,
) -> Result<()> {
    let content = to_device_content(messages)?;
    let event_type = event_type.to_owned();
    enqueue(work, NO_ROOM, OutboxBody::ToDevice { event_type, content }).map(drop)
}

/// Deletes old outcomes that nobody came for, because a process ended.
pub(super) fn forget_old_outcomes(work: &Work<'_>) -> Result<()> {
    let old = work.tx.last_number("outbox")? - KEPT_OUTCOMES;
    let sent = Query::equal("state", OutboxState::Sent.as_str()).until("number", old);
    work.tx.delete_where::<OutboxRow>(&sent).map(drop)
}

/// What became of a row that was to be given to the transport.
enum Turn {
    Given,
    /// There is nothing to send of it, or it is being sent.
    Passed(OutboxRow),
    /// It waits after a failure.
    Waits(OutboxRow),
}

/// Gives rows to the transport that no process has now.
pub(super) fn send_rows(pump: &mut Pump<'_, '_>, rows: Vec<OutboxRow>) -> Result<()> {
    for row in rows {
        // What comes after an event of a room goes after it.
        if let Turn::Waits(row) = send_row(pump, row)?
            && row.body.to_device().is_none()
        {
            break;
        }
    }
    Ok(())
}

/// Puts rows in the outbox that are not there yet, and gives them to the transport: each is written once.
pub(super) fn send_new_rows(pump: &mut Pump<'_, '_>, rows: Vec<OutboxRow>) -> Result<()> {
    for row in rows {
        if let Turn::Passed(row) | Turn::Waits(row) = send_row(pump, row)? {
            pump.work.tx.put(&row)?;
        }
    }
    Ok(())
}

/// Writes a row and gives it to the transport, if it may be sent now.
fn send_row(pump: &mut Pump<'_, '_>, mut row: OutboxRow) -> Result<Turn> {
    let lane = match &row.body {
        OutboxBody::ToDevice { .. } => Lane::Side,
        _ => Lane::Room(row.room_id.clone()),
    };
    let ask = Ask::Send { number: row.number, lane };
    if row.wire.is_none() || pump.is_busy(&ask) {
        return Ok(Turn::Passed(row));
    }
    if !pump.may_ask(&ask)? {
        return Ok(Turn::Waits(row));
    }
    if row.attempts == 0 {
        row.first_attempted_at = pump.work.now;
    }
    row.attempts += 1;
    row.attempted_at = pump.work.now;
    pump.work.tx.put(&row)?;
    if let Some((path, content)) = row.wire.take() {
        pump.ask(ask, Body::Fixed(path, request_body(&row, content)))?;
    }
    Ok(Turn::Given)
}

/// The body of a request that sends `content`.
fn request_body(row: &OutboxRow, content: String) -> String {
    match row.body.delay() {
        Some(delay) if delay.stable => {
            format!("{{\"delay_ms\":{},\"content\":{content}}}", delay.milliseconds)
        }
        _ => content,
    }
}

pub(super) fn is_sending(pump: &Pump<'_, '_>, row: &OutboxRow) -> bool {
    pump.is_busy(&Ask::Send { number: row.number, lane: Lane::Side })
}
