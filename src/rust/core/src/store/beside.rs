//! Files beside a store, which go with it where it goes.

use std::{fs, io::ErrorKind, path::Path};

use super::{attachment_files, private_file};
use crate::error::{Kind, OrFail, Result};

/// Where files wait until they are sent.
pub(super) const WAITING: &str = "files";
/// Where the files of archived messages are.
pub(super) const ARCHIVED: &str = "archive";

/// A file beside the store that a row needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededFile {
    /// The directory in that of the store.
    pub directory: &'static str,
    /// Its name there.
    pub name: String,
    /// How many bytes it has.
    pub size: u64,
}

impl NeededFile {
    /// Its name beside the store.
    pub fn path(&self) -> String {
        format!("{}/{}", self.directory, self.name)
    }

    /// Why it cannot be used, if it cannot.
    pub(super) fn fault(&self, store: &Path) -> Option<String> {
        let path = self.path();
        match fs::metadata(store.join(self.directory).join(&self.name)) {
            Ok(found) if found.is_file() && found.len() == self.size => None,
            Ok(found) if found.is_file() => Some(format!(
                "Its file {path} has {} bytes, and should have {}.",
                found.len(),
                self.size
            )),
            Ok(_) => Some(format!("Its file {path} is no file.")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(format!("Its file {path} is not there."))
            }
            Err(error) => Some(format!("Its file {path} cannot be read: {error}")),
        }
    }

    /// Copies it from one store to another, unless it is there. Returns whether it is, then.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<bool> {
        let to = to.join(self.directory);
        private_file::create_dir(&to).or_fail(Kind::Store, WRITTEN)?;
        copy(&from.join(self.directory).join(&self.name), &to.join(&self.name))
    }
}

const WRITTEN: &str = "A file beside the store cannot be written";

/// Copies a file, unless there is one, into one that only its owner may read. Returns whether there was one to copy.
fn copy(from: &Path, to: &Path) -> Result<bool> {
    if !from.is_file() {
        return Ok(false);
    }
    // One of that name is the same: a copy has its name once it is whole.
    if !to.exists() {
        let mut file = attachment_files::open(from)?;
        attachment_files::copy(&mut file, to)?;
    }
    Ok(true)
}

/// Copies what belongs to a store and no row needs: the aliases of rooms.
pub(super) fn copy_others(from: &Path, to: &Path) -> Result<()> {
    let name = "aliases.json";
    copy(&from.join(name), &to.join(name))?;
    Ok(())
}
