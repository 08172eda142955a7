//! Where a store lies, and with which key it is opened.

use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use super::postgres::{Address, Postgres};
use super::{
    Closure, Database, SINGLE, Single, Store, key_file, mx_client, private_file, sqlite::Sqlite,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{seal::random_bytes, store_key::StoreKey},
};

pub(super) const DATABASE_FILE: &str = "crypto.sqlite";

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
    pub(super) key: KeySource,
    /// Where files are that belong to a store in a database.
    beside: Option<PathBuf>,
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
        Self { place: Place::Directory(directory.into()), key, beside: None }
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
        return Ok(Self { place: Place::Postgres(Address::read(place)?), key, beside: None });
        #[cfg(not(feature = "postgres"))]
        Err(unsupported())
    }

    /// The same; if it is a database, its files are in `directory` on this machine.
    pub fn with_files_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.beside = Some(directory.into());
        self
    }

    /// The directory of the files that belong to the store.
    pub(super) fn directory(&self) -> &Path {
        match &self.place {
            Place::Directory(directory) => directory,
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => self.beside.as_deref().unwrap_or(Path::new("")),
        }
    }

    /// Whether files wait in the store itself, and those of an archive are on each machine.
    pub(super) fn keeps_files(&self) -> bool {
        !matches!(self.place, Place::Directory(_))
    }

    /// The empty place, opened for the store `id`.
    pub(super) fn open_empty(&self, key: StoreKey, id: [u8; 16]) -> Result<Store> {
        let (database, found): (Box<dyn Database>, _) = match &self.place {
            Place::Directory(directory) => {
                let mut sqlite = Sqlite::open(&directory.join(DATABASE_FILE))?;
                let found = sqlite.store_id(id)?;
                (Box::new(sqlite), found)
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                let postgres = Postgres::open_with_id(address, id)?;
                let found = postgres.store_id()?;
                (Box::new(postgres), found)
            }
        };
        if found != id {
            return Err(Error::new(Kind::Store, "There is another store at that place already."));
        }
        Store::even_closed(database, key, id)
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
    fn in_postgres(&self, address: &Address) -> Result<(Postgres, StoreKey)> {
        let KeySource::Given(key) = &self.key else {
            return Err(Error::new(
                Kind::StoreKeyMissing,
                "A store in a database needs its key from outside, for instance in the file that \
                 MXCRYPT_STORE_KEY_FILE names: see ?mxcrypt_secrets. For a new store, mx_store_key_write(path) makes \
                 a key. A store that is there needs the key that it was made with.",
            ));
        };
        Ok((Postgres::open(address)?, key.clone()))
    }

    #[cfg(feature = "postgres")]
    fn open_postgres(&self, address: &Address) -> Result<Store> {
        let (postgres, key) = self.in_postgres(address)?;
        let id = postgres.store_id()?;
        Store::new(Box::new(postgres), key, id)
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
        private_file::create_dir(directory).or_fail(
            Kind::Store,
            &format!("The store directory {} cannot be made", directory.display()),
        )?;
        let key = self.key(directory, begun);
        let key = key.map_err(|error| closed_without_key(directory, error))?;
        let mut sqlite = Sqlite::open(&database)?;
        let id = sqlite.store_id(random_bytes()?)?;
        Store::new(Box::new(sqlite), key, id)
    }

    /// Opens the store, also if it is closed: see [`Store::even_closed`].
    pub(super) fn open_closed(&self) -> Result<Store> {
        match &self.place {
            Place::Directory(directory) => {
                let key = self.key(directory, true)?;
                let mut sqlite = Sqlite::open(&directory.join(DATABASE_FILE))?;
                let id = sqlite.store_id(random_bytes()?)?;
                Store::even_closed(Box::new(sqlite), key, id)
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                let (postgres, key) = self.in_postgres(address)?;
                let id = postgres.store_id()?;
                Store::even_closed(Box::new(postgres), key, id)
            }
        }
    }

    /// Whether there is a store, which is not to be begun.
    pub(super) fn check_exists(&self) -> Result<()> {
        if self.is_there()? {
            return Ok(());
        }
        Err(Error::new(Kind::Store, format!("There is no store in {}.", self.name())))
    }

    /// The key, of a store that it opens.
    ///
    /// # Errors
    /// As [`Location::open`]; [`Kind::Store`] when there is no store.
    pub fn open_key(&self) -> Result<StoreKey> {
        self.check_exists()?;
        Ok(self.open()?.seals.key.clone())
    }

    /// The place, as people write it.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Directory(directory) => directory.display().to_string(),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => address.as_str().to_owned(),
        }
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
        "This build of mxcrypt keeps no stores in PostgreSQL. Install libpq (Debian: libpq-dev), and then mxcrypt again \
         from its source: MXCRYPT_FEATURES=postgres R CMD INSTALL <source>. See ?mxcrypt_postgresql.",
    )
}

/// What to say where the key is missing: a copy is made without its key, and must not be used with it either.
fn closed_without_key(directory: &Path, error: Error) -> Error {
    let is_closed = || -> Result<bool> {
        let sqlite = Sqlite::open(&directory.join(DATABASE_FILE))?;
        Ok(sqlite.get(&SINGLE, &[Closure::NAME.into()])?.is_some())
    };
    if error.kind != Kind::StoreKeyMissing || !is_closed().unwrap_or(false) {
        return error;
    }
    Error::new(
        Kind::StoreCopy,
        format!(
            "The store in {} is a copy without its key, and is not used. If the original is gone for \
             good, mx_store_restore(path, store_dir, original_is_gone = TRUE) makes a store of it.",
            directory.display()
        ),
    )
}
