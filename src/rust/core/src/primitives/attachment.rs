//! Files that are encrypted by themselves, and whose keys travel in an encrypted event.
//!
//! Specification: client-server API, end-to-end encryption, "Sending encrypted attachments".

use std::io::{self, Read, Write};

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

/// Bytes that are encrypted or decrypted at a time: memory is flat, whatever the size of the file.
const BLOCK: usize = 256 * 1024;

/// Encrypts a file in place, under a key that is used for nothing else.
///
/// # Errors
/// [`Kind::Internal`] when the system gives no random bytes.
pub fn encrypt(bytes: &mut [u8]) -> Result<FileKey> {
    let (key, iv) = new_key()?;
    cipher(&key, &iv)?.apply_keystream(bytes);
    Ok(FileKey { key, iv, sha256: Sha256::digest(&*bytes).into() })
}

/// Encrypts what `plain` gives into `encrypted`, in blocks. Returns how many bytes there were.
///
/// # Errors
/// [`Kind::Attachment`] when it cannot be read or written; as [`encrypt`].
pub fn encrypt_stream(plain: &mut impl Read, encrypted: &mut impl Write) -> Result<(FileKey, u64)> {
    let (key, iv) = new_key()?;
    let mut cipher = cipher(&key, &iv)?;
    let mut hash = Sha256::new();
    let size = each_block(plain, |block| {
        cipher.apply_keystream(block);
        hash.update(&*block);
        encrypted.write_all(block)
    })?;
    Ok((FileKey { key, iv, sha256: hash.finalize().into() }, size))
}

/// Decrypts a file in place. The server has had it: nothing is decrypted before the hash holds.
///
/// # Errors
/// [`Kind::Attachment`] when the hash does not hold.
pub fn decrypt(file_key: &FileKey, bytes: &mut [u8]) -> Result<()> {
    compare(file_key, Sha256::digest(&*bytes).into())?;
    cipher(&file_key.key, &file_key.iv)?.apply_keystream(bytes);
    Ok(())
}

/// Decrypts what `encrypted` gives into `plain`, in blocks. The caller must not use what is in
/// `plain` before this succeeds: until the hash holds, anybody may have written it.
///
/// # Errors
/// As [`decrypt`]; [`Kind::Attachment`] when it cannot be read or written.
pub fn decrypt_stream(
    file_key: &FileKey,
    encrypted: &mut impl Read,
    plain: &mut impl Write,
) -> Result<()> {
    let mut cipher = cipher(&file_key.key, &file_key.iv)?;
    let mut hash = Sha256::new();
    each_block(encrypted, |block| {
        hash.update(&*block);
        cipher.apply_keystream(block);
        plain.write_all(block)
    })?;
    compare(file_key, hash.finalize().into())
}

/// Gives all of `from` to `take`, in blocks, and returns how many bytes there were.
fn each_block(
    from: &mut impl Read,
    mut take: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> Result<u64> {
    // Plaintext stands here.
    let mut block = Zeroizing::new(vec![0; BLOCK]);
    let mut size = 0;
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(size),
            Ok(n) => {
                take(&mut block[..n]).or_fail(Kind::Attachment, "The file cannot be written")?;
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).or_fail(Kind::Attachment, "The file cannot be read"),
        }
    }
}

fn new_key() -> Result<(Zeroizing<[u8; 32]>, [u8; 16])> {
    let mut iv = [0; 16];
    // The other half counts blocks, and begins at zero so that it never overflows.
    iv[..8].copy_from_slice(&random_bytes::<8>()?);
    Ok((Zeroizing::new(random_bytes()?), iv))
}

/// The whole of the iv is the counter, as in other clients: it goes on into the upper half when the
/// lower one overflows.
fn cipher(key: &[u8; 32], iv: &[u8; 16]) -> Result<ctr::Ctr128BE<Aes256>> {
    ctr::Ctr128BE::<Aes256>::new_from_slices(key, iv)
        .or_fail(Kind::Internal, "The cipher of a file")
}

/// Both are public, so the comparison may take as long as it likes.
fn compare(file_key: &FileKey, found: [u8; 32]) -> Result<()> {
    if found == file_key.sha256 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Attachment,
        "The file is refused: it is not the one that its sender encrypted.",
    ))
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
        let mut cipher = cipher(&key.try_into().unwrap(), &iv.try_into().unwrap()).unwrap();
        cipher.apply_keystream(&mut bytes);
        assert_eq!(bytes, hex("601ec313775789a5b7a7f504bbf3d228"));
    }

    /// Reads a few bytes at a time, as files on a network do.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buffer.len()).min(1000);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn a_stream_says_the_same_as_the_whole() {
        for size in [0, 1, 15, 16, 17, BLOCK - 1, BLOCK, 3 * BLOCK + 5] {
            let plain: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let (mut encrypted, mut opened) = (Vec::new(), Vec::new());
            let (key, n) = encrypt_stream(&mut Drops(&plain), &mut encrypted).unwrap();
            assert_eq!((n as usize, encrypted.len()), (size, size));
            decrypt_stream(&key, &mut Drops(&encrypted), &mut opened).unwrap();
            assert_eq!(opened, plain);
            let mut whole = encrypted.clone();
            decrypt(&key, &mut whole).unwrap();
            assert_eq!(whole, plain);
            encrypted.push(0);
            let altered = decrypt_stream(&key, &mut encrypted.as_slice(), &mut Vec::new());
            assert_eq!(altered.unwrap_err().kind, Kind::Attachment);
        }
    }

    #[test]
    fn a_counter_that_overflows_goes_on_into_its_upper_half() {
        // What other clients make of such an iv: the second block is that of the next number.
        let (key, zero) = ([7; 32], [0; 16]);
        let mut low = zero;
        low[8..].fill(0xff);
        let mut next = zero;
        next[7] = 1;
        let (mut two, mut second) = ([0; 32], [0; 16]);
        cipher(&key, &low).unwrap().apply_keystream(&mut two);
        cipher(&key, &next).unwrap().apply_keystream(&mut second);
        assert_eq!(two[16..], second);
    }
}
