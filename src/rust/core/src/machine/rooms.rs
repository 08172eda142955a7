//! What is known of rooms and their members, from syncs and from requests.
//!
//! All of it is the server's word. It may add protection and never take it away: a room that was
//! once encrypted stays so, and a member who was seen to leave ends the session.

use super::{Machine, Millis, Work, outbound_sessions};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        room_event::RoomEvent,
        room_state::{self, StateChange},
    },
    store::{
        Query,
        records::{Encryption, Member, Membership, Room, SyncPosition},
    },
};

impl Machine {
    /// All rooms that were seen.
    ///
    /// # Errors
    /// Those of the store.
    pub fn rooms(&mut self) -> Result<Vec<Room>> {
        self.read(|work| work.tx.select(&Query::all()))
    }

    /// A room as it is known here.
    ///
    /// # Errors
    /// Those of the store.
    pub fn known_room(&mut self, room_id: &str) -> Result<Option<Room>> {
        self.read(|work| work.tx.get(&[room_id.into()]))
    }

    /// Remembers, for ever, that a room is encrypted: `content` is that of `m.room.encryption`.
    ///
    /// # Errors
    /// [`Kind::Json`] when `content` is no JSON object.
    pub fn note_encryption(&mut self, now: Millis, room_id: &str, content: &str) -> Result<()> {
        let settings = room_state::read_encryption(content)?;
        self.work(now, |work| set_encryption(work, room_id, settings))
    }

    /// Remembers that the members of a room changed in a way that no sync has reported yet: someone
    /// was invited, or removed, by ourselves.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_members_changed(&mut self, now: Millis, room_id: &str) -> Result<()> {
        self.work(now, |work| {
            change_room(work, room_id, |room| {
                room.forget_members();
                room.recipients_generation += 1;
            })
        })
    }

    /// Lets the next message of a room begin a new session.
    ///
    /// # Errors
    /// Those of the store.
    pub fn rotate_room_key(&mut self, now: Millis, room_id: &str) -> Result<()> {
        self.work(now, |work| outbound_sessions::end_outbound_session(work, room_id))
    }

    /// Remembers our own membership, which a response other than a sync reported.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_own_membership(
        &mut self,
        now: Millis,
        room_id: &str,
        membership: Membership,
    ) -> Result<()> {
        self.work(now, |work| {
            change_room(work, room_id, |room| {
                room.unsynced = membership == Membership::Join
                    && (room.unsynced || room.membership != Membership::Join);
            })?;
            set_own_membership(work, room_id, membership)
        })
    }
}

pub(super) fn room(work: &Work<'_>, room_id: &str) -> Result<Room> {
    let fresh = || Room { room_id: room_id.to_owned(), ..Room::default() };
    Ok(work.tx.get(&[room_id.into()])?.unwrap_or_else(fresh))
}

pub(super) fn change_room(
    work: &Work<'_>,
    room_id: &str,
    change: impl FnOnce(&mut Room),
) -> Result<()> {
    let mut room = room(work, room_id)?;
    let before = room.clone();
    change(&mut room);
    if room == before && work.tx.count::<Room>(&Query::equal("room_id", room_id))? > 0 {
        return Ok(());
    }
    work.tx.put(&room)
}

/// Records that we joined a room, were invited to it, or are out of it.
pub(super) fn set_own_membership(
    work: &Work<'_>,
    room_id: &str,
    membership: Membership,
) -> Result<()> {
    change_room(work, room_id, |room| {
        if room.membership != membership {
            // What happened while we were away was not reported.
            room.forget_members();
            room.recipients_generation += 1;
        }
        room.membership = membership;
    })?;
    if membership == Membership::Leave {
        outbound_sessions::end_outbound_session(work, room_id)
    } else {
        Ok(())
    }
}

/// Applies a state event of a sync. With `limited`, events before it were left out.
pub(super) fn note_state(
    work: &mut Work<'_>,
    room_id: &str,
    event: &RoomEvent<'_>,
    limited: bool,
) -> Result<()> {
    let state_key = event.state_key.as_deref();
    let change =
        state_key.and_then(|key| StateChange::read(&event.event_type, key, &event.content));
    match change {
        Some(StateChange::HistoryVisibility(visibility)) => {
            set_history_visibility(work, room_id, visibility)
        }
        Some(StateChange::Tombstone(successor)) => note_tombstone(work, room_id, event, successor),
        Some(StateChange::Member(user_id, None)) => {
            state_not_read(work, room_id)?;
            set_member(work, room_id, &user_id, Membership::Leave, limited)
        }
        Some(StateChange::Member(user_id, Some(membership))) => {
            if user_id == work.own.user_id && membership == Membership::Join {
                note_own_join(work, room_id, event.origin_server_ts)?;
            }
            set_member(work, room_id, &user_id, membership, limited)
        }
        Some(description) => note_description(work, room_id, description),
        None => Ok(()),
    }
}

/// Records that a room was replaced. A user who sends to it is told so; whether its tombstone
/// counts is judged when somebody follows it. A tombstone that names no room takes back an earlier
/// one.
fn note_tombstone(
    work: &Work<'_>,
    room_id: &str,
    event: &RoomEvent<'_>,
    successor: Option<String>,
) -> Result<()> {
    let successor = successor.filter(|id| id != room_id);
    change_room(work, room_id, |room| {
        room.upgraded_by = successor.as_ref().map(|_| event.sender.clone());
        room.successor = successor;
    })
}

/// Records that a state event of a room could not be read. It may have reported that somebody left
/// or was banned: the session ends, and everything it could have changed is requested again. One
/// that switches encryption on does so also where its content cannot be read.
pub(super) fn state_event_not_read(work: &Work<'_>, room_id: &str, text: &str) -> Result<()> {
    if let Some(settings) = room_state::unreadable_encryption(text)
        && room(work, room_id)?.encryption.is_none()
    {
        set_encryption(work, room_id, settings)?;
    }
    state_not_read(work, room_id)
}

/// The same of state of which nothing is known.
pub(super) fn state_not_read(work: &Work<'_>, room_id: &str) -> Result<()> {
    outbound_sessions::end_outbound_session(work, room_id)?;
    change_room(work, room_id, |room| {
        room.forget_members();
        room.visibility_known = false;
        room.recipients_generation += 1;
    })
}

/// The first join of a stay counts: a new display name is a join event too.
fn note_own_join(work: &Work<'_>, room_id: &str, at: i64) -> Result<()> {
    let known: Option<Member> = work.tx.get(&[room_id.into(), work.own.user_id.as_str().into()])?;
    if known.is_some_and(|member| member.membership == Membership::Join) {
        return Ok(());
    }
    change_room(work, room_id, |room| room.joined_at = Some(at))
}

/// Records what a room is called and how it is encrypted: an invitation reports these too.
pub(super) fn note_description(work: &Work<'_>, room_id: &str, change: StateChange) -> Result<()> {
    match change {
        StateChange::Encryption(settings) => set_encryption(work, room_id, settings),
        StateChange::Name(name) => change_room(work, room_id, |room| room.name = name),
        StateChange::Alias(alias) => change_room(work, room_id, |room| room.alias = alias),
        StateChange::HistoryVisibility(_) | StateChange::Member(..) | StateChange::Tombstone(_) => {
            Ok(())
        }
    }
}

/// Remembers that a room is encrypted from an event that no sync reported as state: one of a gap, or of the
/// history. What is known is newer than such an event.
pub(super) fn note_old_encryption(
    work: &Work<'_>,
    room_id: &str,
    event: &RoomEvent<'_>,
) -> Result<()> {
    let state_key = event.state_key.as_deref();
    let change =
        state_key.and_then(|key| StateChange::read(&event.event_type, key, &event.content));
    match change {
        Some(StateChange::Encryption(settings)) if room(work, room_id)?.encryption.is_none() => {
            set_encryption(work, room_id, settings)
        }
        _ => Ok(()),
    }
}

pub(super) fn set_encryption(work: &Work<'_>, room_id: &str, settings: Encryption) -> Result<()> {
    let known = room(work, room_id)?.encryption;
    // A session is for the algorithm under which it began, also if the room comes back to it.
    if known.as_ref().is_some_and(|known| known.algorithm != settings.algorithm) {
        outbound_sessions::end_outbound_session(work, room_id)?;
    }
    let encryption = Some(room_state::tighten(known, settings));
    change_room(work, room_id, |room| room.encryption = encryption)
}

fn set_history_visibility(
    work: &Work<'_>,
    room_id: &str,
    visibility: Option<String>,
) -> Result<()> {
    let before = room(work, room_id)?;
    let after = Room { history_visibility: visibility.clone(), ..before.clone() };
    if before.visibility_known && shares_history(&before) != shares_history(&after) {
        outbound_sessions::end_outbound_session(work, room_id)?;
    }
    change_room(work, room_id, |room| {
        if room.history_visibility != visibility {
            room.recipients_generation += 1;
        }
        room.history_visibility = visibility;
        room.visibility_known = true;
    })
}

fn set_member(
    work: &mut Work<'_>,
    room_id: &str,
    user_id: &str,
    membership: Membership,
    limited: bool,
) -> Result<()> {
    let known: Option<Member> = work.tx.get(&[room_id.into(), user_id.into()])?;
    let known = known.map(|member| member.membership);
    let present = |m: Membership| matches!(m, Membership::Join | Membership::Invite);
    // A user who leaves may hold the key. After a gap, a user who is not joined may have been
    // joined meanwhile, also one who is invited now.
    let may_have_left = limited && membership != Membership::Join;
    if may_have_left || !present(membership) && known.is_some_and(present) {
        outbound_sessions::end_outbound_session(work, room_id)?;
    }
    if known == Some(membership) {
        return Ok(());
    }
    let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
    work.tx.put(&Member { room_id: room_id.clone(), user_id, membership })?;
    change_room(work, &room_id, |room| room.recipients_generation += 1)
}

/// Records that members came with a sync, after the list was fetched at an older token: the list
/// and the sync may have crossed, so the list is fetched again before it is relied on.
pub(super) fn members_came_with_sync(
    work: &Work<'_>,
    room_id: &str,
    since: Option<&str>,
) -> Result<()> {
    change_room(work, room_id, |room| {
        // So may a response that is still on its way.
        room.members_generation += 1;
        if room.members_fetched_at.as_deref() == Some(since.unwrap_or_default()) {
            room.members_known = false;
        }
    })
}

/// Applies the response to `GET /rooms/…/members`, requested in `generation`.
pub(super) fn members_answered(
    work: &mut Work<'_>,
    room_id: &str,
    generation: u64,
    body: &str,
) -> Result<()> {
    let known = room(work, room_id)?;
    if known.members_generation != generation || known.members_known {
        // Somebody may have left since whom this response still lists. The list is requested again, or is
        // known.
        return Ok(());
    }
    let members = room_state::members(body)?;
    if !members.contains_key(&work.own.user_id) {
        // To take it for whole would send the next message to nobody.
        let message = "The response about the members of a room does not name this user.";
        return Err(Error::new(Kind::Answer, message));
    }
    // A user who is not in the list, or whose entry cannot be read, is not in the room.
    let known = work.tx.select::<Member>(&Query::equal("room_id", room_id))?;
    for member in known.iter().filter(|member| !members.contains_key(&member.user_id)) {
        set_member(work, room_id, &member.user_id, Membership::Leave, false)?;
    }
    for (user_id, membership) in members {
        set_member(work, room_id, &user_id, membership, false)?;
    }
    let position = work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
    change_room(work, room_id, |room| {
        room.members_known = true;
        room.members_fetched_at = Some(position.token.unwrap_or_default());
    })
}

/// Applies the response about the history visibility, requested in `generation`; 404 means the default.
pub(super) fn history_visibility_answered(
    work: &Work<'_>,
    room_id: &str,
    generation: u64,
    body: Option<&str>,
) -> Result<()> {
    let visibility = body.map(room_state::history_visibility).transpose()?.flatten();
    let known = room(work, room_id)?;
    if known.members_generation != generation || known.visibility_known {
        // It may have changed since. It is requested again, or a sync has reported it.
        return Ok(());
    }
    set_history_visibility(work, room_id, visibility)
}

/// Whether those who are invited later may be given what is said now. (Specification: "Shareable
/// encryption sessions"; a room that says nothing has the history visibility `shared`.)
pub(super) fn shares_history(room: &Room) -> bool {
    let visibility = room.history_visibility.as_deref().unwrap_or("shared");
    matches!(visibility, "shared" | "world_readable")
}
