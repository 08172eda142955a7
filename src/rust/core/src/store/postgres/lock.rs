//! Locks that end with their connection, and so with the process that has them.

use mxcrypt_postgres_client::{Connection, Parameter};
use sha2::{Digest, Sha256};

use super::{Address, pool, refusal};
use crate::error::{Error, Kind, Result};

/// An advisory lock (<https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS>), on a connection of
/// its own.
pub struct Lock {
    connection: Connection,
}

impl Lock {
    /// Takes the lock `name` of a store; none while another has it.
    pub(in crate::store) fn take(address: &Address, name: &str) -> Result<Option<Self>> {
        let pooled = pool::connect_within(&address.server, pool::OUTAGE)?;
        if pooled.behind_pooler {
            return Err(Error::new(
                Kind::StoreUnsupported,
                "A listener needs a connection of its own to the store's database, and a pooler in transaction \
                 mode gives none. Name the server itself, or a pooler in session mode.",
            ));
        }
        // A host that lost its power is noticed by the server, too.
        let patience = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; \
                        SET tcp_keepalives_count = 3";
        pooled.connection.run(patience).map_err(refusal)?;
        let digest = Sha256::new_with_prefix(address.name.as_bytes()).chain_update([0]);
        let digest = digest.chain_update(name.as_bytes()).finalize();
        let (key, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let key = [Parameter::Integer(i64::from_be_bytes(*key))];
        let sql = "SELECT pg_try_advisory_lock($1)::int::bigint";
        let taken = pooled.connection.query(sql, &key).map_err(refusal)?.integer(0, 0);
        Ok((taken == Some(1)).then_some(Self { connection: pooled.connection }))
    }

    pub(in crate::store) fn is_held(&self) -> bool {
        // Only a round trip tells.
        self.connection.run("").is_ok()
    }
}
