//! Keys made from passphrases: PBKDF2 with HMAC-SHA-512.

use std::ops::RangeInclusive;

use hmac::Hmac;
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::error::{Kind, OrFail, Result};

/// What others may ask us to iterate: between a guess a second of the fastest machines, and a minute
/// of the slowest.
pub const ITERATIONS: RangeInclusive<u32> = 1..=10_000_000;
/// How often a new passphrase is iterated.
pub const NEW_ITERATIONS: u32 = 500_000;

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
