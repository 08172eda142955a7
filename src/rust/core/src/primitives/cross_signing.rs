//! Cross-signing keys: who vouches for a user's devices.
//!
//! Specification: client-server API, end-to-end encryption, "Cross-signing".

use serde::{Deserialize, Serialize};
use vodozemac::Ed25519SecretKey;
use zeroize::Zeroizing;

use super::{
    canonical_json::{Json, Object},
    kept_key::KeptKey,
    keys,
    seal::random_bytes,
    signing,
};
use crate::error::Result;

/// What a cross-signing key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// Vouches for the other two; stands for the user.
    Master,
    /// Signs the user's own devices.
    SelfSigning,
    /// Signs the master keys of users who were verified.
    UserSigning,
}

impl Usage {
    /// All, the master key first.
    pub const ALL: [Usage; 3] = [Usage::Master, Usage::SelfSigning, Usage::UserSigning];

    /// Its name in `usage`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Usage::Master => "master",
            Usage::SelfSigning => "self_signing",
            Usage::UserSigning => "user_signing",
        }
    }

    /// The name of its private part in secret storage.
    pub fn secret_name(self) -> String {
        format!("m.cross_signing.{}", self.as_str())
    }
}

/// The private part of a cross-signing key.
#[derive(Clone, Serialize, Deserialize)]
pub struct SigningKey(KeptKey);

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self::of(Zeroizing::new(random_bytes()?)))
    }

    fn of(private: Zeroizing<[u8; 32]>) -> Self {
        Self(KeptKey::new(private, public))
    }

    /// Reads a key as secret storage has it: 32 bytes in base64.
    ///
    /// # Errors
    /// [`Kind::Encoding`]
    pub fn from_base64(text: &str) -> Result<Self> {
        keys::private_key(text, "A private signing key").map(Self::of)
    }

    /// The key as secret storage has it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(keys::encode_base64(self.0.private()))
    }

    /// The public part, unpadded base64.
    pub fn public(&self) -> String {
        keys::encode_base64(&self.0.public(public))
    }

    /// Adds this key's signature to `object`, in the name of `user_id`.
    ///
    /// # Errors
    /// [`Kind::Json`] when the object cannot be signed.
    pub fn sign(&self, object: &mut Object, user_id: &str) -> Result<()> {
        let secret = Ed25519SecretKey::from_slice(self.0.private());
        let key_id = format!("ed25519:{}", self.public());
        signing::sign(object, user_id, &key_id, |bytes| secret.sign(bytes))
    }

    /// The public part as it is published, unsigned.
    pub fn published(&self, user_id: &str, usage: Usage) -> Object {
        let public = self.public();
        let keys = Object::from([(format!("ed25519:{public}"), Json::String(public))]);
        let usage = Json::Array(vec![Json::String(usage.as_str().into())]);
        Object::from([
            ("keys".into(), Json::Object(keys)),
            ("usage".into(), usage),
            ("user_id".into(), Json::String(user_id.into())),
        ])
    }
}

fn public(private: &[u8; 32]) -> [u8; 32] {
    *Ed25519SecretKey::from_slice(private).public_key().as_bytes()
}
