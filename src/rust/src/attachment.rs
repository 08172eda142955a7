//! Files, for R.

use std::{
    io::{Cursor, Read},
    path::Path,
};

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    error::OrFail,
    judgement::encrypted_file::{EncryptedFile, address},
    primitives::{
        attachment::{self, FileKey},
        canonical_json::Json,
    },
    store::attachment_files::{self, Picture},
};
use zeroize::Zeroizing;

use crate::{
    answer::{answer, number, raw, record, string, strings},
    arguments,
};

/// The size of a picture stands within so many bytes.
const PICTURE_HEADER: u64 = 256 * 1024;

/// The bytes of a raw vector, or of the file at a path.
fn source(value: &Robj) -> Result<Box<dyn Read + '_>> {
    if value.is_raw() {
        return Ok(Box::new(Cursor::new(arguments::bytes(value, "path")?)));
    }
    let path = arguments::text(value, "path")?;
    Ok(Box::new(attachment_files::open(Path::new(&path))?))
}

/// How many bytes a file has, if it is one that can be sent.
#[extendr]
fn attachment_size(path: Robj) -> Robj {
    answer(|| {
        let path = arguments::text(&path, "path")?;
        Ok(number(attachment_files::size_of(Path::new(&path))? as i64))
    })
}

/// An `EncryptedFile` without its address.
pub(crate) fn without_address(key: FileKey) -> String {
    let mut file = EncryptedFile { url: String::new(), key }.write();
    if let Some(members) = file.as_object_mut() {
        members.remove("url");
    }
    file.to_string()
}

/// What opens a file, from an `EncryptedFile` as JSON text.
pub(crate) fn key_of(file: &str) -> Result<FileKey> {
    let file = Json::parse_object(file).or_fail(Kind::Attachment, "The file is refused")?;
    EncryptedFile::read_key(&file)
}

/// Encrypts `from`, a path or a raw vector, into a new file: its size, and what opens it.
#[extendr]
fn attachment_encrypt_file(from: Robj, to: Robj) -> Robj {
    answer(|| {
        let to = arguments::text(&to, "to")?;
        let (key, size) = attachment_files::encrypt(&mut source(&from)?, Path::new(&to))?;
        let file = Zeroizing::new(without_address(key));
        Ok(record([("file", string(&file)), ("size", number(size as i64))]))
    })
}

/// Copies `from`, a path or a raw vector, into a new file, and returns its size.
#[extendr]
fn attachment_copy_file(from: Robj, to: Robj) -> Robj {
    answer(|| {
        let to = arguments::text(&to, "to")?;
        Ok(number(attachment_files::copy(&mut source(&from)?, Path::new(&to))? as i64))
    })
}

/// Decrypts the file at `from` into a new one. `file` is an `EncryptedFile` as JSON text.
#[extendr]
fn attachment_decrypt_file(file: Robj, from: Robj, to: Robj) -> Robj {
    answer(|| {
        let key = key_of(&arguments::text(&file, "file")?)?;
        let (from, to) = (arguments::text(&from, "from")?, arguments::text(&to, "to")?);
        attachment_files::decrypt(&key, Path::new(&from), Path::new(&to))
    })
}

/// Fails unless the file at `path` is the one that its sender encrypted. `file` is an `EncryptedFile` as JSON text.
#[extendr]
fn attachment_check_file(file: Robj, path: Robj) -> Robj {
    answer(|| {
        let key = key_of(&arguments::text(&file, "file")?)?;
        attachment_files::check(&key, Path::new(&arguments::text(&path, "path")?))
    })
}

/// A ciphertext, and what opens it, a plaintext.
#[extendr]
fn attachment_encrypt(plaintexts: Robj) -> Robj {
    answer(|| {
        let mut bytes = arguments::plaintexts(&plaintexts, "plaintext")?;
        let keys: Result<Vec<FileKey>> =
            bytes.iter_mut().map(|bytes| attachment::encrypt(bytes)).collect();
        let files: Vec<String> = keys?.into_iter().map(without_address).collect();
        Ok(record([
            ("ciphertext", List::from_values(bytes.iter().map(|bytes| raw(bytes))).into()),
            ("file", strings(files.iter().map(|file| Some(file.as_str())))),
        ]))
    })
}

/// A plaintext and a reason a ciphertext; where one is there, the other is missing.
#[extendr]
fn attachment_decrypt(ciphertexts: Robj, files: Robj) -> Robj {
    answer(|| {
        let mut bytes = arguments::plaintexts(&ciphertexts, "ciphertext")?;
        let files = arguments::texts(&files, "file")?;
        if files.len() != bytes.len() {
            return Err(Error::new(Kind::Argument, "`file` must be as long as `ciphertext`."));
        }
        let opened: Vec<Result<()>> = bytes
            .iter_mut()
            .zip(&files)
            .map(|(bytes, file)| attachment::decrypt(&key_of(file)?, bytes))
            .collect();
        let plaintexts = bytes.iter().zip(&opened).map(|(bytes, opened)| match opened {
            Ok(()) => raw(bytes),
            Err(_) => ().into(),
        });
        let errors = opened.iter().map(|one| one.as_ref().err().map(|error| &*error.message));
        Ok(record([
            ("plaintext", List::from_values(plaintexts).into()),
            ("error", strings(errors)),
        ]))
    })
}

/// The server and the id of an address in a content repository.
#[extendr]
fn media_address(url: Robj) -> Robj {
    answer(|| {
        let (server, media_id) = address(&arguments::text(&url, "url")?).ok_or_else(|| {
            Error::new(Kind::Attachment, "The file is refused: it has no url that could be one.")
        })?;
        Ok(record([("server", string(&server)), ("media_id", string(&media_id))]))
    })
}

/// The picture in `from`, a path or a raw vector, or `NULL`.
#[extendr]
fn picture_of(from: Robj) -> Robj {
    answer(|| {
        let mut start = Vec::new();
        source(&from)?
            .take(PICTURE_HEADER)
            .read_to_end(&mut start)
            .or_fail(Kind::Attachment, "The file cannot be read")?;
        let picture = Picture::of(&start);
        Ok(picture.map_or_else(
            || ().into(),
            |Picture { media_type, width, height }| {
                record([
                    ("type", string(media_type)),
                    ("width", number(width as i64)),
                    ("height", number(height as i64)),
                ])
            },
        ))
    })
}

extendr_module! {
    mod attachment;
    fn attachment_size;
    fn attachment_encrypt_file;
    fn attachment_copy_file;
    fn attachment_decrypt_file;
    fn attachment_check_file;
    fn attachment_encrypt;
    fn attachment_decrypt;
    fn media_address;
    fn picture_of;
}
