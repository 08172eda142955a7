//! Where a store lies, and with which key it is opened.

use std::path::{Path, PathBuf};

use super::{Store, key_file, mx_client, private_file, sqlite::Sqlite};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{seal::random_bytes, store_key::StoreKey},
};

const DATABASE_FILE: &str = "crypto.sqlite";

/// Where the store key comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// From the file beside the store, which is made together with the store.
    File,
    /// From outside: an environment variable, a keyring.
    Given(StoreKey),
}

/// A store directory and the source of its key.
#[derive(Debug, Clone)]
pub struct Location {
    directory: PathBuf,
    key: KeySource,
}

impl Location {
    /// The store in `directory`.
    pub fn new(directory: impl Into<PathBuf>, key: KeySource) -> Self {
        Self { directory: directory.into(), key }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the store, and begins one where there is none.
    ///
    /// # Errors
    /// [`Kind::StoreKeyMissing`] when there is a store but no key: a new key would lose all of it.
    /// [`Kind::StoreForeign`] when another package's store lies there. [`Kind::StoreKeyWrong`],
    /// [`Kind::StoreNewer`], [`Kind::StoreLocked`], [`Kind::Store`].
    pub fn open(&self) -> Result<Store> {
        let database = self.directory.join(DATABASE_FILE);
        let begun = database.exists();
        if !begun && self.directory.join(mx_client::ACCOUNT).exists() {
            return Err(Error::new(
                Kind::StoreForeign,
                format!(
                    "{} holds a store of the package mx.client. It is left alone, and no new \
                     identity is made beside it: import it with mx_store_import(), or choose another \
                     directory.",
                    self.directory.display()
                ),
            ));
        }
        private_file::create_dir(&self.directory)
            .or_fail(Kind::Store, "The store directory cannot be made")?;
        let key = self.key(begun)?;
        let mut sqlite = Sqlite::open(&database)?;
        let id = sqlite.store_id(random_bytes()?)?;
        Store::new(Box::new(sqlite), key, id)
    }

    fn key(&self, begun: bool) -> Result<StoreKey> {
        let path = self.directory.join(key_file::NAME);
        match (&self.key, key_file::read(&path)?) {
            (KeySource::Given(key), _) => Ok(key.clone()),
            (KeySource::File, Some(key)) => Ok(key),
            (KeySource::File, None) if begun => Err(Error::new(
                Kind::StoreKeyMissing,
                format!(
                    "There is a store in {} but its key file {} is missing. Put it back, or \
                     name its key (see ?mxcrypt_secrets); a new key cannot open an old store.",
                    self.directory.display(),
                    key_file::NAME
                ),
            )),
            (KeySource::File, None) => {
                let key = StoreKey::generate()?;
                match key_file::write_new(&path, &key) {
                    Ok(()) => Ok(key),
                    // Another process began the same store between the two steps.
                    Err(error) => key_file::read(&path)?.ok_or(error),
                }
            }
        }
    }
}
