//! W8: a large file, encrypted to another and decrypted again in pieces.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use sha2::{Digest, Sha256};

use crate::meter::measure;

const PIECE: usize = 1 << 16;

/// `file` is what is encrypted; see fixtures.R.
pub(crate) fn run(dir: &Path) {
    let (plain, sealed, opened) = (dir.join("file"), dir.join("w8-sealed"), dir.join("w8-opened"));
    let sent = measure("w8-encrypt", 1, || copy(&plain, &sealed, true));
    let received = measure("w8-decrypt", 1, || copy(&sealed, &opened, false));
    assert_eq!(sent, received);
    for path in [&sealed, &opened] {
        fs::remove_file(path).expect("removed");
    }
}

/// Encrypts or decrypts, and returns the hash of the ciphertext.
fn copy(from: &Path, to: &Path, encrypt: bool) -> Vec<u8> {
    let mut cipher = Ctr128BE::<Aes256>::new(&[1; 32].into(), &[2; 16].into());
    let mut hash = Sha256::new();
    let (mut from, mut to) = (File::open(from).expect("a file"), File::create(to).expect("a file"));
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).expect("read");
        if read == 0 {
            return hash.finalize().to_vec();
        }
        let bytes = &mut piece[..read];
        if encrypt {
            cipher.apply_keystream(bytes);
            hash.update(&*bytes);
        } else {
            hash.update(&*bytes);
            cipher.apply_keystream(bytes);
        }
        to.write_all(bytes).expect("written");
    }
}
