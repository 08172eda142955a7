//! Locks that belong to a store: they keep other processes from the same work, and end with the process that has them,
//! however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::is_address;
#[cfg(feature = "postgres")]
use super::postgres;
use crate::error::{Kind, OrFail, Result};

/// What [`is_held`] takes at most.
const LOOK: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped.
pub enum Lock {
    /// A locked file beside the store.
    File(File),
    /// A lock of the database, which ends with its connection.
    #[cfg(feature = "postgres")]
    Postgres(postgres::Lock),
}

impl Lock {
    /// Takes the lock `name` of the store at `place`; none while another process has it. A file system that knows no
    /// locks keeps nobody out.
    ///
    /// # Errors
    /// [`Kind::Store`] when there can be no such lock; [`Kind::StoreUnreachable`].
    pub fn take(place: &str, name: &str) -> Result<Option<Self>> {
        if is_address(place) {
            #[cfg(feature = "postgres")]
            return Ok(
                postgres::Lock::take(&postgres::Address::read(place)?, name)?.map(Lock::Postgres)
            );
            #[cfg(not(feature = "postgres"))]
            return Err(super::location::unsupported());
        }
        let path = path(Path::new(place), name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let what = format!("The file {} cannot be opened", path.display());
        let file = file.or_fail(Kind::Store, &what)?;
        if is_locked(file.try_lock()) {
            // Perhaps somebody only looks.
            thread::sleep(LOOK);
            if is_locked(file.try_lock()) {
                return Ok(None);
            }
        }
        Ok(Some(Lock::File(file)))
    }

    /// Whether it is held still. A connection can break, and then another process may have it.
    pub fn is_held(&self) -> bool {
        match self {
            Lock::File(_) => true,
            #[cfg(feature = "postgres")]
            Lock::Postgres(lock) => lock.is_held(),
        }
    }
}

/// Whether a process has the lock `name` of the store in `directory`.
pub(super) fn is_held(directory: &Path, name: &str) -> bool {
    let file = File::open(path(directory, name));
    // What is no answer is none either: a file system that knows no locks.
    !file.is_ok_and(|file| file.try_lock_shared().is_ok())
}

fn is_locked(tried: std::result::Result<(), TryLockError>) -> bool {
    matches!(tried, Err(TryLockError::WouldBlock))
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_lock_is_held_for_as_long_as_it_lives() {
        let scratch = Scratch::new();
        let place = scratch.path().to_str().unwrap();
        let take = || Lock::take(place, "listen").unwrap();
        assert!(is_held(scratch.path(), "listen"), "nobody knows of one that never was");
        let lock = take();
        assert!(lock.is_some() && take().is_none());
        assert!(is_held(scratch.path(), "listen"));
        drop(lock);
        assert!(!is_held(scratch.path(), "listen"));
        assert!(take().is_some());
    }
}
