//! Moves a store to another database, of this kind or another.
//!
//! Rows are sealed to the id of the store, their table and their key, and to nothing of the database: they are copied as
//! they are. Never can two stores be used, whenever the process is killed. In these steps, each one commit:
//!
//! | after it | the source | the target |
//! |---|---|---|
//! | 1 | is leaving | |
//! | 2 | is leaving | has arrived |
//! | 3 | was moved | has arrived |
//! | 4 | was moved | can be used |
//!
//! Between 1 and 4 both refuse whoever opens them, and the move is finished by calling it again. A move that was given up
//! is begun anew under another id, to this place or another: what had arrived before is too old then, and is not used,
//! because nothing comes to life but in step 4, which comes after step 3, and step 3 names the id.

use super::{
    Closure, Durability, KeySource, Location, Query, RollBack, SINGLE, Single, Store, Transaction,
    backup::{check_free, full_there, wrong_key},
    beside, key_file, private_file, whole,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{seal::random_bytes, store_key::StoreKey},
};

/// Moves the store `source`, which is at `from`, to the empty `target`, which is at `to`. `copy_files` copies what lies
/// beside it, before it can be used there. Both must have the same key and id, and have been opened even if closed.
///
/// # Errors
/// [`Kind::StoreMoved`] when it was moved elsewhere, or another process moves it now; [`Kind::StoreCopy`];
/// [`Kind::Store`] when the target is not empty.
pub fn relocate(
    source: &mut Store,
    target: &mut Store,
    (from, to): (&str, &str),
    copy_files: impl FnOnce(&mut Store) -> Result<()>,
) -> Result<()> {
    let id = leave(source, to)?;
    let is_moved = matches!(source.read(|tx| tx.get_single())?, Some(Closure::Moved { .. }));
    let arrived = if is_moved { Ok(()) } else { copy_files(source) };
    let arrived = arrived.and_then(|()| {
        let arrived = arrive(source, target, from, id, is_moved);
        arrived.map_err(|error| full_there(error, to))
    });
    if let Err(error) = arrived {
        // Nothing was done that cannot be done anew. If this fails too, it is as if the process were killed.
        let _ = stay(source, id);
        return Err(error);
    }
    let moved = Closure::Moved { to: to.to_owned(), id };
    source.transaction(|tx| match closure_id(tx.get_single()?.as_ref()) {
        Some(current) if current == id => tx.put_single(&moved),
        _ => Err(Error::new(Kind::StoreMoved, "Another process moves this store.")),
    })?;
    target.transaction(|tx| match tx.get_single()? {
        Some(Closure::Arrived { id: arrived, .. }) if arrived == id => tx.remove_closure(),
        _ => Ok(()),
    })
}

/// Whether both are one store. Else what is there has arrived, or nothing has: the id of a store that is used is the id of no
/// other.
fn is_same(source: &mut Store, target: &mut Store) -> Result<bool> {
    let read =
        |tx: &Transaction<'_>| Ok((whole::is_empty(tx.database)?, tx.get_single::<Closure>()?));
    let here = source.read(read).map_err(wrong_key)?;
    let is_used = matches!(here, (false, None | Some(Closure::Leaving { .. })));
    Ok(is_used && target.read(read)? == here)
}

/// Step 1. Returns the id of the move, which is that of the move before if it is the same.
fn leave(source: &mut Store, to: &str) -> Result<[u8; 16]> {
    let new_id = random_bytes()?;
    source
        .transaction(|tx| match tx.get_single::<Closure>()? {
            Some(Closure::Leaving { to: place, id } | Closure::Moved { to: place, id })
                if place == to =>
            {
                Ok(id)
            }
            None | Some(Closure::Leaving { .. }) => {
                tx.put_single(&Closure::Leaving { to: to.to_owned(), id: new_id })?;
                Ok(new_id)
            }
            Some(other) => Err(other.refusal()),
        })
        .map_err(wrong_key)
}

/// Has a source that did not get far be used again.
fn stay(source: &mut Store, id: [u8; 16]) -> Result<()> {
    source.transaction(|tx| match tx.get_single()? {
        Some(Closure::Leaving { id: current, .. }) if current == id => tx.remove_closure(),
        _ => Ok(()),
    })
}

/// Step 2, unless it was done.
fn arrive(
    source: &mut Store,
    target: &mut Store,
    from: &str,
    id: [u8; 16],
    is_moved: bool,
) -> Result<()> {
    // Nobody writes to it: it is closed.
    source.database.begin(Durability::Eventual)?;
    let source = RollBack(Some(source.database.as_mut()));
    let Some(rows) = source.0.as_deref() else {
        return Err(Error::new(Kind::Internal, "A transaction was lost."));
    };
    target.transaction(|tx| {
        let there = tx.get_single::<Closure>()?;
        match there {
            Some(Closure::Arrived { id: arrived, .. }) if arrived == id => return Ok(()),
            _ if is_moved => return is_there(tx),
            // From a move that was given up.
            Some(Closure::Arrived { .. }) => whole::clear(tx.writable()?)?,
            _ if whole::is_empty(tx.database)? => {}
            Some(other) => return Err(other.refusal()),
            None => return Err(Error::new(Kind::Store, "There is a store at that place already.")),
        }
        whole::copy(rows, tx.writable()?)?;
        tx.put_single(&Closure::Arrived { from: from.to_owned(), id })
    })
}

/// Whether a store that was moved is where it was moved to: its move was finished before.
fn is_there(tx: &Transaction<'_>) -> Result<()> {
    if !whole::is_empty(tx.database)? {
        return Ok(());
    }
    let message = "This store was moved, and is not where it was moved to. Put that store back.";
    Err(Error::new(Kind::StoreMoved, message))
}

fn closure_id(closure: Option<&Closure>) -> Option<[u8; 16]> {
    match closure? {
        Closure::Leaving { id, .. } | Closure::Moved { id, .. } => Some(*id),
        Closure::Copy { .. } | Closure::Arrived { .. } => None,
    }
}

impl Transaction<'_> {
    /// From the end of this transaction on the store can be used.
    pub(crate) fn remove_closure(&self) -> Result<()> {
        let query = Query::equal(SINGLE.key[0], Closure::NAME);
        self.writable()?.delete(&SINGLE, &query).map(drop)
    }
}

impl Location {
    /// Moves the store that is here to the place `to`, with its files, and with its key if both are directories and it is in
    /// a file. Where the store itself keeps files, those that wait go into it; those of an archive go beside it.
    ///
    /// # Errors
    /// As [`relocate`]; [`Kind::Store`] when there is no store here.
    pub fn move_to(&self, now: i64, to: &Location) -> Result<()> {
        self.check_exists()?;
        // One that has a store is perhaps that of a move that was not finished.
        if !to.keeps_files() && !to.is_there()? {
            check_free(to.directory())?;
        }
        self.check_outside(to.directory())?;
        private_file::create_dir(to.directory())
            .or_fail(Kind::Store, "The directory cannot be made")?;
        let (from_name, to_name) = (self.whole_name()?, to.whole_name()?);
        if from_name == to_name {
            return Err(Error::new(Kind::Argument, "The store is there already."));
        }
        let mut source = self.open_closed()?;
        // Before anything is written under it: a store that is closed with another key can be opened by nobody.
        source.check_key()?;
        let key = source.seals.key.clone();
        if to.keeps_files() {
            to.check_key(&key)?;
        }
        let target = to.open_empty(key.clone(), source.id());
        let mut target = target.map_err(|error| full_there(error, &to_name))?;
        // In a directory that has another store, that is what there is to say.
        to.check_key(&key)?;
        if is_same(&mut source, &mut target)? {
            let message =
                format!("The store is there already: {to_name} is another name of {from_name}.");
            return Err(Error::new(Kind::Argument, message));
        }
        relocate(&mut source, &mut target, (&from_name, &to_name), |source| {
            self.move_files(now, source, to)?;
            if self.keeps_files() || to.keeps_files() {
                return Ok(());
            }
            let key_path = to.directory().join(key_file::NAME);
            if self.directory().join(key_file::NAME).exists()
                && key_file::read(&key_path)?.is_none()
            {
                key_file::write_new(&key_path, &key)?;
            }
            Ok(())
        })?;
        target.empty_log();
        Ok(())
    }

    /// The place under its one name.
    fn whole_name(&self) -> Result<String> {
        if self.keeps_files() {
            return Ok(self.name());
        }
        let path = self.directory().canonicalize().or_fail(Kind::Store, "The directory")?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Rows are copied as they are sealed, so the key that is named for the new place must be that of the old one.
    fn check_key(&self, key: &StoreKey) -> Result<()> {
        let named = match &self.key {
            KeySource::Given(key) => Some(key.clone()),
            KeySource::File if self.keeps_files() => {
                return Err(Error::new(
                    Kind::StoreKeyMissing,
                    "A store in a database needs its key from outside. Save it with mx_store_key_write(path, \
                     client), and name the file in MXCRYPT_STORE_KEY_FILE.",
                ));
            }
            KeySource::File => key_file::read(&self.directory().join(key_file::NAME))?,
        };
        match named {
            Some(other) if other.as_bytes() != key.as_bytes() => Err(Error::new(
                Kind::StoreKeyWrong,
                "The store key that is named for the new place is not that of this store.",
            )),
            _ => Ok(()),
        }
    }

    /// Takes files along, before the rows. One that is gone is missed there as it is here.
    fn move_files(&self, now: i64, source: &mut Store, to: &Location) -> Result<()> {
        for file in source.needed_files()? {
            let is_there = file.copy(self.directory(), to.directory())?;
            let path = to.directory().join(file.directory).join(&file.name);
            if file.directory != beside::WAITING {
                continue;
            }
            if !is_there {
                source.fetch_file(&file.name, &path)?;
            } else if to.keeps_files() {
                source.keep_file(now, &file.name, &path)?;
            }
        }
        if self.directory().is_dir() {
            beside::copy_others(self.directory(), to.directory())?;
        }
        Ok(())
    }
}
