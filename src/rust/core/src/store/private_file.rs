//! Files and directories that belong to their owner alone, from their first byte on.
//!
//! A file made with the usual mode and changed afterwards can be opened in between.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::primitives::{keys::encode_base64, seal::random_bytes};

/// Makes a directory that only the owner may enter, unless it is there.
///
/// # Errors
/// Those of the file system.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
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
    let temporary = write_temporary(path, bytes)?;
    // A link is made only where nothing stands, and what it names is complete.
    let linked = fs::hard_link(&temporary, path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems know no links.
        _ => create_new(path).and_then(|mut file| file.write_all(bytes).and(file.sync_all())),
    });
    fs::remove_file(&temporary)?;
    linked?;
    sync_parent(path)
}

/// Replaces a file whole or not at all.
///
/// # Errors
/// Those of the file system; the old file then stands as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let suffix = random_bytes::<9>().map_err(io::Error::other)?;
    let suffix = encode_base64(&suffix).replace(['/', '+'], "_");
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}.tmp"));
    let temporary = path.with_file_name(name);
    let mut file = create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(temporary)
}

/// A new name is durable once its directory is. Windows has no such call and needs none.
fn sync_parent(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
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
    fn an_existing_file_is_never_written_over() {
        let scratch = Scratch::new();
        let file = scratch.path().join("f");
        write_new(&file, b"x").unwrap();
        assert_eq!(write_new(&file, b"y").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }
}
