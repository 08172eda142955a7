//! The list of sessions in a key export.
//!
//! Specification: client-server API, end-to-end encryption, "Key export format". A list may be of any
//! length, so its sessions are cut out of it as it comes, and each is judged by itself.

use std::{
    io::{Read, Seek},
    str,
};

use zeroize::Zeroizing;

use super::exported_session::{Judged, judge};
use crate::{
    error::{Error, Kind, Result},
    primitives::{key_export::Decrypt, parallel},
};

/// What a session may take, in bytes. Those of other clients take less than a thousand.
const LARGEST: usize = 64 * 1024;

/// A key export that is read session by session.
pub struct KeyExport<R> {
    file: Decrypt<R>,
    parts: usize,
    list: List,
}

impl<R: Read + Seek> KeyExport<R> {
    /// Opens `file` with `passphrase`.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when it does not open.
    pub fn open(file: R, passphrase: &str) -> Result<Self> {
        let file = Decrypt::open(file, passphrase)?;
        Ok(Self { parts: file.left(), file, list: List::default() })
    }

    /// Some more sessions, or none when all were read.
    ///
    /// # Errors
    /// [`Kind::KeyExport`] when what is left cannot be read, or is no list of sessions.
    pub fn next_sessions(&mut self) -> Result<Option<Vec<Judged>>> {
        let Some(part) = self.file.next_part()? else {
            return if self.list.place == Place::After { Ok(None) } else { Err(no_list()) };
        };
        self.list.cut(&part).map(Some)
    }

    /// How much was read, from 0 to 1.
    pub fn progress(&self) -> f64 {
        1.0 - self.file.left() as f64 / self.parts.max(1) as f64
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside,
    After,
}

/// Cuts a JSON array into its elements, whatever they are.
#[derive(Default)]
struct List {
    place: Place,
    element: Zeroizing<Vec<u8>>,
    /// How many brackets of the element are open.
    depth: usize,
    in_text: bool,
    escaped: bool,
    too_large: bool,
}

impl List {
    /// The elements that end within `bytes`. Each is judged by itself, so that all cores share them.
    fn cut(&mut self, bytes: &[u8]) -> Result<Vec<Judged>> {
        let mut elements = Vec::new();
        for &byte in bytes {
            match self.place {
                Place::Inside if self.in_text => self.read_text(byte),
                Place::Inside if self.depth == 0 && matches!(byte, b',' | b']') => {
                    elements.extend(self.end_element());
                    if byte == b']' {
                        self.place = Place::After;
                    }
                }
                Place::Inside => self.read(byte),
                _ if byte.is_ascii_whitespace() => {}
                Place::Before if byte == b'[' => self.place = Place::Inside,
                _ => return Err(no_list()),
            }
        }
        Ok(parallel::map(elements, |element| judge(&element)))
    }

    fn read(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b'"' => self.in_text = true,
            _ => {}
        }
        self.keep(byte);
    }

    fn read_text(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_text = false,
            _ => {}
        }
        self.keep(byte);
    }

    fn keep(&mut self, byte: u8) {
        if self.element.capacity() == 0 {
            // Growing would leave copies of keys behind.
            self.element.reserve_exact(LARGEST);
        }
        self.too_large |= self.element.len() == LARGEST;
        if !self.too_large {
            self.element.push(byte);
        }
    }

    /// The text of an element; none where there is nothing. One that is too large, or no text, is an empty one,
    /// which is refused.
    fn end_element(&mut self) -> Option<Zeroizing<String>> {
        let text = match str::from_utf8(&self.element).map(str::trim) {
            Ok("") => None,
            Ok(text) if !self.too_large => Some(text),
            _ => Some(""),
        };
        let text = text.map(|text| Zeroizing::new(text.to_owned()));
        self.element.clear();
        self.too_large = false;
        text
    }
}

fn no_list() -> Error {
    Error::new(Kind::KeyExport, "What is in the key export is no list of sessions.")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::primitives::key_export::Encrypt;

    fn export(text: &str) -> KeyExport<Cursor<Vec<u8>>> {
        let mut file = Encrypt::new(Vec::new(), "x", 10).unwrap();
        file.write(&mut text.as_bytes().to_vec()).unwrap();
        KeyExport::open(Cursor::new(file.finish().unwrap()), "x").unwrap()
    }

    fn ids(text: &str) -> Result<Vec<Option<String>>> {
        let mut export = export(text);
        let mut ids = Vec::new();
        while let Some(sessions) = export.next_sessions()? {
            ids.extend(sessions.into_iter().map(|session| session.session_id));
        }
        assert!((export.progress() - 1.0).abs() < f64::EPSILON);
        Ok(ids)
    }

    #[test]
    fn each_element_is_judged_by_itself() {
        let text = r#" [ {"session_id":"a,]}\"\\","x":[[1],{"y":"]"}]} ,null, 5, "],[", [],
            {"session_id":"b"} ] "#;
        let read = ids(text).unwrap();
        assert_eq!(read.len(), 6);
        assert_eq!(read[0].as_deref(), Some(r#"a,]}"\"#));
        assert_eq!(read[5].as_deref(), Some("b"));
        assert!(read[1..5].iter().all(Option::is_none));
        assert_eq!(ids("[]").unwrap().len(), 0);
    }

    #[test]
    fn elements_are_cut_wherever_the_parts_are() {
        let mut list = List::default();
        let text = r#"[{"session_id":"a\"b"},{"session_id":"ü"}]"#;
        let cut = |byte: &u8| list.cut(std::slice::from_ref(byte)).unwrap();
        let read: Vec<_> =
            text.as_bytes().iter().flat_map(cut).map(|session| session.session_id).collect();
        assert_eq!(read, [Some("a\"b".to_owned()), Some("ü".to_owned())]);
    }

    #[test]
    fn a_session_without_end_is_refused_and_takes_no_memory() {
        let text = format!(r#"[{{"x":"{}"}},{{"session_id":"b"}}]"#, "a".repeat(4 * LARGEST));
        assert_eq!(ids(&text).unwrap(), [None, Some("b".to_owned())]);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for text in ["", "{}", "null", "[", r#"[{"session_id":"a"}"#, "[]]", "[] x", "[\"]"] {
            assert_eq!(ids(text).unwrap_err().kind, Kind::KeyExport, "{text}");
        }
    }
}
