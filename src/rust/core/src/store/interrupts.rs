//! Waits that a user can end. The core knows nothing of R: whoever calls it says how an interrupt is noticed, for the thread
//! that it is noticed in.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, Kind, Result};

/// How often is looked for an interrupt.
const GLANCE: Duration = Duration::from_millis(50);
/// For how long an interrupt ends all that would wait. What cleans up after a call would wait for the same again.
const LASTS: Duration = Duration::from_secs(1);

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State { check: None, came: None, held_until: None }) };
}

#[derive(Clone, Copy)]
struct State {
    check: Option<fn() -> bool>,
    /// When there was an interrupt last.
    came: Option<Instant>,
    held_until: Option<Instant>,
}

/// Has what waits in this thread ask `check`, which says whether the user has interrupted since it was asked last.
pub fn watch(check: fn() -> bool) {
    STATE.set(State { check: Some(check), ..STATE.get() });
}

/// Whether the user has interrupted what waits in this thread.
pub fn came() -> bool {
    let state = STATE.get();
    if state.held_until.is_some_and(|until| Instant::now() < until) {
        return false;
    }
    if state.came.is_some_and(|came| came.elapsed() < LASTS) {
        return true;
    }
    let came = state.check.is_some_and(|check| check());
    if came {
        STATE.set(State { came: Some(Instant::now()), ..STATE.get() });
    }
    came
}

pub(super) fn error() -> Error {
    Error::new(Kind::Interrupted, "You interrupted the wait for the store.")
}

/// Waits. An interrupt is an error.
pub(super) fn sleep(limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        thread::sleep(GLANCE.min(end.saturating_duration_since(Instant::now())));
        if came() {
            return Err(error());
        }
        if Instant::now() >= end {
            return Ok(());
        }
    }
}

/// Has interrupts wait until this is dropped, for at most `limit`.
#[cfg(feature = "postgres")]
pub(super) fn hold(limit: Duration) -> Held {
    STATE.set(State { held_until: Some(Instant::now() + limit), ..STATE.get() });
    Held
}

#[cfg(feature = "postgres")]
pub(super) struct Held;

#[cfg(feature = "postgres")]
impl Drop for Held {
    fn drop(&mut self) {
        STATE.set(State { held_until: None, ..STATE.get() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_ends_a_wait_and_those_of_the_cleaning_up() {
        let begun = Instant::now();
        sleep(Duration::from_millis(1)).unwrap();
        watch(|| true);
        for _ in 0..3 {
            assert_eq!(sleep(Duration::from_secs(60)).unwrap_err().kind, Kind::Interrupted);
        }
        watch(|| false);
        assert!(came(), "who cleans up does not wait either");
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(LASTS);
        sleep(Duration::from_millis(1)).unwrap();
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn an_interrupt_can_be_held_back_for_a_time() {
        watch(|| true);
        let held = hold(Duration::from_millis(200));
        assert!(!came());
        thread::sleep(Duration::from_millis(250));
        assert!(came());
        drop(held);
        drop(hold(Duration::from_secs(60)));
        assert!(came());
    }
}
