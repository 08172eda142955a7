//! The lease on renewing the login. Two processes share one access token and one refresh token: if
//! both refresh, the first new token makes the second refresh a mistake. So one process refreshes,
//! and the others wait and read the token that it saved.
//!
//! A refresh ends with the process that does it, also where that was killed: the lease expires.

use super::{Machine, Millis, SECOND};
use crate::{error::Result, store::records::LoginLease};

/// How long one process may take before another repeats its refresh. Until the new token is used,
/// the server accepts the same refresh token again.
const LEASE: Millis = 30 * SECOND;

impl Machine {
    /// Leases the right to renew the login. Returns the number of the lease, or none while another
    /// process holds it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn lease_login(&mut self, now: Millis) -> Result<Option<i64>> {
        self.store.eventual_transaction(|tx| {
            let lease: LoginLease = tx.get_single()?.unwrap_or_default();
            // A lease that ends later than any could was made before the clock was set back.
            if (now..=now + LEASE).contains(&lease.until) {
                return Ok(None);
            }
            let number = tx.take_number("login lease")?;
            tx.put_single(&LoginLease { number, until: now + LEASE })?;
            Ok(Some(number))
        })
    }

    /// Ends the lease `number`, unless it expired and another process has a new one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn release_login(&mut self, number: i64) -> Result<()> {
        self.store.eventual_transaction(|tx| match tx.get_single::<LoginLease>()? {
            Some(lease) if lease.number == number => tx.put_single(&LoginLease::default()),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Location, scratch::Scratch};

    const NOW: Millis = 1_800_000_000_000;

    #[test]
    fn one_process_has_the_lease() {
        let scratch = Scratch::new();
        let mut one = machine(&scratch);
        let mut two = machine(&scratch);
        let first = one.lease_login(NOW).unwrap().unwrap();
        assert_eq!(two.lease_login(NOW).unwrap(), None);
        assert_eq!(one.lease_login(NOW + LEASE).unwrap(), None);
        one.release_login(first).unwrap();
        assert!(two.lease_login(NOW + 1).unwrap().is_some());
    }

    #[test]
    fn a_lease_of_a_killed_process_expires() {
        let scratch = Scratch::new();
        let mut one = machine(&scratch);
        let mut two = machine(&scratch);
        let first = one.lease_login(NOW).unwrap().unwrap();
        let second = two.lease_login(NOW + LEASE + 1).unwrap();
        assert!(second.is_some_and(|second| second > first));
        // The first was only slow, and must not end the lease of the second.
        one.release_login(first).unwrap();
        assert_eq!(one.lease_login(NOW + LEASE + 2).unwrap(), None);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lengthen_a_lease() {
        let scratch = Scratch::new();
        let mut one = machine(&scratch);
        assert!(one.lease_login(NOW).unwrap().is_some());
        assert!(one.lease_login(NOW - 1).unwrap().is_some());
    }

    fn machine(scratch: &Scratch) -> Machine {
        let location = Location::new(scratch.path().to_owned(), crate::store::KeySource::File);
        Machine::new(location.open().unwrap())
    }
}
