//! Copies of a store, made while it is used, and what becomes of one when its original is gone.
//!
//! A device that goes back in time would encrypt a second time with keys that it has used since. So a copy is closed
//! ([`Closure::Copy`]), and what makes a store of it ends everything that encrypts: see `machine/store_restore.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Closure, Location, Store, beside, key_file,
    location::DATABASE_FILE,
    private_file,
    sqlite::{DISK_FULL, Sqlite},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{keys::encode_base64, seal::random_bytes},
};

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The files beside the store that rows need and that were not there.
    pub missing: Vec<String>,
    /// Whether the key is in a file in the copy.
    pub has_key: bool,
}

impl Location {
    /// Copies the store, as it is now, with its files, to a new directory: all of it, or nothing. With its key only if
    /// it is to be so: who has both reads everything.
    ///
    /// # Errors
    /// [`Kind::Store`] when there is no store, or one in a database, or something at `to` already; [`Kind::Argument`] when
    /// that is the store itself; those of [`Location::open`].
    pub fn back_up(&self, to: &Path, made_at: &str, with_key: bool) -> Result<Copied> {
        self.check_exists()?;
        if self.keeps_files() {
            let message = format!(
                "The store {} was not copied to {}: one in a database is copied with the tools of the database.",
                self.name(),
                to.display()
            );
            return Err(Error::new(Kind::Store, message));
        }
        self.check_is_elsewhere(to)?;
        let mut store = self.open()?;
        self.copy_to(&mut store, to, with_key, |copy| {
            let closure = Closure::Copy { made_at: made_at.to_owned() };
            copy.transaction(|tx| tx.put_single(&closure))
        })
    }

    /// Makes a store at `to` of the copy that is here, which stays as it is. `revive` does in the new store what must be
    /// done before it is used.
    ///
    /// # Errors
    /// [`Kind::Argument`] when it is no copy; [`Kind::StoreKeyWrong`]; as [`Location::back_up`].
    pub fn restore(
        &self,
        to: &Path,
        with_key: bool,
        revive: impl FnOnce(&mut Store) -> Result<()>,
    ) -> Result<Copied> {
        self.check_exists()?;
        self.check_is_elsewhere(to)?;
        let mut store = self.open_closed()?;
        match store.read(|tx| tx.get_single::<Closure>()).map_err(wrong_key)? {
            Some(Closure::Copy { .. }) => self.copy_to(&mut store, to, with_key, revive),
            Some(closure) => Err(closure.refusal()),
            None => Err(Error::new(
                Kind::Argument,
                format!("{} is a store that is in use, and no copy.", self.name()),
            )),
        }
    }

    /// Whether `to` is another directory than that of the store, under whatever name.
    fn check_is_elsewhere(&self, to: &Path) -> Result<()> {
        match (self.directory().canonicalize(), to.canonicalize()) {
            (Ok(here), Ok(there)) if here == there => {
                let message =
                    format!("{} is {} itself. Name a new directory.", to.display(), self.name());
                Err(Error::new(Kind::Argument, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether a directory that is to be made is not in that of the store, and would be deleted with it.
    ///
    /// # Errors
    /// [`Kind::Argument`]
    pub(super) fn check_outside(&self, directory: &Path) -> Result<()> {
        let Ok(own) = self.directory().canonicalize() else { return Ok(()) };
        // The nearest that is there.
        let parent = directory.ancestors().skip(1).find_map(|parent| parent.canonicalize().ok());
        if self.keeps_files() || !parent.is_some_and(|parent| parent.starts_with(&own)) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Argument,
            format!(
                "{} is inside of {}, and would be deleted with it. Name another directory.",
                directory.display(),
                self.name()
            ),
        ))
    }

    fn copy_to(
        &self,
        store: &mut Store,
        to: &Path,
        with_key: bool,
        finish: impl FnOnce(&mut Store) -> Result<()>,
    ) -> Result<Copied> {
        self.check_outside(to)?;
        let draft = DirectoryDraft::new(to)?;
        let database = draft.temporary.join(DATABASE_FILE);
        let copied = store.database.back_up(&database);
        copied.map_err(|error| full_there(error, &to.display().to_string()))?;
        let key = store.seals.key.clone();
        let sqlite = Box::new(Sqlite::open(&database)?);
        let mut copy = Store::even_closed(sqlite, key.clone(), store.id())?;
        // Those of the copy: the store may need others by now.
        let mut missing = Vec::new();
        for file in copy.needed_files()? {
            if !file.copy(self.directory(), &draft.temporary)? {
                missing.push(file.path());
            }
        }
        beside::copy_others(self.directory(), &draft.temporary)?;
        finish(&mut copy)?;
        copy.empty_log();
        drop(copy);
        if with_key {
            key_file::write_new(&draft.temporary.join(key_file::NAME), &key)?;
        }
        draft.keep()?;
        Ok(Copied { missing, has_key: with_key })
    }
}

/// An error that says of a row what is true of the key.
pub(super) fn wrong_key(error: Error) -> Error {
    match error.kind {
        Kind::StoreTampered => Error::new(
            Kind::StoreKeyWrong,
            "The store key does not open this store: it is another store's, or was altered.",
        ),
        _ => error,
    }
}

/// The same for the disk of a store, which is not that of the place where the store goes.
pub(super) fn full_there(error: Error, place: &str) -> Error {
    if error.message != DISK_FULL {
        return error;
    }
    Error::new(Kind::Store, format!("There is no room for the store at {place}: the disk is full."))
}

/// Whether a directory can be made at `path`. An empty one makes way. One with anything in it does not: not even a key,
/// which is perhaps that of another store.
pub(super) fn check_free(path: &Path) -> Result<()> {
    let is_taken = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.symlink_metadata().is_ok(),
    };
    if is_taken {
        let message = format!(
            "There is something at {} already. Name a directory that is new or empty.",
            path.display()
        );
        return Err(Error::new(Kind::Store, message));
    }
    Ok(())
}

/// A directory that has its name once it is whole. Until then, and when it is dropped, there is none.
struct DirectoryDraft {
    path: PathBuf,
    temporary: PathBuf,
}

const MADE: &str = "The directory cannot be made";

impl DirectoryDraft {
    fn new(path: &Path) -> Result<Self> {
        check_free(path)?;
        let suffix = random_bytes::<9>()?;
        let suffix = encode_base64(&suffix).replace(['/', '+'], "_");
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{suffix}.tmp"));
        let temporary = path.with_file_name(name);
        private_file::create_dir(&temporary).or_fail(Kind::Store, MADE)?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    fn keep(self) -> Result<()> {
        if self.path.is_dir() {
            fs::remove_dir(&self.path).or_fail(Kind::Store, MADE)?;
        }
        private_file::sync_dir(&self.temporary).or_fail(Kind::Store, MADE)?;
        fs::rename(&self.temporary, &self.path).or_fail(Kind::Store, MADE)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        private_file::sync_dir(parent.unwrap_or(Path::new("."))).or_fail(Kind::Store, MADE)
    }
}

impl Drop for DirectoryDraft {
    fn drop(&mut self) {
        // It is not there if it has its name by now.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}
