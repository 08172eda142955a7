//! Keys made from passphrases: PBKDF2 with HMAC-SHA-512.

use std::{cell::RefCell, ops::RangeInclusive};

use hmac::Hmac;
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::error::{Kind, OrFail, Result};

/// How many iterations a server or file may ask for. Without an upper bound it could keep us busy
/// for ever: the most take a minute on the slowest machines.
pub const ITERATIONS: RangeInclusive<u32> = 1..=10_000_000;
/// How often a new passphrase is iterated.
pub const NEW_ITERATIONS: u32 = 500_000;

/// A passphrase with the keys that were derived from it. A key takes a second, or a minute, and one
/// call may need it many times: none is derived twice.
pub struct Passphrase {
    text: Zeroizing<String>,
    derived: RefCell<Vec<Derived>>,
}

struct Derived {
    salt: String,
    iterations: u32,
    key: Zeroizing<[u8; 32]>,
}

impl Passphrase {
    /// The passphrase `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Zeroizing::new(text.into()), derived: RefCell::default() }
    }

    /// Its key of 32 bytes.
    ///
    /// # Errors
    /// [`Kind::Internal`]
    pub fn key(&self, salt: &str, iterations: u32) -> Result<Zeroizing<[u8; 32]>> {
        let is_it = |derived: &&Derived| derived.salt == salt && derived.iterations == iterations;
        if let Some(derived) = self.derived.borrow().iter().find(is_it) {
            return Ok(derived.key.clone());
        }
        let key: Zeroizing<[u8; 32]> = key(&self.text, salt.as_bytes(), iterations)?;
        let derived = Derived { salt: salt.to_owned(), iterations, key: key.clone() };
        self.derived.borrow_mut().push(derived);
        Ok(key)
    }
}

/// The key of `passphrase`.
///
/// # Errors
/// [`Kind::Internal`]
pub fn key<const N: usize>(
    passphrase: &str,
    salt: &[u8],
    iterations: u32,
) -> Result<Zeroizing<[u8; N]>> {
    let mut key = Zeroizing::new([0; N]);
    pbkdf2::pbkdf2::<Hmac<Sha512>>(passphrase.as_bytes(), salt, iterations, key.as_mut())
        .or_fail(Kind::Internal, "The key of a passphrase")?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_derived_once_for_each_salt_and_iterations() {
        let passphrase = Passphrase::new("it is");
        let first = passphrase.key("salt", 2).unwrap();
        assert_eq!(first, key("it is", b"salt", 2).unwrap());
        // What is remembered comes back, and only for the same salt and iterations.
        passphrase.derived.borrow_mut()[0].key = Zeroizing::new([7; 32]);
        assert_eq!(*passphrase.key("salt", 2).unwrap(), [7; 32]);
        assert_eq!(passphrase.key("salt", 3).unwrap(), key("it is", b"salt", 3).unwrap());
        assert_eq!(passphrase.key("other", 2).unwrap(), key("it is", b"other", 2).unwrap());
    }
}
