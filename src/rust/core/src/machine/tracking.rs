//! Whose devices are tracked, and whose must be requested.
//!
//! Specification: client-server API, end-to-end encryption, "Tracking the device list for a user".

use std::collections::{BTreeMap, BTreeSet};

use super::{
    MINUTE, Millis, SECOND, Work,
    effects::{self, Effect},
};
use crate::{
    error::Result,
    store::{Query, records::DeviceList},
};

/// The longest pause before an unreachable server is asked again.
pub(super) const LONGEST_PAUSE: Millis = 15 * MINUTE;

/// The pause after `failures` failures in a row: it doubles from a second on.
pub(super) fn pause(failures: u32) -> Millis {
    SECOND.saturating_mul(1 << failures.min(20)).min(LONGEST_PAUSE)
}

/// Whether something that waits until `at` is due. Nothing waits longer than the longest pause: a clock that
/// was ahead for a while must not stop it for as long.
pub(super) fn is_due(at: Millis, now: Millis) -> bool {
    at <= now || at > now + LONGEST_PAUSE
}

/// Begins to track `user_id`, unless that was done before, and returns what is known.
pub(super) fn track(work: &Work<'_>, user_id: &str) -> Result<DeviceList> {
    if let Some(list) = work.tx.get(&[user_id.into()])? {
        return Ok(list);
    }
    let generation = next_generation(work)?;
    let list = DeviceList {
        user_id: user_id.to_owned(),
        outdated: true,
        generation,
        applied: generation - 1,
        failures: 0,
        retry_at: 0,
        refused: BTreeMap::new(),
    };
    work.tx.put(&list)?;
    Ok(list)
}

/// The same for many users, in their order.
pub(super) fn track_all(work: &Work<'_>, users: &BTreeSet<String>) -> Result<Vec<DeviceList>> {
    let known: Vec<DeviceList> =
        work.tx.select_among("user_id", users.iter().map(String::as_str))?;
    let mut known: BTreeMap<String, DeviceList> =
        known.into_iter().map(|list| (list.user_id.clone(), list)).collect();
    let list = |user: &String| known.remove(user).map_or_else(|| track(work, user), Ok);
    users.iter().map(list).collect()
}

/// Of all users together, and never given twice: the response to an earlier request must not count
/// for a user who is tracked again.
pub(super) fn next_generation(work: &Work<'_>) -> Result<u64> {
    Ok(work.tx.take_number("device list")?.unsigned_abs())
}

/// Marks the devices of a user as outdated, if that user is tracked.
pub(super) fn mark_outdated(work: &Work<'_>, user_id: &str) -> Result<()> {
    if let Some(mut list) = work.tx.get::<DeviceList>(&[user_id.into()])? {
        list.outdated = true;
        list.generation = next_generation(work)?;
        list.retry_at = 0;
        work.tx.put(&list)?;
        // Nothing goes to the user's rooms before the devices are known again.
        effects::push(work, Effect::RecipientsChanged { user_id: user_id.to_owned() });
    }
    Ok(())
}

/// Marks all tracked users as outdated: changes may have been missed.
pub(super) fn mark_all_outdated(work: &Work<'_>) -> Result<()> {
    for list in work.tx.select::<DeviceList>(&Query::all())? {
        mark_outdated(work, &list.user_id)?;
    }
    Ok(())
}

/// Ends the tracking of a user. The devices are remembered.
pub(super) fn untrack(work: &Work<'_>, user_id: &str) -> Result<()> {
    if user_id == work.own.user_id {
        return Ok(());
    }
    work.tx.delete::<DeviceList>(&[user_id.into()])
}

/// The users whose devices to request now, each with the generation of the request.
pub(super) fn outdated_users(work: &Work<'_>) -> Result<Vec<(String, u64)>> {
    let outdated = work.tx.select::<DeviceList>(&Query::equal("outdated", 1))?;
    let due = outdated.into_iter().filter(|list| is_due(list.retry_at, work.now));
    Ok(due.map(|list| (list.user_id, list.generation)).collect())
}

pub(super) fn user_not_reached(work: &Work<'_>, user_id: &str) -> Result<()> {
    if let Some(mut list) = work.tx.get::<DeviceList>(&[user_id.into()])? {
        list.retry_at = work.now + pause(list.failures);
        list.failures += 1;
        work.tx.put(&list)?;
    }
    Ok(())
}
