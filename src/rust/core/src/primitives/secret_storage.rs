//! Secrets on the server, under a key it does not have.
//!
//! Specification: client-server API, "Secrets", "`m.secret_storage.v1.aes-hmac-sha2`".

use ctr::cipher::StreamCipher;
use hkdf::Hkdf;
use hmac::Mac;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    aes_hmac::{authenticate, cipher, random_iv},
    canonical_json::{Json, Object},
    keys::{decode_base64, encode_base64},
    passphrase::{ITERATIONS, NEW_ITERATIONS, Passphrase},
    seal::random_bytes,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The only algorithm.
pub const ALGORITHM: &str = "m.secret_storage.v1.aes-hmac-sha2";

/// A key of secret storage.
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl StorageKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self(Zeroizing::new(random_bytes()?)))
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of `passphrase`, by the description of the key it is for.
    ///
    /// # Errors
    /// [`Kind::SecretStorage`] when the description says nothing of a passphrase, or asks for what
    /// is not computed: other algorithms and lengths, or iterations without end.
    pub fn from_passphrase(passphrase: &Passphrase, description: &Object) -> Result<Self> {
        let how = description
            .get("passphrase")
            .and_then(Json::as_object)
            .ok_or_else(|| refused("This secret storage opens with a recovery key only."))?;
        let algorithm = how.get("algorithm").and_then(Json::as_str);
        let bits = how.get("bits").map_or(Some(256), Json::as_integer);
        if algorithm != Some("m.pbkdf2") || bits != Some(256) {
            return Err(refused("The passphrase is to be used in an unknown way."));
        }
        let salt = how.get("salt").and_then(Json::as_str);
        let salt = salt.ok_or_else(|| refused("The passphrase has no salt."))?;
        let iterations = how.get("iterations").and_then(Json::as_integer);
        let iterations = iterations.and_then(|n| u32::try_from(n).ok());
        let iterations = iterations.filter(|n| ITERATIONS.contains(n)).ok_or_else(|| {
            refused("The iterations of the passphrase are missing, or too many to be meant.")
        })?;
        Ok(Self(passphrase.key(salt, iterations)?))
    }

    /// A new key from `passphrase`, with the part of its description that says how.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn new_from_passphrase(passphrase: &Passphrase) -> Result<(Self, Object)> {
        let how = Object::from([
            ("algorithm".into(), Json::String("m.pbkdf2".into())),
            ("bits".into(), Json::Integer(256)),
            ("iterations".into(), Json::Integer(NEW_ITERATIONS.into())),
            ("salt".into(), Json::String(encode_base64(&random_bytes::<24>()?))),
        ]);
        let description = Object::from([("passphrase".into(), Json::Object(how))]);
        Ok((Self::from_passphrase(passphrase, &description)?, description))
    }

    /// The description of this key for the server: the algorithm, and a check of the key.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn describe(&self) -> Result<Object> {
        let mut check = self.encrypt_bytes("", &mut [0; 32], random_iv()?)?;
        check.remove("ciphertext");
        check.insert("algorithm".into(), Json::String(ALGORITHM.into()));
        Ok(check)
    }

    /// Checks the key against its description. False where the description has no check, and every
    /// key has to pass.
    ///
    /// # Errors
    /// [`Kind::SecretStorage`] when it is another algorithm's, [`Kind::RecoveryKey`] when it is the
    /// wrong key.
    pub fn check(&self, description: &Object) -> Result<bool> {
        if description.get("algorithm").and_then(Json::as_str) != Some(ALGORITHM) {
            return Err(refused("The secret storage is of an unknown algorithm."));
        }
        let (Some(iv), Some(mac)) = (description.get("iv"), description.get("mac")) else {
            return Ok(false);
        };
        let iv = bytes_of(iv).and_then(|iv| iv.try_into().ok());
        let iv = iv.ok_or_else(|| refused("The check of the key is not 16 bytes of base64."))?;
        let mac = bytes_of(mac).ok_or_else(|| refused("The check of the key is not base64."))?;
        let mut zeros = [0; 32];
        let [cipher_key, mac_key] = self.derive("")?;
        cipher(&cipher_key, iv)?.apply_keystream(&mut zeros);
        authenticate(&mac_key, &zeros)?.verify_slice(&mac).map_err(|_| {
            Error::new(
                Kind::RecoveryKey,
                "This recovery key or passphrase is of another account, or an older one.",
            )
        })?;
        Ok(true)
    }

    /// Encrypts the secret `name`: an object of `iv`, `ciphertext` and `mac`.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn encrypt(&self, name: &str, secret: &[u8]) -> Result<Object> {
        let mut bytes = Zeroizing::new(secret.to_vec());
        self.encrypt_bytes(name, &mut bytes, random_iv()?)
    }

    fn encrypt_bytes(&self, name: &str, bytes: &mut [u8], iv: [u8; 16]) -> Result<Object> {
        let [cipher_key, mac_key] = self.derive(name)?;
        cipher(&cipher_key, iv)?.apply_keystream(bytes);
        let mac = authenticate(&mac_key, bytes)?.finalize().into_bytes();
        let text = |bytes: &[u8]| Json::String(encode_base64(bytes));
        Ok(Object::from([
            ("iv".into(), text(&iv)),
            ("ciphertext".into(), text(bytes)),
            ("mac".into(), text(&mac)),
        ]))
    }

    /// Decrypts the secret `name`. Its name is part of the key, so that a server cannot hand one
    /// secret out for another.
    ///
    /// # Errors
    /// [`Kind::SecretStorage`] when it was not encrypted with this key under this name.
    pub fn decrypt(&self, name: &str, secret: &Object) -> Result<Zeroizing<Vec<u8>>> {
        let part = |part: &str| {
            let wrong = || refused(format!("The secret {name} has no {part} in base64."));
            secret.get(part).and_then(bytes_of).ok_or_else(wrong)
        };
        let iv: [u8; 16] = part("iv")?
            .try_into()
            .map_err(|_| refused(format!("The iv of the secret {name} is not 16 bytes.")))?;
        let mut bytes = Zeroizing::new(part("ciphertext")?);
        let [cipher_key, mac_key] = self.derive(name)?;
        authenticate(&mac_key, &bytes)?.verify_slice(&part("mac")?).map_err(|_| {
            refused(format!("The secret {name} does not open: altered, another's, or another key."))
        })?;
        cipher(&cipher_key, iv)?.apply_keystream(&mut bytes);
        Ok(bytes)
    }

    /// The key of the cipher, and that of the MAC.
    fn derive(&self, name: &str) -> Result<[Zeroizing<[u8; 32]>; 2]> {
        let mut both = Zeroizing::new([0; 64]);
        Hkdf::<Sha256>::new(Some(&[0; 32]), self.0.as_ref())
            .expand(name.as_bytes(), both.as_mut())
            .or_fail(Kind::Internal, "The keys of a secret")?;
        let mut keys = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
        keys[0].copy_from_slice(&both[..32]);
        keys[1].copy_from_slice(&both[32..]);
        Ok(keys)
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::SecretStorage, message)
}

fn bytes_of(text: &Json) -> Option<Vec<u8>> {
    decode_base64(text.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> StorageKey {
        StorageKey::from_bytes(Zeroizing::new([7; 32]))
    }

    #[test]
    fn a_secret_opens_under_its_name_and_key_alone() {
        let sealed = key().encrypt("m.cross_signing.master", b"secret").unwrap();
        let opened = key().decrypt("m.cross_signing.master", &sealed).unwrap();
        assert_eq!(opened.as_slice(), b"secret");
        let swapped = key().decrypt("m.cross_signing.self_signing", &sealed).unwrap_err();
        assert_eq!(swapped.kind, Kind::SecretStorage);
        let other = StorageKey::random().unwrap();
        assert!(other.decrypt("m.cross_signing.master", &sealed).is_err());
        for part in ["iv", "ciphertext", "mac"] {
            let mut altered = sealed.clone();
            let text = altered[part].as_str().unwrap();
            let flipped = if text.starts_with('A') { "B" } else { "A" };
            altered.insert(part.into(), Json::String(format!("{flipped}{}", &text[1..])));
            let opened = key().decrypt("m.cross_signing.master", &altered);
            // The iv is not covered by the MAC; what comes out is compared with public keys.
            assert!(part == "iv" || opened.is_err(), "{part}");
            altered.remove(part);
            assert!(key().decrypt("m.cross_signing.master", &altered).is_err());
        }
    }

    #[test]
    fn padded_base64_opens_too() {
        let mut sealed = key().encrypt("x", b"secret").unwrap();
        for part in ["iv", "ciphertext", "mac"] {
            let text = sealed[part].as_str().unwrap();
            let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
            sealed.insert(part.into(), Json::String(padded));
        }
        assert_eq!(key().decrypt("x", &sealed).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn a_wrong_key_is_noticed_where_there_is_a_check() {
        let mut description = key().describe().unwrap();
        assert!(key().check(&description).unwrap());
        let other = StorageKey::random().unwrap();
        assert_eq!(other.check(&description).unwrap_err().kind, Kind::RecoveryKey);
        description.remove("mac");
        assert!(!other.check(&description).unwrap());
        description.insert("algorithm".into(), Json::String("m.other".into()));
        assert_eq!(key().check(&description).unwrap_err().kind, Kind::SecretStorage);
    }

    #[test]
    fn a_passphrase_is_computed_within_bounds() {
        let described = |part: &str| {
            Json::parse_object(&format!(
                r#"{{"passphrase":{{"algorithm":"m.pbkdf2","salt":"salt",{part}}}}}"#
            ))
            .unwrap()
        };
        let key =
            |part: &str| StorageKey::from_passphrase(&Passphrase::new("it is"), &described(part));
        let usual = key(r#""iterations":1000"#).unwrap();
        assert_eq!(usual.as_bytes(), key(r#""iterations":1000,"bits":256"#).unwrap().as_bytes());
        assert_ne!(usual.as_bytes(), key(r#""iterations":1001"#).unwrap().as_bytes());
        for bad in [
            r#""iterations":0"#,
            r#""iterations":-5"#,
            r#""iterations":4000000000"#,
            r#""iterations":1e3"#,
            r#""iterations":"1000""#,
            r#""bits":256"#,
            r#""iterations":1000,"bits":128"#,
            r#""iterations":1000,"bits":null"#,
        ] {
            assert_eq!(key(bad).err().map(|e| e.kind), Some(Kind::SecretStorage), "{bad}");
        }
        assert!(StorageKey::from_passphrase(&Passphrase::new("it is"), &Object::new()).is_err());
    }
}
