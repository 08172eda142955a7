//! Which process listens as which consumer. Two that do would both handle each event, and each would
//! count the attempts of the other as its own.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use extendr_api::prelude::*;
use mxcrypt_core::{Error, Kind};

use crate::{answer::answer, arguments};

/// The locks that this process holds, and how often: a handler may listen itself. The system ends them
/// with the process, however it ends.
static HELD: Mutex<BTreeMap<PathBuf, (File, usize)>> = Mutex::new(BTreeMap::new());

/// Locks the file `path` for this process: FALSE while another one has it. A file system that knows no
/// locks keeps nobody from listening.
#[extendr]
fn listener_begin(path: Robj) -> Robj {
    answer(|| {
        let path = PathBuf::from(arguments::text(&path, "path")?);
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, times)) = held.get_mut(&path) {
            *times += 1;
            return Ok(Robj::from(true));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| {
            Error::new(
                Kind::Store,
                format!("The file {} cannot be opened: {error}", path.display()),
            )
        })?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(Robj::from(false));
        }
        held.insert(path, (file, 1));
        Ok(Robj::from(true))
    })
}

/// Ends what [`listener_begin`] began.
#[extendr]
fn listener_end(path: Robj) -> Robj {
    answer(|| {
        let path = PathBuf::from(arguments::text(&path, "path")?);
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, times)) = held.get_mut(&path) {
            *times -= 1;
            if *times == 0 {
                held.remove(&path);
            }
        }
        Ok(())
    })
}

extendr_module! {
    mod listener;
    fn listener_begin;
    fn listener_end;
}
