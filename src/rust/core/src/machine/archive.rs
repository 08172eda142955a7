//! The archive: what a user wants to keep of rooms, sealed like all that is kept here.
//!
//! Whatever is delivered of an archived room is kept, and so is its history, see `archive_history`. An event
//! is kept once, under its id. What is redacted is redacted here, too.

use std::collections::HashSet;

use super::{Machine, Millis, Work};
use crate::{
    error::Result,
    judgement::{attachment::Attachment, room_event::RESERVED, utd_reason::UtdReason},
    store::{
        Query, Record,
        records::{
            ArchivedEdit, ArchivedEvent, ArchivedMedia, ArchivedRedaction, ArchivedRoom,
            ArchivedUnread, Event,
        },
    },
};

/// What is known of an archived room.
#[derive(Debug)]
pub struct ArchiveStatus {
    /// The room, and how far its history was read.
    pub room: ArchivedRoom,
    /// How many events are kept.
    pub events: usize,
    /// How many of them wait for a key.
    pub unread: usize,
    /// How many files of messages are kept.
    pub files: usize,
    /// How many are not.
    pub files_missing: usize,
}

impl Machine {
    /// Archives a room from now on. A `retention` (milliseconds) or a `largest_media` (bytes) that is given
    /// replaces the former one; an inner `None` keeps events for ever.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archive(
        &mut self,
        now: Millis,
        room_id: &str,
        retention: Option<Option<Millis>>,
        largest_media: Option<u64>,
    ) -> Result<()> {
        self.work(now, |work| {
            let known = work.tx.get::<ArchivedRoom>(&[room_id.into()])?;
            let mut room = known.clone().unwrap_or_default();
            room.room_id = room_id.to_owned();
            if let Some(retention) = retention {
                if is_longer(retention, room.retention) {
                    // What was too old until now is not.
                    room.next = None;
                    room.complete = false;
                    room.forgotten = None;
                }
                room.retention = retention;
            }
            if let Some(largest_media) = largest_media {
                room.largest_media = largest_media;
            }
            if known.as_ref() != Some(&room) {
                work.tx.put(&room)?;
            }
            expire(work)
        })
    }

    /// How far the history of a room was read, if it is archived.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_room(&mut self, room_id: &str) -> Result<Option<ArchivedRoom>> {
        self.read(|work| work.tx.get(&[room_id.into()]))
    }

    /// The ids of the rooms that are archived.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_room_ids(&mut self) -> Result<Vec<String>> {
        self.read(|work| work.tx.texts::<ArchivedRoom>("room_id", &Query::all()))
    }

    /// The rooms that are archived, and how much is kept of each.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_rooms(&mut self) -> Result<Vec<ArchiveStatus>> {
        self.read(|work| {
            let rooms = work.tx.select::<ArchivedRoom>(&Query::all())?.into_iter();
            let status = |room: ArchivedRoom| {
                let of_room = Query::equal("room_id", room.room_id.as_str());
                let kept = of_room.clone().after("file_name", "");
                let files = work.tx.count::<ArchivedMedia>(&kept)?;
                let attachments = work.tx.count::<ArchivedMedia>(&of_room)?;
                Ok(ArchiveStatus {
                    files,
                    files_missing: attachments - files,
                    events: work.tx.count::<ArchivedEvent>(&of_room)?,
                    unread: work.tx.count::<ArchivedUnread>(&of_room)?,
                    room,
                })
            };
            rooms.map(status).collect()
        })
    }

    /// Deletes what is kept of a room: all of it, after which the room is not archived any more, or what was sent
    /// before a time. Returns how many events were deleted.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget_archive(
        &mut self,
        now: Millis,
        room_id: &str,
        before: Option<Millis>,
    ) -> Result<usize> {
        let forgotten = self.work(now, |work| {
            if let Some(before) = before {
                note_forgotten(work, room_id, before)?;
                return forget_before(work, room_id, before);
            }
            let of_room = Query::equal("room_id", room_id);
            work.tx.delete::<ArchivedRoom>(&[room_id.into()])?;
            work.tx.delete_where::<ArchivedEdit>(&of_room)?;
            work.tx.delete_where::<ArchivedUnread>(&of_room)?;
            work.tx.delete_where::<ArchivedRedaction>(&of_room)?;
            work.tx.delete_where::<ArchivedMedia>(&of_room)?;
            work.tx.delete_where::<ArchivedEvent>(&of_room)
        })?;
        self.store.empty_log();
        Ok(forgotten)
    }
}

/// From which side an event comes, which says where it stands among events of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It is newer than what was kept so far.
    New,
    /// It is older than what was read of the history so far.
    Old,
}

/// Keeps an event, if its room is archived.
pub(super) fn keep(work: &Work<'_>, event: &Event, side: Side) -> Result<()> {
    if !is_archived(work, &event.room_id)? {
        return Ok(());
    }
    if UtdReason::of(event) == Some(UtdReason::Gap) {
        return read_again(work, &event.room_id);
    }
    if is_forgotten(work, event)? {
        return Ok(());
    }
    // A report of this device is under the id of the event that it is about.
    let Some(event_id) = event.event_id.as_deref().filter(|_| !is_report(event)) else {
        return Ok(());
    };
    if let Some(target) = &event.redacts {
        redact(work, &event.room_id, target)?;
    }
    if event.redacted {
        redact(work, &event.room_id, event_id)?;
    }
    let known = archived(work, &event.room_id, event_id)?;
    if known.as_ref().is_some_and(|known| !is_better(event, &known.event)) {
        return Ok(());
    }
    let event = if is_redacted(work, event, event_id)? { redacted(event) } else { event.clone() };
    let (sent_at, number) = match &known {
        Some(known) => (known.sent_at, known.number),
        None => (event.origin_server_ts, number_at(work, side)?),
    };
    put(work, known, ArchivedEvent { sent_at, number, event })
}

/// History that is read again does not bring back what the user had deleted.
fn note_forgotten(work: &Work<'_>, room_id: &str, before: Millis) -> Result<()> {
    let Some(room) = work.tx.get::<ArchivedRoom>(&[room_id.into()])? else { return Ok(()) };
    let forgotten = Some(before.min(work.now)).max(room.forgotten);
    work.tx.put(&ArchivedRoom { forgotten, ..room })
}

fn is_forgotten(work: &Work<'_>, event: &Event) -> Result<bool> {
    let room = work.tx.get::<ArchivedRoom>(&[event.room_id.as_str().into()])?;
    let forgotten = room.and_then(|room| room.forgotten);
    Ok(forgotten.is_some_and(|until| event.origin_server_ts < until))
}

fn is_longer(retention: Option<Millis>, before: Option<Millis>) -> bool {
    before.is_some_and(|before| retention.is_none_or(|retention| retention > before))
}

/// Whether an event, or what it edits, was redacted before it came: history is read from its end, and a
/// server may return its original content.
fn is_redacted(work: &Work<'_>, event: &Event, event_id: &str) -> Result<bool> {
    let is_noted = |event_id: &str| {
        let key = [event.room_id.as_str().into(), event_id.into()];
        Ok(work.tx.get::<ArchivedRedaction>(&key)?.is_some())
    };
    match &event.replaces {
        Some(original) if is_noted(original)? => Ok(true),
        _ => is_noted(event_id),
    }
}

/// What is left of an event that was redacted.
fn redacted(event: &Event) -> Event {
    Event {
        room_id: event.room_id.clone(),
        event_id: event.event_id.clone(),
        event_type: event.event_type.clone(),
        state_key: event.state_key.clone(),
        sender: event.sender.clone(),
        origin_server_ts: event.origin_server_ts,
        content: "{}".to_owned(),
        redacted: true,
        ..Event::default()
    }
}

fn number_at(work: &Work<'_>, side: Side) -> Result<i64> {
    let number = work.tx.take_number("archive")?;
    Ok(if side == Side::Old { -number } else { number })
}

/// The rooms that are archived are read once in a transaction: most stores have none.
fn is_archived(work: &Work<'_>, room_id: &str) -> Result<bool> {
    if work.archived.borrow().is_none() {
        let rooms = work.tx.texts::<ArchivedRoom>("room_id", &Query::all())?;
        *work.archived.borrow_mut() = Some(HashSet::from_iter(rooms));
    }
    Ok(work.archived.borrow().as_ref().is_some_and(|rooms| rooms.contains(room_id)))
}

fn is_report(event: &Event) -> bool {
    event.event_type.starts_with(RESERVED)
}

/// Events are missing that the server has: what is known already is not kept twice.
fn read_again(work: &Work<'_>, room_id: &str) -> Result<()> {
    match work.tx.get::<ArchivedRoom>(&[room_id.into()])? {
        Some(room) => work.tx.put(&ArchivedRoom { next: None, complete: false, ..room }),
        None => Ok(()),
    }
}

/// Whether an event says more than what is known under its id. The first that could be read stays, whatever
/// the server returns later, unless it was redacted.
fn is_better(event: &Event, known: &Event) -> bool {
    if known.redacted {
        return false;
    }
    event.redacted || (known.unreadable.is_some() && event != known)
}

/// The archived event `event_id`.
pub(super) fn archived(
    work: &Work<'_>,
    room_id: &str,
    event_id: &str,
) -> Result<Option<ArchivedEvent>> {
    let of_id = Query::equal("room_id", room_id).and("event_id", event_id);
    Ok(work.tx.select::<ArchivedEvent>(&of_id)?.into_iter().next())
}

/// Puts an event in the place of what was known of it, and notes what it edits and waits for, and its attachment.
fn put(work: &Work<'_>, known: Option<ArchivedEvent>, new: ArchivedEvent) -> Result<()> {
    if let Some(known) = known {
        forget_notes(work, &known.event)?;
    }
    let event = &new.event;
    let (room_id, event_id) = (event.room_id.clone(), event.event_id.clone().unwrap_or_default());
    if let Some(original) = event.replaces.clone() {
        let (room_id, event_id) = (room_id.clone(), event_id.clone());
        work.tx.put(&ArchivedEdit { room_id, original, event_id })?;
    }
    let waits = UtdReason::of(event).is_some_and(UtdReason::waits_for_key);
    if let Some(session_id) = event.session_id.clone().filter(|_| waits) {
        let (room_id, event_id) = (room_id.clone(), event_id.clone());
        work.tx.put(&ArchivedUnread { room_id, session_id, event_id })?;
    }
    if let Some(Attachment { url, .. }) = Attachment::of(&new.event) {
        work.tx.put(&ArchivedMedia {
            room_id,
            event_id,
            sent_at: new.sent_at,
            url,
            file: None,
            tries: 0,
            larger_than: None,
        })?;
    }
    work.tx.put(&new)
}

/// Deletes what points to an event, and the row of its file.
fn forget_notes(work: &Work<'_>, event: &Event) -> Result<()> {
    let room_id = event.room_id.as_str();
    let event_id = event.event_id.as_deref().unwrap_or_default();
    work.tx.delete::<ArchivedMedia>(&[room_id.into(), event_id.into()])?;
    if let Some(original) = &event.replaces {
        work.tx.delete::<ArchivedEdit>(&[
            room_id.into(),
            original.as_str().into(),
            event_id.into(),
        ])?;
    }
    if let Some(session_id) = &event.session_id {
        work.tx.delete::<ArchivedUnread>(&[
            room_id.into(),
            session_id.as_str().into(),
            event_id.into(),
        ])?;
    }
    Ok(())
}

/// Deletes what an event says, and what its edits say: servers let clients see those for ever.
fn redact(work: &Work<'_>, room_id: &str, event_id: &str) -> Result<()> {
    let note = ArchivedRedaction { room_id: room_id.to_owned(), event_id: event_id.to_owned() };
    work.tx.put(&note)?;
    let edits = edits_of(work, room_id, event_id)?;
    for known in archived(work, room_id, event_id)?.into_iter().chain(edits) {
        if !known.event.redacted {
            let event = redacted(&known.event);
            put(work, Some(known.clone()), ArchivedEvent { event, ..known })?;
        }
    }
    Ok(())
}

/// The archived events that say they replace `original`.
pub(super) fn edits_of(
    work: &Work<'_>,
    room_id: &str,
    original: &str,
) -> Result<Vec<ArchivedEvent>> {
    let of_original = Query::equal("room_id", room_id).and("original", original);
    let mut edits = Vec::new();
    for edit in work.tx.select::<ArchivedEdit>(&of_original)? {
        edits.extend(archived(work, room_id, &edit.event_id)?);
    }
    Ok(edits)
}

/// Deletes what is kept too long.
pub(super) fn expire(work: &Work<'_>) -> Result<()> {
    for room in work.tx.select::<ArchivedRoom>(&Query::all())? {
        if let Some(retention) = room.retention {
            forget_before(work, &room.room_id, work.now.saturating_sub(retention))?;
        }
    }
    Ok(())
}

/// Deletes the events of a room that were sent before a time.
fn forget_before(work: &Work<'_>, room_id: &str, before: Millis) -> Result<usize> {
    const AT_ONCE: usize = 1000;
    let old = Query::equal("room_id", room_id).until("sent_at", before.saturating_sub(1));
    let mut forgotten = 0;
    loop {
        let events = work.tx.select::<ArchivedEvent>(&old.clone().limit(AT_ONCE))?;
        for event in &events {
            forget_notes(work, &event.event)?;
            work.tx.delete::<ArchivedEvent>(&event.key())?;
        }
        forgotten += events.len();
        if events.len() < AT_ONCE {
            return Ok(forgotten);
        }
    }
}
