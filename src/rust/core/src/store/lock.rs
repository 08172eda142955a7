//! Locks that belong to a store: they keep other processes from the same work, and end with the process that has them,
//! however it ends.

use std::fs::{File, OpenOptions, TryLockError};

use super::is_address;
#[cfg(feature = "postgres")]
use super::postgres;
use crate::error::{Kind, OrFail, Result};

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
        let path = std::path::Path::new(place).join(format!("{name}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let what = format!("The file {} cannot be opened", path.display());
        let file = file.or_fail(Kind::Store, &what)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            _ => Ok(Some(Lock::File(file))),
        }
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
