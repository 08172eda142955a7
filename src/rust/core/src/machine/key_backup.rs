//! The key backup: room keys that the server keeps for the devices of our user, encrypted.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". Nothing goes
//! to a backup that is not trusted: its private key is here, or our master key or a verified device
//! of ours signed it. What comes out of it is anybody's word, and never `is_authentic`.

use super::{HOUR, Machine, Millis, Work, path::path, pump::Pump};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        key_backup::BackupVersion,
        secret_storage::{SecretStorage, StorageSecret},
        trust::{self, Trust},
    },
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::Usage,
        key_backup::{ALGORITHM, BackupKey, SECRET},
        keys::ed25519,
    },
    store::{
        Query,
        records::{Ask, InboundSession, KeyBackup, NewBackup},
    },
};

/// When the server is asked again whether there is a backup, or another one.
pub(super) const LOOK_AGAIN: Millis = HOUR;

/// Who signed a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The identity of our user.
    Identity,
    /// This device.
    ThisDevice,
    /// Another device of our user.
    Device,
    /// A device that is not known.
    Unknown,
}

impl Signer {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Signer::Identity => "identity",
            Signer::ThisDevice => "this_device",
            Signer::Device => "device",
            Signer::Unknown => "unknown",
        }
    }
}

/// A signature of a backup, and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureReport {
    /// The device id or public key that it names.
    pub name: String,
    /// Who that is.
    pub signer: Signer,
    /// Whether it holds; none where the signer is unknown.
    pub valid: Option<bool>,
    /// It holds, and its signer is our own identity or a verified device of ours.
    pub trusted: bool,
}

/// How far the backup is.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupStatus {
    /// The version that the server showed last.
    pub version: Option<BackupVersion>,
    /// Why it cannot be worked with, if it cannot.
    pub refused: Option<String>,
    /// Its private key is here.
    pub key_held: bool,
    /// Keys may go there.
    pub trusted: bool,
    /// Keys of this device are to go there, or not; none before that was decided.
    pub enabled: Option<bool>,
    /// A backup is being made.
    pub under_way: bool,
    /// The private key of the one being made is in secret storage.
    pub key_stored: bool,
    /// The version has to go before the one being made can come.
    pub in_the_way: bool,
    /// How many sessions there are here.
    pub sessions: usize,
    /// How many of them are in the backup.
    pub backed_up: usize,
    /// Who signed it.
    pub signatures: Vec<SignatureReport>,
}

impl Machine {
    /// Has the version of the backup asked for.
    ///
    /// # Errors
    /// Those of the store.
    pub fn look_at_backup(&mut self) -> Result<()> {
        self.work(0, |work| {
            let backup = work.key_backup()?;
            work.tx.put_single(&KeyBackup { look: true, ..backup })
        })
    }

    /// How far the backup is, by what the server was last heard to show.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backup_status(&mut self) -> Result<BackupStatus> {
        self.work(0, |work| {
            let backup = work.key_backup()?;
            let sessions = work.tx.count::<InboundSession>(&Query::all())?;
            let signatures = match &backup.version {
                Some(version) => work.backup_signatures(version)?,
                None => Vec::new(),
            };
            let refused = backup.version.as_ref().and_then(|shown| shown.public_key().err());
            Ok(BackupStatus {
                refused: refused.map(|error| error.message),
                key_held: backup.open().is_some(),
                trusted: work.is_backup_trusted(&backup)?,
                enabled: backup.enabled,
                under_way: backup.new.is_some(),
                key_stored: backup.new.as_ref().is_some_and(|new| new.stored),
                in_the_way: backup.new.as_ref().is_some_and(|new| new.replaces)
                    && backup.version.is_some(),
                sessions,
                backed_up: sessions - work.not_backed_up(&backup)?.min(sessions),
                signatures,
                version: backup.version,
            })
        })
    }

    /// Says whether keys of this device go to the backup.
    ///
    /// # Errors
    /// Those of the store.
    pub fn enable_backup(&mut self, enabled: bool) -> Result<()> {
        self.work(0, |work| {
            let backup = work.key_backup()?;
            work.tx.put_single(&KeyBackup { enabled: Some(enabled), ..backup })
        })
    }

    /// Makes the key of a new backup and saves it. One that is being made is gone on with instead.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when there is a backup, and `replaces` is not set.
    pub fn make_backup(&mut self, replaces: bool) -> Result<()> {
        self.work(0, |work| work.make_backup(replaces))
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
        let key = self.work(0, |work| Ok(work.new_backup()?.key.to_base64()))?;
        self.seal_secret(storage, secret, SECRET, &key)
    }

    /// Takes in that the key of the backup being made is in secret storage.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backup_key_stored(&mut self) -> Result<()> {
        self.work(0, |work| work.backup_key_stored())
    }

    /// The body of `POST /room_keys/version` for the backup being made, signed by our identity and
    /// this device.
    ///
    /// # Errors
    /// [`Kind::Internal`] when none is being made.
    pub fn backup_upload(&mut self) -> Result<String> {
        self.work(0, |work| {
            let public = work.new_backup()?.key.public().to_base64();
            let user_id = work.own.user_id.clone();
            let mut auth_data = Object::from([("public_key".into(), Json::String(public))]);
            work.sign_with_device(&mut auth_data)?;
            let own = work.own_identity()?;
            let shown = work.identity(&user_id)?;
            if work.holds(&own.private, shown.as_ref(), Usage::Master)
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

    /// Takes the private key of the backup from secret storage.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when the storage does not open;
    /// [`Kind::KeyBackup`] when it does not hold the key of the backup that the server shows.
    pub fn open_backup(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<()> {
        let found = storage.open(secret)?.secret(SECRET)?;
        let found = found.ok_or_else(|| {
            Error::new(Kind::KeyBackup, "Secret storage does not hold the key of the backup.")
        })?;
        self.work(0, |work| work.take_backup_key(&found))
    }
}

impl KeyBackup {
    /// The version, and its private key, if that is here.
    pub(super) fn open(&self) -> Option<(&BackupVersion, &BackupKey)> {
        let version = self.version.as_ref()?;
        self.private.as_ref().filter(|key| is_key_of(key, version)).map(|key| (version, key))
    }
}

fn is_key_of(key: &BackupKey, version: &BackupVersion) -> bool {
    version.public_key().is_ok_and(|public| public == key.public())
}

impl Work<'_> {
    pub(super) fn key_backup(&self) -> Result<KeyBackup> {
        Ok(self.tx.get_single()?.unwrap_or_default())
    }

    fn new_backup(&self) -> Result<NewBackup> {
        let missing = || Error::new(Kind::Internal, "No key backup is being made.");
        self.key_backup()?.new.ok_or_else(missing)
    }

    pub(super) fn make_backup(&self, replaces: bool) -> Result<()> {
        let mut backup = self.key_backup()?;
        if backup.new.is_some() {
            return Ok(());
        }
        if !replaces && backup.version.is_some() {
            return Err(Error::new(Kind::KeyBackup, "There is a key backup already."));
        }
        backup.new = Some(NewBackup { key: BackupKey::random()?, replaces, stored: false });
        self.tx.put_single(&backup)
    }

    pub(super) fn backup_key_stored(&self) -> Result<()> {
        let mut backup = self.key_backup()?;
        let Some(new) = &mut backup.new else { return Ok(()) };
        new.stored = true;
        self.tx.put_single(&backup)
    }

    /// Gives up a backup that is being made.
    pub(super) fn abandon_backup(&self) -> Result<()> {
        let backup = self.key_backup()?;
        self.tx.put_single(&KeyBackup { new: None, ..backup })
    }

    /// Takes in the private key of the backup, in base64, from a place that our user trusts: secret
    /// storage, or a verified device. It must be that of the version that the server shows; where
    /// that is not known yet, it is compared as soon as it is.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when it is another's.
    pub(super) fn take_backup_key(&self, text: &str) -> Result<()> {
        let key = BackupKey::from_base64(text)?;
        let mut backup = self.key_backup()?;
        match &backup.version {
            Some(version) if is_key_of(&key, version) => {
                backup.private = Some(key);
                backup.enabled.get_or_insert(true);
                self.tx.put_single(&backup)?;
                self.search_backup_anew()
            }
            None if backup.looked_at == 0 => {
                self.tx.put_single(&KeyBackup { offered: Some(key), look: true, ..backup })
            }
            _ => Err(Error::new(
                Kind::KeyBackup,
                "This is not the key of the backup that the server shows. Another client made a \
                 new backup, or the server shows a false one.",
            )),
        }
    }

    /// Takes in which version of the backup the server shows, if any.
    pub(super) fn backup_version_answered(&self, body: Option<&str>) -> Result<()> {
        let shown = body.map(BackupVersion::read).transpose()?;
        let mut backup = self.key_backup()?;
        let place = |version: &BackupVersion| {
            (version.version.clone(), version.public_key().ok().map(|key| key.to_base64()))
        };
        let is_another = shown.as_ref().map(place) != backup.version.as_ref().map(place);
        if is_another {
            (backup.done, backup.rest_until) = (0, 0);
            // From here on sessions without a number are those that come from this version.
            let unnumbered = Query::equal("changed", 0);
            backup.unnumbered_done = self.tx.count::<InboundSession>(&unnumbered)? == 0;
        }
        if let Some(version) = &shown {
            if let Some(key) = backup.offered.take().filter(|key| is_key_of(key, version)) {
                backup.private = Some(key);
                backup.enabled.get_or_insert(true);
            }
            match backup.new.take() {
                Some(new) if is_key_of(&new.key, version) => {
                    backup.private = Some(new.key);
                    backup.enabled = Some(true);
                }
                // Another device of ours was faster.
                Some(new) if !new.replaces => {}
                new => backup.new = new,
            }
        }
        backup.version = shown;
        (backup.looked_at, backup.look) = (self.now.max(1), false);
        let opens = backup.open().is_some();
        self.tx.put_single(&backup)?;
        if is_another && opens { self.search_backup_anew() } else { Ok(()) }
    }

    /// The signatures of our user on a version, and what they are worth.
    fn backup_signatures(&self, version: &BackupVersion) -> Result<Vec<SignatureReport>> {
        let user_id = &self.own.user_id;
        let owner = self.owner(user_id)?;
        let master = self.identity(user_id)?.map(|shown| shown.master_key);
        let devices = self.devices_of(user_id)?;
        let device = |name: &str| devices.iter().find(|device| device.device_id == name);
        let signer = |name: &str| match device(name) {
            _ if Some(name) == master.as_deref() => Signer::Identity,
            _ if name == self.own.device_id => Signer::ThisDevice,
            Some(_) => Signer::Device,
            None => Signer::Unknown,
        };
        let key_of = |name: &str| match signer(name) {
            Signer::Identity => ed25519(name).ok(),
            Signer::ThisDevice => ed25519(&self.own.signing_key).ok(),
            _ => ed25519(&device(name)?.signing_key).ok(),
        };
        let is_relied_on = |name: &str| match signer(name) {
            Signer::Identity => owner.verified && !owner.changed,
            Signer::ThisDevice => true,
            _ => device(name).is_some_and(|d| trust::of_device(d, &owner) == Trust::Verified),
        };
        let signatures = version.signatures(user_id, key_of)?.into_iter();
        let report = signatures.map(|signature| SignatureReport {
            signer: signer(&signature.signer),
            trusted: signature.valid == Some(true) && is_relied_on(&signature.signer),
            valid: signature.valid,
            name: signature.signer,
        });
        Ok(report.collect())
    }

    /// Whether keys may go to the backup: whoever has its private key reads all of them.
    pub(super) fn is_backup_trusted(&self, backup: &KeyBackup) -> Result<bool> {
        let Some(version) = backup.version.as_ref().filter(|shown| shown.public_key().is_ok())
        else {
            return Ok(false);
        };
        Ok(backup.open().is_some()
            || self.backup_signatures(version)?.iter().any(|signature| signature.trusted))
    }
}

impl Pump<'_, '_> {
    /// Asks which version the server has, again where keys cannot go to the one that it showed. A
    /// device that was verified asks its verifier for the key of the backup, and so has to know that
    /// there is one.
    pub(super) fn look_at_backup(&mut self) -> Result<()> {
        let backup = self.work.key_backup()?;
        let is_due = match backup.looked_at {
            _ if backup.look => true,
            0 => self.work.signing_identity()?.is_some(),
            looked_at => {
                looked_at + LOOK_AGAIN < self.work.now
                    && backup.enabled == Some(true)
                    && !self.work.is_backup_trusted(&backup)?
            }
        };
        if !is_due || self.is_busy(|ask| *ask == Ask::BackupVersion) {
            return Ok(());
        }
        self.ask(Ask::BackupVersion, "GET", path(&["room_keys", "version"]), None)
    }
}
