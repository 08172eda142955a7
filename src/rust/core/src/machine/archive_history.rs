//! The history of archived rooms: page by page from the newest to the oldest event, and again where keys come.

use std::collections::BTreeSet;

use super::{
    Machine, Millis, Work,
    archive::{self, Side},
    history, inbound_sessions,
};
use crate::{
    error::Result,
    judgement::{
        members::Members,
        messages_page::{MessagesPage, times},
        room_event::RoomEvent,
    },
    store::{
        Query,
        records::{ArchivedRoom, ArchivedUnread, Event},
    },
};

/// What became of a page of history.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ArchivedPage {
    /// How many of its events cannot be read.
    pub unread: usize,
    /// How many of these are no events at all, and were left out.
    pub malformed: usize,
}

impl Machine {
    /// Keeps the events in `body`, the page of messages of `room_id` that begins at `from`, and the token of
    /// the next older page. None if the page is not wanted any more: another process was faster, or the user
    /// no longer archives the room.
    ///
    /// # Errors
    /// [`crate::Kind::Answer`] when `body` is no such page.
    pub fn archive_page(
        &mut self,
        now: Millis,
        room_id: &str,
        from: Option<&str>,
        body: &str,
    ) -> Result<Option<ArchivedPage>> {
        let page = MessagesPage::read(body)?;
        self.work(now, |work| {
            let wanted = work.tx.get::<ArchivedRoom>(&[room_id.into()])?;
            let wanted = wanted.filter(|room| room.next.as_deref() == from && !room.complete);
            let Some(room) = wanted else { return Ok(None) };
            let mut kept = ArchivedPage::default();
            let events = page.events();
            let sent = times(&events);
            for event in events {
                let event = history::read_one(work, room_id, event)?;
                kept.unread += usize::from(event.unreadable.is_some());
                kept.malformed += usize::from(event.event_id.is_none());
                archive::keep(work, &event, Side::Old)?;
            }
            let retained = room.retention.map(|retention| now.saturating_sub(retention));
            let oldest_kept = retained.max(room.forgotten);
            let is_too_old = |(_, newest)| oldest_kept.is_some_and(|oldest| newest < oldest);
            // A page that leads back to where it began would be read for ever.
            let leads_on = |end: &String| !end.is_empty() && Some(end.as_str()) != from;
            let next = page.end.clone().filter(leads_on);
            let next = next.filter(|_| !sent.is_some_and(is_too_old));
            let complete = next.is_none();
            work.tx.put(&ArchivedRoom { next, complete, ..room })?;
            archive::expire(work)?;
            Ok(Some(kept))
        })
    }

    /// Starts a search for the keys of events that could not be read. Returns how many events wait.
    ///
    /// # Errors
    /// Those of the store.
    pub fn search_archived_keys(&mut self, now: Millis, room_id: &str) -> Result<usize> {
        self.work(now, |work| {
            let sessions = sessions_wanted(work, room_id)?;
            keys_came(work, &sessions)?;
            let of_room = Query::equal("room_id", room_id);
            work.tx.count::<ArchivedUnread>(&of_room)
        })
    }
}

fn sessions_wanted(work: &Work<'_>, room_id: &str) -> Result<BTreeSet<(String, String)>> {
    let of_room = Query::equal("room_id", room_id);
    let sessions = work.tx.texts::<ArchivedUnread>("session_id", &of_room)?;
    Ok(sessions.into_iter().map(|session_id| (room_id.to_owned(), session_id)).collect())
}

/// Reads the archived events that waited for `sessions`, by room and id.
pub(super) fn keys_came(work: &mut Work<'_>, sessions: &BTreeSet<(String, String)>) -> Result<()> {
    for batch in inbound_sessions::batches(sessions) {
        let (room_id, _) = batch;
        for unread in work.tx.select::<ArchivedUnread>(&inbound_sessions::of_batch(&batch))? {
            let Some(known) = archive::archived(work, room_id, &unread.event_id)? else { continue };
            let Ok(outer) = as_sent(&known.event) else { continue };
            let event = history::read_or_search(work, room_id, &outer)?;
            archive::keep(work, &event, Side::Old)?;
        }
    }
    Ok(())
}

/// An encrypted event that could not be read, as the server sent it.
fn as_sent(event: &Event) -> Result<RoomEvent<'_>> {
    Ok(RoomEvent {
        event_id: event.event_id.clone().unwrap_or_default(),
        event_type: event.event_type.clone(),
        sender: event.sender.clone(),
        origin_server_ts: event.origin_server_ts,
        state_key: event.state_key.clone(),
        content: Members::read(&event.content)?,
        content_text: &event.content,
        unsigned: Members::default(),
        transaction_id: None,
        redacted: event.redacted,
        redacts: event.redacts.clone(),
    })
}
