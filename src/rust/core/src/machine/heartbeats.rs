//! Dead man's switches: a message that the server sends when a delay ends, unless it is told before that we are
//! still there, or done (MSC4140). It is encrypted and given to the server beforehand, because nobody is left to
//! do it then.
//!
//! The message goes through the outbox like any other, so keys go before it, and its bytes are saved before they
//! are sent. Unlike any other it must not wait there: an alarm that nobody waits for any more would go off later
//! for no reason. So it has a deadline, after which it is taken out. Where it was given to the transport and no
//! response came, the server may have it. Then the server is asked for the list of what it is to send, and the
//! message is found there by its bytes.
//!
//! A heartbeat that is started again is never without a message on the server: the old one is cancelled once the
//! new one is there. A cancellation is pursued by whichever process comes next.
//!
//! The server can send a message at any time, or never: it is trusted for that, and for nothing else.

use super::{
    HOUR, MINUTE, Machine, Millis, Work, event_size,
    failures::Trouble,
    outbox::{self, Message},
    pump::Pump,
    request_table::{self, Body},
    rooms,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        delayed_events,
        members::Members,
        room_event::RoomEvent,
        send_response::{self, Delayed},
    },
    primitives::{account::MEGOLM, canonical_json::Json, keys::encode_base64, seal::random_bytes},
    store::{
        Query, Record,
        records::{Ask, Delay, Heartbeat, HeartbeatState, OutboundSession, OutboxBody, OutboxRow},
    },
};

/// The type of the message.
const MESSAGE: &str = "m.room.message";
/// For how long after its lease a request of another process may still reach the server.
const UNSETTLED: Millis = 5 * MINUTE;
/// For how long after it is due a message is cancelled, or searched for. The server has sent it by then.
const CANCELLED_FOR: Millis = 24 * HOUR;
/// For how long after it is due a message is remembered.
const KEPT_FOR: Millis = 30 * 24 * HOUR;
/// How many heartbeats that are over are remembered.
const MOST_KEPT: usize = 100;
/// The longest time until a deadline. One that is further away was set before the clock was set back.
const LONGEST_WAIT: Millis = HOUR;

/// A heartbeat to start.
#[derive(Debug, Clone)]
pub struct NewHeartbeat {
    /// The heartbeat to start again. None begins a new one, or that of the same name again.
    pub id: Option<String>,
    /// The user's name for it.
    pub name: Option<String>,
    /// The room.
    pub room_id: String,
    /// The content of the message, as JSON text.
    pub content: String,
    /// How long the server waits, in milliseconds.
    pub delay: Millis,
    /// Whether the server has the endpoints of the accepted proposal, or those before it.
    pub stable: bool,
    /// How long the message may wait until it is given to the server, in milliseconds.
    pub wait: Millis,
}

impl Machine {
    /// Puts the message of a heartbeat in the outbox, and returns its number.
    ///
    /// # Errors
    /// As [`Machine::send`].
    pub fn start_heartbeat(&mut self, now: Millis, new: NewHeartbeat) -> Result<i64> {
        let NewHeartbeat { id, name, room_id, content, delay, stable, wait } = new;
        if delay <= 0 || !(1..=LONGEST_WAIT).contains(&wait) {
            return Err(Error::new(
                Kind::Argument,
                "A heartbeat has a delay, and a time to start.",
            ));
        }
        let message = Message {
            room_id: room_id.clone(),
            event_type: MESSAGE.to_owned(),
            content: content.clone(),
            transaction_id: None,
            demand_encryption: false,
            audience: None,
        };
        outbox::check_message(&message)?;
        self.work(now, |work| {
            expire(work)?;
            forget_old(work)?;
            let encrypted = rooms::room(work, &room_id)?.encryption.is_some();
            event_size::check_size(work, &room_id, MESSAGE, &content, encrypted)?;
            let known = match &name {
                Some(_) => all(work)?.into_iter().find(|one| one.name == name).map(|one| one.id),
                None => None,
            };
            let id = match id.or(known) {
                Some(id) => id,
                None => encode_base64(&random_bytes::<15>()?),
            };
            let body = OutboxBody::Event {
                event_type: MESSAGE.to_owned(),
                content: content.clone(),
                demand_encryption: false,
                audience: None,
                plain_allowed: false,
                verifies: false,
                uploads: Vec::new(),
                delay: Some(Delay { milliseconds: delay, stable }),
            };
            let number = outbox::enqueue(work, &room_id, body)?;
            work.tx.put(&Heartbeat {
                number,
                id,
                name,
                room_id,
                content,
                delay,
                stable,
                state: HeartbeatState::Starting,
                deadline: now.saturating_add(wait),
                since: now,
                sent_content: None,
                refused_attempts: 0,
                unsettled_until: now,
                delay_id: None,
                cancel: false,
                event_id: None,
                sent_at: None,
                refusal: None,
            })?;
            Ok(number)
        })
    }

    /// All messages of heartbeats that are known, in the order in which they were started.
    ///
    /// # Errors
    /// Those of the store.
    pub fn heartbeats(&mut self, now: Millis) -> Result<Vec<Heartbeat>> {
        self.work(now, |work| {
            expire(work)?;
            all(work)
        })
    }

    /// The call that started a heartbeat ends without a response: its message is not sent later.
    ///
    /// # Errors
    /// Those of the store.
    pub fn abandon_heartbeat(&mut self, now: Millis, number: i64) -> Result<()> {
        self.work(now, |work| match heartbeat(work, number)? {
            Some(one) if one.state == HeartbeatState::Starting => give_up(work, one, now),
            _ => Ok(()),
        })
    }

    /// Has the server told not to send any message of a heartbeat, and forgets those that are over.
    ///
    /// # Errors
    /// Those of the store.
    pub fn stop_heartbeat(&mut self, now: Millis, id: &str) -> Result<()> {
        self.work(now, |work| {
            for one in all(work)?.into_iter().filter(|one| one.id == id) {
                if one.state == HeartbeatState::Starting {
                    give_up(work, one.clone(), now + UNSETTLED)?;
                }
                let Some(one) = heartbeat(work, one.number)? else { continue };
                if is_there(&one) {
                    work.tx.put(&Heartbeat { cancel: true, ..one })?;
                } else {
                    work.tx.delete::<Heartbeat>(&one.key())?;
                }
            }
            Ok(())
        })
    }

    /// The path of the request by which the server begins to wait again, if it has the message.
    ///
    /// # Errors
    /// Those of the store.
    pub fn heartbeat_restart_path(&mut self, number: i64) -> Result<Option<String>> {
        self.read(|work| {
            let Some(one) = heartbeat(work, number)? else { return Ok(None) };
            match (&one.delay_id, one.state) {
                (Some(delay_id), HeartbeatState::Armed) => {
                    request_table::delayed_event(delay_id, one.stable, "restart").map(Some)
                }
                _ => Ok(None),
            }
        })
    }

    /// Records how the server responded to that request: it waits again, or does not have the message any more.
    ///
    /// # Errors
    /// Those of the store.
    pub fn heartbeat_restarted(&mut self, now: Millis, number: i64, there: bool) -> Result<()> {
        self.work(now, |work| match heartbeat(work, number)? {
            Some(one) if one.state == HeartbeatState::Armed => {
                let one = if there {
                    Heartbeat { since: now, ..one }
                } else {
                    Heartbeat { state: HeartbeatState::Gone, cancel: false, ..one }
                };
                work.tx.put(&one)
            }
            _ => Ok(()),
        })
    }

    /// The devices that could not be given the key of a room's session, and those that were not given it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn left_out(&mut self, room_id: &str) -> Result<[Vec<(String, String)>; 2]> {
        self.read(|work| {
            let session = work.tx.get::<OutboundSession>(&[room_id.into()])?;
            let lists =
                session.map(|session| [session.unreached, session.withheld.into_iter().collect()]);
            Ok(lists.unwrap_or_default())
        })
    }
}

fn all(work: &Work<'_>) -> Result<Vec<Heartbeat>> {
    work.tx.select(&Query::all())
}

fn heartbeat(work: &Work<'_>, number: i64) -> Result<Option<Heartbeat>> {
    work.tx.get(&[number.into()])
}

/// Whether the server may send it.
fn is_there(one: &Heartbeat) -> bool {
    matches!(one.state, HeartbeatState::Armed | HeartbeatState::InDoubt)
}

/// The others of the same heartbeat.
fn others(work: &Work<'_>, one: &Heartbeat) -> Result<Vec<Heartbeat>> {
    let mut rows = all(work)?;
    rows.retain(|other| other.id == one.id && other.number != one.number);
    Ok(rows)
}

/// Whether another message of the same heartbeat is the one that counts.
fn is_superseded(work: &Work<'_>, one: &Heartbeat) -> Result<bool> {
    let counts = |other: &Heartbeat| other.state == HeartbeatState::Armed && !other.cancel;
    Ok(others(work, one)?.iter().any(counts))
}

/// Takes the message out of the outbox. Returns whether the server may have it.
fn take_out(work: &Work<'_>, one: &mut Heartbeat) -> Result<bool> {
    let Some(row) = work.tx.get::<OutboxRow>(&[one.number.into()])? else { return Ok(true) };
    work.tx.delete::<OutboxRow>(&row.key())?;
    let in_doubt = row.attempts > one.refused_attempts;
    one.sent_content = row.wire.map(|(_, content)| content);
    Ok(in_doubt)
}

/// Gives up a message that is on its way. Requests under way may reach the server until `unsettled_until`.
fn give_up(work: &Work<'_>, mut one: Heartbeat, unsettled_until: Millis) -> Result<()> {
    if !take_out(work, &mut one)? {
        return work.tx.delete::<Heartbeat>(&one.key());
    }
    one.state = HeartbeatState::InDoubt;
    one.unsettled_until = unsettled_until;
    one.cancel = is_superseded(work, &one)?;
    work.tx.put(&one)
}

/// Takes messages out of the outbox whose deadline has passed: the process that started them is dead. Forgets what
/// the server must have sent by now.
pub(super) fn expire(work: &Work<'_>) -> Result<()> {
    for one in all(work)? {
        let over = |time: Millis| one.due().saturating_add(time) < work.now;
        match one.state {
            HeartbeatState::Starting => {
                let left = one.deadline - work.now;
                if !(0..=LONGEST_WAIT).contains(&left) {
                    give_up(work, one, work.now + UNSETTLED)?;
                }
            }
            HeartbeatState::InDoubt if over(CANCELLED_FOR) => {
                work.tx.delete::<Heartbeat>(&one.key())?;
            }
            HeartbeatState::Armed if one.cancel && over(CANCELLED_FOR) || over(KEPT_FOR) => {
                work.tx.delete::<Heartbeat>(&one.key())?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn forget_old(work: &Work<'_>) -> Result<()> {
    let is_over = |one: &Heartbeat| !is_there(one) && one.state != HeartbeatState::Starting;
    let over: Vec<Heartbeat> = all(work)?.into_iter().filter(is_over).collect();
    for one in over.iter().take(over.len().saturating_sub(MOST_KEPT)) {
        work.tx.delete::<Heartbeat>(&one.key())?;
    }
    Ok(())
}

/// Requests what is to be done on the server: messages that it must not send, and its list where it is not known
/// whether it has one.
pub(super) fn request(pump: &mut Pump<'_, '_>) -> Result<()> {
    for one in all(pump.work)? {
        let Heartbeat { number, stable, .. } = one;
        match (one.state, one.delay_id) {
            (HeartbeatState::Armed, Some(delay_id)) if one.cancel => {
                let ask = Ask::CancelDelayed { number, delay_id, stable };
                pump.ask(ask, Body::Json("{}".to_owned()))?;
            }
            (HeartbeatState::InDoubt, _) if one.unsettled_until <= pump.work.now => {
                pump.ask(Ask::ListDelayed { stable }, Body::Implied)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Applies the response to the message of a heartbeat. Returns false if `number` is no such message.
pub(super) fn accepted(work: &Work<'_>, number: i64, body: &str) -> Result<bool> {
    let Some(mut one) = heartbeat(work, number)? else { return Ok(false) };
    if !matches!(one.state, HeartbeatState::Starting | HeartbeatState::InDoubt) {
        return Ok(true);
    }
    match send_response::delayed(body)? {
        Delayed::Scheduled(delay_id) => {
            take_out(work, &mut one)?;
            arm(work, Heartbeat { since: work.now, ..one }, delay_id)?;
        }
        // A server that does not know delays, whatever it said before.
        Delayed::SentAtOnce(event_id) => {
            take_out(work, &mut one)?;
            let (event_id, sent_at) = (Some(event_id), Some(work.now));
            let state = HeartbeatState::Sent;
            work.tx.put(&Heartbeat { state, event_id, sent_at, ..one })?;
        }
    }
    Ok(true)
}

/// The server has the message. It is the one that counts, unless it was given up: the others are cancelled.
fn arm(work: &Work<'_>, one: Heartbeat, delay_id: String) -> Result<()> {
    if !one.cancel {
        for other in others(work, &one)? {
            if is_there(&other) {
                work.tx.put(&Heartbeat { cancel: true, ..other })?;
            } else if other.state != HeartbeatState::Starting {
                work.tx.delete::<Heartbeat>(&other.key())?;
            }
        }
    }
    let (state, delay_id) = (HeartbeatState::Armed, Some(delay_id));
    work.tx.put(&Heartbeat { state, delay_id, ..one })
}

/// Records that an attempt to give a message to the server was certainly in vain.
pub(super) fn attempt_refused(work: &Work<'_>, number: i64) -> Result<()> {
    match heartbeat(work, number)? {
        Some(one) if one.state == HeartbeatState::Starting => {
            let refused_attempts = one.refused_attempts + 1;
            work.tx.put(&Heartbeat { refused_attempts, ..one })
        }
        _ => Ok(()),
    }
}

/// Records that an attempt failed. Where the homeserver itself responded with an error, it was in vain.
pub(super) fn send_failed(work: &Work<'_>, number: i64, trouble: &Trouble) -> Result<()> {
    let of_server = (400..500).contains(&trouble.status) && trouble.code != "M_UNKNOWN";
    if of_server { attempt_refused(work, number) } else { Ok(()) }
}

/// Records that a message will never be taken by the server, or must not be given to it.
pub(super) fn refused(work: &Work<'_>, row: &OutboxRow, code: &str, message: &str) -> Result<()> {
    let Some(mut one) = heartbeat(work, row.number)? else {
        return work.tx.delete::<OutboxRow>(&row.key());
    };
    if take_out(work, &mut one)? {
        one.state = HeartbeatState::InDoubt;
        one.unsettled_until = work.now;
        one.cancel = true;
    } else {
        one.state = HeartbeatState::Refused;
    }
    one.refusal = Some((code.to_owned(), message.to_owned()));
    work.tx.put(&one)
}

/// Records that the server will not send a message, because we told it so.
pub(super) fn cancelled(work: &Work<'_>, number: i64, body: &str) -> Result<()> {
    // The page of a proxy has cancelled nothing.
    send_response::acknowledged(body)?;
    work.tx.delete::<Heartbeat>(&[number.into()])
}

/// Records that the server does not have a message any more. Nobody needs to know of one that is superseded.
pub(super) fn gone(work: &Work<'_>, number: i64) -> Result<()> {
    let Some(one) = heartbeat(work, number)? else { return Ok(()) };
    if is_superseded(work, &one)? {
        return work.tx.delete::<Heartbeat>(&one.key());
    }
    if one.state == HeartbeatState::Armed {
        work.tx.put(&Heartbeat { state: HeartbeatState::Gone, cancel: false, ..one })?;
    }
    Ok(())
}

/// Searches the list of what the server is to send later for messages that are in doubt.
pub(super) fn listed(work: &Work<'_>, stable: bool, body: &str) -> Result<()> {
    let list = delayed_events::read(body).or_fail(Kind::Answer, "The delayed events")?;
    let mut known: Vec<String> = all(work)?.into_iter().filter_map(|one| one.delay_id).collect();
    for one in all(work)? {
        let in_doubt = one.state == HeartbeatState::InDoubt
            && one.stable == stable
            && one.unsettled_until <= work.now;
        if !in_doubt {
            continue;
        }
        let found = list.events.iter().find(|event| {
            event.room_id == one.room_id
                && !known.contains(&event.delay_id.to_string())
                && is_content_of(&one, &event.content)
        });
        match found {
            Some(event) => {
                let cancel = one.cancel || is_superseded(work, &one)?;
                let since = work.now;
                known.push(event.delay_id.to_string());
                arm(work, Heartbeat { cancel, since, ..one }, event.delay_id.to_string())?;
            }
            // There is more than this page shows.
            None if list.more => {
                let unsettled_until = work.now + UNSETTLED;
                work.tx.put(&Heartbeat { unsettled_until, ..one })?;
            }
            None => work.tx.delete::<Heartbeat>(&one.key())?,
        }
    }
    Ok(())
}

/// Records that the server has sent a message, by the event of our own that comes with a sync.
pub(super) fn recognise(work: &Work<'_>, room_id: &str, event: &RoomEvent<'_>) -> Result<()> {
    if event.sender != work.own.user_id {
        return Ok(());
    }
    for mut one in all(work)? {
        if one.room_id != room_id || one.state == HeartbeatState::Sent {
            continue;
        }
        if one.state == HeartbeatState::Starting
            && let Some(row) = work.tx.get::<OutboxRow>(&[one.number.into()])?
        {
            one.sent_content = row.wire.map(|(_, content)| content);
        }
        if !is_event_of(&one, event) {
            continue;
        }
        take_out(work, &mut one)?;
        if is_superseded(work, &one)? {
            work.tx.delete::<Heartbeat>(&one.key())?;
            continue;
        }
        one.state = HeartbeatState::Sent;
        one.cancel = false;
        one.event_id = Some(event.event_id.clone());
        one.sent_at = Some(event.origin_server_ts);
        work.tx.put(&one)?;
    }
    Ok(())
}

/// A ciphertext stands for one message for ever. One in the clear is known by what the server says of it.
fn is_event_of(one: &Heartbeat, event: &RoomEvent<'_>) -> bool {
    let names = ["delay_id", "org.matrix.msc4140.delay_id"];
    let named = names.iter().find_map(|name| event.unsigned.text(name));
    if named.is_some() && named.as_deref() == one.delay_id.as_deref() {
        return true;
    }
    is_encrypted(one) && is_content_of(one, &event.content)
}

fn is_encrypted(one: &Heartbeat) -> bool {
    let content = one.sent_content.as_deref().map(Members::read);
    matches!(content, Some(Ok(content)) if content.text("algorithm").as_deref() == Some(MEGOLM))
}

/// Whether a content is that of this message.
fn is_content_of(one: &Heartbeat, content: &Members<'_>) -> bool {
    let Some(Ok(ours)) = one.sent_content.as_deref().map(Members::read) else { return false };
    if is_encrypted(one) {
        return ours.text("ciphertext") == content.text("ciphertext");
    }
    let same = |name: &String| {
        let parsed = |members: &Members<'_>| Json::parse(members.raw(name)?.get()).ok();
        parsed(&ours).is_some_and(|value| parsed(content) == Some(value))
    };
    ours.0.len() == content.0.len() && ours.0.keys().all(same)
}
