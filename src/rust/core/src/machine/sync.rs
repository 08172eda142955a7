//! Applies the response to `GET /sync`, whole or not at all.

use super::{
    Machine, Millis, Work, archive, gaps, inbox, key_upload, olm_ahead, olm_repair, reactions,
    rooms, sync_position, timeline, to_device, tracking,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        room_event::RoomEvent,
        sync_response::{RoomPart, SyncResponse},
    },
    store::{
        Query,
        records::{Membership, Room, SyncPosition},
    },
};

/// What a sync brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// Another process was faster: its response was applied, and this one was discarded whole.
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
        self.store.read(sync_position::token_in)
    }

    /// When the last sync was committed, if there was one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn last_sync(&mut self) -> Result<Option<Millis>> {
        self.store.read(|tx| {
            let position = tx.get_single::<SyncPosition>()?;
            Ok(position.filter(|at| at.token.is_some()).map(|at| at.committed_at))
        })
    }

    /// Applies `body`, the response to a sync that went on from `since`. Keys, sessions, events and
    /// the new token are committed together.
    ///
    /// # Errors
    /// [`Kind::Answer`] when `body` is no response to a sync. Nothing has changed then.
    pub fn receive_sync(
        &mut self,
        now: Millis,
        since: Option<&str>,
        body: &str,
    ) -> Result<SyncReport> {
        let sync = SyncResponse::read(body)?;
        // The server forgets to-device events once it is shown the token that came with them. All else
        // it returns again to the token before.
        if sync.to_device.is_empty() {
            return self.eventual_work(now, |work| take_sync(work, since, sync));
        }
        self.work(now, |work| take_sync(work, since, sync))
    }
}

fn take_sync(work: &mut Work<'_>, since: Option<&str>, sync: SyncResponse) -> Result<SyncReport> {
    let position = work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
    let before = work.tx.last_number("inbox")?;
    if position.token.as_deref() != since {
        return Ok(SyncReport { stale: true, first: 1, last: 0, problems: Vec::new() });
    }
    let mut problems = sync.problems;
    take_device_lists(work, since.is_none() || sync.others_changed, &sync.changed, &sync.left)?;
    for events in sync.to_device.chunks(olm_ahead::AT_A_TIME) {
        for event in olm_ahead::read_ahead(work, events)? {
            match event.and_then(|event| to_device::receive_to_device(work, event)) {
                Err(error) if is_of_the_event(&error) => {
                    problems.push(format!("to-device event: {error}"));
                }
                other => other?,
            }
        }
    }
    if !sync.to_device.is_empty() {
        olm_repair::forget_oldest(work)?;
    }
    reactions::apply(work)?;
    key_upload::note_key_counts(work, sync.one_time_keys, sync.fallback_unused)?;
    for (room_id, state) in &sync.invited {
        timeline::take_invitation(work, room_id, state)?;
    }
    if sync.others_joined {
        for room in work.tx.select::<Room>(&Query::all())? {
            rooms::state_not_read(work, &room.room_id)?;
        }
    }
    for (room_id, part) in &sync.joined {
        take_joined_room(work, since, room_id, part)?;
    }
    for (room_id, part) in &sync.gone {
        let gap = gap_before(work, since, room_id, part)?;
        gaps::take_timeline(work, room_id, gap, &part.timeline)?;
        rooms::set_own_membership(work, room_id, Membership::Leave)?;
    }
    inbox::bound_inbox(work)?;
    archive::expire(work)?;
    let token = Some(sync.next_batch);
    work.tx.put_single(&SyncPosition { token, committed_at: work.now })?;
    Ok(SyncReport {
        stale: false,
        first: before + 1,
        last: work.tx.last_number("inbox")?,
        problems,
    })
}

fn take_device_lists(
    work: &Work<'_>,
    others_changed: bool,
    changed: &[String],
    left: &[String],
) -> Result<()> {
    // A first sync does not say who changed before it.
    if others_changed {
        tracking::mark_all_outdated(work)?;
    }
    for user_id in changed {
        tracking::mark_outdated(work, user_id)?;
    }
    for user_id in left {
        tracking::untrack(work, user_id)?;
    }
    Ok(())
}

fn take_joined_room(
    work: &mut Work<'_>,
    since: Option<&str>,
    room_id: &str,
    part: &RoomPart,
) -> Result<()> {
    let gap = gap_before(work, since, room_id, part)?;
    rooms::set_own_membership(work, room_id, Membership::Join)?;
    rooms::change_room(work, room_id, |room| room.unsynced = false)?;
    let mut members_came = false;
    for text in part.state.iter().chain(&part.timeline) {
        match RoomEvent::read(text) {
            Ok(event) if event.state_key.is_some() => {
                members_came |= event.event_type == "m.room.member";
                rooms::note_state(work, room_id, &event, part.limited)?;
            }
            Err(_) if RoomEvent::may_be_state(text) => {
                rooms::state_event_not_read(work, room_id, text)?;
            }
            _ => {}
        }
    }
    if part.incomplete {
        rooms::state_not_read(work, room_id)?;
    }
    if part.limited {
        // The list was fetched lazily, and what changed in the gap may not have been told.
        rooms::change_room(work, room_id, Room::forget_members)?;
    }
    if members_came {
        rooms::members_came_with_sync(work, room_id, since)?;
    }
    gaps::take_timeline(work, room_id, gap, &part.timeline)
}

/// The gap before the timeline of a room, also of one that we were removed from meanwhile. What was
/// before we came is history and not a gap.
fn gap_before(
    work: &Work<'_>,
    since: Option<&str>,
    room_id: &str,
    part: &RoomPart,
) -> Result<Option<(String, String)>> {
    let known = work.tx.get::<Room>(&[room_id.into()])?;
    let was_in = known.is_some_and(|room| room.membership == Membership::Join && !room.unsynced);
    Ok(since.filter(|_| part.limited && was_in).map(|from| {
        // A gap that ends where it begins is none: the server does not know where it ends.
        let to = part.prev_batch.clone().filter(|to| to != from);
        (from.to_owned(), to.unwrap_or_default())
    }))
}

/// Whether an error is about the event alone, and not about the store.
pub(super) fn is_of_the_event(error: &Error) -> bool {
    matches!(
        error.kind,
        Kind::Olm | Kind::Megolm | Kind::Json | Kind::Encoding | Kind::Signature | Kind::Internal
    )
}
