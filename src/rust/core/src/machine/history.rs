//! Reads the history of a room, without delivering it to consumers.

use std::collections::{HashMap, HashSet};

use super::{
    Handed, Machine, Millis, Unsigned, Work, backup_restore, inbox, message_trust, relations,
    room_events, tracking,
};
use crate::{
    error::Result,
    judgement::{
        messages_page::{BundledEvent, MessagesPage},
        relation::{THREAD, target_in},
        room_event::RoomEvent,
        utd_reason::UtdReason,
    },
    store::records::Event,
};

/// A page of history.
#[derive(Debug)]
pub struct History {
    /// Its events, in the order of the server.
    pub events: Vec<Handed>,
    /// The token of the next page, if there is one.
    pub end: Option<String>,
}

/// An event and what the server sent along with it.
struct Old {
    event: Event,
    edit: Option<Event>,
    latest_in_thread: Option<Box<Old>>,
}

/// What a page says of edits.
struct Edits {
    by_original: HashMap<String, Vec<Event>>,
    redacted: HashSet<String>,
}

impl Machine {
    /// Tracks the devices of every sender of an encrypted event in `body`, a page of messages. Keys that
    /// were exported do not say whose they are.
    ///
    /// # Errors
    /// [`crate::Kind::Answer`] when `body` is no such page.
    pub fn track_senders(&mut self, now: Millis, body: &str) -> Result<()> {
        let senders = MessagesPage::read(body)?.encrypted_senders();
        self.work(now, |work| {
            senders.iter().try_for_each(|sender| tracking::track(work, sender).map(drop))
        })
    }

    /// Reads `body`, a page of `GET /rooms/…/messages` of the room `room_id`. Events go through
    /// the same checks as those of a sync: an index that stands for one event stands for no other.
    /// So do the events that came along with them, see [`Handed::edit`].
    ///
    /// # Errors
    /// [`crate::Kind::Answer`] when `body` is no such page.
    pub fn read_history(
        &mut self,
        now: Millis,
        room_id: &str,
        body: &str,
        unsigned: Unsigned,
    ) -> Result<History> {
        let page = MessagesPage::read(body)?;
        self.work(now, |work| {
            let hold_back = message_trust::holds_back(work, unsigned)?;
            // All are read before one is judged: an edit stands before its original here.
            let events = page.events().into_iter().map(BundledEvent::of);
            let read = |event| read_old(work, room_id, event);
            let old = events.map(read).collect::<Result<Vec<_>>>()?;
            let edits = Edits::of(&old);
            let judge = |old| judge_old(work, old, &edits, hold_back);
            Ok(History {
                events: old.into_iter().map(judge).collect::<Result<_>>()?,
                end: page.end,
            })
        })
    }
}

impl Edits {
    fn of(page: &[Old]) -> Self {
        let mut edits = Self { by_original: HashMap::new(), redacted: HashSet::new() };
        for Old { event, .. } in page {
            if let Some(original) = &event.replaces {
                edits.by_original.entry(original.clone()).or_default().push(event.clone());
            }
            edits.redacted.extend(event.event_id.clone().filter(|_| event.redacted));
        }
        edits
    }
}

/// Reads an event and what came along with it.
fn read_old(work: &mut Work<'_>, room_id: &str, old: BundledEvent<'_>) -> Result<Old> {
    let event = read_one(work, room_id, old.event)?;
    let edit = old.edit.map(|edit| read_one(work, room_id, edit)).transpose()?;
    let latest = old.latest_in_thread.map(|latest| read_old(work, room_id, *latest)).transpose()?;
    let is_of_thread = |old: &Old| {
        event.event_id.is_some() && target_in(&old.event.content, THREAD) == event.event_id
    };
    let latest_in_thread = latest.filter(is_of_thread).map(Box::new);
    Ok(Old { event, edit, latest_in_thread })
}

/// Reads an event of the server, or says why it is none.
pub(super) fn read_one(
    work: &mut Work<'_>,
    room_id: &str,
    event: Result<RoomEvent<'_>>,
) -> Result<Event> {
    match event {
        Ok(event) => read_or_search(work, room_id, &event),
        Err(error) => Ok(inbox::missing(room_id, UtdReason::MalformedEvent.because(error.message))),
    }
}

/// Reads an event. If its key is missing, a search in the backup starts.
pub(super) fn read_or_search(
    work: &mut Work<'_>,
    room_id: &str,
    event: &RoomEvent<'_>,
) -> Result<Event> {
    let read = room_events::read_event(work, room_id, event)?;
    if let (Some(reason), Some(session_id)) = (UtdReason::of(&read), &read.session_id)
        && reason.waits_for_key()
    {
        backup_restore::search_backup(work, room_id, session_id, &event.sender, false)?;
    }
    Ok(read)
}

fn judge_old(work: &Work<'_>, old: Old, edits: &Edits, hold_back: bool) -> Result<Handed> {
    let mut handed = relations::delivered(work, 0, old.event, hold_back)?;
    let id = handed.event.event_id.as_deref().unwrap_or_default();
    let in_page = edits.by_original.get(id).map_or(&[][..], Vec::as_slice);
    let is_there =
        |edit: &Event| edit.event_id.as_ref().is_none_or(|id| !edits.redacted.contains(id));
    relations::find_edit(work, &mut handed, old.edit.filter(is_there), in_page, hold_back)?;
    let latest = old.latest_in_thread.map(|latest| judge_old(work, *latest, edits, hold_back));
    handed.latest_in_thread = latest.transpose()?.map(Box::new);
    Ok(handed)
}
