//! The end of a transaction. A commit whose response is lost is looked up.

use std::time::{Duration, Instant};

use mxcrypt_postgres_client::Parameter;

use super::{
    super::interrupts,
    BEGIN, MOST_TRIES, Open, Postgres,
    columns::hex,
    failures::{is_passing, refusal, unreachable},
    notifications, pool, roll_back,
};
use crate::error::{Error, Kind, Result};

/// How long is tried to find out whether a commit happened. By then the server has ended it, one way or the other.
const LOOKUP_LIMIT: Duration = Duration::from_secs(120);
/// For how long an interrupt waits for the end of a commit. After that nobody knows whether there was one.
pub(super) const COMMIT_LIMIT: Duration = Duration::from_secs(10);

impl Postgres {
    /// The last commit of this object, as the row of the store names it.
    pub(super) fn last_commit(&self) -> String {
        hex(&self.worker) + &hex(&self.commits.to_be_bytes())
    }

    /// What is sent to commit a transaction: the counters, its number, and a notification.
    fn commit_statements(&self, open: &Open) -> String {
        if !open.wrote.get() {
            return "COMMIT".to_owned();
        }
        let notify = if open.awaited {
            format!("NOTIFY {}; ", notifications::channel(self.store))
        } else {
            String::new()
        };
        format!(
            "{}INSERT INTO mxcrypt.worker (store, worker, commits, committed_at) \
             VALUES ({store}, decode('{}', 'hex'), {}, now()) \
             ON CONFLICT (store, worker) \
             DO UPDATE SET commits = excluded.commits, committed_at = excluded.committed_at; \
             UPDATE mxcrypt.store SET last_commit = decode('{}', 'hex') WHERE number = {store}; \
             {notify}COMMIT",
            open.pending.borrow().numbers_statement(self.store),
            hex(&self.worker),
            self.commits,
            self.last_commit(),
            store = self.store,
        )
    }

    /// Whether the transaction that was being committed when the connection broke was committed. The server may be at it
    /// still: to lock the row of the store is to wait for its end.
    fn was_committed(&self) -> Result<bool> {
        let pooled = pool::connect_within(&self.server, LOOKUP_LIMIT)?;
        let asked = pooled
            .connection
            .run(&format!(
                "{BEGIN}; {}SET LOCAL lock_timeout = {}; \
                 SELECT number FROM mxcrypt.store WHERE number = {} FOR UPDATE",
                pooled.settings,
                LOOKUP_LIMIT.as_millis(),
                self.store
            ))
            .and_then(|_| {
                let sql = "SELECT commits FROM mxcrypt.worker WHERE store = $1 AND worker = $2";
                let worker = [Parameter::Integer(self.store), Parameter::Bytes(&self.worker)];
                pooled.connection.query(sql, &worker)
            });
        let commits = asked.map_err(refusal)?.integer(0, 0).unwrap_or(0);
        roll_back(&self.server, pooled);
        Ok(commits == self.commits)
    }

    /// Commits, and finds out whether it happened where the connection broke.
    pub(super) fn end(&self, open: Open) -> Result<()> {
        let wrote = open.wrote.get();
        let _held = interrupts::hold(COMMIT_LIMIT);
        match open.pooled.connection.run(&self.commit_statements(&open)) {
            // The server says ROLLBACK to a COMMIT after a statement that failed.
            Ok(rows) if rows.command() != "COMMIT" => {
                pool::give_back(&self.server, open.pooled);
                Err(Error::new(Kind::Store, "The database undid the transaction."))
            }
            Ok(_) => {
                pool::give_back(&self.server, open.pooled);
                Ok(())
            }
            Err(_) if !wrote => {
                pool::forget(&self.server);
                Ok(())
            }
            Err(failure) if failure.is_lost || is_passing(&failure.code) => {
                drop(open);
                pool::forget(&self.server);
                match self.find_out() {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(unreachable(&failure)),
                    Err(error) if error.kind == Kind::Interrupted => Err(error),
                    Err(error) => Err(Error::new(
                        Kind::Store,
                        format!(
                            "The connection to the store's database broke while it was saving, and it \
                             is not known whether it did. {}",
                            error.message
                        ),
                    )),
                }
            }
            Err(failure) => {
                roll_back(&self.server, open.pooled);
                Err(refusal(failure))
            }
        }
    }

    /// As [`Postgres::was_committed`], again when this connection breaks too.
    fn find_out(&self) -> Result<bool> {
        let begun = Instant::now();
        let mut found = self.was_committed();
        for _ in 1..MOST_TRIES {
            match found {
                Err(error)
                    if error.kind == Kind::StoreUnreachable && begun.elapsed() < LOOKUP_LIMIT =>
                {
                    found = self.was_committed();
                }
                found => return found,
            }
        }
        found
    }
}
