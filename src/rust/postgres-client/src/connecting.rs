//! How a connection is made.

use std::{
    cell::Cell,
    ffi::{CStr, c_char},
    ptr::{self, NonNull},
    time::{Duration, Instant},
};

use pq_sys::{ConnStatusType, PGVerbosity, PostgresPollingStatusType as Polling};

use crate::{Connection, Failure, ignore, lost, socket};

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
/// How long the first host of the address has, before libpq tries all of them in turn.
const FIRST: Duration = Duration::from_secs(3);
/// `invalid_password`
const WRONG_PASSWORD: &str = "28P01";
/// `protocol_violation`, which PgBouncer says of many things, in English.
const OF_POOLER: &str = "08P01";

/// Connects, or says why not.
pub(crate) fn connect(address: &CStr, gives_up: fn() -> bool) -> Result<Connection, Failure> {
    let mut names: Vec<*const c_char> = DEFAULTS.iter().map(|(name, _)| name.as_ptr()).collect();
    let mut values: Vec<*const c_char> = DEFAULTS.iter().map(|(_, value)| value.as_ptr()).collect();
    // What the address sets takes the place of what stands before it.
    for (name, value) in [(c"dbname", address), (c"client_encoding", c"UTF8")] {
        names.push(name.as_ptr());
        values.push(value.as_ptr());
    }
    names.push(ptr::null());
    values.push(ptr::null());
    // SAFETY: two arrays of the same length of strings that end with NUL, ended by null pointers; they live until the
    // call returns.
    let raw = unsafe { pq_sys::PQconnectStartParams(names.as_ptr(), values.as_ptr(), 1) };
    let raw = NonNull::new(raw).ok_or_else(|| lost("There is no memory for a connection."))?;
    let connection = Connection { raw, gives_up, was_left: Cell::new(false) };
    let raw = raw.as_ptr();
    // Errors name their code then, which is the same in all languages.
    // SAFETY: an open connection.
    unsafe { pq_sys::PQsetErrorVerbosity(raw, PGVerbosity::PQERRORS_VERBOSE) };
    go_on(&connection);
    if connection.is_lost() {
        return Err(why(&connection));
    }
    // SAFETY: an open connection, and a receiver that touches nothing.
    unsafe {
        pq_sys::PQsetErrorVerbosity(raw, PGVerbosity::PQERRORS_DEFAULT);
        pq_sys::PQsetNoticeReceiver(raw, Some(ignore), ptr::null_mut());
        pq_sys::PQsetnonblocking(raw, 1);
    }
    Ok(connection)
}

/// Goes on with a connection that was begun, to its end.
fn go_on(connection: &Connection) {
    let raw = connection.raw.as_ptr();
    let until = Instant::now() + FIRST;
    let mut wanted = Polling::PGRES_POLLING_WRITING;
    loop {
        let reading = match wanted {
            Polling::PGRES_POLLING_READING => true,
            Polling::PGRES_POLLING_WRITING => false,
            _ => return,
        };
        // SAFETY: an open connection.
        if unsafe { pq_sys::PQstatus(raw) == ConnStatusType::CONNECTION_BAD } {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        if !socket::wait(raw, reading, !reading, left) {
            if Instant::now() < until {
                continue;
            }
            // Only where libpq itself waits it goes on with the next host. This begins again, with the same settings.
            // SAFETY: an open connection.
            unsafe { pq_sys::PQreset(raw) };
            return;
        }
        // SAFETY: an open connection.
        wanted = unsafe { pq_sys::PQconnectPoll(raw) };
        // libpq would try it a second time without TLS, which counts as a second attempt to guess it.
        if is_wrong_password(&connection.failure().message) {
            return;
        }
    }
}

/// Why there is no connection.
fn why(connection: &Connection) -> Failure {
    let failure = connection.failure();
    // SAFETY: an open connection.
    let needs_password = unsafe { pq_sys::PQconnectionNeedsPassword(connection.raw.as_ptr()) != 0 };
    let is_about_password = needs_password || is_wrong_password(&failure.message);
    let code = if is_about_password { Some(WRONG_PASSWORD) } else { code_of(&failure.message) };
    Failure {
        code: code.unwrap_or_default().to_owned(),
        message: without_details(&failure.message),
        ..failure
    }
}

fn is_wrong_password(message: &str) -> bool {
    match code_of(message) {
        Some(WRONG_PASSWORD) => true,
        Some(OF_POOLER) => message.contains("authentication failed"),
        _ => false,
    }
}

/// The code of the last error in a text of libpq: `FATAL:  28P01: password authentication failed`.
fn code_of(message: &str) -> Option<&str> {
    let is_code = |text: &&str| {
        text.len() == 5
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    };
    let errors = message.split(":  ").skip(1);
    errors.filter_map(|error| error.split_once(": ")).map(|(code, _)| code).filter(is_code).last()
}

/// The text without codes, without the places in the source of the server, and without the beginning of an attempt that was not
/// made.
fn without_details(message: &str) -> String {
    let is_place = |line: &&str| {
        let number = line.rsplit_once(".c:").map_or("", |(_, number)| number);
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_wanted = |line: &&str| !is_place(line) && !line.ends_with(':');
    let lines = message.lines().filter(is_wanted).map(|line| match code_of(line) {
        Some(code) => line.replacen(&format!(":  {code}: "), ":  ", 1),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_known_by_its_code_in_any_language() {
        let message = "Verbindung zum Server auf »db«, Port 5432 fehlgeschlagen: FATAL:  53300: zu viele\n\
                       ORT:  InitProcess, proc.c:357\n\
                       connection to server at \"db\" failed: FATAL:  28P01: Passwort falsch\n\
                       LOCATION:  auth_failed, auth.c:332\n\
                       connection to server at \"db\" failed:";
        assert_eq!(code_of(message), Some(WRONG_PASSWORD));
        assert_eq!(
            without_details(message),
            "Verbindung zum Server auf »db«, Port 5432 fehlgeschlagen: FATAL:  zu viele\n\
             connection to server at \"db\" failed: FATAL:  Passwort falsch"
        );
        for none in ["", "timeout expired", "error:  28P0: x", "a:  28P01", "FATAL: 28P01: x"] {
            assert_eq!(code_of(none), None, "{none}");
            assert_eq!(without_details(none), none);
        }
    }
}
