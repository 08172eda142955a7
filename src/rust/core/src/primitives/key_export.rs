//! The file that exported keys are in: armoured, encrypted with a passphrase, authenticated.
//!
//! Specification: client-server API, end-to-end encryption, "Key exports". A file may hold any number
//! of keys, so it is written and read in blocks.

use std::{
    io::{BufRead, BufReader, Read, Seek, Write},
    vec,
};

use aes::Aes256;
use ctr::{Ctr128BE, cipher::StreamCipher};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    aes_hmac::{authenticate, cipher, random_iv},
    keys::encode_base64,
    passphrase::{self, ITERATIONS},
    seal::random_bytes,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The line that begins a file.
pub(super) const BEGIN: &str = "-----BEGIN MEGOLM SESSION DATA-----";
const END: &str = "-----END MEGOLM SESSION DATA-----";
const VERSION: u8 = 1;
/// Version, salt, IV, and rounds.
const HEADER_LENGTH: usize = 1 + 16 + 16 + 4;
const MAC_LENGTH: usize = 32;
/// In UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much is decrypted at once, in bytes. What is in it is imported in one transaction, and a page of the store
/// that many of its sessions change is written once.
const BLOCK: usize = 1024 * 1024;
/// How much is decoded at once.
const CHARACTERS: usize = 256 * 1024;
/// The bytes of a line of 76 characters.
const LINE: usize = 57;
const LINE_CHARACTERS: usize = 76;
/// How many lines are written at once: a call of the system for each costs more than its encryption.
const LINES: usize = 1024;

/// Writes such a file.
pub struct Encrypt<W> {
    out: W,
    cipher: Ctr128BE<Aes256>,
    mac: Hmac<Sha256>,
    /// What is not written yet: less than [`LINES`] lines.
    pending: Vec<u8>,
}

impl<W: Write> Encrypt<W> {
    /// Begins a file whose key is `passphrase`, iterated `rounds` times.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when it cannot be written, or `rounds` are not sensible.
    pub fn new(mut out: W, passphrase: &str, rounds: u32) -> Result<Self> {
        check_rounds(rounds)?;
        let (salt, iv) = (random_bytes()?, random_iv()?);
        let (cipher, mac) = keyed(passphrase, salt, iv, rounds)?;
        written(out.write_all(BEGIN.as_bytes()).and_then(|()| out.write_all(b"\n")))?;
        let mut file = Self { out, cipher, mac, pending: Vec::new() };
        file.put(&[&[VERSION][..], &salt, &iv, &rounds.to_be_bytes()].concat())?;
        Ok(file)
    }

    /// Encrypts `bytes`, in their place.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when they cannot be written.
    pub fn write(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.cipher.apply_keystream(bytes);
        self.put(bytes)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        let mac = self.mac.clone().finalize().into_bytes();
        self.put(&mac)?;
        self.put_lines(self.pending.len())?;
        written(self.out.write_all(END.as_bytes()).and_then(|()| self.out.write_all(b"\n")))?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.mac.update(bytes);
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < LINES * LINE {
            return Ok(());
        }
        self.put_lines(self.pending.len() - self.pending.len() % LINE)
    }

    /// Writes the first `length` of the pending bytes: whole lines, or all that is left.
    fn put_lines(&mut self, length: usize) -> Result<()> {
        let rest = self.pending.split_off(length);
        let bytes = std::mem::replace(&mut self.pending, rest);
        let mut text = encode_base64(&bytes);
        // Some readers insist on it.
        text.push_str(&"=".repeat((4 - text.len() % 4) % 4));
        let mut lines = Vec::with_capacity(text.len() + text.len() / LINE_CHARACTERS + 1);
        for line in text.as_bytes().chunks(LINE_CHARACTERS) {
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
        written(self.out.write_all(&lines))
    }
}

/// Reads such a file, after all of it was authenticated.
pub struct Decrypt<R> {
    blocks: Blocks<R>,
    cipher: Ctr128BE<Aes256>,
    /// Of each block, when it was authenticated: the file may be another by now.
    digests: vec::IntoIter<[u8; 32]>,
}

impl<R: Read + Seek> Decrypt<R> {
    /// Opens a file, and authenticates it.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when it is no key export, is cut off, altered, or of another passphrase.
    pub fn open(mut file: R, passphrase: &str) -> Result<Self> {
        let mut blocks = Blocks::new(&mut file);
        let header = blocks.header()?;
        if header[0] != VERSION {
            let message = format!("The key export is of version {}, not {VERSION}.", header[0]);
            return Err(Error::new(Kind::KeyExport, message));
        }
        let part = |from: usize| -> [u8; 16] { std::array::from_fn(|i| header[from + i]) };
        let rounds = u32::from_be_bytes(std::array::from_fn(|i| header[33 + i]));
        check_rounds(rounds)?;
        let (cipher, mut mac) = keyed(passphrase, part(1), part(17), rounds)?;
        mac.update(&header);
        let mut digests = Vec::new();
        while let Some(block) = blocks.next_block()? {
            mac.update(&block);
            digests.push(Sha256::digest(&block).into());
        }
        mac.verify_slice(&blocks.buffer).map_err(|_| {
            refused("The key export does not open: the passphrase is wrong, or it was altered.")
        })?;
        file.rewind().or_fail(Kind::KeyExport, "The key export cannot be read")?;
        let mut blocks = Blocks::new(file);
        blocks.header()?;
        Ok(Self { blocks, cipher, digests: digests.into_iter() })
    }

    /// The next part of what is in it.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when it cannot be read, or was changed in the meantime.
    pub fn next_part(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(authenticated) = self.digests.next() else { return Ok(None) };
        let block =
            self.blocks.next_block()?.filter(|block| Sha256::digest(block)[..] == authenticated);
        let block =
            block.ok_or_else(|| refused("The key export was changed while it was read."))?;
        let mut block = Zeroizing::new(block);
        self.cipher.apply_keystream(&mut block);
        Ok(Some(block))
    }

    /// How many parts are left.
    pub fn left(&self) -> usize {
        self.digests.len()
    }
}

/// The bytes of a file, without armour, in blocks. The MAC is left in the buffer.
struct Blocks<R> {
    text: BufReader<R>,
    begun: bool,
    ended: bool,
    buffer: Vec<u8>,
}

impl<R: Read> Blocks<R> {
    fn new(file: R) -> Self {
        Self { text: BufReader::new(file), begun: false, ended: false, buffer: Vec::new() }
    }

    fn header(&mut self) -> Result<[u8; HEADER_LENGTH]> {
        self.fill(HEADER_LENGTH)?;
        self.buffer.drain(..HEADER_LENGTH).as_slice().try_into().map_err(|_| cut_off())
    }

    fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        self.fill(BLOCK)?;
        let length = (self.buffer.len() - MAC_LENGTH).min(BLOCK);
        Ok((length > 0).then(|| self.buffer.drain(..length).collect()))
    }

    /// Reads until there are `wanted` bytes besides the MAC, or no more.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        if !self.begun {
            self.find_begin()?;
            self.begun = true;
        }
        while self.buffer.len() < wanted + MAC_LENGTH && !self.ended {
            let text = self.characters()?;
            let bytes = vodozemac::base64_decode(&text);
            self.buffer.extend(bytes.or_fail(Kind::KeyExport, "The key export was altered")?);
        }
        if self.buffer.len() < MAC_LENGTH { Err(cut_off()) } else { Ok(()) }
    }

    /// The next characters of base64, without the white space between them.
    fn characters(&mut self) -> Result<Vec<u8>> {
        let mut text = Vec::with_capacity(CHARACTERS);
        while text.len() < CHARACTERS && !self.ended {
            let (bytes, taken) = (self.next_bytes()?, text.len());
            let most = bytes.len().min(CHARACTERS - taken);
            let length = bytes[..most].iter().position(|byte| *byte == b'-').unwrap_or(most);
            let characters = bytes[..length].iter().filter(|byte| !byte.is_ascii_whitespace());
            text.extend(characters);
            self.text.consume(length);
            if length < most || most == 0 {
                self.find_end()?;
            }
        }
        Ok(text)
    }

    /// Consumes the line that ends the file, behind which there must be nothing.
    fn find_end(&mut self) -> Result<()> {
        self.peek()?.ok_or_else(cut_off)?;
        self.expect(END)?;
        self.skip_space()?;
        if self.peek()?.is_some() {
            return Err(refused("Something follows the end of the key export."));
        }
        self.ended = true;
        Ok(())
    }

    fn next_bytes(&mut self) -> Result<&[u8]> {
        self.text.fill_buf().or_fail(Kind::KeyExport, "The key export cannot be read")
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        Ok(self.next_bytes()?.first().copied())
    }

    fn skip_space(&mut self) -> Result<()> {
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.text.consume(1);
        }
        Ok(())
    }

    /// Skips lines of text, which a mail or an editor puts above the file, and a byte order mark.
    fn find_begin(&mut self) -> Result<()> {
        self.matches(BYTE_ORDER_MARK)?;
        self.skip_space()?;
        while !self.matches(BEGIN.as_bytes())? {
            self.skip_line()?;
            self.skip_space()?;
            if self.peek()?.is_none() {
                return Err(missing(BEGIN));
            }
        }
        Ok(())
    }

    fn skip_line(&mut self) -> Result<()> {
        while self.peek()?.is_some_and(|byte| byte != b'\n') {
            self.text.consume(1);
        }
        Ok(())
    }

    /// Consumes these bytes, or as many of them as are there.
    fn matches(&mut self, bytes: &[u8]) -> Result<bool> {
        for byte in bytes {
            if self.peek()? != Some(*byte) {
                return Ok(false);
            }
            self.text.consume(1);
        }
        Ok(true)
    }

    fn expect(&mut self, armour: &str) -> Result<()> {
        if self.matches(armour.as_bytes())? { Ok(()) } else { Err(missing(armour)) }
    }
}

/// The key that encrypts, and the one that authenticates.
fn keyed(
    passphrase: &str,
    salt: [u8; 16],
    iv: [u8; 16],
    rounds: u32,
) -> Result<(Ctr128BE<Aes256>, Hmac<Sha256>)> {
    let both = passphrase::key::<64>(passphrase, &salt, rounds)?;
    let (Some(first), Some(last)) = (both.first_chunk(), both.last_chunk()) else {
        return Err(Error::new(Kind::Internal, "The keys of a key export are missing."));
    };
    Ok((cipher(first, iv)?, authenticate(last, &[])?))
}

/// The rounds must be computed before the file can be authenticated, so they are a stranger's word.
fn check_rounds(rounds: u32) -> Result<()> {
    if ITERATIONS.contains(&rounds) {
        return Ok(());
    }
    Err(refused(&format!(
        "The key export has its passphrase iterated {rounds} times: {} is the most.",
        ITERATIONS.end()
    )))
}

fn refused(message: &str) -> Error {
    Error::new(Kind::KeyExport, message)
}

fn missing(armour: &str) -> Error {
    refused(&format!("This is no key export: {armour:?} is missing."))
}

fn cut_off() -> Error {
    refused("The key export is cut off.")
}

fn written(done: std::io::Result<()>) -> Result<()> {
    done.or_fail(Kind::KeyExport, "The key export cannot be written")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::primitives::keys::decode_base64;

    /// Plaintexts, passphrases and files of the tests of element-web
    /// (`MegolmExportEncryption-test`).
    const VECTORS: [(&str, &str, &str); 3] = [
        (
            "plain",
            "password",
            "AXNhbHRzYWx0c2FsdHNhbHSIiIiIiIiIiIiIiIiIiIiIAAAACmIRUW2OjZ3L2l6j9h0lHlV3M2dx\n\
             cissyYBxjsfsAndErh065A8=",
        ),
        (
            "Hello, World",
            "betterpassword",
            "AW1vcmVzYWx0bW9yZXNhbHT//////////wAAAAAAAAAAAAAD6KyBpe1Niv5M5NPm4ZATsJo5nghk\n\
             KYu63a0YQ5DRhUWEKk7CcMkrKnAUiZny",
        ),
        (
            "alphanumericallyalphanumericallyalphanumericallyalphanumerically",
            "SWORDFISH",
            "AXllc3NhbHR5Z29vZG5lc3P//////////wAAAAAAAAAAAAAD6OIW+Je7gwvjd4kYrb+49gKCfExw\n\
             MgJBMD4mrhLkmgAngwR1pHjbWXaoGybtiAYr0moQ93GrBQsCzPbvl82rZhaXO3iH5uHo/RCEpOqp\n\
             Pgg29363BGR+/Ripq/VCLKGNbw==",
        ),
    ];

    fn armoured(body: &str) -> String {
        format!("-----BEGIN MEGOLM SESSION DATA-----\n{body}\n-----END MEGOLM SESSION DATA-----\n")
    }

    fn open(file: &str, passphrase: &str) -> Result<Vec<u8>> {
        let mut file = Decrypt::open(Cursor::new(file), passphrase)?;
        let mut all = Vec::new();
        while let Some(part) = file.next_part()? {
            all.extend_from_slice(&part);
        }
        Ok(all)
    }

    fn seal(text: &[u8], passphrase: &str) -> String {
        let mut file = Encrypt::new(Vec::new(), passphrase, 10).unwrap();
        file.write(&mut text.to_vec()).unwrap();
        String::from_utf8(file.finish().unwrap()).unwrap()
    }

    fn message(opened: Result<Vec<u8>>) -> String {
        opened.unwrap_err().message
    }

    #[test]
    fn files_of_element_open() {
        for (plaintext, passphrase, body) in VECTORS {
            assert_eq!(open(&armoured(body), passphrase).unwrap(), plaintext.as_bytes());
            assert!(message(open(&armoured(body), "another")).contains("does not open"));
        }
    }

    #[test]
    fn line_ends_and_lengths_do_not_matter() {
        let (plaintext, passphrase, body) = VECTORS[2];
        let one_line = body.replace('\n', "");
        for body in [one_line.as_str(), one_line.trim_end_matches('=')] {
            assert_eq!(open(&armoured(body), passphrase).unwrap(), plaintext.as_bytes());
        }
        for file in [
            armoured(body).replace('\n', "\r\n"),
            format!("\r\n  {}\n\n", armoured(&body.replace("A", " A\t"))),
            armoured(body).trim().to_owned(),
        ] {
            assert_eq!(open(&file, passphrase).unwrap(), plaintext.as_bytes());
        }
    }

    #[test]
    fn a_byte_order_mark_and_text_above_do_not_matter() {
        let (plaintext, passphrase, body) = VECTORS[2];
        for above in [
            "\u{feff}",
            "\u{feff}\r\n",
            "Keys of the old phone:\n\n",
            "From: alice\r\n-----BEGIN PGP MESSAGE-----\r\n-----\r\n",
            "\u{feff}two\nlines\n  ",
        ] {
            let file = format!("{above}{}", armoured(body));
            assert_eq!(open(&file, passphrase).unwrap(), plaintext.as_bytes(), "{above:?}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_at_any_length() {
        for length in [0, 1, 20, 57, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let text: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let file = seal(&text, "pass wörd \u{1f511}");
            assert!(file.lines().all(|line| line.len() <= 76));
            assert_eq!(open(&file, "pass wörd \u{1f511}").unwrap(), text);
        }
    }

    #[test]
    fn everything_in_a_file_is_authenticated() {
        let file = seal(b"[]", "x");
        let body: String = file.lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = decode_base64(&body).unwrap();
        for position in 0..bytes.len() {
            // More rounds than these would only take longer.
            if (33..36).contains(&position) {
                continue;
            }
            let mut altered = bytes.clone();
            altered[position] ^= 1;
            assert!(open(&armoured(&encode_base64(&altered)), "x").is_err(), "{position}");
        }
        assert!(open(&armoured(&encode_base64(&bytes[..bytes.len() - 1])), "x").is_err());
    }

    /// Rule 39: a file is not opened before it is authenticated, but its rounds are done before.
    #[test]
    fn rounds_are_bounded_at_both_ends() {
        let body: String = seal(b"[]", "x").lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = decode_base64(&body).unwrap();
        for rounds in [0, 10_000_001, u32::MAX] {
            bytes[33..37].copy_from_slice(&u32::to_be_bytes(rounds));
            let opened = open(&armoured(&encode_base64(&bytes)), "x");
            assert!(message(opened).contains("iterated"));
            assert!(Encrypt::new(Vec::new(), "x", rounds).is_err());
        }
    }

    #[test]
    fn what_is_no_whole_export_is_refused() {
        let file = seal(b"[]", "x");
        for (bad, expected) in [
            (String::new(), "no key export"),
            ("x".into(), "no key export"),
            (file.replace("BEGIN", "BEGUN"), "no key export"),
            (file.replace("END", "FIN"), "no key export"),
            (file[..file.len() / 2].to_owned(), "cut off"),
            (armoured(""), "cut off"),
            (armoured("AQ=="), "cut off"),
            (armoured("A!"), "altered"),
            (format!("{file}x"), "follows"),
        ] {
            assert!(message(open(&bad, "x")).contains(expected), "{bad}");
        }
        let body: String = file.lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = decode_base64(&body).unwrap();
        bytes[0] = 2;
        let version_2 = armoured(&encode_base64(&bytes));
        assert!(message(open(&version_2, "x")).contains("version 2"));
    }

    /// Counter mode lets anyone who can change the file between two readings of it change what is
    /// in it.
    #[test]
    fn what_is_read_is_what_was_authenticated() {
        let text = vec![b'x'; 2 * BLOCK];
        let (file, other) = (seal(&text, "x"), seal(&text, "x"));
        let mut opened = Decrypt::open(Cursor::new(file), "x").unwrap();
        opened.blocks.text = BufReader::new(Cursor::new(other));
        opened.blocks.begun = false;
        opened.blocks.buffer.clear();
        opened.blocks.header().unwrap();
        assert!(opened.next_part().unwrap_err().message.contains("changed"));
    }
}
