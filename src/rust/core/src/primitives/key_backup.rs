//! Room keys for the server to keep, under a key it does not have.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". Anyone who
//! has the public key can encrypt, and the MAC covers nothing: libolm computed it over the empty
//! string, and everybody has to do the same. So what comes out of a backup is anybody's word.

use serde::{Deserialize, Serialize};
use vodozemac::{
    Curve25519PublicKey, Curve25519SecretKey,
    pk_encryption::{Message, PkDecryption, PkEncryption},
};
use zeroize::Zeroizing;

use super::{
    canonical_json::{Json, Object},
    contained,
    kept_key::KeptKey,
    keys::{curve25519, decode_base64, encode_base64, private_key},
    passphrase::{ITERATIONS, Passphrase},
    seal::random_bytes,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The only algorithm.
pub const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";
/// The name of the private key in secret storage, and among secrets that are shared.
pub const SECRET: &str = "m.megolm_backup.v1";
/// What a backup says that has a passphrase of its own.
pub const SALT: &str = "private_key_salt";

/// The private key of a backup, which decrypts it.
#[derive(Clone, Serialize, Deserialize)]
pub struct BackupKey(KeptKey);

impl PartialEq for BackupKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.private() == other.0.private()
    }
}

impl BackupKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self::from_bytes(Zeroizing::new(random_bytes()?)))
    }

    /// Reads a key as secret storage has it: 32 bytes in base64.
    ///
    /// # Errors
    /// [`Kind::Encoding`]
    pub fn from_base64(text: &str) -> Result<Self> {
        private_key(text, "The private key of a backup").map(Self::from_bytes)
    }

    /// The key with these bytes, which a recovery key of the backup itself holds.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(KeptKey::new(bytes, public))
    }

    /// The key of `passphrase`, by what the `auth_data` of a backup says. That is how backups were made
    /// before there was secret storage (matrix-js-sdk, `keyFromAuthData`). None where it says
    /// nothing of a passphrase.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when the `auth_data` asks for what is not computed: other lengths, or
    /// iterations without end.
    pub fn from_passphrase(passphrase: &Passphrase, auth_data: &Object) -> Result<Option<Self>> {
        let Some(salt) = auth_data.get(SALT) else { return Ok(None) };
        let salt = salt.as_str().filter(|salt| !salt.is_empty());
        let salt = salt.ok_or_else(|| refused(format!("The key backup has no text as {SALT}.")))?;
        let bits = auth_data.get("private_key_bits").map_or(Some(256), Json::as_integer);
        let iterations = auth_data.get("private_key_iterations").and_then(Json::as_integer);
        let iterations = iterations.and_then(|n| u32::try_from(n).ok());
        match iterations.filter(|n| ITERATIONS.contains(n)) {
            Some(iterations) if bits == Some(256) => {
                passphrase.key(salt, iterations).map(|key| Some(Self::from_bytes(key)))
            }
            _ => Err(refused(format!(
                "The passphrase of the key backup is to be used in an unknown way: \
                 private_key_iterations must be from {} to {}, and private_key_bits 256.",
                ITERATIONS.start(),
                ITERATIONS.end()
            ))),
        }
    }

    /// The key as secret storage has it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_base64(self.0.private()))
    }

    /// The public part.
    pub fn public(&self) -> Curve25519PublicKey {
        Curve25519PublicKey::from_bytes(self.0.public(public))
    }

    /// What decrypts with this key. It costs as much as a decryption, and is made once for many.
    pub fn decryption(&self) -> Decryption {
        Decryption(decryption(self.0.private()))
    }
}

/// Decrypts with the private key of a backup.
pub struct Decryption(PkDecryption);

impl Decryption {
    /// Decrypts `session_data`. What comes out is anybody's word.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when it was not encrypted with the public part of the key.
    pub fn decrypt(&self, session_data: &Object) -> Result<Zeroizing<Vec<u8>>> {
        let part = |name: &str| {
            session_data
                .get(name)
                .and_then(Json::as_str)
                .ok_or_else(|| refused(format!("A key in the backup has no {name}.")))
        };
        let message = Message {
            ciphertext: decode_base64(part("ciphertext")?)?,
            mac: decode_base64(part("mac")?)?,
            ephemeral_key: curve25519(part("ephemeral")?)?,
        };
        let what = "A key in the backup does not decrypt";
        contained(|| self.0.decrypt(&message).or_fail(Kind::KeyBackup, what)).map(Zeroizing::new)
    }
}

fn decryption(private: &[u8; 32]) -> PkDecryption {
    PkDecryption::from_key(Curve25519SecretKey::from_slice(private))
}

fn public(private: &[u8; 32]) -> [u8; 32] {
    decryption(private).public_key().to_bytes()
}

/// Encrypts a room key: `session_data`, an object of `ephemeral`, `ciphertext` and `mac`.
///
/// # Errors
/// [`Kind::KeyBackup`] when the public key is none that keeps a secret.
pub fn encrypt(public: Curve25519PublicKey, room_key: &[u8]) -> Result<Object> {
    let message = PkEncryption::from_key(public)
        .encrypt(room_key)
        .or_fail(Kind::KeyBackup, "Nothing can be encrypted with the key of this backup")?;
    let text = |bytes: &[u8]| Json::String(encode_base64(bytes));
    Ok(Object::from([
        ("ephemeral".into(), text(message.ephemeral_key.as_bytes())),
        ("ciphertext".into(), text(&message.ciphertext)),
        ("mac".into(), text(&message.mac)),
    ]))
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::KeyBackup, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_opens_with_its_key_alone() {
        let key = BackupKey::random().unwrap();
        let sealed = encrypt(key.public(), b"room key").unwrap();
        assert_eq!(key.decryption().decrypt(&sealed).unwrap().as_slice(), b"room key");
        let other = BackupKey::random().unwrap();
        assert_eq!(other.decryption().decrypt(&sealed).unwrap_err().kind, Kind::KeyBackup);
        let again = BackupKey::from_base64(&key.to_base64()).unwrap();
        assert_eq!(again.decryption().decrypt(&sealed).unwrap().as_slice(), b"room key");
    }

    // A vector of vodozemac's and libolm's tests of each other.
    #[test]
    fn a_private_key_has_the_public_key_that_everybody_computes() {
        // RFC 7748, 6.1: Alice's keys.
        let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo";
        let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo";
        let key = BackupKey::from_base64(private).unwrap();
        assert_eq!(key.public().to_base64(), public);
    }

    #[test]
    fn what_is_missing_or_malformed_is_an_error() {
        let key = BackupKey::random().unwrap();
        let good = encrypt(key.public(), b"x").unwrap();
        for part in ["ephemeral", "ciphertext", "mac"] {
            let with = |value: Option<&str>| {
                let mut odd = good.clone();
                odd.remove(part);
                odd.extend(value.map(|text| (part.to_owned(), Json::String(text.into()))));
                key.decryption().decrypt(&odd)
            };
            for odd in [None, Some(""), Some("AAAA"), Some("?")] {
                assert!(with(odd).is_err(), "{part} {odd:?}");
            }
        }
        for odd in ["", "AAAA", "?", &encode_base64(&[1; 33])] {
            assert!(BackupKey::from_base64(odd).is_err());
        }
    }

    #[test]
    fn a_public_key_that_keeps_no_secret_is_refused() {
        let zero = Curve25519PublicKey::from_bytes([0; 32]);
        assert_eq!(encrypt(zero, b"x").unwrap_err().kind, Kind::KeyBackup);
    }

    /// Computed with Python's hashlib and X25519.
    #[test]
    fn a_passphrase_makes_the_key_that_everybody_computes() {
        let auth_data = |rest: &str| {
            Json::parse_object(&format!(r#"{{"private_key_salt":"saltsaltsalt"{rest}}}"#)).unwrap()
        };
        let passphrase = Passphrase::new("correct horse battery");
        let key = |rest| BackupKey::from_passphrase(&passphrase, &auth_data(rest));
        let public = |rest| key(rest).unwrap().unwrap().public().to_base64();
        let expected = "YL0qyUa4bKptPtaD4hti8ggE7M5pMpl0Al+C3snLVzk";
        assert_eq!(public(r#","private_key_iterations":1000"#), expected);
        assert_eq!(public(r#","private_key_iterations":1000,"private_key_bits":256"#), expected);
        assert!(BackupKey::from_passphrase(&passphrase, &Object::new()).unwrap().is_none());
        // Rule 35.
        for odd in [
            "",
            r#","private_key_iterations":0"#,
            r#","private_key_iterations":-1"#,
            r#","private_key_iterations":"1000""#,
            r#","private_key_iterations":10000001"#,
            r#","private_key_iterations":4294967296"#,
            r#","private_key_iterations":1000,"private_key_bits":128"#,
        ] {
            assert_eq!(key(odd).err().map(|error| error.kind), Some(Kind::KeyBackup), "{odd}");
        }
    }
}
