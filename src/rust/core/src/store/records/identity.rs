//! Identities: the cross-signing keys of users, and the private parts of our own.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyChange;
use crate::{
    primitives::cross_signing::{SigningKey, Usage},
    store::{Record, Single, Table, Value},
};

/// The cross-signing keys of a user whose devices are tracked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user_id: String,
    /// The master key the server returns now, unpadded base64.
    pub master_key: String,
    /// The object of the master key, with the signatures on it.
    pub master: String,
    /// The self-signing key.
    pub self_signing_key: Option<String>,
    /// The user-signing key; of ourselves only.
    pub user_signing_key: Option<String>,
    /// The master key that counts as this user's: the first one seen, or one that was accepted
    /// since.
    pub pinned: String,
    /// The pinned identity was verified. If the server returns another then, nothing is sent to
    /// this user before it is settled.
    #[serde(default)]
    pub was_verified: bool,
    /// When the first one was seen.
    pub first_seen_at: i64,
    /// The server returns a device of this user that bears the name of a cross-signing key.
    #[serde(default)]
    pub name_taken: bool,
}

impl Identity {
    /// The server returns another identity than the one that was pinned.
    pub fn changed(&self) -> bool {
        self.master_key != self.pinned
    }
}

impl Record for Identity {
    const TABLE: Table = Table { name: "identity", key: &["user_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.user_id.as_str().into()]
    }
}

/// The private parts of an identity.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct PrivateKeys {
    /// Of the master key.
    pub master: Option<SigningKey>,
    /// Of the self-signing key.
    pub self_signing: Option<SigningKey>,
    /// Of the user-signing key.
    pub user_signing: Option<SigningKey>,
}

impl PrivateKeys {
    /// The key for `usage`.
    pub fn get(&self, usage: Usage) -> Option<&SigningKey> {
        match usage {
            Usage::Master => self.master.as_ref(),
            Usage::SelfSigning => self.self_signing.as_ref(),
            Usage::UserSigning => self.user_signing.as_ref(),
        }
    }

    /// Takes the key for `usage` away.
    pub fn take(&mut self, usage: Usage) -> Option<SigningKey> {
        match usage {
            Usage::Master => self.master.take(),
            Usage::SelfSigning => self.self_signing.take(),
            Usage::UserSigning => self.user_signing.take(),
        }
    }

    /// Forgets the key for `usage`.
    pub fn forget(&mut self, usage: Usage) {
        self.take(usage);
    }

    /// Takes the key for `usage`.
    pub fn set(&mut self, usage: Usage, key: SigningKey) {
        match usage {
            Usage::Master => self.master = Some(key),
            Usage::SelfSigning => self.self_signing = Some(key),
            Usage::UserSigning => self.user_signing = Some(key),
        }
    }
}

/// An identity that was made, saved, and not yet published whole. After a crash the same keys are
/// published.
#[derive(Serialize, Deserialize)]
pub struct NewIdentity {
    /// Its private parts, all three.
    pub private: PrivateKeys,
    /// The master key the server returned when it was made.
    pub replaces: Option<String>,
    /// The id of the key of secret storage.
    pub key_id: String,
    /// The key itself.
    pub storage_key: Zeroizing<[u8; 32]>,
    /// Its description, if secret storage is new too; as text.
    pub description: Option<String>,
}

/// What this device holds of its own user's identity.
#[derive(Default, Serialize, Deserialize)]
pub struct OwnIdentity {
    /// The private parts.
    pub private: PrivateKeys,
    /// An identity under way.
    pub new: Option<NewIdentity>,
    /// The master key that another device of ours proved to be ours.
    #[serde(default)]
    pub proven_master: Option<String>,
    /// Why the identity that the server returns is refused, if it is.
    #[serde(default)]
    pub refused: Option<String>,
    /// A recovery key that its owner has not said to have saved.
    pub recovery_key: Option<Zeroizing<[u8; 32]>>,
    /// A change of the key of secret storage.
    #[serde(default)]
    pub key_change: Option<KeyChange>,
}

impl Single for OwnIdentity {
    const NAME: &'static str = "own identity";
}
