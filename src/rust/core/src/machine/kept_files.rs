//! Files that wait to be uploaded, kept in the store itself: see `store/kept_files.rs`.

use std::{collections::BTreeSet, path::Path};

use super::{Machine, Millis, uploads};
use crate::{
    error::Result,
    store::{Query, records::FilePiece},
};

/// For so long a file may wait for its message: another process may be about to queue it.
const UNCLAIMED: Millis = 24 * super::HOUR;

impl Machine {
    /// See [`crate::store::Store::keep_file`].
    ///
    /// # Errors
    /// [`crate::Kind::Attachment`] when it cannot be read; those of the store.
    pub fn keep_file(&mut self, now: Millis, name: &str, path: &Path) -> Result<()> {
        self.store.keep_file(now, name, path)
    }

    /// See [`crate::store::Store::fetch_file`].
    ///
    /// # Errors
    /// [`crate::Kind::Attachment`] when it cannot be written; those of the store.
    pub fn fetch_file(&mut self, name: &str, path: &Path) -> Result<bool> {
        self.store.fetch_file(name, path)
    }

    /// Deletes those of the kept files called `names` that no message needs, and all that have waited for one for more
    /// than a day.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget_files(&mut self, now: Millis, names: &[String]) -> Result<()> {
        let kept = self.store.read(|tx| tx.texts::<FilePiece>("name", &Query::all()))?;
        if kept.is_empty() {
            return Ok(());
        }
        self.eventual_work(now, |work| {
            let waiting = uploads::waiting_files(work)?;
            let given: BTreeSet<&String> = names.iter().collect();
            for name in kept.iter().filter(|name| !waiting.contains(*name)) {
                let first: Option<FilePiece> = work.tx.get(&[name.as_str().into(), 0.into()])?;
                let is_old = first.is_none_or(|piece| piece.kept_at + UNCLAIMED < now);
                if is_old || given.contains(name) {
                    work.tx.delete_where::<FilePiece>(&Query::equal("name", name.as_str()))?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::{KeySource, Location, records::Binding, scratch::Scratch};

    const NOW: Millis = 1_800_000_000_000;

    #[test]
    fn a_file_comes_back_whole_and_goes_when_nobody_needs_it() {
        let scratch = Scratch::new();
        let mut machine = machine(&scratch);
        let at = |name: &str| scratch.path().join(name);
        let bytes: Vec<u8> = (0..1_300_000_u32).map(|number| number as u8).collect();
        fs::write(at("given"), &bytes).unwrap();
        machine.keep_file(NOW, "file-1", &at("given")).unwrap();
        assert!(machine.fetch_file("file-1", &at("fetched")).unwrap());
        assert_eq!(fs::read(at("fetched")).unwrap(), bytes);
        assert!(!machine.fetch_file("file-2", &at("missing")).unwrap());
        assert!(!at("missing").exists());
        // Another process may be about to queue its message.
        machine.forget_files(NOW + UNCLAIMED, &["file-2".to_owned()]).unwrap();
        assert!(machine.fetch_file("file-1", &at("fetched")).unwrap());
        machine.forget_files(NOW + UNCLAIMED + 1, &[]).unwrap();
        assert!(!machine.fetch_file("file-1", &at("fetched")).unwrap());
        machine.keep_file(NOW, "file-3", &at("given")).unwrap();
        machine.forget_files(NOW, &["file-3".to_owned()]).unwrap();
        assert!(!machine.fetch_file("file-3", &at("fetched")).unwrap());
    }

    fn machine(scratch: &Scratch) -> Machine {
        let location = Location::new(scratch.path().join("store"), KeySource::File);
        let mut machine = Machine::new(location.open().unwrap());
        machine.bind("@me:example.org", "DEVICE").unwrap();
        assert!(machine.store.read(|tx| tx.get_single::<Binding>()).unwrap().is_some());
        machine
    }
}
