//! What an event says of an encrypted file: where it is, and what opens it.
//!
//! Specification: client-server API, end-to-end encryption, "`EncryptedFile`".

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::identifier;
use crate::{
    error::{Error, Kind, Result},
    primitives::{
        attachment::FileKey,
        canonical_json::{Json, Object},
        keys::{decode_base64, encode_base64},
    },
};

/// An encrypted file.
pub struct EncryptedFile {
    /// Where it is: an `mxc://` address.
    pub url: String,
    /// What opens it.
    pub key: FileKey,
}

impl EncryptedFile {
    /// Reads the object of an event.
    ///
    /// # Errors
    /// [`Kind::Attachment`] with what is wrong. Without a hash in particular, anybody on the way could
    /// change the file.
    pub fn read(object: &Object) -> Result<Self> {
        let url = object.get("url").and_then(Json::as_str).filter(|url| address(url).is_some());
        let url = url.ok_or_else(|| refused("it has no url that could be one"))?.to_owned();
        Ok(Self { url, key: Self::read_key(object)? })
    }

    /// Reads what opens the file, wherever that is.
    ///
    /// # Errors
    /// As [`EncryptedFile::read`].
    pub fn read_key(object: &Object) -> Result<FileKey> {
        let inside = |name: &str| object.get(name).and_then(Json::as_object);
        let text = |object: Option<&Object>, name: &str| {
            object.and_then(|object| object.get(name)).and_then(Json::as_str).map(str::to_owned)
        };
        if text(Some(object), "v").as_deref() != Some("v2") {
            return Err(refused("it is of another version than v2"));
        }
        let jwk = inside("key");
        if text(jwk, "kty").as_deref() != Some("oct")
            || text(jwk, "alg").as_deref() != Some("A256CTR")
        {
            return Err(refused("its key is not for A256CTR"));
        }
        // A JWK spells its key in the URL-safe alphabet.
        let key = text(jwk, "k").map(|key| Zeroizing::new(key.replace('-', "+").replace('_', "/")));
        Ok(FileKey {
            key: Zeroizing::new(exactly("key", key.as_deref().map(String::as_str))?),
            iv: exactly("iv", text(Some(object), "iv").as_deref())?,
            sha256: exactly("sha256", text(inside("hashes"), "sha256").as_deref())?,
        })
    }

    /// The object for an event.
    pub fn write(&self) -> Value {
        let key = encode_base64(self.key.key.as_ref()).replace('+', "-").replace('/', "_");
        json!({
            "v": "v2",
            "url": self.url,
            "key": {"kty": "oct", "key_ops": ["encrypt", "decrypt"], "alg": "A256CTR", "k": key,
                "ext": true},
            "iv": encode_base64(&self.key.iv),
            "hashes": {"sha256": encode_base64(&self.key.sha256)},
        })
    }
}

/// The server and the media id of an address in a content repository. They become parts of paths.
pub fn address(url: &str) -> Option<(String, String)> {
    let (server, media_id) = url.strip_prefix("mxc://")?.split_once('/')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let is_id = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_good = identifier::is_sound(server)
        && identifier::is_segment(server)
        && identifier::is_sound(media_id)
        && server.chars().all(is_name)
        && media_id.chars().all(is_id);
    is_good.then(|| (server.to_owned(), media_id.to_owned()))
}

fn exactly<const N: usize>(what: &str, text: Option<&str>) -> Result<[u8; N]> {
    let text = text.ok_or_else(|| refused(&format!("it has no {what}")))?;
    let bytes = Zeroizing::new(decode_base64(text).unwrap_or_default());
    bytes
        .as_slice()
        .try_into()
        .map_err(|_| refused(&format!("its {what} is not {N} bytes of base64")))
}

fn refused(what: &str) -> Error {
    Error::new(Kind::Attachment, format!("The file is refused: {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    fn example() -> Value {
        json!({
            "url": "mxc://example.org/FHyPlCeYUSFFxlgbQYZmoEoe",
            "v": "v2",
            "key": {"alg": "A256CTR", "ext": true, "k": "aWF6-32KGYaC3A_FEUCk1Bt0JA37zP0wrStgmdCaW-0",
                "key_ops": ["encrypt", "decrypt"], "kty": "oct"},
            "iv": "w+sE15fzSc0AAAAAAAAAAA",
            "hashes": {"sha256": "fdSLu/YkRx3Wyh3KQabP3rd6+SFiKg5lsJZQHtkSAYA"},
        })
    }

    fn read(value: &Value) -> Result<EncryptedFile> {
        EncryptedFile::read(&Json::parse_object(&value.to_string()).unwrap())
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        let file = read(&example()).unwrap();
        assert_eq!(file.write(), example());
    }

    #[test]
    fn what_is_missing_or_malformed_is_refused() {
        for path in [
            "/url",
            "/v",
            "/key",
            "/key/alg",
            "/key/kty",
            "/key/k",
            "/iv",
            "/hashes",
            "/hashes/sha256",
        ] {
            for wrong in [json!(null), json!(3), json!(""), json!("AAAA"), json!({})] {
                let mut bad = example();
                *bad.pointer_mut(path).unwrap() = wrong;
                assert_eq!(read(&bad).err().map(|e| e.kind), Some(Kind::Attachment), "{bad}");
            }
        }
        for url in [
            "http://a/b",
            "mxc://a",
            "mxc:///b",
            "mxc://a/",
            "mxc://a/b/c",
            "mxc://a/..",
            "mxc://a/b?c",
            "mxc://a%2F/b",
            "mxc://a/b\n",
        ] {
            assert_eq!(address(url), None, "{url}");
        }
    }
}
