//! The socket of a connection.

use std::time::Duration;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{BorrowedFd, RawFd},
};

/// Waits until a connection can be read from, or written to. Returns whether it can.
pub(crate) fn wait(
    raw: *mut pq_sys::PGconn,
    reading: bool,
    writing: bool,
    limit: Duration,
) -> bool {
    // SAFETY: an open connection.
    let socket = unsafe { pq_sys::PQsocket(raw) };
    if socket < 0 {
        return true;
    }
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::IN, reading);
    wanted.set(PollFlags::OUT, writing);
    // SAFETY: libpq closes it in none but other calls.
    let socket = unsafe { BorrowedFd::borrow_raw(socket as RawFd) };
    let mut sockets = [PollFd::from_borrowed_fd(socket, wanted)];
    // A signal, such as Ctrl-C, ends the wait.
    matches!(poll(&mut sockets, Timespec::try_from(limit).ok().as_ref()), Ok(1..))
}
