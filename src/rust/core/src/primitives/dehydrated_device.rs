//! A device that waits on the server, encrypted, for the next one of its user to read what it was
//! sent.
//!
//! MSC3814, "Device Dehydration Format".

use vodozemac::olm::Account;
use zeroize::Zeroizing;

use super::{
    canonical_json::{Json, Object},
    contained,
    keys::{encode_base64, private_key},
    seal::random_bytes,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The only format, under its name until the proposal is accepted.
pub const ALGORITHM: &str = "org.matrix.msc3814.v2";
/// The name of the key in secret storage.
pub const SECRET: &str = "org.matrix.msc3814";

/// The key that dehydrated devices of a user are encrypted with.
pub struct DehydrationKey(Zeroizing<[u8; 32]>);

impl DehydrationKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self(Zeroizing::new(random_bytes()?)))
    }

    /// Reads a key as secret storage has it: 32 bytes in base64.
    ///
    /// # Errors
    /// [`Kind::Encoding`]
    pub fn from_base64(text: &str) -> Result<Self> {
        private_key(text, "The key of dehydrated devices").map(Self)
    }

    /// The key as secret storage has it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_base64(self.0.as_ref()))
    }

    /// Encrypts an account that has no Olm sessions yet: `device_data` for the server.
    ///
    /// # Errors
    /// [`Kind::Internal`] never in practice.
    pub fn seal(&self, account: &Account) -> Result<Object> {
        let sealed = account
            .to_dehydrated_device(&self.0)
            .or_fail(Kind::Internal, "A device cannot be dehydrated")?;
        let text = |text: &str| Json::String(text.to_owned());
        Ok(Object::from([
            ("algorithm".into(), text(ALGORITHM)),
            ("device_pickle".into(), text(&sealed.ciphertext)),
            ("nonce".into(), text(&sealed.nonce)),
        ]))
    }

    /// Decrypts `device_data`.
    ///
    /// # Errors
    /// [`Kind::DehydratedDevice`] when it is of another format or was altered, or this is not its
    /// key.
    pub fn open(&self, device_data: &Object) -> Result<Account> {
        let text = |name: &str| {
            let refused = || refused(&format!("it has no {name}"));
            device_data.get(name).and_then(Json::as_str).ok_or_else(refused)
        };
        if text("algorithm")? != ALGORITHM {
            return Err(refused("it is of an unknown format"));
        }
        let (pickle, nonce) = (text("device_pickle")?, text("nonce")?);
        contained(|| {
            Account::from_dehydrated_device(pickle, nonce, &self.0)
                .map_err(|_| refused("the key in secret storage does not decrypt it"))
        })
    }
}

fn refused(what: &str) -> Error {
    Error::new(Kind::DehydratedDevice, format!("The dehydrated device cannot be opened: {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (DehydrationKey, Account, Object) {
        let (key, mut account) = (DehydrationKey::random().unwrap(), Account::new());
        account.generate_one_time_keys(3);
        account.generate_fallback_key();
        let data = key.seal(&account).unwrap();
        (key, account, data)
    }

    #[test]
    fn what_was_sealed_opens_with_the_key_alone() {
        let (key, account, data) = sealed();
        let key = DehydrationKey::from_base64(&key.to_base64()).unwrap();
        assert_eq!(key.open(&data).unwrap().identity_keys(), account.identity_keys());
        let other = DehydrationKey::random().unwrap().open(&data).err().unwrap();
        assert_eq!(other.kind, Kind::DehydratedDevice);
        assert!(DehydrationKey::from_base64("AAAA").is_err());
    }

    #[test]
    fn what_was_altered_does_not_open() {
        let (key, _, data) = sealed();
        let change = |name: &str, change: &dyn Fn(&str) -> Option<String>| {
            let mut data = data.clone();
            let text = data[name].as_str().unwrap().to_owned();
            match change(&text) {
                Some(text) => data.insert(name.into(), Json::String(text)),
                None => data.remove(name),
            };
            key.open(&data).err().unwrap().kind
        };
        for name in ["algorithm", "device_pickle", "nonce"] {
            assert_eq!(change(name, &|_| None), Kind::DehydratedDevice);
            assert_eq!(change(name, &|_| Some(String::new())), Kind::DehydratedDevice);
            let cut = |text: &str| Some(text[..text.len() - 4].to_owned());
            assert_eq!(change(name, &cut), Kind::DehydratedDevice);
            assert_eq!(change(name, &|text| Some(format!("AAAA{text}"))), Kind::DehydratedDevice);
        }
    }
}
