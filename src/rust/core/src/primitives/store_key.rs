//! The store key: 32 bytes on which everything at rest hangs.

use std::{fs, path::Path};

use zeroize::{Zeroize, Zeroizing};

use super::{keys, seal::random_bytes};
use crate::{
    error::{Error, Kind, OrFail, Result},
    store::private_file,
};

/// The name of the key file in a store directory.
pub const FILE_NAME: &str = "pickle.key";
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

    /// The key in the file at `path`, or `None` where there is no such file.
    ///
    /// # Errors
    /// [`Kind::StoreKeyWrong`] when the file does not hold exactly 32 bytes.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read(path) {
            Ok(mut bytes) => {
                let key = Self::from_bytes(&bytes);
                bytes.zeroize();
                key.map(Some)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).or_fail(Kind::Store, "The store key cannot be read"),
        }
    }

    /// Writes the key to a new file that only its owner may read, whole or not at all.
    ///
    /// # Errors
    /// [`Kind::Store`] when the file cannot be written, or is there already: of two processes that
    /// begin one store at the same time, one must read the key of the other.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        private_file::write_new(path, self.as_bytes())
            .or_fail(Kind::Store, "The store key cannot be written")
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
