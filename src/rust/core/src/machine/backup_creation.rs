//! Makes a key backup: its key is saved, put into secret storage, and only then is the version published.

use super::{Machine, Millis, Work, identity, key_backup::key_backup};
use crate::{
    error::{Error, Kind, Result},
    judgement::secret_storage::{SecretStorage, StorageSecret},
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::Usage,
        key_backup::{ALGORITHM, BackupKey, SECRET},
    },
    store::records::{KeyBackup, NewBackup},
};

impl Machine {
    /// Makes the key of a new backup and saves it. If one is being made, that continues instead. Where
    /// secret storage, with what opens it, holds the key of a backup and `replaces` is not set, that
    /// key becomes the key of the new backup: the server may return no version where there is one, and
    /// then what it holds must stay readable.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when there is a backup, and `replaces` is not set.
    pub fn make_backup(
        &mut self,
        now: Millis,
        replaces: bool,
        from: Option<(&SecretStorage, StorageSecret<'_>)>,
    ) -> Result<()> {
        let stored = |(storage, secret): (&SecretStorage, StorageSecret<'_>)| {
            storage.open(secret).and_then(|opened| opened.backup_key()).ok()
        };
        let stored = from.and_then(stored);
        self.work(now, |work| make_backup(work, replaces, stored.filter(|_| !replaces)))
    }

    /// The account data that holds the key of the backup being made in secret storage, as text. None
    /// where it holds that already.
    ///
    /// # Errors
    /// As [`Machine::seal_secret`].
    pub fn seal_backup_key(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<Option<String>> {
        let key = self.read(|work| Ok(new_backup(work)?.key.to_base64()))?;
        self.seal_secret(storage, secret, SECRET, &key)
    }

    /// Records that the key of the backup being made is in secret storage.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backup_key_stored(&mut self, now: Millis) -> Result<()> {
        self.work(now, |work| backup_key_stored(work))
    }

    /// The body of `POST /room_keys/version` for the backup being made, signed by our identity and
    /// this device.
    ///
    /// # Errors
    /// [`Kind::Internal`] when none is being made.
    pub fn backup_upload(&mut self) -> Result<String> {
        self.read(|work| {
            let public = new_backup(work)?.key.public().to_base64();
            let user_id = work.own.user_id.clone();
            let mut auth_data = Object::from([("public_key".into(), Json::String(public))]);
            identity::sign_with_device(work, &mut auth_data)?;
            let own = identity::own_identity(work)?;
            let shown = identity::identity(work, &user_id)?;
            if identity::holds(&own.private, shown.as_ref(), Usage::Master)
                && let Some(master) = &own.private.master
            {
                master.sign(&mut auth_data, &user_id)?;
            }
            let body = Object::from([
                ("algorithm".into(), Json::String(ALGORITHM.into())),
                ("auth_data".into(), Json::Object(auth_data)),
            ]);
            Json::Object(body).canonical(Numbers::Canonical)
        })
    }
}

fn new_backup(work: &Work<'_>) -> Result<NewBackup> {
    let missing = || Error::new(Kind::Internal, "No key backup is being made.");
    key_backup(work)?.new.ok_or_else(missing)
}

/// Begins to make a backup, with the key `stored` of secret storage if there is one.
pub(super) fn make_backup(
    work: &Work<'_>,
    replaces: bool,
    stored: Option<BackupKey>,
) -> Result<()> {
    let mut backup = key_backup(work)?;
    if backup.new.is_some() {
        return Ok(());
    }
    if !replaces && backup.version.is_some() {
        return Err(Error::new(Kind::KeyBackup, "There is a key backup already."));
    }
    let key = stored.map_or_else(BackupKey::random, Ok)?;
    backup.new = Some(NewBackup { key, replaces, stored: false });
    work.tx.put_single(&backup)
}

pub(super) fn backup_key_stored(work: &Work<'_>) -> Result<()> {
    let mut backup = key_backup(work)?;
    let Some(new) = &mut backup.new else { return Ok(()) };
    new.stored = true;
    work.tx.put_single(&backup)
}

/// Gives up a backup that is being made.
pub(super) fn abandon_backup(work: &Work<'_>) -> Result<()> {
    let backup = key_backup(work)?;
    work.tx.put_single(&KeyBackup { new: None, ..backup })
}
