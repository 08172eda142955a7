//! Takes in the answer to `GET /sync`, whole or not at all.

use super::{Machine, Millis, Work};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        room_event::RoomEvent,
        sync_response::{RoomPart, SyncResponse},
    },
    store::records::{Membership, Room, SyncPosition},
};

/// What a sync brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// Another process was faster: its answer stands, and this one was thrown away whole.
    pub stale: bool,
    /// The numbers of the events it put in the inbox: from this one,
    pub first: i64,
    /// to this one; below `first` when there are none.
    pub last: i64,
    /// What could not be read, and was left out.
    pub problems: Vec<String>,
}

impl Machine {
    /// The token the next sync goes on from; none before the first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn sync_token(&mut self) -> Result<Option<String>> {
        self.store.transaction(|tx| {
            Ok(tx.get_single::<SyncPosition>()?.and_then(|position| position.token))
        })
    }

    /// Takes in `body`, the answer to a sync that went on from `since`. Keys, sessions, events and
    /// the new token are committed together.
    ///
    /// # Errors
    /// [`Kind::Answer`] when `body` is no answer to a sync. Nothing has changed then.
    pub fn receive_sync(
        &mut self,
        now: Millis,
        since: Option<&str>,
        body: &str,
    ) -> Result<SyncReport> {
        let sync = SyncResponse::read(body)?;
        self.work(now, |work| work.take_sync(since, sync))
    }
}

impl Work<'_> {
    fn take_sync(&mut self, since: Option<&str>, sync: SyncResponse) -> Result<SyncReport> {
        let position = self.tx.get_single::<SyncPosition>()?.unwrap_or_default();
        let before = self.tx.last_number("inbox")?;
        if position.token.as_deref() != since {
            return Ok(SyncReport { stale: true, first: 1, last: 0, problems: Vec::new() });
        }
        let mut problems = sync.problems;
        self.take_device_lists(since, &sync.changed, &sync.left)?;
        for event in &sync.to_device {
            match self.receive_to_device(event) {
                Err(error) if is_of_the_event(&error) => {
                    problems.push(format!("to-device event: {error}"));
                }
                other => other?,
            }
        }
        self.note_key_counts(sync.one_time_keys, sync.fallback_unused)?;
        for (room_id, state) in &sync.invited {
            self.take_invitation(room_id, state)?;
        }
        for (room_id, part) in &sync.joined {
            self.take_joined_room(since, room_id, part)?;
        }
        for (room_id, part) in &sync.gone {
            self.take_timeline(room_id, None, &part.timeline)?;
            self.set_own_membership(room_id, Membership::Leave)?;
        }
        self.bound_inbox()?;
        self.bound_originals()?;
        let token = Some(sync.next_batch);
        self.tx.put_single(&SyncPosition { token, committed_at: self.now })?;
        Ok(SyncReport {
            stale: false,
            first: before + 1,
            last: self.tx.last_number("inbox")?,
            problems,
        })
    }

    fn take_device_lists(
        &self,
        since: Option<&str>,
        changed: &[String],
        left: &[String],
    ) -> Result<()> {
        if since.is_none() {
            // A first sync does not say who changed before it.
            self.mark_all_outdated()?;
        }
        for user_id in changed {
            self.mark_outdated(user_id)?;
        }
        for user_id in left {
            self.untrack(user_id)?;
        }
        Ok(())
    }

    fn take_joined_room(
        &mut self,
        since: Option<&str>,
        room_id: &str,
        part: &RoomPart,
    ) -> Result<()> {
        let known = self.tx.get::<Room>(&[room_id.into()])?;
        let was_in = known.is_some_and(|room| room.membership == Membership::Join);
        self.set_own_membership(room_id, Membership::Join)?;
        let mut members_came = false;
        for text in part.state.iter().chain(&part.timeline) {
            if let Ok(event) = RoomEvent::read(text)
                && event.state_key.is_some()
            {
                members_came |= event.event_type == "m.room.member";
                self.note_state(room_id, &event, part.limited)?;
            }
        }
        if part.limited {
            // The list was fetched lazily, and what changed in the gap may not have been told.
            self.change_room(room_id, Room::forget_members)?;
        }
        if members_came {
            self.members_came_with_sync(room_id, since)?;
        }
        // What was before we came is history and not a gap.
        let gap = match (part.limited && was_in, since, &part.prev_batch) {
            (true, Some(from), Some(to)) => Some((from.to_owned(), to.clone())),
            _ => None,
        };
        self.take_timeline(room_id, gap, &part.timeline)
    }
}

/// Whether an error is about the event alone, and not about the store.
pub(super) fn is_of_the_event(error: &Error) -> bool {
    matches!(
        error.kind,
        Kind::Olm | Kind::Megolm | Kind::Json | Kind::Encoding | Kind::Signature | Kind::Internal
    )
}
