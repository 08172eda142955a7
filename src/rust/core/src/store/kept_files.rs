//! Files that a store keeps itself, in pieces: where it is a database that several machines share, the one that uploads a
//! file need not be the one that was given it, and a container loses its disk.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use super::{Store, private_file::Draft, records::FilePiece};
use crate::{
    error::{Kind, OrFail, Result},
    primitives::keys::{decode_base64, encode_base64},
};

/// The bytes of a piece. Each is written by a transaction of its own, so that a large file delays nobody for long.
const PIECE: u64 = 512 * 1024;
const READ: &str = "The file that is to wait cannot be read";
const WRITTEN: &str = "The file that waited cannot be written";

impl Store {
    /// Keeps the file at `path` under `name`. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Kind::Attachment`] when it cannot be read; those of the store.
    pub fn keep_file(&mut self, now: i64, name: &str, path: &Path) -> Result<()> {
        let mut file = File::open(path).or_fail(Kind::Attachment, READ)?;
        for number in 0.. {
            let mut bytes = Vec::new();
            (&mut file).take(PIECE).read_to_end(&mut bytes).or_fail(Kind::Attachment, READ)?;
            if bytes.is_empty() {
                break;
            }
            let bytes = encode_base64(&bytes);
            let piece = FilePiece { name: name.to_owned(), number, kept_at: now, bytes };
            self.eventual_transaction(|tx| tx.put(&piece))?;
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
            let Some(piece) = self.read(|tx| tx.get::<FilePiece>(&key))? else { break };
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

    /// Whether a file is kept under `name`.
    pub(super) fn keeps_file(&mut self, name: &str) -> Result<bool> {
        let first = [name.into(), 0.into()];
        Ok(self.read(|tx| tx.get::<FilePiece>(&first))?.is_some())
    }
}
