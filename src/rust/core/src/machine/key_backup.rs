//! The key backup: room keys that the server keeps for the devices of our user, encrypted. Here is what is
//! known of it, and which keys of it are kept.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". Nothing goes
//! to a backup that is not trusted (`backup_status`). What comes out of it is anybody's word, and never
//! `is_authentic`.

use super::{Machine, Millis, Work};
use crate::{
    error::Result,
    primitives::key_backup::BackupKey,
    store::{
        Query,
        records::{BackupVersion, InboundSession, KeyBackup},
    },
};

/// How many keys of other versions are kept.
const MOST_OTHERS: usize = 10;
impl Machine {
    /// Sets whether keys of this device go to the backup.
    ///
    /// # Errors
    /// Those of the store.
    pub fn enable_backup(&mut self, now: Millis, enabled: bool) -> Result<()> {
        self.work(now, |work| {
            let backup = key_backup(work)?;
            work.tx.put_single(&KeyBackup { enabled: Some(enabled), ..backup })
        })
    }
}

impl KeyBackup {
    /// The version, and its private key, if that is here.
    pub(super) fn open(&self) -> Option<(&BackupVersion, &BackupKey)> {
        let version = self.version.as_ref()?;
        self.private.as_ref().filter(|key| version.is_of(key)).map(|key| (version, key))
    }

    /// The private key of any version, if it is here.
    pub(super) fn key_of(&self, version: &BackupVersion) -> Option<&BackupKey> {
        self.private.iter().chain(&self.others).find(|key| version.is_of(key))
    }

    /// Makes `key` that of the current version.
    pub(super) fn adopt(&mut self, key: BackupKey) {
        self.others.retain(|other| *other != key);
        if let Some(before) = self.private.replace(key).filter(|b| Some(b) != self.private.as_ref())
        {
            self.keep(before);
        }
        self.misfit = None;
        self.enabled.get_or_insert(true);
    }

    /// Keeps a key that is not of the current version.
    pub(super) fn keep(&mut self, key: BackupKey) {
        self.others.retain(|other| *other != key);
        self.others.push(key);
        let surplus = self.others.len().saturating_sub(MOST_OTHERS);
        self.others.drain(..surplus);
    }
}

pub(super) fn key_backup(work: &Work<'_>) -> Result<KeyBackup> {
    Ok(work.tx.get_single()?.unwrap_or_default())
}

/// How many sessions are not in the backup.
pub(super) fn not_backed_up(work: &Work<'_>, backup: &KeyBackup) -> Result<usize> {
    let later = Query::all().after("changed", backup.done);
    let unnumbered = match backup.unnumbered_done {
        true => 0,
        false => work.tx.count::<InboundSession>(&Query::equal("changed", 0))?,
    };
    Ok(work.tx.count::<InboundSession>(&later)? + unnumbered)
}
