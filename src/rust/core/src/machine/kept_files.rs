//! Files that wait to be uploaded, kept in the store. Where a store is a database that several machines share, the
//! one that uploads a file need not be the one that was given it, and a container loses its disk.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    path::Path,
};

use super::{Machine, Millis, uploads};
use crate::{
    error::{Kind, OrFail, Result},
    primitives::keys::{decode_base64, encode_base64},
    store::{Query, private_file::Draft, records::FilePiece},
};

/// The bytes of a piece. Each is written by a transaction of its own, so that a large file delays nobody for long.
const PIECE: u64 = 512 * 1024;
/// For so long a file may wait for its message: another process may be about to queue it.
const UNCLAIMED: Millis = 24 * super::HOUR;

impl Machine {
    /// Keeps the file at `path` under `name`.
    ///
    /// # Errors
    /// [`Kind::Attachment`] when it cannot be read; those of the store.
    pub fn keep_file(&mut self, now: Millis, name: &str, path: &Path) -> Result<()> {
        let mut file = File::open(path).or_fail(Kind::Attachment, READ)?;
        for number in 0.. {
            let mut bytes = Vec::new();
            (&mut file).take(PIECE).read_to_end(&mut bytes).or_fail(Kind::Attachment, READ)?;
            if bytes.is_empty() {
                break;
            }
            let bytes = encode_base64(&bytes);
            let piece = FilePiece { name: name.to_owned(), number, kept_at: now, bytes };
            self.store.eventual_transaction(|tx| tx.put(&piece))?;
        }
        Ok(())
    }

    /// Writes the file that is kept under `name` to `path`, in place of what is there. Returns whether there is one.
    ///
    /// # Errors
    /// [`Kind::Attachment`] when it cannot be written; those of the store.
    pub fn fetch_file(&mut self, name: &str, path: &Path) -> Result<bool> {
        let mut draft = None;
        for number in 0_i64.. {
            let key = [name.into(), number.into()];
            let Some(piece) = self.store.read(|tx| tx.get::<FilePiece>(&key))? else { break };
            let draft = match &mut draft {
                Some(draft) => draft,
                none => none.insert(Draft::new(path).or_fail(Kind::Attachment, WRITTEN)?),
            };
            draft.write_all(&decode_base64(&piece.bytes)?).or_fail(Kind::Attachment, WRITTEN)?;
        }
        let is_there = draft.is_some();
        draft.map(|draft| draft.keep(true)).transpose().or_fail(Kind::Attachment, WRITTEN)?;
        Ok(is_there)
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

const READ: &str = "The file that is to wait cannot be read";
const WRITTEN: &str = "The file that waited cannot be written";

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
