//! Recovery keys: 32 bytes as people write them down.
//!
//! Specification: client-server API, "Secrets", "Key representation". Two header bytes, the key and
//! a parity byte, in base58, in groups of four characters.

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

const HEADER: [u8; 2] = [0x8B, 0x01];
const LENGTH: usize = HEADER.len() + 32 + 1;

/// `key` in groups of four characters.
pub fn encode(key: &[u8; 32]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
    bytes.extend(HEADER);
    bytes.extend(key);
    let parity = bytes.iter().fold(0, |parity, byte| parity ^ byte);
    bytes.push(parity);
    let text = Zeroizing::new(bs58::encode(bytes.as_slice()).into_string());
    let mut grouped = Zeroizing::new(String::with_capacity(text.len() * 5 / 4));
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % 4 == 0 {
            grouped.push(' ');
        }
        grouped.push(c);
    }
    grouped
}

/// Reads a recovery key. White space counts for nothing.
///
/// # Errors
/// [`Kind::RecoveryKey`] with what is wrong: a character, the length, the header or the parity.
pub fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>> {
    let wrong = |what: String| Error::new(Kind::RecoveryKey, what);
    let text: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).collect());
    let bytes = bs58::decode(text.as_str()).into_vec().map(Zeroizing::new);
    let bytes = bytes.map_err(|error| match error {
        bs58::decode::Error::InvalidCharacter { index, character } => wrong(format!(
            "A recovery key has no character like the {}th, {character:?}. (It has no 0, O, I or l.)",
            index + 1
        )),
        _ => wrong("A recovery key has the letters and digits of base58 only.".into()),
    })?;
    // With this header, 35 bytes are 48 characters, whatever the key.
    if text.chars().count() != 48 {
        return Err(wrong(format!(
            "A recovery key has 48 characters beside spaces; this one has {}.",
            text.chars().count()
        )));
    }
    if bytes.len() != LENGTH || !bytes.starts_with(&HEADER) {
        return Err(wrong("A recovery key begins with \"Es\"; this is something else.".into()));
    }
    if bytes.iter().fold(0, |parity, byte| parity ^ byte) != 0 {
        return Err(wrong("The parity does not hold: some character is mistyped.".into()));
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&bytes[HEADER.len()..LENGTH - 1]);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        decode(text).unwrap_err().message
    }

    #[test]
    fn a_key_comes_back_however_it_is_spaced() {
        let text = encode(&[7; 32]);
        assert_eq!(text.chars().filter(|c| *c != ' ').count(), 48);
        assert!(text.starts_with("Es"));
        for written in [text.to_string(), text.replace(' ', ""), format!("\n{}\t", *text)] {
            assert_eq!(*decode(&written).unwrap(), [7; 32]);
        }
    }

    #[test]
    fn a_typo_is_named() {
        let text = encode(&[7; 32]);
        let last = if text.ends_with('1') { '2' } else { '1' };
        let mut typo = text[..text.len() - 1].to_owned();
        assert!(refusal(&typo).contains("47"));
        typo.push(last);
        assert!(refusal(&typo).contains("parity"));
        assert!(refusal(&text.replacen('s', "0", 1)).contains("2th"));
        let mut other = [1; 35];
        other[0] = HEADER[0];
        other[1] = HEADER[1] + 1;
        let other = bs58::encode(other).into_string();
        assert!(refusal(&other).contains("begins with"));
        for odd in ["", " ", "é", "Es"] {
            assert!(decode(odd).is_err(), "{odd}");
        }
    }
}
