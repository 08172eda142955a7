//! The file that holds the store key, beside the store.

use std::{fs, io::ErrorKind, path::Path};

use zeroize::Zeroizing;

use super::private_file;
use crate::{
    error::{Kind, OrFail, Result},
    primitives::store_key::StoreKey,
};

/// The name of the file in a store directory.
pub(super) const NAME: &str = "pickle.key";

/// The key in the file at `path`, or `None` where there is no such file.
///
/// # Errors
/// [`Kind::StoreKeyWrong`] when the file does not hold exactly 32 bytes.
pub(super) fn read(path: &Path) -> Result<Option<StoreKey>> {
    match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => StoreKey::from_bytes(&bytes).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).or_fail(Kind::Store, "The store key cannot be read"),
    }
}

/// Writes the key to a new file that only its owner may read, whole or not at all.
///
/// # Errors
/// [`Kind::Store`] when the file cannot be written, or is there already: of two processes that
/// begin one store at the same time, one must read the key of the other.
pub(super) fn write_new(path: &Path, key: &StoreKey) -> Result<()> {
    private_file::write_new(path, key.as_bytes())
        .or_fail(Kind::Store, "The store key cannot be written")
}
