//! What waits to be sent to a room, a step at a time: room keys first, then events in their order;
//! before the first event whatever it takes to know who reads it.

use super::{
    Millis, SECOND, Work, failures, gaps, isolation, olm_sessions, outbox, outcomes,
    pump::Pump,
    request_table::{Body, TRANSACTION_IDS_LAST},
    room_keys::{self, Readers, Sharing},
    rooms, uploads,
};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::{identifier::is_segment, room_state},
    primitives::account::MEGOLM,
    store::records::{
        Ask, Isolation, Lane, OutboundSession, OutboxBody, OutboxRow, OutboxState, Room,
        SyncPosition,
    },
};

/// How old the last sync may be when a message is encrypted. Who has left since then, or signed in
/// with a new device, is not known here: a program that only sends would never hear of it.
const FRESH: Millis = 10 * SECOND;

/// The code of what no request can be made of.
const UNADDRESSABLE: &str = "MXCRYPT_UNADDRESSABLE";

/// How many events of a room are encrypted and given out at a time.
const EVENTS_AT_A_TIME: usize = 100;

/// Does what can be done now for what waits to be sent to a room, a step at a time: room keys
/// first, then events in their order; before the first event whatever it takes to know who
/// reads it.
pub(super) fn send_to_room(pump: &mut Pump<'_, '_>, room_id: &str) -> Result<()> {
    if !is_segment(room_id) {
        // The room is one that a server named so. What waits for it must not stop other rooms.
        let message = "No request can name this room.";
        return outcomes::refuse_queued(pump.work, room_id, UNADDRESSABLE, message);
    }
    let fixed = outbox::rows(pump.work, room_id, OutboxState::Fixed)?;
    let (to_device, events): (Vec<_>, Vec<_>) =
        fixed.into_iter().partition(|row| row.body.to_device().is_some());
    if !to_device.is_empty() {
        return outbox::send_rows(pump, to_device);
    }
    let room = rooms::room(pump.work, room_id)?;
    let events = outcomes::refuse_plain(pump.work, &room, events)?;
    if !events.is_empty() {
        return send_events_again(pump, room_id, events);
    }
    let queued = loop {
        let queued = outbox::queued(pump.work, room_id, EVENTS_AT_A_TIME)?;
        let n = queued.len();
        let left = uploads::refuse_exposed(pump.work, &room, queued)?;
        if left.len() == n {
            break left;
        }
    };
    let Some(first) = queued.first() else { return Ok(()) };
    match (Readers::of(&first.body), &first.body) {
        (Some(readers), OutboxBody::Event { plain_allowed, .. }) => {
            let is_encrypted = room.encryption.is_some() || readers.demanded;
            if !is_encrypted && !plain_allowed {
                return ask_encryption(pump, room_id);
            }
            if uploads::upload_next(pump, first)? {
                return Ok(());
            }
            if is_encrypted {
                return send_encrypted(pump, &room, &readers, queued);
            }
            send_plain(pump, &room, queued)
        }
        _ => send_plain(pump, &room, queued),
    }
}

/// Events that may have been sent already go before all others, and wait for each other.
fn send_events_again(pump: &mut Pump<'_, '_>, room_id: &str, events: Vec<OutboxRow>) -> Result<()> {
    let position = pump.work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
    let has_gap = gaps::open_gaps(pump.work)?
        .iter()
        .any(|ask| matches!(ask, Ask::Gap { room_id: of, .. } if of == room_id));
    let too_old = |row: &OutboxRow| {
        let unseen = has_gap || position.committed_at <= row.attempted_at;
        // The server forgets the transaction id from the first time on.
        let known = row.first_attempted_at;
        let first = if known > 0 { known } else { row.attempted_at };
        first + TRANSACTION_IDS_LAST < pump.work.now && unseen
    };
    if events.iter().any(|row| outbox::is_sending(pump, row)) {
        return Ok(());
    }
    if events.iter().any(too_old) {
        pump.out.sync_first = true;
        return Ok(());
    }
    outbox::send_rows(pump, events)
}

fn send_plain(pump: &mut Pump<'_, '_>, room: &Room, queued: Vec<OutboxRow>) -> Result<()> {
    let mut rows = Vec::new();
    for row in queued {
        // Also events behind one that goes out in the clear: the room may be encrypted by now, and
        // an event may be one that must be encrypted anywhere.
        if let OutboxBody::Event { plain_allowed, demand_encryption, .. } = row.body
            && (!plain_allowed
                || demand_encryption
                || room.encryption.is_some()
                || !row.body.uploads().is_empty())
        {
            break;
        }
        rows.extend(fixed_plain(pump, row)?);
    }
    outbox::send_rows(pump, rows)
}

/// A row that goes out in the clear, with its bytes; none where no request can be made of it. It is
/// refused then, so that the rows behind it are sent.
fn fixed_plain(pump: &mut Pump<'_, '_>, mut row: OutboxRow) -> Result<Option<OutboxRow>> {
    match outbox::fix_plain(&mut row) {
        Ok(()) => Ok(Some(row)),
        Err(error) if error.kind == Kind::Argument => {
            outcomes::refuse(pump.work, row, UNADDRESSABLE, &error.message)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn send_encrypted(
    pump: &mut Pump<'_, '_>,
    room: &Room,
    readers: &Readers,
    queued: Vec<OutboxRow>,
) -> Result<()> {
    let room_id = room.room_id.as_str();
    let algorithm = room.encryption.as_ref().map_or(MEGOLM, |known| known.algorithm.as_str());
    if algorithm != MEGOLM {
        let message = format!("The room is encrypted with {algorithm}, which is not known here.");
        return outcomes::refuse_queued(pump.work, room_id, "MXCRYPT_UNKNOWN_ALGORITHM", &message);
    }
    if ask_about(pump, room)? {
        return Ok(());
    }
    if is_stale(pump, room_id)? {
        pump.out.sync_first = true;
        return Ok(());
    }
    let isolation =
        if readers.demanded { Isolation::All } else { isolation::isolation(pump.work)? };
    let mut session = match room_keys::share_room_key(pump.work, room, readers, isolation)? {
        // They are requested after all rooms had their turn.
        Sharing::WantsDevices(users) => {
            pump.unknown.insert(room_id.to_owned(), users);
            return Ok(());
        }
        Sharing::WantsOneTimeKeys(devices) => {
            let lane = Lane::Room(room_id.to_owned());
            return olm_sessions::claim_one_time_keys(pump, &lane, devices);
        }
        Sharing::ReachesNobody(unreached) => {
            if let Some(failure) = failures::why_not_asked(pump.work, &unreached)? {
                pump.hold_up(room_id, &failure);
                return Ok(());
            }
            let message = "No device of any recipient could be given the key, so nobody could read \
                           this message.";
            return refuse_for(pump, room_id, readers, "MXCRYPT_REACHES_NOBODY", message);
        }
        Sharing::OnlyUnsigned => {
            let message = "No recipient has a device signed by an accepted identity, so nobody could \
                           read this message.";
            return refuse_for(pump, room_id, readers, "MXCRYPT_ONLY_UNSIGNED", message);
        }
        Sharing::UnsignedOfVerified => {
            let message = "Users you verified have devices that they did not sign.";
            return refuse_for(pump, room_id, readers, "MXCRYPT_UNSIGNED_DEVICES", message);
        }
        Sharing::Violation(users) => {
            let message = format!(
                "{} had been verified, and has another identity now. Verify again, or withdraw \
                 the verification with mx_user_withdraw().",
                users.join(", ")
            );
            return refuse_for(pump, room_id, readers, "MXCRYPT_IDENTITY_CHANGED", &message);
        }
        Sharing::Done { staged, .. } if !staged.is_empty() => {
            return outbox::send_new_rows(pump, staged);
        }
        Sharing::Done { session, .. } => session,
    };
    let left = messages_left(room, &session);
    let mut rows = Vec::new();
    for mut row in queued.into_iter().take(left) {
        match &row.body {
            body if Readers::of(body).as_ref() == Some(readers) && body.uploads().is_empty() => {
                outbox::fix_encrypted(pump.work, &mut row, &mut session)?;
                rows.push(row);
            }
            OutboxBody::Redaction { .. } | OutboxBody::Reaction { .. } => {
                rows.extend(fixed_plain(pump, row)?);
            }
            _ => break,
        }
    }
    // The ratchet is saved in the transaction in which its messages are.
    pump.work.tx.put(&*session)?;
    outbox::send_rows(pump, rows)
}

/// Refuses the messages that are for these readers. What needs no key of theirs goes on.
fn refuse_for(
    pump: &mut Pump<'_, '_>,
    room_id: &str,
    readers: &Readers,
    code: &str,
    message: &str,
) -> Result<()> {
    for row in outbox::rows(pump.work, room_id, OutboxState::Queued)? {
        if Readers::of(&row.body).as_ref() == Some(readers) {
            outcomes::refuse(pump.work, row, code, message)?;
        }
    }
    Ok(())
}

/// Whether what is known of a room's readers is too old. What was never synced was fetched for
/// the first message.
fn is_stale(pump: &Pump<'_, '_>, room_id: &str) -> Result<bool> {
    let position = pump.work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
    let known_at = match position.token {
        Some(_) => position.committed_at,
        None => match pump.work.tx.get::<OutboundSession>(&[room_id.into()])? {
            Some(session) => session.created_at,
            None => return Ok(false),
        },
    };
    // Also after the clock was set back.
    Ok((pump.work.now - known_at).abs() > FRESH)
}

fn ask_encryption(pump: &mut Pump<'_, '_>, room_id: &str) -> Result<()> {
    let queued = outbox::rows(pump.work, room_id, OutboxState::Queued)?;
    let up_to = queued.last().map_or(0, |row| row.number);
    pump.ask(Ask::Encryption { room_id: room_id.to_owned(), up_to }, Body::Implied)
}

/// Requests what is not known of an encrypted room. Returns whether something is missing.
fn ask_about(pump: &mut Pump<'_, '_>, room: &Room) -> Result<bool> {
    let (room_id, generation) = (room.room_id.clone(), room.members_generation);
    if !room.visibility_known {
        let ask = Ask::HistoryVisibility { room_id: room_id.clone(), generation };
        pump.ask(ask, Body::Implied)?;
    }
    if !room.members_known {
        pump.ask(Ask::Members { room_id, generation }, Body::Implied)?;
    }
    Ok(!room.visibility_known || !room.members_known)
}

/// How many messages the session of a room may still encrypt.
fn messages_left(room: &Room, session: &OutboundSession) -> usize {
    let used = u64::from(session.session.message_index());
    let most = room.encryption.clone().unwrap_or_default().rotation_messages;
    usize::try_from(most.saturating_sub(used)).unwrap_or(usize::MAX)
}

/// Applies the response about the encryption of a room; 404 means none.
pub(super) fn encryption_answered(
    work: &mut Work<'_>,
    room_id: &str,
    up_to: i64,
    body: Option<&str>,
) -> Result<()> {
    match body {
        Some(body) => {
            let settings = room_state::read_encryption(body);
            let settings = settings.or_fail(Kind::Answer, "The encryption")?;
            rooms::set_encryption(work, room_id, settings)
        }
        None => outbox::allow_plain(work, room_id, up_to),
    }
}
