//! How a statement is cancelled. A server that nobody waits for goes on with it, and keeps others waiting.

use std::{ffi::c_int, ptr::NonNull, thread};

struct Cancel(NonNull<pq_sys::PGcancel>);

// SAFETY: it belongs to no connection, and is used once.
unsafe impl Send for Cancel {}

impl Drop for Cancel {
    fn drop(&mut self) {
        // SAFETY: libpq allocated it, and it is used no more.
        unsafe { pq_sys::PQfreeCancel(self.0.as_ptr()) };
    }
}

/// Asks the server to end what a connection is at. Waits for nothing: it may be the server that does not respond.
pub(crate) fn cancel(raw: *mut pq_sys::PGconn) {
    // SAFETY: an open connection.
    let cancel = NonNull::new(unsafe { pq_sys::PQgetCancel(raw) }).map(Cancel);
    let Some(cancel) = cancel else { return };
    let ask = move || {
        let Cancel(raw) = &cancel;
        let mut why = [0; 256];
        // SAFETY: what `PQgetCancel` returned, and a place for a text of that length.
        unsafe { pq_sys::PQcancel(raw.as_ptr(), why.as_mut_ptr(), why.len() as c_int) };
    };
    // Without one the server notices by itself, later.
    let _ = thread::Builder::new().name("mxcrypt-cancel".to_owned()).spawn(ask);
}
