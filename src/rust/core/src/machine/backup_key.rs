//! The private keys of the key backup: taken from a person, from secret storage or from another device of
//! ours. A key that is not of the current version is kept too: it may read an older one.

use super::{
    Machine, Millis, Work,
    effects::{self, Effect},
    key_backup::key_backup,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::secret_storage::{OpenStorage, SecretStorage, StorageSecret},
    primitives::key_backup::{BackupKey, SECRET},
    store::records::{BackupVersion, KeyBackup},
};

/// How many versions before the current one may be requested.
const MOST_OLDER: u64 = 20;

impl Machine {
    /// Takes the private key of the backup: `secret` is that key, or a passphrase of the backup's own, or it
    /// opens secret storage, which holds the key. A key that is not of the version that the server returns is
    /// kept too: it may read an older version.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when the storage does not open;
    /// [`Kind::KeyBackup`] when it does not hold the key of the backup that the server returns.
    pub fn open_backup(
        &mut self,
        now: Millis,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<()> {
        let version = self.read(|work| Ok(key_backup(work)?.version))?;
        let direct = version.as_ref().map(|version| version.private_key(secret)).transpose();
        let key = match (direct, storage.default_key()) {
            (Ok(Some(Some(key))), _) => key,
            (Err(error), None) => return Err(error),
            (Ok(Some(None)), None) => return Err(no_key_of_its_own(secret, version.as_ref())),
            (Ok(None), None) => return Err(Error::new(Kind::KeyBackup, "There is no key backup.")),
            (_, Some(_)) => storage.open(secret)?.backup_key()?,
        };
        if self.work(now, |work| take_key(work, key, storage.digest(SECRET)))? {
            return Ok(());
        }
        Err(another_key())
    }

    /// Finds out whether secret storage holds the key of the version that the server returns, where
    /// `secret` opens it. [`BackupStatus::misfit`] says what was found.
    ///
    /// # Errors
    /// Those of the store.
    pub fn judge_backup_key(
        &mut self,
        now: Millis,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<()> {
        let Ok(key) = storage.open(secret).and_then(|opened| opened.backup_key()) else {
            return Ok(());
        };
        self.work(now, |work| {
            let backup = key_backup(work)?;
            match &backup.version {
                Some(version) if !version.is_of(&key) => {
                    keep_other_key(work, key, storage.digest(SECRET))
                }
                _ => Ok(()),
            }
        })
    }

    /// The versions before the current one that a key which is kept may read, newest first; those
    /// that were restored are left out. Versions are texts for the server alone, but all servers count
    /// (Synapse, `e2e_room_keys_versions`).
    ///
    /// # Errors
    /// Those of the store.
    pub fn older_backups(&mut self) -> Result<Vec<String>> {
        self.read(|work| {
            let backup = key_backup(work)?;
            let version = backup.version.as_ref().and_then(|v| v.version.parse::<u64>().ok());
            let Some(version) = version.filter(|_| !backup.others.is_empty()) else {
                return Ok(Vec::new());
            };
            let older = (version.saturating_sub(MOST_OLDER).max(1)..version).rev();
            let older = older.map(|version| version.to_string());
            Ok(older.filter(|version| !backup.restored.contains(version)).collect())
        })
    }

    /// Whether a key is here of the version in the response `text` to `GET /room_keys/version/{version}`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is no such response.
    pub fn opens_backup(&mut self, text: &str) -> Result<bool> {
        let version = BackupVersion::read(text)?;
        self.read(|work| Ok(key_backup(work)?.key_of(&version).is_some()))
    }

    /// Remembers that the keys of a version were restored.
    ///
    /// # Errors
    /// Those of the store.
    pub fn older_backup_restored(&mut self, now: Millis, version: &str) -> Result<()> {
        self.work(now, |work| {
            let mut backup = key_backup(work)?;
            backup.restored.push(version.to_owned());
            work.tx.put_single(&backup)
        })
    }
}

impl OpenStorage<'_> {
    /// The private key of a backup that it holds.
    pub(super) fn backup_key(&self) -> Result<BackupKey> {
        let found = self.needed(SECRET);
        let found = found.map_err(|error| Error { kind: Kind::KeyBackup, ..error })?;
        BackupKey::from_base64(&found)
            .or_fail(Kind::KeyBackup, "What secret storage holds is no key of a backup")
    }
}

fn another_key() -> Error {
    Error::new(
        Kind::KeyBackup,
        "This is not the key of the backup that the server shows. Another client made a new backup, \
         or the server shows a false one.",
    )
}

fn no_key_of_its_own(secret: StorageSecret<'_>, version: Option<&BackupVersion>) -> Error {
    let what = match secret {
        StorageSecret::RecoveryKey(_) => "This is not the recovery key of the key backup.",
        StorageSecret::Passphrase(_) if version.is_some_and(BackupVersion::has_passphrase) => {
            "This is not the key backup's own passphrase."
        }
        StorageSecret::Passphrase(_) => {
            "The key backup has no passphrase of its own: it opens with its recovery key."
        }
    };
    Error::new(Kind::RecoveryKey, format!("{what} The account has no secret storage."))
}

/// Accepts the private key of the backup, in base64, from a place that our user trusts: secret
/// storage, or a verified device. It must be that of the version that the server returns; where
/// that is not known yet, it is compared as soon as it is.
///
/// # Errors
/// [`Kind::KeyBackup`] when it is not the key of that version.
pub(super) fn take_backup_key(work: &Work<'_>, text: &str) -> Result<()> {
    let key = BackupKey::from_base64(text)?;
    if take_key(work, key, None)? { Ok(()) } else { Err(another_key()) }
}

/// The same for a key. Returns whether it belongs to the current version, as far as is known.
/// `digest` is that of the secret in secret storage that it comes from.
fn take_key(work: &Work<'_>, key: BackupKey, digest: Option<String>) -> Result<bool> {
    let mut backup = key_backup(work)?;
    match &backup.version {
        Some(version) if version.is_of(&key) => {
            backup.adopt(key);
            work.tx.put_single(&backup)?;
            effects::push(work, Effect::BackupKeyArrived);
            Ok(true)
        }
        None if backup.looked_at == 0 => {
            work.tx.put_single(&KeyBackup { offered: Some(key), look: true, ..backup })?;
            Ok(true)
        }
        _ => keep_other_key(work, key, digest).map(|()| false),
    }
}

fn keep_other_key(work: &Work<'_>, key: BackupKey, digest: Option<String>) -> Result<()> {
    let mut backup = key_backup(work)?;
    backup.keep(key);
    backup.misfit = digest.or(backup.misfit);
    work.tx.put_single(&backup)
}
