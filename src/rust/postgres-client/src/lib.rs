//! A connection to PostgreSQL, by libpq, its own client library.
//!
//! libpq finds what the user has set up for all programs: `PGPASSWORD`, `~/.pgpass`, `pg_service.conf`, certificates and
//! the modes of TLS. It is a C library: this crate is where its calls are made safe, as `private-file` is for Windows.
//!
//! Everything is sent and received in binary form, as parameters, never as part of a statement.
//!
//! Whoever waits is asked every now and then whether they still do.

mod cancelling;
mod connecting;
mod parameter;
mod rows;
mod socket;

use std::{
    cell::Cell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fmt,
    ptr::NonNull,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

pub use self::{parameter::Parameter, rows::Rows};

/// How often whoever waits is asked.
const GLANCE: Duration = Duration::from_millis(50);

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The five characters by which PostgreSQL names an error
    /// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>); empty where there was no response.
    pub code: String,
    /// What the server or the library says.
    pub message: String,
    /// Whether the connection is gone, so that nobody knows what the server did.
    pub is_lost: bool,
    /// Whether it was not waited for. The connection is of no more use.
    pub was_left: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An open connection.
pub struct Connection {
    raw: NonNull<pq_sys::PGconn>,
    /// Whether whoever waits has had enough.
    gives_up: fn() -> bool,
    was_left: Cell<bool>,
}

// SAFETY: libpq allows a connection in any thread, in one at a time; nothing here can be called from two at once, as
// it is not `Sync`.
unsafe impl Send for Connection {}

/// libpq would write warnings to the standard error of R.
unsafe extern "C" fn ignore(_: *mut c_void, _: *const pq_sys::PGresult) {}

impl Connection {
    /// Connects to `address`, a connection URI or a string of keywords and values
    /// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>), until `gives_up` says that nobody
    /// waits any more. What waits for a statement asks it too.
    ///
    /// # Errors
    /// When there is no connection; `is_lost` is true then, and `code` says why if it was the server that refused it.
    pub fn open(address: &str, gives_up: fn() -> bool) -> Result<Self, Failure> {
        let address = CString::new(address).map_err(|_| lost("The address has a NUL."))?;
        // In a thread of its own, because nothing ends a search for the address of a host. It ends by itself.
        let (sender, receiver) = mpsc::channel();
        let connect = move || {
            let _ = sender.send(connecting::connect(&address, gives_up));
        };
        let thread = thread::Builder::new().name("mxcrypt-connect".to_owned()).spawn(connect);
        thread.map_err(|error| lost(&error.to_string()))?;
        loop {
            match receiver.recv_timeout(GLANCE) {
                Ok(connected) => return connected,
                Err(RecvTimeoutError::Timeout) if gives_up() => return Err(left()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(lost("The connection failed.")),
            }
        }
    }

    /// Runs statements that are written in full, in one round trip. Returns the rows of the last, as text.
    ///
    /// # Errors
    /// Those of the first that fails; the others are not run.
    pub fn run(&self, statements: &str) -> Result<Rows, Failure> {
        let statements = statement(statements)?;
        // SAFETY: an open connection and a string that ends with NUL.
        self.done(|raw| unsafe { pq_sys::PQsendQuery(raw, statements.as_ptr()) })
    }

    /// Runs one statement. Returns its rows, in binary form.
    ///
    /// It has no name on the server: a pooler may give the next one to another server.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Rows, Failure> {
        let sql = statement(sql)?;
        let too_large = |_| refused("A statement has too much in it.");
        let types: Vec<pq_sys::Oid> = parameters.iter().map(Parameter::type_number).collect();
        let bytes: Vec<_> = parameters.iter().map(Parameter::bytes).collect();
        let lengths = bytes.iter().map(|bytes| c_int::try_from(bytes.len()));
        let lengths: Vec<c_int> = lengths.collect::<Result<_, _>>().map_err(too_large)?;
        let values: Vec<*const c_char> = bytes.iter().map(|bytes| bytes.as_ptr().cast()).collect();
        let formats: Vec<c_int> = vec![1; parameters.len()];
        let count = c_int::try_from(parameters.len()).map_err(too_large)?;
        // SAFETY: four arrays of `count` items; `values` point to as many bytes as `lengths` say, and live until the
        // call returns.
        self.done(|raw| unsafe {
            pq_sys::PQsendQueryParams(
                raw,
                sql.as_ptr(),
                count,
                types.as_ptr(),
                values.as_ptr(),
                lengths.as_ptr(),
                formats.as_ptr(),
                1,
            )
        })
    }

    /// Whether the connection is gone, as far as is known.
    pub fn is_lost(&self) -> bool {
        // SAFETY: an open connection.
        let status = unsafe { pq_sys::PQstatus(self.raw.as_ptr()) };
        self.was_left.get() || status != pq_sys::ConnStatusType::CONNECTION_OK
    }

    /// The number of the server's process, as it was said when the connection was made. A pooler says one of its own.
    pub fn server_process(&self) -> i32 {
        // SAFETY: an open connection.
        unsafe { pq_sys::PQbackendPID(self.raw.as_ptr()) }
    }

    /// The version of the server, such as 150018.
    pub fn server_version(&self) -> i32 {
        // SAFETY: an open connection.
        unsafe { pq_sys::PQserverVersion(self.raw.as_ptr()) }
    }

    /// The channel of the next notification that has come, without waiting for one; and whether it was this connection
    /// that sent it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn notification(&self) -> Result<Option<(String, bool)>, Failure> {
        if self.was_left.get() {
            return Err(left());
        }
        // SAFETY: an open connection.
        if unsafe { pq_sys::PQconsumeInput(self.raw.as_ptr()) } == 0 {
            return Err(self.failure());
        }
        // SAFETY: an open connection.
        let found = unsafe { pq_sys::PQnotifies(self.raw.as_ptr()) };
        let Some(found) = NonNull::new(found) else { return Ok(None) };
        // SAFETY: libpq gives a notification to its caller, whose name is a string that ends with NUL.
        let (channel, own) = unsafe {
            let notify = found.as_ref();
            let channel = CStr::from_ptr(notify.relname).to_string_lossy().into_owned();
            (channel, notify.be_pid == self.server_process())
        };
        // SAFETY: libpq allocated it, and it is used no more.
        unsafe { pq_sys::PQfreemem(found.as_ptr().cast()) };
        Ok(Some((channel, own)))
    }

    /// Sends something, and waits for its end. Returns the rows of the last statement.
    fn done(&self, send: impl Fn(*mut pq_sys::PGconn) -> c_int) -> Result<Rows, Failure> {
        if self.was_left.get() {
            return Err(Failure { is_lost: true, ..left() });
        }
        let raw = self.raw.as_ptr();
        if send(raw) == 0 {
            return Err(self.failure());
        }
        let mut last = None;
        loop {
            // SAFETY: an open connection.
            let (unsent, is_busy) = unsafe { (pq_sys::PQflush(raw), pq_sys::PQisBusy(raw) != 0) };
            if unsent == 0 && !is_busy {
                // SAFETY: an open connection.
                match Rows::new(unsafe { pq_sys::PQgetResult(raw) }) {
                    Some(rows) => last = Some(rows),
                    None => break,
                }
                continue;
            }
            if unsent < 0 {
                break;
            }
            if !socket::wait(raw, true, unsent > 0, GLANCE) && (self.gives_up)() {
                self.was_left.set(true);
                cancelling::cancel(raw);
                return Err(left());
            }
            // Also where nothing came: TLS may have read it already.
            // SAFETY: an open connection.
            if unsafe { pq_sys::PQconsumeInput(raw) } == 0 {
                break;
            }
        }
        // Where there is no result there was no memory for it, or no connection.
        let Some(rows) = last else { return Err(self.failure()) };
        match rows.error() {
            None if self.is_lost() => Err(self.failure()),
            None => Ok(rows),
            // What the server refuses has a code. Without one it is the library that failed to get a response.
            Some((code, message)) => Err(Failure {
                is_lost: code.is_empty() || self.is_lost(),
                was_left: false,
                code,
                message,
            }),
        }
    }

    fn failure(&self) -> Failure {
        // SAFETY: an open connection; the text belongs to it.
        let message = unsafe { CStr::from_ptr(pq_sys::PQerrorMessage(self.raw.as_ptr())) };
        let message = message.to_string_lossy();
        // With and without TLS it says the same.
        let mut lines: Vec<&str> = message.trim().lines().map(str::trim).collect();
        lines.dedup();
        lost(&lines.join("\n"))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: an open connection, used no more.
        unsafe { pq_sys::PQfinish(self.raw.as_ptr()) };
    }
}

fn lost(message: &str) -> Failure {
    Failure { is_lost: true, ..refused(message) }
}

fn left() -> Failure {
    Failure { was_left: true, ..refused("Nobody waits any more.") }
}

fn refused(message: &str) -> Failure {
    Failure { code: String::new(), message: message.to_owned(), is_lost: false, was_left: false }
}

fn statement(sql: &str) -> Result<CString, Failure> {
    CString::new(sql).map_err(|_| refused("A statement has a NUL."))
}
