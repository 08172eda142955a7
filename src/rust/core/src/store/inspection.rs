//! Checks of the place where a store lies, for diagnosis. They need no key, and change nothing in
//! the store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{file_system, private_file, sqlite};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{keys::encode_base64, seal::random_bytes},
};

/// The version of SQLite that stores are kept in.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// The schema that this version brings each store to when it opens it.
pub fn schema_version() -> usize {
    sqlite::schema_version()
}

/// Whether `directory` lies on a file system of this machine, as far as can be known.
pub fn is_local(directory: &Path) -> bool {
    file_system::shares_memory(directory)
}

/// Tries whether a lock in `directory` keeps a second opener out, on a database file of its own
/// that is deleted again. Where it does not, two processes write over each other.
///
/// # Errors
/// [`Kind::Store`] when no file can be made there, or the file system has no locks.
pub fn test_locks(directory: &Path) -> Result<()> {
    let file = Trial::new(directory).or_fail(Kind::Store, "No file can be made")?;
    let refused = |error: rusqlite::Error| {
        Error::new(Kind::Store, format!("The file system takes no lock: {error}"))
    };
    let first = open(&file.0).map_err(refused)?;
    let second = open(&file.0).map_err(refused)?;
    first.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE trial (x); COMMIT").map_err(refused)?;
    first.execute_batch("BEGIN EXCLUSIVE").map_err(refused)?;
    let kept_out = match second.execute_batch("BEGIN EXCLUSIVE") {
        Ok(()) => false,
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => true,
            _ => return Err(refused(error)),
        },
    };
    if kept_out {
        return Ok(());
    }
    Err(Error::new(Kind::Store, "A lock on a file does not keep a second opener out."))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    Ok(connection)
}

/// A file that is gone when it is dropped, with what SQLite puts beside it. Connections are
/// declared after it and so are closed before: Windows deletes no open file.
struct Trial(PathBuf);

impl Trial {
    fn new(directory: &Path) -> io::Result<Self> {
        let suffix = random_bytes::<9>().map_err(io::Error::other)?;
        let suffix = encode_base64(&suffix).replace(['/', '+'], "_");
        let path = directory.join(format!("lock-test.{suffix}.tmp"));
        private_file::create_new(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let mut journal = self.0.clone().into_os_string();
        journal.push("-journal");
        let _ = fs::remove_file(journal);
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_trial_of_locks_leaves_nothing_behind() {
        let scratch = Scratch::new();
        test_locks(scratch.path()).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_no_file_can_be_made_is_said() {
        let scratch = Scratch::new();
        let missing = scratch.path().join("missing");
        assert_eq!(test_locks(&missing).unwrap_err().kind, Kind::Store);
    }
}
