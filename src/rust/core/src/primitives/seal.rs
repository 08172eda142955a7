//! Sealing: AES-256-GCM over every row that holds a secret or a fact that trust rests on.
//!
//! Each table has its own key, derived from the store key and the store's id. The associated data
//! name the place of the row, so that a row opens neither in another place nor in another store.

use std::cell::RefCell;

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, AeadInOut, KeyInit, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::store_key::StoreKey;
use crate::error::{Error, Kind, OrFail, Result};

const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;
/// The first byte of a sealed row, so that the format can change.
const VERSION: u8 = 1;

/// Bytes from the operating system's generator.
///
/// # Errors
/// [`Kind::Internal`] when the operating system has none to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).or_fail(Kind::Internal, "The system gives no random bytes")?;
    Ok(bytes)
}

/// Nonces of the operating system, fetched many at a time: each call of it costs as much as sealing a row. They live
/// no longer than a transaction, so that no forked process has the same ones.
#[derive(Default)]
pub struct Nonces(RefCell<Vec<[u8; NONCE_LENGTH]>>);

impl Nonces {
    /// How many are fetched at once; the first time, for the few rows that most transactions write, fewer.
    const BATCH: usize = 32;
    const FIRST_BATCH: usize = 4;

    /// One that nobody had.
    fn next(&self) -> Result<[u8; NONCE_LENGTH]> {
        let mut left = self.0.borrow_mut();
        if let Some(nonce) = left.pop() {
            return Ok(nonce);
        }
        let number = if left.capacity() == 0 { Self::FIRST_BATCH } else { Self::BATCH };
        let mut bytes = [0; NONCE_LENGTH * Self::BATCH];
        let bytes = &mut bytes[..NONCE_LENGTH * number];
        getrandom::fill(bytes).or_fail(Kind::Internal, "The system gives no random bytes")?;
        left.extend_from_slice(bytes.as_chunks().0);
        left.pop().ok_or_else(|| Error::new(Kind::Internal, "There is no nonce."))
    }
}

/// Seals and opens the rows of one table.
pub struct Seal {
    cipher: Aes256Gcm,
    store_id: [u8; 16],
    table: &'static str,
}

impl Seal {
    /// The seal of `table` in the store `store_id`.
    ///
    /// # Errors
    /// [`Kind::Internal`] if a key cannot be derived.
    pub fn new(key: &StoreKey, store_id: [u8; 16], table: &'static str) -> Result<Self> {
        let mut derived = Zeroizing::new([0; 32]);
        expand(key, &store_id, &format!("mxcrypt row {table}"), derived.as_mut())?;
        let cipher = Aes256Gcm::new_from_slice(derived.as_ref())
            .or_fail(Kind::Internal, "The key of a table")?;
        Ok(Self { cipher, store_id, table })
    }

    /// Seals `body` to the row `key`.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the operating system has no random bytes.
    pub fn seal(&self, nonces: &Nonces, key: &[u8], body: &[u8]) -> Result<Vec<u8>> {
        const HEAD: usize = 1 + NONCE_LENGTH;
        let nonce = nonces.next()?;
        let mut row = Vec::with_capacity(HEAD + body.len() + TAG_LENGTH);
        row.push(VERSION);
        row.extend_from_slice(&nonce);
        row.extend_from_slice(body);
        let tag = self
            .cipher
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &self.place(key),
                (&mut row[HEAD..]).into(),
            )
            .or_fail(Kind::Internal, "A row cannot be sealed")?;
        row.extend_from_slice(&tag);
        Ok(row)
    }

    /// Opens the row `key`.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`] when it was altered, or sealed to another place.
    pub fn open(&self, key: &[u8], row: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let tampered = || {
            Error::new(
                Kind::StoreTampered,
                format!("A row of the table {} was altered or moved.", self.table),
            )
        };
        let (version, rest) = row.split_first().ok_or_else(tampered)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or_else(tampered)?;
        if *version != VERSION {
            return Err(tampered());
        }
        let payload = Payload { msg: sealed, aad: &self.place(key) };
        let body = self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| tampered())?;
        Ok(Zeroizing::new(body))
    }

    fn place(&self, key: &[u8]) -> Vec<u8> {
        [&[VERSION][..], &self.store_id, &[self.table.len() as u8], self.table.as_bytes(), key]
            .concat()
    }
}

/// A keyed hash of 16 bytes, for facts that are compared but never read back.
pub struct Tag(Hmac<Sha256>);

impl Tag {
    /// The tags of `purpose` in the store `store_id`.
    ///
    /// # Errors
    /// [`Kind::Internal`] if a key cannot be derived.
    pub fn new(key: &StoreKey, store_id: [u8; 16], purpose: &str) -> Result<Self> {
        let mut derived = Zeroizing::new([0; 32]);
        expand(key, &store_id, &format!("mxcrypt tag {purpose}"), derived.as_mut())?;
        Hmac::new_from_slice(derived.as_ref()).or_fail(Kind::Internal, "The key of a tag").map(Self)
    }

    /// The tag of `parts`, each of which is delimited.
    pub fn of(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut tag = [0; 16];
        tag.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        tag
    }
}

fn expand(key: &StoreKey, store_id: &[u8], info: &str, out: &mut [u8]) -> Result<()> {
    Hkdf::<Sha256>::new(Some(store_id), key.as_bytes())
        .expand(info.as_bytes(), out)
        .or_fail(Kind::Internal, "A key cannot be derived")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(table: &'static str, store_id: u8) -> Seal {
        Seal::new(&StoreKey::from_bytes(&[3; 32]).unwrap(), [store_id; 16], table).unwrap()
    }

    #[test]
    fn a_row_opens_only_in_its_place() {
        let here = seal("device", 1);
        let row = here.seal(&Nonces::default(), b"alice|A", b"body").unwrap();
        assert_eq!(here.open(b"alice|A", &row).unwrap().as_slice(), b"body");
        assert!(here.open(b"alice|B", &row).is_err(), "another row");
        assert!(seal("member", 1).open(b"alice|A", &row).is_err(), "another table");
        assert!(seal("device", 2).open(b"alice|A", &row).is_err(), "another store");
    }

    #[test]
    fn every_altered_bit_is_noticed() {
        let seal = seal("device", 1);
        let row = seal.seal(&Nonces::default(), b"k", b"body").unwrap();
        for position in 0..row.len() {
            let mut altered = row.clone();
            altered[position] ^= 1;
            assert_eq!(seal.open(b"k", &altered).unwrap_err().kind, Kind::StoreTampered);
        }
        for length in 0..row.len() {
            assert!(seal.open(b"k", &row[..length]).is_err());
        }
    }

    #[test]
    fn equal_bodies_do_not_look_equal() {
        let (seal, nonces) = (seal("device", 1), Nonces::default());
        let rows = (0..200).map(|_| seal.seal(&nonces, b"k", b"body").unwrap());
        assert_eq!(rows.collect::<std::collections::BTreeSet<_>>().len(), 200);
    }
}
