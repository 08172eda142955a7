//! Files that are encrypted by themselves, and whose keys travel in an encrypted event.
//!
//! Specification: client-server API, end-to-end encryption, "Sending encrypted attachments".

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::random_bytes;
use crate::error::{Error, Kind, OrFail, Result};

/// What opens an encrypted file.
#[derive(Clone, Serialize, Deserialize)]
pub struct FileKey {
    /// The AES key.
    pub key: Zeroizing<[u8; 32]>,
    /// The first counter block.
    pub iv: [u8; 16],
    /// The hash of the ciphertext.
    pub sha256: [u8; 32],
}

/// Encrypts a file in place, under a key that is used for nothing else.
///
/// # Errors
/// [`Kind::Internal`] when the system gives no random bytes.
pub fn encrypt(bytes: &mut [u8]) -> Result<FileKey> {
    let key = Zeroizing::new(random_bytes()?);
    let mut iv = [0; 16];
    // The other half counts blocks, and begins at zero so that it never overflows.
    iv[..8].copy_from_slice(&random_bytes::<8>()?);
    apply(&key, &iv, bytes)?;
    Ok(FileKey { key, iv, sha256: Sha256::digest(&*bytes).into() })
}

/// Decrypts a file in place. The server has had it: nothing is decrypted before the hash holds.
///
/// # Errors
/// [`Kind::Attachment`] when the hash does not hold.
pub fn decrypt(file_key: &FileKey, bytes: &mut [u8]) -> Result<()> {
    // Both are public, so the comparison may take as long as it likes.
    if <[u8; 32]>::from(Sha256::digest(&*bytes)) != file_key.sha256 {
        return Err(Error::new(
            Kind::Attachment,
            "The file is refused: it is not the one that its sender encrypted.",
        ));
    }
    apply(&file_key.key, &file_key.iv, bytes)
}

fn apply(key: &[u8; 32], iv: &[u8; 16], bytes: &mut [u8]) -> Result<()> {
    let mut cipher = ctr::Ctr128BE::<Aes256>::new_from_slices(key, iv)
        .or_fail(Kind::Internal, "The cipher of a file")?;
    cipher.apply_keystream(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_opens_with_its_key_alone() {
        let plain = b"some rows, and some more".to_vec();
        let (mut one, mut two) = (plain.clone(), plain.clone());
        let (first, second) = (encrypt(&mut one).unwrap(), encrypt(&mut two).unwrap());
        assert_ne!(one, plain);
        assert_ne!(one, two);
        assert!(*first.key != *second.key && first.iv != second.iv);
        assert_eq!(first.iv[8..], [0; 8]);
        decrypt(&first, &mut one).unwrap();
        assert_eq!(one, plain);
    }

    #[test]
    fn an_altered_file_is_refused_before_it_is_decrypted() {
        let mut bytes = vec![7; 40];
        let key = encrypt(&mut bytes).unwrap();
        bytes[3] ^= 1;
        let before = bytes.clone();
        assert_eq!(decrypt(&key, &mut bytes).unwrap_err().kind, Kind::Attachment);
        assert_eq!(bytes, before);
        assert!(decrypt(&key, &mut []).is_err());
    }

    /// NIST SP 800-38A, F.5.5: AES-256 in counter mode.
    #[test]
    fn the_cipher_is_the_one_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            let pair = |pair: &[u8]| std::str::from_utf8(pair).map(|p| u8::from_str_radix(p, 16));
            digits.chunks(2).map(|two| pair(two).unwrap().unwrap()).collect()
        };
        let key = hex("603deb1015ca71be2b73aef0857d7781 1f352c073b6108d72d9810a30914dff4");
        let iv = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let mut bytes = hex("6bc1bee22e409f96e93d7e117393172a");
        apply(&key.try_into().unwrap(), &iv.try_into().unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, hex("601ec313775789a5b7a7f504bbf3d228"));
    }
}
