//! Which event each index of a Megolm session stands for: 64 indices a row.
//!
//! A tag is a keyed hash of session, index and event, so rows need no seal. Who writes to the file without the key
//! can make an index stand for no event that it does not stand for: what was altered, or moved from another place,
//! equals no tag, and its event counts as replayed. They can free an index by deleting it, as they can delete any row.

use std::collections::BTreeMap;

use super::database::{Database, Row, Table, Value};
use crate::error::{Error, Kind, Result};

pub(super) const TABLE: Table = Table { name: "message_index", key: &["block"], plain: &[] };

/// The binary logarithm of the indices of a row.
const BLOCK_BITS: u32 = 6;
const TAG: usize = 16;

/// The tags of a row: which of its indices have one, and these, in the order of the indices.
#[derive(Default)]
struct Block {
    taken: u64,
    tags: Vec<[u8; TAG]>,
    changed: bool,
}

impl Block {
    fn read(body: &[u8]) -> Result<Self> {
        let tampered = || Error::new(Kind::StoreTampered, "A row of message_index was altered.");
        let (taken, rest) = body.split_first_chunk().ok_or_else(tampered)?;
        let taken = u64::from_be_bytes(*taken);
        let (tags, rest) = rest.as_chunks();
        if !rest.is_empty() || tags.len() != taken.count_ones() as usize {
            return Err(tampered());
        }
        Ok(Self { taken, tags: tags.to_vec(), changed: false })
    }

    fn body(&self) -> Vec<u8> {
        [&self.taken.to_be_bytes()[..], self.tags.as_flattened()].concat()
    }

    fn remember(&mut self, slot: u32, tag: &[u8; TAG]) -> [u8; TAG] {
        let bit = 1 << slot;
        let place = (self.taken & (bit - 1)).count_ones() as usize;
        if let Some(known) = self.tags.get(place).filter(|_| self.taken & bit != 0) {
            return *known;
        }
        self.taken |= bit;
        self.tags.insert(place.min(self.tags.len()), *tag);
        self.changed = true;
        *tag
    }
}

/// Checks the form of a row. Whether its tags are right shows only when their events come again.
pub(super) fn check(row: &Row) -> Result<()> {
    Block::read(&row.body).map(drop)
}

/// The number of the session whose indices are in a block.
pub(super) fn session_of(block: i64) -> i64 {
    block >> (u32::BITS - BLOCK_BITS)
}

/// The rows that a transaction has used. They are written once, at its end.
#[derive(Default)]
pub(super) struct MessageIndices(BTreeMap<i64, Block>);

impl MessageIndices {
    /// Remembers that an index stands for `tag`, unless it stands for one already. Returns the tag that it now stands
    /// for: if it is another, the index was replayed.
    pub(super) fn remember(
        &mut self,
        database: &dyn Database,
        session: i64,
        message_index: u32,
        tag: &[u8; TAG],
    ) -> Result<[u8; TAG]> {
        let number = session << (u32::BITS - BLOCK_BITS) | i64::from(message_index >> BLOCK_BITS);
        let block = match self.0.entry(number) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let row = database.get(&TABLE, &[number.into()])?;
                place
                    .insert(row.map_or_else(|| Ok(Block::default()), |row| Block::read(&row.body))?)
            }
        };
        Ok(block.remember(message_index % (1 << BLOCK_BITS), tag))
    }

    /// Writes what changed.
    pub(super) fn write(self, database: &dyn Database) -> Result<()> {
        let changed = self.0.iter().filter(|(_, block)| block.changed);
        changed.into_iter().try_for_each(|(number, block)| {
            database.put(&TABLE, &[Value::from(*number)], &[], &block.body())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_each_tag_at_its_index() {
        let mut block = Block::default();
        let tag = |slot: u32| [slot as u8; TAG];
        for slot in [5, 63, 0, 31, 6, 62] {
            assert_eq!(block.remember(slot, &tag(slot)), tag(slot));
        }
        let mut again = Block::read(&block.body()).unwrap();
        for slot in [0, 5, 6, 31, 62, 63] {
            assert_eq!(again.remember(slot, &[9; TAG]), tag(slot));
        }
        assert_eq!(again.remember(7, &[9; TAG]), [9; TAG]);
        assert_eq!(again.remember(31, &[8; TAG]), tag(31));
    }

    #[test]
    fn a_row_of_another_length_was_altered() {
        let mut block = Block::default();
        block.remember(3, &[1; TAG]);
        let body = block.body();
        for length in 0..body.len() {
            assert!(Block::read(&body[..length]).is_err(), "{length}");
        }
        let mut more = body.clone();
        more[0] ^= 1;
        assert_eq!(Block::read(&more).err().unwrap().kind, Kind::StoreTampered);
    }
}
