//! Files and directories that belong to their owner alone, from their first byte on.
//!
//! A file made with the usual mode and changed afterwards can be opened in between.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::primitives::{keys::encode_base64, seal::random_bytes};

/// Makes a directory that only the owner may enter, unless it is there, and those above it likewise.
///
/// # Errors
/// Those of the file system.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    match mxcrypt_private_file::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes an empty file; fails when there is one.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    mxcrypt_private_file::create_new(path)
}

/// Writes a new file whole or not at all; fails when there is one.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::new(path)?;
    draft.write_all(bytes)?;
    draft.keep(false)
}

/// Replaces a file whole or not at all.
///
/// # Errors
/// Those of the file system; the old file then stands as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::new(path)?;
    draft.write_all(bytes)?;
    draft.keep(true)
}

/// A file that has its name once it is whole. Until then, and when it is dropped, there is none.
pub struct Draft {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Draft {
    /// Begins a file that will be at `path`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(path: &Path) -> io::Result<Self> {
        let suffix = random_bytes::<9>().map_err(io::Error::other)?;
        let suffix = encode_base64(&suffix).replace(['/', '+'], "_");
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{suffix}.tmp"));
        let temporary = path.with_file_name(name);
        let file = create_new(&temporary)?;
        Ok(Self { path: path.to_owned(), temporary, file })
    }

    /// Gives it its name, in place of the file that has it if it may `replace` that.
    ///
    /// # Errors
    /// Those of the file system; what had the name then stands as it was.
    pub fn keep(self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if replace {
            fs::rename(&self.temporary, &self.path)?;
            return sync_parent(&self.path);
        }
        // A link is made only where nothing stands, and what it names is complete.
        fs::hard_link(&self.temporary, &self.path).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            // Some file systems know no links.
            _ => create_new(&self.path).and_then(|_| fs::rename(&self.temporary, &self.path)),
        })?;
        sync_parent(&self.path)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there if it has its name by now.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A new name is durable once its directory is. Windows has no such call and needs none.
fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Has the names in a directory be durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::scratch::Scratch;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read() {
        let scratch = Scratch::new();
        let dir = scratch.path().join("a/b");
        create_dir(&dir).unwrap();
        let file = dir.join("f");
        write_new(&file, b"x").unwrap();
        replace(&file, b"y").unwrap();
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read(&file).unwrap(), b"y");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_nothing() {
        let scratch = Scratch::new();
        let mut draft = Draft::new(&scratch.path().join("f")).unwrap();
        draft.write_all(b"x").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_existing_file_is_never_written_over() {
        let scratch = Scratch::new();
        let file = scratch.path().join("f");
        write_new(&file, b"x").unwrap();
        assert_eq!(write_new(&file, b"y").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }
}
