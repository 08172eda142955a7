//! What failed, as those who use a store are told of it.

use mxcrypt_postgres_client::Failure;

use super::{super::interrupts, LOCK_LIMIT};
use crate::error::{Error, Kind};

pub(super) fn gone() -> Error {
    Error::new(
        Kind::Store,
        "The store is gone from its database: somebody deleted it. Without it, sign in as a new device.",
    )
}

/// Whether the server ended a transaction for no fault of it: a deadlock, a conflict, an administrator, a server that stops,
/// starts, or is only a copy until it is made the main one.
pub(super) fn is_passing(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "25006" | "25P03" | "25P04" | "53300" | "57014")
        || code.starts_with("57P")
}

pub(super) fn refusal(failure: Failure) -> Error {
    if failure.was_left {
        return interrupts::error();
    }
    match failure.code.as_str() {
        "25006" => Error::new(
            Kind::StoreUnreachable,
            "The database of the store can only be read: it is a replica, or default_transaction_read_only is on. Name \
             the main server; of several hosts, target_session_attrs=read-write in the address finds it. Or have it set \
             off for your user: ALTER ROLE your_user SET default_transaction_read_only = off;",
        ),
        code if failure.is_lost || is_passing(code) => unreachable(&failure),
        "55P03" => Error::new(
            Kind::StoreLocked,
            format!(
                "Another process has been writing to this store for {} seconds. Wait for it to \
                 finish, or end it, and try again.",
                LOCK_LIMIT.as_secs()
            ),
        ),
        "53100" => Error::new(Kind::Store, "The disk of the store's database is full."),
        "42501" => Error::new(
            Kind::Store,
            format!(
                "The user of the database may not use the store: {}. It must own the schema mxcrypt and its \
                 tables, or be granted USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on all of its tables.",
                failure.message
            ),
        ),
        _ => Error::new(Kind::Store, format!("The store cannot be used: {}", failure.message)),
    }
}

/// What libpq and poolers say of what stays so.
const OF_LIBPQ: [&str; 9] = [
    "does not exist",
    "no such database",
    "not permitted",
    "certificate",
    "private key",
    "does not support SSL",
    "definition of service",
    "service file",
    "invalid ",
];

/// Whether waiting is of no use: a wrong password or a database that is not there stay so. The server says it with a code,
/// libpq itself in words.
pub(super) fn is_final(failure: &Failure) -> bool {
    let (code, message) = (failure.code.as_str(), failure.message.as_str());
    matches!(code, "28000" | "28P01" | "3D000" | "42501")
        || OF_LIBPQ.iter().any(|refusal| message.contains(refusal))
}

pub(super) fn refused(failure: &Failure) -> Error {
    let mut message = format!("The database of the store refuses: {}", failure.message);
    if failure.code == "28P01" {
        message.push_str(
            " Its password is looked for in PGPASSWORD, ~/.pgpass and service files: see ?mxcrypt_postgresql.",
        );
    }
    Error::new(Kind::StoreRefused, message)
}

/// Why the store cannot be reached.
pub(super) fn unreachable(failure: &Failure) -> Error {
    Error::new(
        Kind::StoreUnreachable,
        format!("The database of the store cannot be reached: {}", failure.message),
    )
}
