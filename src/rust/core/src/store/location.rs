//! Where a store lies, and with which key it is opened.

use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use super::postgres::{Address, Postgres};
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

/// A store and the source of its key.
#[derive(Debug, Clone)]
pub struct Location {
    place: Place,
    key: KeySource,
}

#[derive(Debug, Clone)]
enum Place {
    /// SQLite.
    Directory(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Address),
}

/// Whether `place` is the address of a database, and no directory.
pub fn is_address(place: &str) -> bool {
    ["postgresql://", "postgres://"].iter().any(|scheme| place.starts_with(scheme))
}

impl Location {
    /// The store in `directory`.
    pub fn new(directory: impl Into<PathBuf>, key: KeySource) -> Self {
        Self { place: Place::Directory(directory.into()), key }
    }

    /// The store at `place`: a directory, or the address of a database.
    ///
    /// # Errors
    /// [`Kind::Argument`] when it is no address to use; [`Kind::StoreUnsupported`] when this build knows no such
    /// database.
    pub fn at(place: &str, key: KeySource) -> Result<Self> {
        if !is_address(place) {
            return Ok(Self::new(place, key));
        }
        #[cfg(feature = "postgres")]
        return Ok(Self { place: Place::Postgres(Address::read(place)?), key });
        #[cfg(not(feature = "postgres"))]
        Err(unsupported())
    }

    /// Whether there is a store. Nothing is made.
    ///
    /// # Errors
    /// [`Kind::StoreUnreachable`], [`Kind::Store`] when a database cannot be asked.
    pub fn is_there(&self) -> Result<bool> {
        match &self.place {
            Place::Directory(directory) => Ok(directory.join(DATABASE_FILE).exists()),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => Postgres::is_there(address),
        }
    }

    /// Opens the store, and begins one where there is none.
    ///
    /// # Errors
    /// [`Kind::StoreKeyMissing`] when there is a store but no key: a new key would lose all of it.
    /// [`Kind::StoreForeign`] when another package's store lies there. [`Kind::StoreKeyWrong`],
    /// [`Kind::StoreNewer`], [`Kind::StoreLocked`], [`Kind::Store`].
    pub fn open(&self) -> Result<Store> {
        match &self.place {
            Place::Directory(directory) => self.open_directory(directory),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => self.open_postgres(address),
        }
    }

    /// Nothing is made in the database without a key: a store that nobody can open again would be in the way.
    #[cfg(feature = "postgres")]
    fn open_postgres(&self, address: &Address) -> Result<Store> {
        let KeySource::Given(key) = &self.key else {
            return Err(Error::new(
                Kind::StoreKeyMissing,
                "A store in a database needs its key from outside. Make one with mxc_store_key(), keep it \
                 where you keep secrets, and name it in MXCRYPT_STORE_KEY or MXCRYPT_STORE_KEY_FILE: see \
                 ?mxcrypt_secrets.",
            ));
        };
        let postgres = Postgres::open(address)?;
        let id = postgres.store_id()?;
        Store::new(Box::new(postgres), key.clone(), id)
    }

    fn open_directory(&self, directory: &Path) -> Result<Store> {
        let database = directory.join(DATABASE_FILE);
        let begun = database.exists();
        if !begun && directory.join(mx_client::ACCOUNT).exists() {
            return Err(Error::new(
                Kind::StoreForeign,
                format!(
                    "{} holds a store of the package mx.client. It is left alone, and no new \
                     identity is made beside it: import it with mx_store_import(), or choose another \
                     directory.",
                    directory.display()
                ),
            ));
        }
        private_file::create_dir(directory)
            .or_fail(Kind::Store, "The store directory cannot be made")?;
        let key = self.key(directory, begun)?;
        let mut sqlite = Sqlite::open(&database)?;
        let id = sqlite.store_id(random_bytes()?)?;
        Store::new(Box::new(sqlite), key, id)
    }

    fn key(&self, directory: &Path, begun: bool) -> Result<StoreKey> {
        let path = directory.join(key_file::NAME);
        match (&self.key, key_file::read(&path)?) {
            (KeySource::Given(key), _) => Ok(key.clone()),
            (KeySource::File, Some(key)) => Ok(key),
            (KeySource::File, None) if begun => Err(Error::new(
                Kind::StoreKeyMissing,
                format!(
                    "There is a store in {} but its key file {} is missing. Put it back, or \
                     name its key (see ?mxcrypt_secrets); a new key cannot open an old store.",
                    directory.display(),
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

#[cfg(not(feature = "postgres"))]
pub(super) fn unsupported() -> Error {
    Error::new(
        Kind::StoreUnsupported,
        "This build of mxcrypt keeps no stores in PostgreSQL. Install libpq (Debian: libpq-dev) and then mxcrypt \
         anew, from its source, with the environment variable MXCRYPT_FEATURES=postgres.",
    )
}
