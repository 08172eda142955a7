//! Events of a timeline, on their way to the inbox.

use std::collections::BTreeSet;

use super::{
    Handed, Machine, Millis, Work, backup_restore,
    effects::{self, Effect},
    inbound_sessions, inbox, key_requests, outcomes, relations, room_events, rooms, taken_events,
    verification,
};
use crate::{
    error::Result,
    judgement::{
        invitation::Invitation,
        room_event::{NO_TIME, RoomEvent},
        room_state::StateChange,
        utd_reason::UtdReason,
    },
    store::{
        Query, Record,
        records::{Event, Membership, WaitingEvent},
    },
};

impl Machine {
    /// The events that wait for a key, oldest first, with the reasons that hold now.
    ///
    /// # Errors
    /// Those of the store.
    pub fn undecrypted(&mut self, now: Millis) -> Result<Vec<Handed>> {
        self.work(now, |work| {
            let mut waiting = work.tx.select::<WaitingEvent>(&Query::all())?;
            waiting.sort_by_key(|event| event.number);
            let mut rows = Vec::with_capacity(waiting.len());
            for event in waiting {
                let Ok(outer) = RoomEvent::read(&event.raw) else { continue };
                let read = room_events::read_event(work, &event.room_id, &outer)?;
                rows.push(relations::delivered(work, event.number, read, false)?);
            }
            Ok(rows)
        })
    }
}

/// Reads an event and puts it in the inbox. An event that waits for its key is kept as well,
/// and put there once more when it can be read.
pub(super) fn take_event(work: &mut Work<'_>, room_id: &str, text: &str) -> Result<()> {
    let event = match RoomEvent::read(text) {
        Ok(event) => event,
        Err(error) => {
            return inbox::hand_over(
                work,
                inbox::missing(room_id, UtdReason::MalformedEvent.because(error.message)),
            );
        }
    };
    outcomes::recognise_own(work, room_id, &event)?;
    if !taken_events::is_new(work, room_id, &event)? {
        return Ok(());
    }
    rooms::note_old_encryption(work, room_id, &event)?;
    let read = room_events::read_event(work, room_id, &event)?;
    verification::note_verification(work, &read)?;
    if let (Some(reason), Some(session_id)) = (UtdReason::of(&read), &read.session_id)
        && reason.waits_for_key()
    {
        if reason.asks_for_key() {
            key_requests::want_key(work, room_id, session_id, &event.sender)?;
        }
        let patient = backup_restore::key_may_come(work, reason, event.origin_server_ts)?;
        backup_restore::search_backup(work, room_id, session_id, &event.sender, patient)?;
        effects::push(work, Effect::StoredFrom { sender: event.sender.clone() });
        work.tx.put(&WaitingEvent {
            room_id: room_id.to_owned(),
            session_id: session_id.clone(),
            event_id: event.event_id.clone(),
            sender: event.sender.clone(),
            received_at: work.now,
            number: work.tx.take_number("waiting event")?,
            raw: text.to_owned(),
            // That of the row it takes next.
            row: work.tx.last_number("inbox")? + 1,
        })?;
    }
    inbox::hand_over(work, read)
}

/// Reads the events that waited for `sessions`, by room and id, whose keys came. Once for each session,
/// however many keys came: each may be a little better than the one before.
pub(super) fn keys_came(work: &mut Work<'_>, sessions: &BTreeSet<(String, String)>) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let batches = inbound_sessions::batches(sessions);
    let mut waiting = Vec::new();
    for batch in &batches {
        waiting.extend(work.tx.select::<WaitingEvent>(&inbound_sessions::of_batch(batch))?);
    }
    // In the order in which they came, whichever sessions they belong to.
    waiting.sort_by_key(|event| event.number);
    let given = inbox::last_given(work)?;
    for event in &waiting {
        read_waiting(work, event, given)?;
    }
    let awaited = waiting.iter().map(|event| (event.room_id.as_str(), event.session_id.as_str()));
    let awaited: BTreeSet<(&str, &str)> = awaited.collect();
    batches.iter().try_for_each(|batch| key_requests::keys_came(work, batch, &awaited))
}

/// Reads an event that waited for its key. Those up to row `given` of the inbox were given to
/// somebody.
fn read_waiting(work: &mut Work<'_>, event: &WaitingEvent, given: i64) -> Result<()> {
    let Ok(outer) = RoomEvent::read(&event.raw) else { return Ok(()) };
    let read = room_events::read_event(work, &event.room_id, &outer)?;
    if UtdReason::of(&read).is_some_and(UtdReason::waits_for_key) {
        return Ok(());
    }
    work.tx.delete::<WaitingEvent>(&event.key())?;
    verification::note_verification(work, &read)?;
    inbox::hand_over_late(work, event.row, given, read)
}

/// Delivers an invitation as the membership event it is; it has no id yet. A server may send an
/// invitation with several syncs, so it is delivered only if it is not known: if the room had
/// another membership until now, or another user invites.
pub(super) fn take_invitation(work: &mut Work<'_>, room_id: &str, state: &[String]) -> Result<()> {
    let before = rooms::room(work, room_id)?;
    rooms::set_own_membership(work, room_id, Membership::Invite)?;
    let invitation = Invitation::read(state, &work.own.user_id);
    for (event_type, content) in &invitation.state {
        if let Some(change) = StateChange::read(event_type, "", content) {
            rooms::note_description(work, room_id, change)?;
        }
    }
    let is_known = before.membership == Membership::Invite
        && (invitation.inviter.is_none() || invitation.inviter == before.inviter);
    if is_known {
        return Ok(());
    }
    inbox::hand_over(
        work,
        Event {
            room_id: room_id.to_owned(),
            event_type: "m.room.member".into(),
            state_key: Some(work.own.user_id.clone()),
            sender: invitation.inviter.clone().unwrap_or_default(),
            origin_server_ts: NO_TIME,
            content: invitation.content().into(),
            ..Event::default()
        },
    )?;
    rooms::change_room(work, room_id, |room| {
        room.inviter = invitation.inviter;
        room.direct = invitation.direct;
    })
}
