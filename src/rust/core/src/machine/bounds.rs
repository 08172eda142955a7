//! What others can add has a bound, for each of them and for all together.
//!
//! Anyone who may send us events can invent sessions, keys that are missing, and notices. One who
//! does must not push out, or keep out, what others sent. So each sender has a share, of which the
//! oldest goes first; a server that invents senders too meets the bound of all.

use std::collections::BTreeSet;

use super::{Millis, Work, key_requests::LIFETIME};
use crate::{
    error::Result,
    store::{
        Query, Record,
        records::{BackupRequest, KeyRequest, WaitingEvent, WithheldKey},
    },
};

/// How long an event waits for its key. Later it can still be read from the history of its room.
const LONGEST_WAIT: Millis = 4 * LIFETIME;

/// A record that a sender added.
pub(super) trait OfSender: Record {
    /// How many of one sender are kept.
    const SHARE: usize;
    /// How many are kept of all senders together.
    const ALL: usize;

    /// What is lowest in the oldest.
    fn age(&self) -> i64;

    /// The same for another sender who needs it, in place of its deletion.
    fn for_another(&self, _work: &Work<'_>) -> Result<Option<Self>>
    where
        Self: Sized,
    {
        Ok(None)
    }
}

/// Another sender whose event waits for a session. A user who names a session before its own sender does must
/// not end the search for its key when their own surplus is deleted.
fn another_sender(
    work: &Work<'_>,
    room_id: &str,
    session_id: &str,
    sender: &str,
) -> Result<Option<String>> {
    let waiting = Query::equal("room_id", room_id).and("session_id", session_id);
    let waiting = work.tx.select::<WaitingEvent>(&waiting)?;
    Ok(waiting.into_iter().map(|event| event.sender).find(|other| other != sender))
}

impl OfSender for WaitingEvent {
    const SHARE: usize = 1000;
    const ALL: usize = 20_000;

    fn age(&self) -> i64 {
        self.number
    }
}

impl OfSender for KeyRequest {
    const SHARE: usize = 100;
    const ALL: usize = 1000;

    fn age(&self) -> i64 {
        self.due_at
    }

    fn for_another(&self, work: &Work<'_>) -> Result<Option<Self>> {
        let another = another_sender(work, &self.room_id, &self.session_id, &self.sender)?;
        Ok(another.map(|sender| Self { sender, ..self.clone() }))
    }
}

impl OfSender for BackupRequest {
    const SHARE: usize = 200;
    const ALL: usize = 2000;

    fn age(&self) -> i64 {
        self.wanted_at
    }

    fn for_another(&self, work: &Work<'_>) -> Result<Option<Self>> {
        let another = another_sender(work, &self.room_id, &self.session_id, &self.sender)?;
        Ok(another.map(|sender| Self { sender, ..self.clone() }))
    }
}

impl OfSender for WithheldKey {
    const SHARE: usize = 1000;
    const ALL: usize = 10_000;

    fn age(&self) -> i64 {
        self.number
    }
}

/// Deletes what these senders, or all together, have too much of.
pub(super) fn bound(work: &Work<'_>, senders: &BTreeSet<String>) -> Result<()> {
    if senders.is_empty() {
        return Ok(());
    }
    bound_records::<WaitingEvent>(work, senders)?;
    bound_records::<KeyRequest>(work, senders)?;
    bound_records::<BackupRequest>(work, senders)?;
    bound_records::<WithheldKey>(work, senders)?;
    // Events that waited before their arrival was noted have none, and stay.
    let old = Query::all().after("received_at", 0).until("received_at", work.now - LONGEST_WAIT);
    work.tx.delete_where::<WaitingEvent>(&old).map(drop)
}

fn bound_records<R: OfSender>(work: &Work<'_>, senders: &BTreeSet<String>) -> Result<()> {
    for sender in senders {
        keep_newest::<R>(work, &Query::equal("sender", sender.as_str()), R::SHARE)?;
    }
    keep_newest::<R>(work, &Query::all(), R::ALL)
}

fn keep_newest<R: OfSender>(work: &Work<'_>, of: &Query, most: usize) -> Result<()> {
    if work.tx.count::<R>(of)? <= most {
        return Ok(());
    }
    let mut records = work.tx.select::<R>(of)?;
    // A tenth less, so that a flood does not have them all read with each event.
    let surplus = records.len() - (most - most / 10);
    records.sort_by_key(OfSender::age);
    for record in &records[..surplus] {
        match record.for_another(work)? {
            Some(other) => work.tx.put(&other)?,
            None => work.tx.delete::<R>(&record.key())?,
        }
    }
    Ok(())
}
