//! The key backup of our user, as far as this device knows it.

use serde::{Deserialize, Serialize};

use crate::{
    primitives::key_backup::BackupKey,
    store::{Record, Single, Table, Value},
};

/// A version of the backup, as the server returns it: read and judged in `judgement::key_backup`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupVersion {
    /// Its id.
    pub version: String,
    /// The algorithm.
    pub algorithm: String,
    /// What it says of itself, as text: the public key, and signatures.
    pub auth_data: String,
    /// How many keys the server says it holds.
    pub count: i64,
}

/// A backup that was made and is not on the server yet. After a crash the same key is used again.
#[derive(Serialize, Deserialize)]
pub struct NewBackup {
    /// Its private key.
    pub key: BackupKey,
    /// It takes the place of every backup that is there.
    pub replaces: bool,
    /// The key is in secret storage.
    pub stored: bool,
}

/// Why the request for the current version of the backup failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFailure {
    /// The HTTP status; zero where no response came.
    pub status: u16,
    /// The error code.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

/// What this device knows of the backup, and does about it.
#[derive(Default, Serialize, Deserialize)]
pub struct KeyBackup {
    /// The version that the server returned last; none where there is no backup.
    pub version: Option<BackupVersion>,
    /// When it was requested; zero before the first time.
    pub looked_at: i64,
    /// It is to be requested.
    pub look: bool,
    /// The number of the latest request whose response was applied.
    #[serde(default)]
    pub answered: i64,
    /// A private key. It opens the backup only if it is that of `version`: it is kept whatever the
    /// server returns.
    pub private: Option<BackupKey>,
    /// One that came from our own user or device before the version was known.
    pub offered: Option<BackupKey>,
    /// A backup that is being made.
    pub new: Option<NewBackup>,
    /// Keys of this device go there, or not; none before that was decided.
    pub enabled: Option<bool>,
    /// The sessions up to this [`changed`](super::InboundSession::changed) are in it.
    pub done: i64,
    /// The sessions without a number are in it, too.
    pub unnumbered_done: bool,
    /// Until then nothing more is put there, so that a sync is not kept waiting.
    pub rest_until: i64,
    /// Why the last request for the version failed, if it did.
    pub failure: Option<BackupFailure>,
    /// Private keys that are not of `version`, newest last. They may be of older versions.
    #[serde(default)]
    pub others: Vec<BackupKey>,
    /// The public keys of versions that this device replaced: somebody else may know their private keys.
    #[serde(default)]
    pub replaced: Vec<String>,
    /// The older versions whose keys were restored.
    #[serde(default)]
    pub restored: Vec<String>,
    /// The digest of the secret in secret storage that was found to be no key of `version`.
    pub misfit: Option<String>,
}

impl Single for KeyBackup {
    const NAME: &'static str = "key backup";
}

/// A room key that is looked for in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRequest {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// Who the server says sent the event that cannot be read.
    pub sender: String,
    /// It may yet come by itself.
    pub patient: bool,
    /// When it was first wanted.
    pub wanted_at: i64,
    /// How often it was not there.
    pub tries: u32,
    /// It is not requested before this time.
    pub retry_at: i64,
    /// Why what the backup has of it was refused.
    pub refused: Option<String>,
}

impl Record for BackupRequest {
    const TABLE: Table =
        Table { name: "backup_request", key: &["room_id", "session_id"], plain: &["sender"] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.session_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.sender.as_str().into()]
    }
}
