//! A connection to PostgreSQL, by libpq, its own client library.
//!
//! libpq finds what the user has set up for all programs: `PGPASSWORD`, `~/.pgpass`, `pg_service.conf`, certificates and
//! the modes of TLS. It is a C library: this crate is where its calls are made safe, as `private-file` is for Windows.
//!
//! Everything is sent and received in binary form, as parameters, never as part of a statement.

mod parameter;
mod rows;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fmt,
    ptr::{self, NonNull},
};

pub use self::{parameter::Parameter, rows::Rows};

/// What is set unless the address sets it: a server that is gone is noticed within half a minute, and not after
/// the hours that the operating system waits.
const DEFAULTS: &[(&CStr, &CStr)] = &[
    (c"application_name", c"mxcrypt"),
    (c"connect_timeout", c"10"),
    (c"keepalives_idle", c"15"),
    (c"keepalives_interval", c"5"),
    (c"keepalives_count", c"3"),
    (c"tcp_user_timeout", c"30000"),
];

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
}

// SAFETY: libpq allows a connection in any thread, in one at a time; nothing here can be called from two at once, as
// it is not `Sync`.
unsafe impl Send for Connection {}

/// libpq would write warnings to the standard error of R.
unsafe extern "C" fn ignore(_: *mut c_void, _: *const pq_sys::PGresult) {}

impl Connection {
    /// Connects to `address`, a connection URI or a string of keywords and values
    /// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>).
    ///
    /// # Errors
    /// When there is no connection; `is_lost` is true then.
    pub fn open(address: &str) -> Result<Self, Failure> {
        let address = CString::new(address).map_err(|_| lost("The address has a NUL."))?;
        let mut names: Vec<*const c_char> =
            DEFAULTS.iter().map(|(name, _)| name.as_ptr()).collect();
        let mut values: Vec<*const c_char> =
            DEFAULTS.iter().map(|(_, value)| value.as_ptr()).collect();
        // What the address sets takes the place of what stands before it.
        for (name, value) in [(c"dbname", address.as_c_str()), (c"client_encoding", c"UTF8")] {
            names.push(name.as_ptr());
            values.push(value.as_ptr());
        }
        names.push(ptr::null());
        values.push(ptr::null());
        // SAFETY: two arrays of the same length of strings that end with NUL, ended by null pointers; they live
        // until the call returns.
        let raw = unsafe { pq_sys::PQconnectdbParams(names.as_ptr(), values.as_ptr(), 1) };
        let raw = NonNull::new(raw).ok_or_else(|| lost("There is no memory for a connection."))?;
        let connection = Self { raw };
        if connection.is_lost() {
            return Err(connection.failure());
        }
        // SAFETY: a receiver that touches nothing.
        unsafe { pq_sys::PQsetNoticeReceiver(raw.as_ptr(), Some(ignore), ptr::null_mut()) };
        Ok(connection)
    }

    /// Runs statements that are written in full, in one round trip. Returns the rows of the last, as text.
    ///
    /// # Errors
    /// Those of the first that fails; the others are not run.
    pub fn run(&self, statements: &str) -> Result<Rows, Failure> {
        let statements = statement(statements)?;
        // SAFETY: an open connection and a string that ends with NUL.
        let result = unsafe { pq_sys::PQexec(self.raw.as_ptr(), statements.as_ptr()) };
        self.rows(result)
    }

    /// Runs one statement. Returns its rows, in binary form.
    ///
    /// It has no name on the server: a pooler may give the next one to another server.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Rows, Failure> {
        let sql = statement(sql)?;
        let too_large = |_| Failure {
            code: String::new(),
            message: "A statement has too much in it.".into(),
            is_lost: false,
        };
        let types: Vec<pq_sys::Oid> = parameters.iter().map(Parameter::type_number).collect();
        let bytes: Vec<_> = parameters.iter().map(Parameter::bytes).collect();
        let lengths = bytes.iter().map(|bytes| c_int::try_from(bytes.len()));
        let lengths: Vec<c_int> = lengths.collect::<Result<_, _>>().map_err(too_large)?;
        let values: Vec<*const c_char> = bytes.iter().map(|bytes| bytes.as_ptr().cast()).collect();
        let formats: Vec<c_int> = vec![1; parameters.len()];
        let count = c_int::try_from(parameters.len()).map_err(too_large)?;
        // SAFETY: four arrays of `count` items; `values` point to as many bytes as `lengths` say, and live until the
        // call returns.
        let result = unsafe {
            pq_sys::PQexecParams(
                self.raw.as_ptr(),
                sql.as_ptr(),
                count,
                types.as_ptr(),
                values.as_ptr(),
                lengths.as_ptr(),
                formats.as_ptr(),
                1,
            )
        };
        self.rows(result)
    }

    /// Whether the connection is gone, as far as is known.
    pub fn is_lost(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { pq_sys::PQstatus(self.raw.as_ptr()) != pq_sys::ConnStatusType::CONNECTION_OK }
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

    fn rows(&self, result: *mut pq_sys::PGresult) -> Result<Rows, Failure> {
        // Where there is no result there was no memory for it, or no connection.
        let Some(rows) = Rows::new(result) else { return Err(self.failure()) };
        match rows.error() {
            None => Ok(rows),
            // What the server refuses has a code. Without one it is the library that failed to get a response.
            Some((code, message)) => {
                Err(Failure { is_lost: code.is_empty() || self.is_lost(), code, message })
            }
        }
    }

    fn failure(&self) -> Failure {
        // SAFETY: an open connection; the text belongs to it.
        let message = unsafe { CStr::from_ptr(pq_sys::PQerrorMessage(self.raw.as_ptr())) };
        lost(message.to_string_lossy().trim())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: an open connection, used no more.
        unsafe { pq_sys::PQfinish(self.raw.as_ptr()) };
    }
}

fn lost(message: &str) -> Failure {
    Failure { code: String::new(), message: message.to_owned(), is_lost: true }
}

fn statement(sql: &str) -> Result<CString, Failure> {
    CString::new(sql).map_err(|_| Failure {
        code: String::new(),
        message: "A statement has a NUL.".into(),
        is_lost: false,
    })
}
