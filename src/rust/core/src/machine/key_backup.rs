//! The key backup: room keys that the server keeps for the devices of our user, encrypted.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". Nothing goes
//! to a backup that is not trusted: its private key is here, or our master key or a verified device
//! of ours signed it. What comes out of it is anybody's word, and never `is_authentic`.

use super::{
    HOUR, Machine, Millis, Work, devices,
    effects::{self, Effect},
    identity,
    pump::Pump,
    request_table::Body,
    user_trust,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        secret_storage::{OpenStorage, SecretStorage, StorageSecret},
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
        records::{Ask, BackupFailure, BackupVersion, InboundSession, KeyBackup, NewBackup},
    },
};

/// When the server is asked again whether there is a backup, or another one.
pub(super) const LOOK_AGAIN: Millis = HOUR;
/// How many keys of other versions are kept.
const MOST_OTHERS: usize = 10;
/// How many versions before the current one may be asked for.
const MOST_OLDER: u64 = 20;

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
    /// The one being made replaces every other.
    pub replaces: bool,
    /// Why the server did not say which version there is, when it was asked last.
    pub failure: Option<BackupFailure>,
    /// It has a passphrase of its own: it was made before there was secret storage.
    pub has_passphrase: bool,
    /// The digest of the secret in secret storage that was found to be no key of the version.
    pub misfit: Option<String>,
    /// How many sessions there are here.
    pub sessions: usize,
    /// How many of them are in the backup.
    pub backed_up: usize,
    /// Who signed it.
    pub signatures: Vec<SignatureReport>,
}

impl Machine {
    /// Applies the response to `GET /room_keys/version`. A failure is remembered, and changes nothing
    /// of what is known of the backup.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backup_version_received(&mut self, now: Millis, status: u16, body: &str) -> Result<()> {
        self.work(now, |work| backup_version_received(work, status, body))
    }

    /// How far the backup is, by what the server was last heard to show.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backup_status(&mut self) -> Result<BackupStatus> {
        self.read(|work| {
            let backup = key_backup(work)?;
            let sessions = work.tx.count::<InboundSession>(&Query::all())?;
            let signatures = match &backup.version {
                Some(version) => backup_signatures(work, version)?,
                None => Vec::new(),
            };
            let refused = backup.version.as_ref().and_then(|shown| shown.public_key().err());
            Ok(BackupStatus {
                refused: refused.map(|error| error.message),
                key_held: backup.open().is_some(),
                trusted: is_backup_trusted(work, &backup)?,
                enabled: backup.enabled,
                under_way: backup.new.is_some(),
                key_stored: backup.new.as_ref().is_some_and(|new| new.stored),
                replaces: backup.new.as_ref().is_some_and(|new| new.replaces),
                has_passphrase: backup.version.as_ref().is_some_and(BackupVersion::has_passphrase),
                misfit: backup.misfit.clone(),
                failure: backup.failure.clone(),
                sessions,
                backed_up: sessions - not_backed_up(work, &backup)?.min(sessions),
                signatures,
                version: backup.version,
            })
        })
    }

    /// Says whether keys of this device go to the backup.
    ///
    /// # Errors
    /// Those of the store.
    pub fn enable_backup(&mut self, now: Millis, enabled: bool) -> Result<()> {
        self.work(now, |work| {
            let backup = key_backup(work)?;
            work.tx.put_single(&KeyBackup { enabled: Some(enabled), ..backup })
        })
    }

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

    /// Takes in that the key of the backup being made is in secret storage.
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

    /// Takes the private key of the backup: `secret` is that key, or a passphrase of the backup's own, or
    /// it opens secret storage, which holds the key. A key that is not of the version that the server
    /// shows is kept too: it may read an older version.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when the storage does not open;
    /// [`Kind::KeyBackup`] when it does not hold the key of the backup that the server shows.
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

    /// Finds out whether secret storage holds the key of the version that the server shows, where
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
    fn adopt(&mut self, key: BackupKey) {
        self.others.retain(|other| *other != key);
        if let Some(before) = self.private.replace(key).filter(|b| Some(b) != self.private.as_ref())
        {
            self.keep(before);
        }
        self.misfit = None;
        self.enabled.get_or_insert(true);
    }

    /// Keeps a key that is not of the current version.
    fn keep(&mut self, key: BackupKey) {
        self.others.retain(|other| *other != key);
        self.others.push(key);
        let surplus = self.others.len().saturating_sub(MOST_OTHERS);
        self.others.drain(..surplus);
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

pub(super) fn key_backup(work: &Work<'_>) -> Result<KeyBackup> {
    Ok(work.tx.get_single()?.unwrap_or_default())
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

/// Takes in the private key of the backup, in base64, from a place that our user trusts: secret
/// storage, or a verified device. It must be that of the version that the server shows; where
/// that is not known yet, it is compared as soon as it is.
///
/// # Errors
/// [`Kind::KeyBackup`] when it is another's.
pub(super) fn take_backup_key(work: &Work<'_>, text: &str) -> Result<()> {
    let key = BackupKey::from_base64(text)?;
    if take_key(work, key, None)? { Ok(()) } else { Err(another_key()) }
}

/// The same for a key; whether it is of the version. `digest` is that of the secret in secret
/// storage that it comes from.
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

/// Applies the response to `GET /room_keys/version`; no response has the status zero.
pub(super) fn backup_version_received(work: &Work<'_>, status: u16, body: &str) -> Result<()> {
    match BackupVersion::read_response(status, body) {
        Ok(version) => backup_version_is(work, version),
        Err((code, message)) => backup_version_failed(work, status, code, message),
    }
}

fn backup_version_failed(
    work: &Work<'_>,
    status: u16,
    code: String,
    message: String,
) -> Result<()> {
    let mut backup = key_backup(work)?;
    backup.failure = Some(BackupFailure { status, code, message });
    // Keys go on to the version that is known.
    backup.look = false;
    work.tx.put_single(&backup)
}

fn backup_version_is(work: &Work<'_>, shown: Option<BackupVersion>) -> Result<()> {
    let mut backup = key_backup(work)?;
    let place = |version: &BackupVersion| {
        (version.version.clone(), version.public_key().ok().map(|key| key.to_base64()))
    };
    let is_another = shown.as_ref().map(place) != backup.version.as_ref().map(place);
    if is_another {
        (backup.done, backup.rest_until, backup.misfit) = (0, 0, None);
        // From here on sessions without a number are those that come from this version.
        let unnumbered = Query::equal("changed", 0);
        backup.unnumbered_done = work.tx.count::<InboundSession>(&unnumbered)? == 0;
    }
    if let Some(version) = &shown {
        if let Some(key) = backup.offered.take().filter(|key| version.is_of(key)) {
            backup.adopt(key);
        }
        // An older version is the current one again. What goes there is read by whoever has its key, so
        // a trusted signature must say that this is meant.
        let others = backup.others.iter().find(|key| version.is_of(key)).cloned();
        if let Some(key) = others
            && !is_replaced(&backup, version)
            && backup_signatures(work, version)?.iter().any(|signature| signature.trusted)
        {
            backup.adopt(key);
        }
        match backup.new.take() {
            Some(new) if version.is_of(&new.key) => {
                if new.replaces
                    && let Some(before) = &backup.private
                {
                    backup.replaced.push(before.public().to_base64());
                }
                backup.adopt(new.key);
                backup.enabled = Some(true);
            }
            // Another device of ours was faster.
            Some(new) if !new.replaces => {}
            new => backup.new = new,
        }
    }
    backup.version = shown;
    backup.failure = None;
    (backup.looked_at, backup.look) = (work.now.max(1), false);
    let opens = backup.open().is_some();
    work.tx.put_single(&backup)?;
    if is_another && opens {
        effects::push(work, Effect::BackupKeyArrived);
    }
    Ok(())
}

/// Whether this device replaced the version: a server that shows it again gets nothing more.
fn is_replaced(backup: &KeyBackup, version: &BackupVersion) -> bool {
    let public = version.public_key().map(|key| key.to_base64()).ok();
    public.is_some_and(|public| backup.replaced.contains(&public))
}

/// The signatures of our user on a version, and what they are worth.
fn backup_signatures(work: &Work<'_>, version: &BackupVersion) -> Result<Vec<SignatureReport>> {
    let user_id = &work.own.user_id;
    let owner = user_trust::owner(work, user_id)?;
    let master = identity::identity(work, user_id)?.map(|shown| shown.master_key);
    let devices = devices::devices_of(work, user_id)?;
    let device = |name: &str| devices.iter().find(|device| device.device_id == name);
    let signer = |name: &str| match device(name) {
        _ if Some(name) == master.as_deref() => Signer::Identity,
        _ if name == work.own.device_id => Signer::ThisDevice,
        Some(_) => Signer::Device,
        None => Signer::Unknown,
    };
    let key_of = |name: &str| match signer(name) {
        Signer::Identity => ed25519(name).ok(),
        Signer::ThisDevice => ed25519(&work.own.signing_key).ok(),
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
pub(super) fn is_backup_trusted(work: &Work<'_>, backup: &KeyBackup) -> Result<bool> {
    let Some(version) = backup.version.as_ref().filter(|shown| shown.public_key().is_ok()) else {
        return Ok(false);
    };
    if is_replaced(backup, version) {
        return Ok(false);
    }
    Ok(backup.open().is_some()
        || backup_signatures(work, version)?.iter().any(|signature| signature.trusted))
}

/// Asks which version the server has, again where keys cannot go to the one that it showed. A
/// device that was verified asks its verifier for the key of the backup, and so has to know that
/// there is one.
pub(super) fn look_at_backup(pump: &mut Pump<'_, '_>) -> Result<()> {
    let backup = key_backup(pump.work)?;
    let is_due = match backup.looked_at {
        _ if backup.look || backup.failure.is_some() => true,
        0 => identity::signing_identity(pump.work)?.is_some(),
        looked_at => {
            looked_at + LOOK_AGAIN < pump.work.now
                && backup.enabled == Some(true)
                && !is_backup_trusted(pump.work, &backup)?
        }
    };
    if is_due { pump.ask(Ask::BackupVersion, Body::Implied) } else { Ok(()) }
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
