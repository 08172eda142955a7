//! What follows from what. A topic that changes something to which other topics react pushes an
//! [`Effect`](super::effects::Effect). [`apply`] says who reacts, in the transaction of the change:
//!
//! | Effect | Who reacts |
//! |---|---|
//! | `RoomKeyArrived` | `timeline` reads the events that waited, `archive_history` those of the archive, `key_requests` cancels its request |
//! | `BackupKeyArrived` | `backup_restore` searches the backup again for all missing keys |
//! | `RecipientsChanged` | `recipients`: the rooms of the user work out again who is given their keys |
//! | `OlmSessionOpened` | `olm_repair` tells the device, and gives it lost room keys again; `owed_keys` gives those it missed |
//! | `OlmSessionProven` | `owed_keys` gives the devices of the user the room keys that they missed |
//! | `MessageSent` | `relations` remembers what was sent, `verification` the id of its request |
//! | `MessageRefused` | `verification` ends what the message belonged to |
//! | `StoredFrom` | `bounds` deletes what the sender has too much of, when the transaction ends |
//!
//! Effects are collected, so that a room, a session or a user is looked at once, however often it changed.

use std::collections::BTreeSet;

use super::{
    Work, archive_history, backup_restore, bounds, olm_repair, owed_keys, recipients, relations,
    timeline, verification,
};
use crate::error::Result;

/// Has everybody react to what happened so far; also to what that causes.
pub(super) fn apply(work: &mut Work<'_>) -> Result<()> {
    loop {
        let senders = std::mem::take(&mut work.effects.get_mut().senders);
        let effects = work.effects.take();
        work.effects.get_mut().senders = senders;
        if effects.is_empty() {
            return Ok(());
        }
        for (row, event_id) in &effects.sent {
            relations::remember_own(work, row, event_id)?;
            verification::verification_requested(work, row, event_id)?;
        }
        for row in &effects.refused {
            verification::verification_refused(work, row)?;
        }
        for device in &effects.opened {
            olm_repair::olm_is_repaired(work, device)?;
        }
        let opened = effects.opened.iter().map(|device| &device.user_id);
        for user_id in opened.chain(&effects.proven).collect::<BTreeSet<_>>() {
            owed_keys::is_reached(work, user_id)?;
        }
        if effects.backup_key {
            backup_restore::search_backup_anew(work)?;
        }
        for user_id in &effects.recipients {
            recipients::recipients_changed(work, user_id)?;
        }
        timeline::keys_came(work, &effects.room_keys)?;
        archive_history::keys_came(work, &effects.room_keys)?;
    }
}

/// The same at the end of the transaction, with what is due once in it.
pub(super) fn finish(work: &mut Work<'_>) -> Result<()> {
    apply(work)?;
    let senders = std::mem::take(&mut work.effects.get_mut().senders);
    bounds::bound(work, &senders)
}
