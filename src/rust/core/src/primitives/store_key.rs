//! The store key: 32 bytes that the keys of all sealed rows are derived from.

use zeroize::Zeroizing;

use super::{keys, seal::random_bytes};
use crate::error::{Error, Kind, Result};

const LENGTH: usize = 32;

/// A store key. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; LENGTH]>);

impl StoreKey {
    /// A new key from the operating system.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the operating system has no random bytes.
    pub fn generate() -> Result<Self> {
        Ok(Self(Zeroizing::new(random_bytes()?)))
    }

    /// The key in `bytes`.
    ///
    /// # Errors
    /// [`Kind::StoreKeyWrong`] unless there are exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| {
            Error::new(
                Kind::StoreKeyWrong,
                format!("A store key has {LENGTH} bytes; this one has {}.", bytes.len()),
            )
        })?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The key written as base64, as in an environment variable.
    ///
    /// # Errors
    /// [`Kind::StoreKeyWrong`]
    pub fn from_base64(text: &str) -> Result<Self> {
        // The decoder's own words quote a symbol of the key.
        let bytes = keys::decode_base64(text.trim()).map_err(|_| {
            Error::new(
                Kind::StoreKeyWrong,
                "A store key is 32 bytes in base64. This is not base64.",
            )
        })?;
        Self::from_bytes(&Zeroizing::new(bytes))
    }

    /// The key as base64.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(keys::encode_base64(self.as_bytes()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(…)")
    }
}
