//! Recovery keys: 32 bytes as people write them down.
//!
//! Specification: client-server API, "Secrets", "Key representation". Two header bytes, the key and
//! a parity byte, in base58, in groups of four characters.

use zeroize::Zeroizing;

use super::key_export;
use crate::error::{Error, Kind, Result};

const HEADER: [u8; 2] = [0x8B, 0x01];
const LENGTH: usize = HEADER.len() + 32 + 1;
const CHARACTERS: usize = 48;

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

/// Reads a recovery key as people paste it: white space, a byte order mark and quotes around it do
/// not count.
///
/// # Errors
/// [`Kind::RecoveryKey`] with what is wrong: a key export, a character, the length, the header or
/// the parity.
pub fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>> {
    if text.contains(key_export::BEGIN) {
        return Err(wrong(
            "This is a key export, which holds room keys, and not a recovery key. \
             Import it with mx_keys_import().",
        ));
    }
    let text = bare(text);
    // With this header, 35 bytes are 48 characters, whatever the key.
    let length = text.chars().count();
    if length == CHARACTERS && has_one_case(&text) {
        return Err(wrong(
            "Recovery keys are case-sensitive: this one has only lower-case or only upper-case \
             letters. Copy it again as it was shown.",
        ));
    }
    let bytes = bs58::decode(text.as_str()).into_vec().map(Zeroizing::new);
    let bytes = bytes.map_err(|error| match error {
        bs58::decode::Error::InvalidCharacter { index, character } => wrong(format!(
            "Character {} of this recovery key is {character:?}, which no recovery key has. \
             Recovery keys are case-sensitive and have no 0, O, I or l.",
            index + 1
        )),
        _ => wrong("A recovery key has the letters and digits of base58 only."),
    })?;
    if length != CHARACTERS {
        return Err(wrong(format!(
            "A recovery key has {CHARACTERS} characters beside spaces; this one has {length}."
        )));
    }
    if bytes.len() != LENGTH || !bytes.starts_with(&HEADER) {
        return Err(wrong("A recovery key begins with \"Es\"; this is something else."));
    }
    if bytes.iter().fold(0, |parity, byte| parity ^ byte) != 0 {
        return Err(wrong(
            "The parity does not hold: some character is mistyped. Recovery keys are \
             case-sensitive.",
        ));
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&bytes[HEADER.len()..LENGTH - 1]);
    Ok(key)
}

/// The text without what editors, shells and chats put into it or around it.
fn bare(text: &str) -> Zeroizing<String> {
    let is_invisible = |c: char| {
        c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200d}' | '\u{2060}')
    };
    let is_quote =
        |c: char| "\"'`\u{ab}\u{bb}\u{2018}\u{2019}\u{201a}\u{201c}\u{201d}\u{201e}".contains(c);
    let visible: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|c| !is_invisible(*c)).collect());
    Zeroizing::new(visible.trim_matches(is_quote).to_owned())
}

/// Whether the case of the letters was lost. That happens to a random key once in 10^11.
fn has_one_case(text: &str) -> bool {
    let has = |is: fn(&char) -> bool| text.chars().any(|c| is(&c));
    has(char::is_ascii_lowercase) != has(char::is_ascii_uppercase)
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Kind::RecoveryKey, what)
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
        assert!(refusal(&text.replacen('s', "0", 1)).contains("Character 2 "));
        assert!(refusal(&text.replacen('E', "0", 1)).contains("Character 1 "));
        let mut other = [1; 35];
        other[0] = HEADER[0];
        other[1] = HEADER[1] + 1;
        let other = bs58::encode(other).into_string();
        assert!(refusal(&other).contains("begins with"));
        for odd in ["", " ", "é", "Es"] {
            assert!(decode(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_editors_and_shells_add_does_not_count() {
        let text = encode(&[7; 32]);
        for (before, after) in [
            ("\u{feff}", ""),
            ("\"", "\""),
            ("'", "'\n"),
            ("\u{feff}\"", "\"\r\n"),
            ("\u{201c}", "\u{201d}"),
            ("\u{200b}`", "`\u{2060}"),
        ] {
            let written = format!("{before}{}{after}", *text);
            assert_eq!(*decode(&written).unwrap(), [7; 32], "{written:?}");
        }
        // Inside of it nothing is dropped.
        assert!(refusal(&text.replacen(' ', "\"", 1)).contains("Character 5 "));
    }

    #[test]
    fn a_key_whose_case_is_lost_is_told_so() {
        let text = encode(&[7; 32]);
        for written in
            [text.to_lowercase(), text.to_uppercase(), text.replace(' ', "").to_lowercase()]
        {
            assert!(refusal(&written).contains("case-sensitive"), "{written}");
        }
    }

    #[test]
    fn a_key_export_is_named() {
        let export = "\u{feff}-----BEGIN MEGOLM SESSION DATA-----\nAXNhbHRzYWx0\n";
        for written in [export.to_owned(), export.replace('\n', ""), format!("\"{export}\"")] {
            assert!(refusal(&written).contains("mx_keys_import"), "{written}");
        }
    }
}
