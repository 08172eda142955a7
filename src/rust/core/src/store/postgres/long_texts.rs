//! Texts that are too long for an index.
//!
//! An entry of an index takes at most 2,704 bytes. The specification bounds most ids, not all (a request id of a to-device
//! event is any text), and servers need not keep to it: a row that could not be written would stop a sync for ever.
//! So a long text is shortened in its column, to its beginning and a hash, and stands whole beside it.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::super::database::Value;
use crate::error::{Error, Kind, OrFail, Result};

/// Three of them fit into an entry of an index.
const LONGEST: usize = 600;
/// No text in UTF-8 has this byte.
const MARK: u8 = 0xff;

/// What stands for `text` in its column: equal texts have equal bytes, others have others.
pub(super) fn column(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if bytes.len() <= LONGEST {
        return Cow::Borrowed(bytes);
    }
    let hash = Sha256::digest(bytes);
    let beginning = bytes.get(..LONGEST - 1 - hash.len()).unwrap_or_default();
    Cow::Owned([beginning, &[MARK], &hash[..]].concat())
}

/// What stands beside the columns of a row: its long texts, or nothing.
pub(super) fn beside<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Vec<u8>> {
    let texts: Vec<_> = values
        .map(|value| match value {
            Value::Text(text) if text.len() > LONGEST => Some(text),
            _ => None,
        })
        .collect();
    if texts.iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    serde_json::to_vec(&texts).or_fail(Kind::Internal, "Long texts")
}

/// Puts the long texts of a row back into its values.
pub(super) fn put_back(values: &mut [Value], beside: &[u8]) -> Result<()> {
    if beside.is_empty() {
        return Ok(());
    }
    let texts: Vec<Option<String>> = serde_json::from_slice(beside).map_err(|_| tampered())?;
    if texts.len() != values.len() {
        return Err(tampered());
    }
    for (value, text) in values.iter_mut().zip(texts) {
        if let Some(text) = text {
            *value = Value::Text(text);
        }
    }
    Ok(())
}

/// The text in a column; of a long one what stands for it, which [`put_back`] replaces.
pub(super) fn text(bytes: &[u8]) -> Result<Value> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Value::Text(text.to_owned())),
        Err(_) if bytes.contains(&MARK) => Ok(Value::Text(String::new())),
        Err(_) => Err(tampered()),
    }
}

fn tampered() -> Error {
    Error::new(Kind::StoreTampered, "The open columns of a row were altered.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shortened_and_comes_back() {
        let long = "\u{1F511}".repeat(1000);
        let other = format!("{long}.");
        assert_eq!(&*column("short"), b"short");
        assert_eq!(&*column(&"a".repeat(LONGEST)), "a".repeat(LONGEST).as_bytes());
        assert_eq!(column(&long).len(), LONGEST);
        assert_ne!(column(&long), column(&other));
        let values = [Value::from(1), Value::from("a"), Value::from(long.as_str())];
        let beside = beside(values.iter()).unwrap();
        let mut read = [Value::from(1), Value::from("a"), text(&column(&long)).unwrap()];
        put_back(&mut read, &beside).unwrap();
        assert_eq!(read, values);
        assert!(super::beside(values[..2].iter()).unwrap().is_empty());
        assert_eq!(put_back(&mut read[..2], &beside).unwrap_err().kind, Kind::StoreTampered);
    }
}
