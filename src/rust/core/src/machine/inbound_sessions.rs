//! Megolm sessions that messages are read with: which of those that came are kept, and which one
//! reads an event.

use std::{cmp::Reverse, collections::BTreeSet};

use vodozemac::megolm::SessionOrdering;

use super::{
    Work,
    effects::{self, Effect},
    tracking,
};
use crate::{
    error::Result,
    judgement::{
        exported_session::ExportedSession,
        room_event::{MegolmContent, RoomEvent},
        utd_reason::UtdReason,
    },
    primitives::megolm,
    store::{
        BATCH, Query, Record,
        records::{Device, InboundSession, KeySource, Unreadable, WaitingEvent},
    },
};

/// Stands for the sender of a session whose creator nobody names.
const NOBODY: &str = "";

/// What became of a session that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is kept: it is new, reads more than the one that was there, or proves more.
    Taken,
    /// The one that was there reads as much.
    Known,
    /// It has the id of one that is there, and is another ratchet.
    Contradicts,
}

/// Keeps a session, unless the one that is there reads as much. The events that waited for it are
/// read later in the transaction.
///
/// Sessions are kept by their sender too. A user who was given a session key can forward it in
/// their own name, even before its creator does: that must neither replace the creator's row nor
/// keep it out.
///
/// If both keys belong to one ratchet, the lower index is kept, whatever its source, and the
/// better-proven source. A key of another ratchet replaces one that proved nothing.
pub(super) fn keep_session(work: &mut Work<'_>, mut offered: InboundSession) -> Result<Keeping> {
    // Then this is all that the backup has of it, too.
    let backed_up = offered.source == KeySource::Backup;
    let Some(mut kept) = session_beside(work, &offered)? else {
        offered.number = work.tx.take_number("inbound session")?;
        return put_session(work, offered, backed_up);
    };
    let order = offered.session.compare(&mut kept.session);
    let is_connected = order != SessionOrdering::Unconnected;
    if !proves_more(work, &mut offered, &kept, is_connected)? {
        return match order {
            SessionOrdering::Better => {
                kept.session = offered.session;
                put_session(work, kept, backed_up)
            }
            SessionOrdering::Unconnected => Ok(Keeping::Contradicts),
            _ => Ok(Keeping::Known),
        };
    }
    forget_session(work, &kept)?;
    offered.number = kept.number;
    if is_connected {
        offered.first_read = kept.first_read;
    }
    if matches!(order, SessionOrdering::Equal | SessionOrdering::Worse) {
        offered.session = kept.session;
    }
    put_session(work, offered, backed_up)
}

/// Whether `offered` is better proven to be the session of this id than `kept`: it came from the
/// sender; or neither did, and it reads an event that waits, which proves its ratchet. Only the
/// sender can sign a message of the session.
fn proves_more(
    work: &Work<'_>,
    offered: &mut InboundSession,
    kept: &InboundSession,
    is_connected: bool,
) -> Result<bool> {
    if offered.source.is_authentic() || kept.source.is_authentic() {
        return Ok(!kept.source.is_authentic());
    }
    let says_the_same = offered.sender_key == kept.sender_key
        && offered.sender_signing_key == kept.sender_signing_key;
    if kept.first_read > 0 || is_connected && says_the_same {
        return Ok(false);
    }
    reads_waiting(work, offered)
}

/// How many waiting events show whether a key reads them.
const MOST_TRIED: usize = 5;

/// Whether a session reads an event that waits for it.
fn reads_waiting(work: &Work<'_>, session: &mut InboundSession) -> Result<bool> {
    let of_session = Query::equal("room_id", session.room_id.as_str())
        .and("session_id", session.session_id.as_str());
    // A few prove as much as all: somebody may offer many keys while many events wait.
    for event in work.tx.select::<WaitingEvent>(&of_session.limit(MOST_TRIED))? {
        let Ok(outer) = RoomEvent::read(&event.raw) else { continue };
        let Ok(content) = MegolmContent::read(&outer) else { continue };
        if decrypt_with(session, &content.ciphertext).is_ok()
            && !is_of_another(work, session, &outer.sender)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps a session whose creator is named only by its file, backup or bundle.
pub(super) fn keep_exported(
    work: &mut Work<'_>,
    exported: ExportedSession,
    source: KeySource,
    forwarder: Option<&str>,
) -> Result<Keeping> {
    let session = InboundSession {
        sender_key: exported.sender_key,
        sender_signing_key: exported.sender_signing_key,
        forwarder: forwarder.map(str::to_owned),
        // Sharing a key in a bundle says that it may be shared.
        shared_history: exported.shared_history || source == KeySource::Bundle,
        ..InboundSession::new(exported.room_id, exported.session, source)
    };
    keep_session(work, session)
}

/// The session that is kept already and `offered` may join: that of the same sender; or, where
/// one of them has no sender, that of the same device, or of one that is not known, as in a store
/// of mx.client. Two rows of one ratchet would let a ciphertext stand for two events.
fn session_beside(work: &Work<'_>, offered: &InboundSession) -> Result<Option<InboundSession>> {
    if let Some(kept) = work.tx.get(&offered.key())? {
        return Ok(Some(kept));
    }
    let of_session = Query::equal("room_id", offered.room_id.as_str())
        .and("session_id", offered.session_id.as_str());
    let others = work.tx.select::<InboundSession>(&of_session)?;
    Ok(others.into_iter().find(|kept| {
        let is_same_device = kept.sender_key == offered.sender_key
            || kept.sender_key.is_empty()
            || offered.sender_key.is_empty();
        (kept.sender.is_none() || offered.sender.is_none()) && is_same_device
    }))
}

/// The row of a session that is handed on, where several have its id.
pub(super) fn best_session(
    work: &Work<'_>,
    room_id: &str,
    session_id: &str,
) -> Result<Option<InboundSession>> {
    let of_session = Query::equal("room_id", room_id).and("session_id", session_id);
    Ok(best(work.tx.select(&of_session)?))
}

/// The row that is handed on of the session that `row` belongs to.
pub(super) fn best_of(work: &Work<'_>, row: InboundSession) -> Result<InboundSession> {
    let of_session =
        Query::equal("room_id", row.room_id.as_str()).and("session_id", row.session_id.as_str());
    if work.tx.count::<InboundSession>(&of_session)? == 1 {
        return Ok(row);
    }
    Ok(best(work.tx.select(&of_session)?).unwrap_or(row))
}

/// Notes that the session at `place`, which had read nothing, has read an event of its own sender.
pub(super) fn note_first_read(work: &mut Work<'_>, place: &Place) -> Result<()> {
    let of_session = Query::equal("room_id", place.0.as_str()).and("session_id", place.1.as_str());
    let is_only = work.tx.count::<InboundSession>(&of_session)? == 1;
    let Some(session) = work.read.get_mut(place) else { return Ok(()) };
    session.first_read = work.tx.take_number("first read")?;
    if !is_only {
        // The backup may hold another row of it.
        session.changed = work.tx.take_number("session change")?;
    }
    work.tx.put(&*session)
}

fn forget_session(work: &mut Work<'_>, session: &InboundSession) -> Result<()> {
    work.tx.delete::<InboundSession>(&session.key())?;
    forget_read(work, &place(session));
    Ok(())
}

/// Forgets what was read of the session at `place`, which changed.
fn forget_read(work: &mut Work<'_>, place: &Place) {
    work.read.remove(place);
    work.ahead.remove(place);
}

fn put_session(
    work: &mut Work<'_>,
    mut session: InboundSession,
    backed_up: bool,
) -> Result<Keeping> {
    session.changed = if backed_up { 0 } else { work.tx.take_number("session change")? };
    work.tx.put(&session)?;
    let place = place(&session);
    forget_read(work, &place);
    let (room_id, session_id) = (session.room_id.clone(), session.session_id.clone());
    effects::push(work, Effect::RoomKeyArrived { room_id, session_id });
    // Its events come with the same sync, as a rule.
    if session.source == KeySource::Direct {
        work.read.insert(place, session);
    }
    Ok(Keeping::Taken)
}

/// The session that reads an event of `sender`: one that `sender` made; or else one whose creator
/// is unknown, unless its device is known to belong to another user.
pub(super) fn session_of<'w>(
    work: &'w mut Work<'_>,
    room_id: &str,
    session_id: &str,
    sender: &str,
) -> Result<Option<&'w mut InboundSession>> {
    let place = |sender: &str| (room_id.to_owned(), session_id.to_owned(), sender.to_owned());
    if load(work, &place(sender))? {
        return Ok(work.read.get_mut(&place(sender)));
    }
    if !load(work, &place(NOBODY))? {
        disown_forwarded(work, room_id, session_id)?;
        if !load(work, &place(NOBODY))? {
            return Ok(None);
        }
    }
    // The devices of its alleged creator are needed when its messages are judged.
    tracking::track(work, sender)?;
    match work.read.get(&place(NOBODY)) {
        Some(session) if is_of_another(work, session, sender)? => Ok(None),
        _ => Ok(work.read.get_mut(&place(NOBODY))),
    }
}

/// Where the session is read that most likely reads an event of `sender`: [`session_of`] decides.
pub(super) fn likely_place(
    work: &mut Work<'_>,
    room_id: &str,
    session_id: &str,
    sender: &str,
) -> Result<Option<Place>> {
    for sender in [sender, NOBODY] {
        let place = (room_id.to_owned(), session_id.to_owned(), sender.to_owned());
        if load(work, &place)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn load(work: &mut Work<'_>, place: &Place) -> Result<bool> {
    if work.read.contains_key(place) {
        return Ok(true);
    }
    let (room_id, session_id, sender) = place;
    let found: Option<InboundSession> = work.tx.get(&[
        room_id.as_str().into(),
        session_id.as_str().into(),
        sender.as_str().into(),
    ])?;
    let found = found.filter(|session| !is_misattributed(session));
    let found = found.map(|session| work.read.insert(place.clone(), session));
    Ok(found.is_some())
}

/// Takes the sender from the rows of a session that have one and should not.
fn disown_forwarded(work: &mut Work<'_>, room_id: &str, session_id: &str) -> Result<()> {
    let of_session = Query::equal("room_id", room_id).and("session_id", session_id);
    let mut rows = work.tx.select::<InboundSession>(&of_session)?;
    rows.retain(is_misattributed);
    for row in rows {
        forget_session(work, &row)?;
        work.tx.put(&InboundSession { sender: None, ..row })?;
    }
    Ok(())
}

/// Whether the device that is said to have made `session` belongs to somebody else. Both of its
/// keys count: anybody can publish a device with the Curve25519 key of another.
fn is_of_another(work: &Work<'_>, session: &InboundSession, sender: &str) -> Result<bool> {
    let key = Query::equal("identity_key", session.sender_key.as_str());
    let mut devices = work.tx.select::<Device>(&key)?;
    devices.retain(|device| device.signing_key == session.sender_signing_key);
    Ok(!devices.is_empty() && devices.iter().all(|device| device.user_id != sender))
}

/// The row of a session that is handed on. A member who was given a key can hand it on in their own name,
/// from a lower index: of several rows, the one that first read an event of its own sender counts. It
/// goes out from the lowest index that is known of its ratchet.
pub(super) fn best(rows: Vec<InboundSession>) -> Option<InboundSession> {
    let rank = |row: &InboundSession| {
        let order = if row.first_read > 0 { row.first_read } else { i64::MAX };
        let is_own = row.source == KeySource::Own;
        Reverse((!is_own, order, !row.source.is_authentic(), row.number))
    };
    let (mut best, mut others) = (None::<InboundSession>, Vec::new());
    for row in rows {
        if best.as_ref().is_none_or(|best| rank(best) < rank(&row)) {
            others.extend(best.replace(row));
        } else {
            others.push(row);
        }
    }
    let mut best = best?;
    for mut other in others {
        if other.session.compare(&mut best.session) == SessionOrdering::Better {
            best.session = other.session;
        }
    }
    Some(best)
}

/// Whether a session came from its sender, and has read what that sender said.
pub(super) fn is_proven(session: &InboundSession) -> bool {
    let is_own = session.source == KeySource::Own;
    is_own || session.source.is_authentic() && session.first_read > 0
}

/// Earlier versions kept a forwarded key under the sender of the event that it was asked for, which was
/// anybody who had named the session.
fn is_misattributed(session: &InboundSession) -> bool {
    session.source == KeySource::Forwarded && session.sender.is_some()
}

/// Sessions, by room and id, as so many of a room as one statement looks for.
pub(super) fn batches(sessions: &BTreeSet<(String, String)>) -> Vec<(&str, Vec<&str>)> {
    let mut batches: Vec<(&str, Vec<&str>)> = Vec::new();
    for (room_id, session_id) in sessions {
        match batches.last_mut() {
            Some((of, ids)) if *of == room_id && ids.len() < BATCH => ids.push(session_id),
            _ => batches.push((room_id, vec![session_id])),
        }
    }
    batches
}

/// What belongs to a batch of sessions.
pub(super) fn of_batch((room_id, session_ids): &(&str, Vec<&str>)) -> Query {
    Query::equal("room_id", *room_id).and_among("session_id", session_ids.iter().copied())
}

/// Room, session and sender: where a session is found among those that were read.
pub(super) type Place = (String, String, String);

pub(super) fn place(session: &InboundSession) -> Place {
    let sender = session.sender.clone().unwrap_or_else(|| NOBODY.to_owned());
    (session.room_id.clone(), session.session_id.clone(), sender)
}

/// Decrypts a message with the session that was read from `place`, unless that was done ahead.
pub(super) fn decrypt_at(
    work: &mut Work<'_>,
    place: &Place,
    ciphertext: &str,
) -> Result<megolm::Decrypted, Unreadable> {
    let ahead = work.ahead.get_mut(place).and_then(|messages| messages.remove(ciphertext));
    match (ahead, work.read.get_mut(place)) {
        (Some(decrypted), Some(_)) => Ok(decrypted),
        (_, Some(session)) => decrypt_with(session, ciphertext),
        (_, None) => Err(UtdReason::UnknownSession.unreadable()),
    }
}

fn decrypt_with(
    session: &mut InboundSession,
    ciphertext: &str,
) -> Result<megolm::Decrypted, Unreadable> {
    let message = megolm::message(ciphertext)
        .map_err(|error| UtdReason::MalformedEvent.because(error.message))?;
    if message.message_index() < session.session.first_known_index() {
        return Err(UtdReason::UnknownIndex.unreadable());
    }
    megolm::decrypt_message(&mut session.session, &message).map_err(|_| {
        if session.source.is_authentic() || session.first_read > 0 {
            UtdReason::BadMessage.unreadable()
        } else {
            UtdReason::WrongKey.unreadable()
        }
    })
}
