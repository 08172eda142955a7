//! Connections, which all stores of a process share: a thousand clients need one, as long as one works at a time.

use std::{
    collections::BTreeMap,
    process,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mxcrypt_postgres_client::{Connection, Failure};

use super::{
    super::interrupts,
    IDLE_LIMIT, LOCK_LIMIT,
    failures::{is_final, refused, unreachable},
};
use crate::error::Result;

/// How long a server may be away: one that is started again is back by then.
pub(super) const OUTAGE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many connections wait for their next use.
const MOST_IDLE: usize = 4;

/// A connection with what is known of it.
pub(super) struct Pooled {
    pub(super) connection: Connection,
    /// Whether something stands between, which gives each transaction a server of its own: it passes on no
    /// notifications.
    pub(super) behind_pooler: bool,
    /// What each transaction begins with: see [`settings`].
    pub(super) settings: String,
}

static IDLE: Mutex<Idle> = Mutex::new(Idle { process: 0, connections: BTreeMap::new() });

struct Idle {
    process: u32,
    connections: BTreeMap<String, Vec<Pooled>>,
}

fn idle() -> MutexGuard<'static, Idle> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.process != process::id() {
        idle.process = process::id();
        // They are the parent's. To close them would end them for the parent too.
        for pooled in std::mem::take(&mut idle.connections).into_values().flatten() {
            std::mem::forget(pooled);
        }
    }
    idle
}

/// A connection to `server`, one of those that wait or a new one.
pub(super) fn take(server: &str) -> Result<Pooled> {
    let waiting = idle().connections.get_mut(server).and_then(Vec::pop);
    match waiting {
        Some(pooled) => Ok(pooled),
        None => connect_within(server, OUTAGE),
    }
}

/// The same, where nothing is begun again: one that waited may have been ended by the server since.
pub(super) fn take_tested(server: &str) -> Result<Pooled> {
    let pooled = take(server)?;
    if pooled.connection.run("").is_ok() {
        return Ok(pooled);
    }
    forget(server);
    connect_within(server, OUTAGE)
}

/// Keeps a connection for the next one who needs it.
pub(super) fn give_back(server: &str, pooled: Pooled) {
    if pooled.connection.is_lost() {
        return;
    }
    let mut idle = idle();
    let waiting = idle.connections.entry(server.to_owned()).or_default();
    if waiting.len() < MOST_IDLE {
        waiting.push(pooled);
    }
}

/// Closes the connections to `server` that wait: after one broke, the others are broken too.
pub(super) fn forget(server: &str) {
    idle().connections.remove(server);
}

/// A new connection. Tries for as long as `limit`, since the server may be starting.
pub(super) fn connect_within(server: &str, limit: Duration) -> Result<Pooled> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match connect(server) {
            Ok(pooled) => return Ok(pooled),
            Err(failure) if failure.was_left => return Err(interrupts::error()),
            Err(failure) if is_final(&failure) => return Err(refused(&failure)),
            Err(failure) if begun.elapsed() + pause > limit => return Err(unreachable(&failure)),
            Err(_) => interrupts::sleep(pause)?,
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

fn connect(server: &str) -> std::result::Result<Pooled, Failure> {
    let connection = Connection::open(server, interrupts::came)?;
    let asked = connection.query("SELECT pg_backend_pid()::bigint", &[])?;
    let behind_pooler = asked.integer(0, 0) != Some(i64::from(connection.server_process()));
    let version = connection.server_version();
    // What is set for a session behind a pooler stays set for others.
    let settings = if behind_pooler {
        settings("LOCAL", version)
    } else {
        connection.run(&settings("SESSION", version))?;
        String::new()
    };
    Ok(Pooled { connection, behind_pooler, settings })
}

/// Sets what an administrator may have set for the user, the database or the server, and what must not change what a store
/// does: limits on its waits that are not its own, and where names are searched.
fn settings(scope: &str, version: i32) -> String {
    let mut settings = vec![
        ("statement_timeout", 0),
        ("lock_timeout", LOCK_LIMIT.as_millis()),
        ("idle_in_transaction_session_timeout", IDLE_LIMIT.as_millis()),
    ];
    if version >= 140_000 {
        settings.push(("idle_session_timeout", 0));
    }
    if version >= 170_000 {
        settings.push(("transaction_timeout", 0));
    }
    let set = |(name, value)| format!("SET {scope} {name} = {value}; ");
    let limits: String = settings.into_iter().map(set).collect();
    format!("{limits}SET {scope} search_path = pg_catalog; ")
}
