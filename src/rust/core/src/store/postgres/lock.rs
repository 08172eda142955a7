//! Locks that end with their connection, and so with the process that has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use mxcrypt_postgres_client::{Connection, Parameter};
use sha2::{Digest, Sha256};

use super::{Address, failures::refusal, pool};
use crate::error::{Error, Kind, Result};

/// An advisory lock (<https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS>).
pub struct Lock {
    holder: Arc<Mutex<Holder>>,
    key: i64,
}

/// The connection that has all locks of this process at a server, which allows few connections.
struct Holder {
    connection: Connection,
    /// PostgreSQL would give a connection the same lock twice.
    keys: BTreeSet<i64>,
}

type Holders = BTreeMap<String, Weak<Mutex<Holder>>>;
static HOLDERS: Mutex<(u32, Holders)> = Mutex::new((0, BTreeMap::new()));

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lock {
    /// Takes the lock `name` of a store; none while another has it.
    pub(in crate::store) fn take(address: &Address, name: &str) -> Result<Option<Self>> {
        let key = key(&address.name, name);
        let holder = holder(&address.server)?;
        let mut here = locked(&holder);
        if here.keys.contains(&key) {
            return Ok(None);
        }
        let sql = "SELECT pg_try_advisory_lock($1)::int::bigint";
        let taken = here.connection.query(sql, &[Parameter::Integer(key)]).map_err(refusal)?;
        if taken.integer(0, 0) != Some(1) {
            return Ok(None);
        }
        here.keys.insert(key);
        drop(here);
        Ok(Some(Self { holder, key }))
    }

    pub(in crate::store) fn is_held(&self) -> bool {
        // Only a round trip tells.
        locked(&self.holder).connection.run("").is_ok()
    }
}

/// The number of the lock `name` of a store.
fn key(store: &str, name: &str) -> i64 {
    let digest = Sha256::new_with_prefix(store.as_bytes()).chain_update([0]);
    let digest = digest.chain_update(name.as_bytes()).finalize();
    let (key, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    i64::from_be_bytes(*key)
}

/// Whether a process has the lock `name` of a store, as any connection to its server sees it.
pub(super) fn is_held(connection: &Connection, store: &str, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
               AND classid = (($1 >> 32) & 4294967295)::oid AND objid = ($1 & 4294967295)::oid \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let counted =
        connection.query(sql, &[Parameter::Integer(key(store, name))]).map_err(refusal)?;
    Ok(counted.integer(0, 0) != Some(0))
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut here = locked(&self.holder);
        here.keys.remove(&self.key);
        // Where this fails the connection is gone, and the lock with it.
        let _ = here
            .connection
            .query("SELECT pg_advisory_unlock($1)::int::bigint", &[Parameter::Integer(self.key)]);
    }
}

/// The holder of this process at `server`: a new one if there is none, or if its connection broke.
fn holder(server: &str) -> Result<Arc<Mutex<Holder>>> {
    let mut all = locked(&HOLDERS);
    let (of_process, holders) = &mut *all;
    if *of_process != process::id() {
        // After a fork they are the parent's.
        holders.clear();
        *of_process = process::id();
    }
    if let Some(holder) = holders.get(server).and_then(Weak::upgrade)
        && locked(&holder).connection.run("").is_ok()
    {
        return Ok(holder);
    }
    let pooled = pool::connect_within(server, pool::OUTAGE)?;
    if pooled.behind_pooler {
        return Err(Error::new(
            Kind::StoreUnsupported,
            "A listener needs a connection of its own to the store's database, and a pooler gives none. Name \
             the server itself.",
        ));
    }
    // A host that lost its power is noticed by the server, too.
    let patience = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; \
                    SET tcp_keepalives_count = 3";
    pooled.connection.run(patience).map_err(refusal)?;
    let holder =
        Arc::new(Mutex::new(Holder { connection: pooled.connection, keys: BTreeSet::new() }));
    holders.insert(server.to_owned(), Arc::downgrade(&holder));
    Ok(holder)
}
