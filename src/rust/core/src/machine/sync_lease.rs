//! The lease on the long poll. If each process of a store kept a `/sync` open, the server would send the same events to
//! all of them, and all responses but the first would be discarded. So one process asks, and the others wait for what it
//! commits.
//!
//! The lease ends with its request, also where its process was killed: it expires. A listener has a lock, which ends with its
//! process, so that others need not wait for that. A sync that does not wait for news needs no lease.

use super::{Machine, Millis, SECOND};
use crate::{
    error::Result,
    store::{
        Transaction,
        records::{SyncLease, SyncPosition},
    },
};

/// How long a response may take beyond the time that the server was given to wait.
const MARGIN: Millis = 10 * SECOND;
/// How often a process that waits looks whether the one that asks lives.
const LOOK: Millis = SECOND;

/// Who asks the server for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncTurn {
    /// Nobody needs to: a sync was applied since.
    Came,
    /// Another process, which is at it.
    Theirs,
    /// This process, until it releases the lease of this number; none if it asks beside itself.
    Ours(Option<i64>),
}

impl Machine {
    /// Leases the right to ask the server for news, which may wait for `timeout` milliseconds, unless a sync was
    /// applied after the one of the time `seen`. With `beside`, this process may ask though it holds the lease
    /// already: a call that R waits for cannot wait for one in the background. `lock` is one that this process has as long as
    /// it lives, if it has any.
    ///
    /// # Errors
    /// Those of the store.
    pub fn lease_sync(
        &mut self,
        now: Millis,
        seen: Option<Millis>,
        timeout: Millis,
        beside: bool,
        lock: Option<&str>,
    ) -> Result<SyncTurn> {
        let own = self.sync_lease.filter(|_| beside);
        let looks = !(self.looked_at..self.looked_at + LOOK).contains(&now);
        if looks {
            self.looked_at = now;
        }
        let turn = self.store.eventual_transaction(|tx| {
            let lease: SyncLease = tx.get_single()?.unwrap_or_default();
            if has_come(tx, seen)? {
                return Ok(SyncTurn::Came);
            }
            if is_valid(&lease, now) && !(looks && is_dead(tx, &lease)?) {
                let is_own = own == Some(lease.number);
                return Ok(if is_own { SyncTurn::Ours(None) } else { SyncTurn::Theirs });
            }
            let number = tx.take_number("sync lease")?;
            let until = now.saturating_add(timeout).saturating_add(MARGIN);
            let lock = lock.map(str::to_owned);
            tx.put_single(&SyncLease { number, begun: now, until, lock })?;
            Ok(SyncTurn::Ours(Some(number)))
        })?;
        if let SyncTurn::Ours(Some(number)) = turn {
            self.sync_lease = Some(number);
        }
        Ok(turn)
    }

    /// Ends the lease `number`, unless it expired and another process has a new one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn release_sync(&mut self, number: i64) -> Result<()> {
        self.sync_lease = self.sync_lease.filter(|own| *own != number);
        self.store.eventual_transaction(|tx| match tx.get_single::<SyncLease>()? {
            Some(lease) if lease.number == number => tx.put_single(&SyncLease::default()),
            _ => Ok(()),
        })
    }

    /// Ends the lease that this process holds, if it does: its request ends with it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn give_up_sync(&mut self) -> Result<()> {
        self.sync_lease.map_or(Ok(()), |number| self.release_sync(number))
    }
}

/// Whether a sync was applied after the one of the time `seen`.
fn has_come(tx: &Transaction<'_>, seen: Option<Millis>) -> Result<bool> {
    let position: SyncPosition = tx.get_single()?.unwrap_or_default();
    Ok(position.token.map(|_| position.committed_at) != seen)
}

/// One that begins later than now was made before the clock was set back; a little later, on another machine.
fn is_valid(lease: &SyncLease, now: Millis) -> bool {
    (lease.begun - MARGIN..=lease.until).contains(&now)
}

/// Whether the process that has the lease has ended.
fn is_dead(tx: &Transaction<'_>, lease: &SyncLease) -> Result<bool> {
    lease.lock.as_deref().map_or(Ok(false), |lock| Ok(!tx.is_held(lock)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Location, Lock, scratch::Scratch};

    const NOW: Millis = 1_800_000_000_000;
    const POLL: Millis = 30 * SECOND;

    #[test]
    fn one_process_asks_at_a_time() {
        let scratch = Scratch::new();
        let (mut one, mut two) = (machine(&scratch), machine(&scratch));
        let first = ask(&mut one, NOW);
        assert_eq!(two.lease_sync(NOW, None, POLL, true, None).unwrap(), SyncTurn::Theirs);
        assert_eq!(
            two.lease_sync(NOW + POLL + MARGIN, None, 0, true, None).unwrap(),
            SyncTurn::Theirs
        );
        one.release_sync(first).unwrap();
        ask(&mut two, NOW + 1);
    }

    #[test]
    fn a_process_asks_beside_itself_where_it_cannot_wait() {
        let scratch = Scratch::new();
        let (mut one, mut two) = (machine(&scratch), machine(&scratch));
        let first = ask(&mut one, NOW);
        assert_eq!(one.lease_sync(NOW, None, POLL, false, None).unwrap(), SyncTurn::Theirs);
        assert_eq!(one.lease_sync(NOW, None, POLL, true, None).unwrap(), SyncTurn::Ours(None));
        assert_eq!(two.lease_sync(NOW, None, POLL, true, None).unwrap(), SyncTurn::Theirs);
        // What it released, or what another process has now, is not its own.
        one.release_sync(first).unwrap();
        ask(&mut two, NOW);
        assert_eq!(one.lease_sync(NOW, None, POLL, true, None).unwrap(), SyncTurn::Theirs);
    }

    #[test]
    fn a_lease_of_a_killed_process_expires() {
        let scratch = Scratch::new();
        let (mut one, mut two) = (machine(&scratch), machine(&scratch));
        let first = ask(&mut one, NOW);
        let second = ask(&mut two, NOW + POLL + MARGIN + 1);
        assert!(second > first);
        // The first was only slow, and must not end the lease of the second.
        one.release_sync(first).unwrap();
        let turn = one.lease_sync(NOW + POLL + MARGIN + 2, None, POLL, true, None).unwrap();
        assert_eq!(turn, SyncTurn::Theirs);
    }

    #[test]
    fn a_lease_of_a_killed_listener_ends_with_its_lock() {
        let scratch = Scratch::new();
        let (mut one, mut two) = (machine(&scratch), machine(&scratch));
        let take = || Lock::take(scratch.path().to_str().unwrap(), "listen").unwrap();
        let lock = take();
        let turn = one.lease_sync(NOW, None, POLL, true, Some("listen")).unwrap();
        assert!(matches!(turn, SyncTurn::Ours(Some(_))));
        let mut turn_at = |now| two.lease_sync(now, None, POLL, true, None).unwrap();
        assert_eq!(turn_at(NOW), SyncTurn::Theirs);
        drop(lock);
        // It does not look each time.
        assert_eq!(turn_at(NOW + LOOK - 1), SyncTurn::Theirs);
        assert!(matches!(turn_at(NOW + LOOK), SyncTurn::Ours(Some(_))));
        assert_eq!(
            one.lease_sync(NOW + 2 * LOOK, None, POLL, true, None).unwrap(),
            SyncTurn::Theirs
        );
    }

    #[test]
    fn a_process_that_ends_leaves_no_lease() {
        let scratch = Scratch::new();
        let (mut one, mut two) = (machine(&scratch), machine(&scratch));
        ask(&mut one, NOW);
        one.give_up_sync().unwrap();
        ask(&mut two, NOW);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lengthen_a_lease() {
        let scratch = Scratch::new();
        let mut one = machine(&scratch);
        ask(&mut one, NOW);
        ask(&mut one, NOW - MARGIN - 1);
    }

    #[test]
    fn nobody_asks_for_what_came_already() {
        let scratch = Scratch::new();
        let (mut one, mut two) = (machine(&scratch), machine(&scratch));
        one.bind("@alice:here", "ONE").unwrap();
        let first = ask(&mut one, NOW);
        for at in [NOW, NOW + 1] {
            let since = one.sync_token().unwrap();
            let seen = two.last_sync().unwrap();
            assert_eq!(two.lease_sync(at, seen, POLL, true, None).unwrap(), SyncTurn::Theirs);
            // Also if there is nothing new: the token is the same, and the server was heard of.
            one.receive_sync(at, since.as_deref(), r#"{"next_batch":"1"}"#).unwrap();
            assert_eq!(two.lease_sync(at, seen, POLL, true, None).unwrap(), SyncTurn::Came);
        }
        one.release_sync(first).unwrap();
    }

    fn ask(machine: &mut Machine, now: Millis) -> i64 {
        let seen = machine.last_sync().unwrap();
        match machine.lease_sync(now, seen, POLL, false, None).unwrap() {
            SyncTurn::Ours(Some(number)) => number,
            turn => panic!("{turn:?}"),
        }
    }

    fn machine(scratch: &Scratch) -> Machine {
        let location = Location::new(scratch.path().to_owned(), crate::store::KeySource::File);
        Machine::new(location.open().unwrap())
    }
}
