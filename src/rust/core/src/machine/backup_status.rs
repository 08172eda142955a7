//! How far the key backup is, who signed it, and whether keys may go there: its private key is here, or our
//! master key or a verified device of ours signed it.

use super::{
    Machine, Work, devices, identity,
    key_backup::{key_backup, not_backed_up},
    user_trust,
};
use crate::{
    error::Result,
    judgement::trust::{self, Trust},
    primitives::keys::ed25519,
    store::{
        Query,
        records::{BackupFailure, BackupVersion, InboundSession, KeyBackup},
    },
};

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
    /// The version that the server returned last.
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
    /// Why the last request for the version failed, if it did.
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
    /// How far the backup is, by what the server last returned.
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
}

/// Whether this device replaced the version: a server that shows it again gets nothing more.
pub(super) fn is_replaced(backup: &KeyBackup, version: &BackupVersion) -> bool {
    let public = version.public_key().map(|key| key.to_base64()).ok();
    public.is_some_and(|public| backup.replaced.contains(&public))
}

/// The signatures of our user on a version, and what they are worth.
pub(super) fn backup_signatures(
    work: &Work<'_>,
    version: &BackupVersion,
) -> Result<Vec<SignatureReport>> {
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

/// Whether keys may go to the backup: anyone who has its private key can read all of them.
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
