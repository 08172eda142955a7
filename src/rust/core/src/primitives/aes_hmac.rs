//! AES-256 in counter mode, with HMAC-SHA-256 over what it makes.

use aes::Aes256;
use ctr::{Ctr128BE, cipher::KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::seal::random_bytes;
use crate::error::{Kind, OrFail, Result};

/// With bit 63 cleared, because implementations differ in how they count beyond it.
pub(super) fn random_iv() -> Result<[u8; 16]> {
    let mut iv: [u8; 16] = random_bytes()?;
    iv[8] &= 0x7f;
    Ok(iv)
}

pub(super) fn cipher(key: &[u8; 32], iv: [u8; 16]) -> Result<Ctr128BE<Aes256>> {
    Ctr128BE::<Aes256>::new_from_slices(key, &iv).or_fail(Kind::Internal, "A cipher")
}

pub(super) fn authenticate(key: &[u8; 32], bytes: &[u8]) -> Result<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).or_fail(Kind::Internal, "A MAC")?;
    mac.update(bytes);
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_iv_has_bit_63_clear() {
        for _ in 0..64 {
            assert_eq!(random_iv().unwrap()[8] & 0x80, 0);
        }
    }
}
