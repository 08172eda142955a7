//! What tells a process that another has committed: one connection for each server, which listens for all stores of the
//! process (<https://www.postgresql.org/docs/current/sql-listen.html>).
//!
//! Nobody is told who does not wait: a transaction that notifies holds a lock of the whole server while it commits. So
//! whoever waits says so in the row of the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    process,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    super::interrupts,
    failures::refusal,
    pool::{self, Pooled},
};
use crate::error::{Kind, Result};

/// How often is looked for what has come.
const GLANCE: Duration = Duration::from_millis(20);
/// How often a caller looks for itself, behind a pooler that passes on no notifications.
const LOOK: Duration = Duration::from_millis(500);
/// For how long others notify, in seconds, once somebody has waited; and how often that is said again.
const AWAITED: u64 = 120;
const SAY_AGAIN: Duration = Duration::from_secs(60);

struct Listening {
    pooled: Pooled,
    /// When it was said of each store that somebody waits.
    said: BTreeMap<i64, Instant>,
    /// The channels on which something has come that nobody has asked for yet.
    heard: BTreeSet<String>,
}

static LISTENING: Mutex<(u32, BTreeMap<String, Listening>)> = Mutex::new((0, BTreeMap::new()));

/// The channel of a store.
pub(super) fn channel(store: i64) -> String {
    format!("mxcrypt_{store}")
}

/// Waits until something is committed to a store, or was since the last call.
pub(super) fn wait(server: &str, store: i64, limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    let mut all = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    let (process, listening) = &mut *all;
    if *process != process::id() {
        // After a fork they are the parent's, which closing them here would end.
        std::mem::forget(std::mem::take(listening));
        *process = process::id();
    }
    let mut here = match listening.remove(server) {
        Some(here) => here,
        None => Listening {
            pooled: pool::connect_within(server, pool::OUTAGE)?,
            said: BTreeMap::new(),
            heard: BTreeSet::new(),
        },
    };
    match here.wait(store, end) {
        // One that broke is not kept: the next call makes another, and the caller looks for itself.
        Err(error) if matches!(error.kind, Kind::StoreUnreachable | Kind::StoreLocked) => {
            return Ok(());
        }
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    listening.insert(server.to_owned(), here);
    Ok(())
}

impl Listening {
    fn wait(&mut self, store: i64, end: Instant) -> Result<()> {
        let is_news = !self.said.contains_key(&store);
        self.say(store)?;
        let left = || end.saturating_duration_since(Instant::now());
        if self.pooled.behind_pooler {
            return interrupts::sleep(left().min(LOOK));
        }
        loop {
            self.hear()?;
            if is_news || self.heard.remove(&channel(store)) || left().is_zero() {
                return Ok(());
            }
            interrupts::sleep(GLANCE.min(left()))?;
        }
    }

    /// Says that somebody waits for commits of a store, where that was not said of late.
    fn say(&mut self, store: i64) -> Result<()> {
        if self.said.get(&store).is_some_and(|at| at.elapsed() < SAY_AGAIN) {
            return Ok(());
        }
        if !self.pooled.behind_pooler {
            let statements = format!(
                "LISTEN {}; UPDATE mxcrypt.store SET awaited_until = now() + interval '{AWAITED} seconds' \
                 WHERE number = {store}",
                channel(store)
            );
            self.pooled.connection.run(&statements).map_err(refusal)?;
        }
        self.said.insert(store, Instant::now());
        Ok(())
    }

    /// Takes in what has come.
    fn hear(&mut self) -> Result<()> {
        while let Some((channel, _)) = self.pooled.connection.notification().map_err(refusal)? {
            self.heard.insert(channel);
        }
        Ok(())
    }
}
