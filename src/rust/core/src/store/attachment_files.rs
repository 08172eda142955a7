//! Files on their way out, as they wait beside the store, and files on their way in.
//!
//! A file that is to be sent is copied first, encrypted where its room is: what is sent later is what
//! was given, whatever becomes of the original, and the copy in an encrypted room shows nothing.

use std::{
    fs::{self, File},
    io,
    io::Read,
    path::Path,
};

use imagesize::{Compression, ImageType};

use super::private_file::Draft;
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::attachment::{self, FileKey},
};

/// How much is read of a file that says it has no size, as those of `/proc` do.
const MOST_OF_UNSIZED: u64 = 64 * 1024 * 1024;

/// The size of a file that can be sent. To open a pipe or a device could block for ever.
///
/// # Errors
/// [`Kind::Attachment`] when it is none.
pub fn size_of(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).or_fail(Kind::Attachment, "The file cannot be read")?;
    if found.is_file() {
        return Ok(found.len());
    }
    Err(Error::new(Kind::Attachment, "This is a directory, a pipe or a device, and no file."))
}

/// What a file holds by now: one that grows meanwhile would perhaps never end.
///
/// # Errors
/// As [`size_of`].
pub fn open(path: &Path) -> Result<impl Read + use<>> {
    let size = size_of(path)?;
    let file = File::open(path).or_fail(Kind::Attachment, "The file cannot be read")?;
    Ok(file.take(if size == 0 { MOST_OF_UNSIZED } else { size }))
}

/// Encrypts what `from` gives into a new file that only its owner may read. Returns how many bytes
/// there were.
///
/// # Errors
/// [`Kind::Attachment`] when it cannot be read or written; there is no file then.
pub fn encrypt(from: &mut impl Read, to: &Path) -> Result<(FileKey, u64)> {
    let mut draft = Draft::new(to).or_fail(Kind::Attachment, WRITTEN)?;
    let encrypted = attachment::encrypt_stream(from, &mut draft)?;
    draft.keep(false).or_fail(Kind::Attachment, WRITTEN)?;
    Ok(encrypted)
}

/// Copies what `from` gives into a new file that only its owner may read. Returns how many bytes
/// there were.
///
/// # Errors
/// As [`encrypt`].
pub fn copy(from: &mut impl Read, to: &Path) -> Result<u64> {
    let mut draft = Draft::new(to).or_fail(Kind::Attachment, WRITTEN)?;
    let size = io::copy(from, &mut draft).or_fail(Kind::Attachment, "The file cannot be copied")?;
    draft.keep(false).or_fail(Kind::Attachment, WRITTEN)?;
    Ok(size)
}

/// Decrypts a file into a new one that only its owner may read, and that has its name only once the hash
/// of the ciphertext holds.
///
/// # Errors
/// [`Kind::Attachment`] when the hash does not hold, or a file cannot be read or written; there is no
/// new file then.
pub fn decrypt(key: &FileKey, from: &Path, to: &Path) -> Result<()> {
    let mut encrypted = File::open(from).or_fail(Kind::Attachment, "The file cannot be read")?;
    let mut draft = Draft::new(to).or_fail(Kind::Attachment, WRITTEN)?;
    attachment::decrypt_stream(key, &mut encrypted, &mut draft)?;
    draft.keep(false).or_fail(Kind::Attachment, WRITTEN)
}

/// Compares the hash of an encrypted file, and writes nothing.
///
/// # Errors
/// [`Kind::Attachment`] when it does not hold, or the file cannot be read.
pub fn check(key: &FileKey, path: &Path) -> Result<()> {
    let mut encrypted = File::open(path).or_fail(Kind::Attachment, "The file cannot be read")?;
    attachment::decrypt_stream(key, &mut encrypted, &mut io::sink())
}

const WRITTEN: &str = "The file cannot be written";

/// A picture, as its first bytes have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Its media type.
    pub media_type: &'static str,
    /// Its width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
}

impl Picture {
    /// What the first bytes of a file say, if they are those of a picture.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let media_type = match imagesize::image_type(bytes).ok()? {
            ImageType::Bmp => "image/bmp",
            ImageType::Gif => "image/gif",
            ImageType::Heif(Compression::Av1) => "image/avif",
            ImageType::Heif(_) => "image/heic",
            ImageType::Jpeg => "image/jpeg",
            ImageType::Png => "image/png",
            ImageType::Tiff => "image/tiff",
            ImageType::Webp => "image/webp",
            _ => return None,
        };
        let size = imagesize::blob_size(bytes).ok()?;
        Some(Self { media_type, width: size.width, height: size.height })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_file_comes_back_and_an_altered_one_does_not() {
        let scratch = Scratch::new();
        let at = |name: &str| scratch.path().join(name);
        let plain = vec![5; 700_000];
        let (key, size) = encrypt(&mut plain.as_slice(), &at("encrypted")).unwrap();
        assert_eq!(size, 700_000);
        decrypt(&key, &at("encrypted"), &at("plain")).unwrap();
        assert_eq!(fs::read(at("plain")).unwrap(), plain);
        check(&key, &at("encrypted")).unwrap();
        let mut altered = fs::read(at("encrypted")).unwrap();
        altered[699_999] ^= 1;
        fs::write(at("altered"), altered).unwrap();
        assert_eq!(decrypt(&key, &at("altered"), &at("never")).unwrap_err().kind, Kind::Attachment);
        assert_eq!(check(&key, &at("altered")).unwrap_err().kind, Kind::Attachment);
        assert_eq!(copy(&mut plain.as_slice(), &at("copy")).unwrap(), 700_000);
        let mut names: Vec<_> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["altered", "copy", "encrypted", "plain"]);
        // Nothing that stands there is written over.
        assert!(encrypt(&mut plain.as_slice(), &at("plain")).is_err());
        assert!(decrypt(&key, &at("encrypted"), &at("plain")).is_err());
        assert_eq!(fs::read(at("plain")).unwrap(), plain);
    }

    #[test]
    fn only_files_are_read_and_as_far_as_they_go() {
        let scratch = Scratch::new();
        let path = scratch.path().join("grows");
        fs::write(&path, b"at first").unwrap();
        let mut file = open(&path).unwrap();
        fs::write(&path, b"at first, and more").unwrap();
        let mut read = String::new();
        file.read_to_string(&mut read).unwrap();
        assert_eq!(read, "at first");
        for path in [scratch.path(), &scratch.path().join("none"), Path::new("/dev/zero")] {
            assert_eq!(open(path).err().map(|error| error.kind), Some(Kind::Attachment));
        }
    }

    #[test]
    fn a_picture_is_what_its_header_says() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02\0\0\0";
        let picture = Picture { media_type: "image/png", width: 640, height: 480 };
        assert_eq!(Picture::of(png), Some(picture));
        for other in [&b""[..], b"GIF89a", b"\xff\xd8\xff", b"some text", &png[..17]] {
            assert_eq!(Picture::of(other), None);
        }
    }
}
