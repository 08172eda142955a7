//! Creates files and directories that only their owner may open, from the first moment on.
//!
//! On Unix this is a mode. On Windows it is an access control list, for which the standard library
//! has no safe call: this crate and `postgres-client` are the places with `unsafe` below the glue.

use std::{fs::File, io, path::Path};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// Makes an empty file, open for writing, that only its owner may open.
///
/// # Errors
/// Those of the file system; `AlreadyExists` when there is one.
pub fn create_new(path: &Path) -> io::Result<File> {
    platform::create_new(path)
}

/// Makes a directory that only its owner may enter.
///
/// # Errors
/// Those of the file system; `AlreadyExists` when there is one.
pub fn create_dir(path: &Path) -> io::Result<()> {
    platform::create_dir(path)
}
