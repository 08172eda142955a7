//! Public keys and signatures as Matrix writes them: base64, with or without padding.
//!
//! Keys are compared as decoded bytes. Base64 whose trailing bits are not zero is refused, so
//! that one key has one spelling (besides its padding).

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey, Ed25519Signature};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, OrFail, Result};

/// Decodes base64, padded or not.
///
/// # Errors
/// [`Kind::Encoding`]
pub fn decode_base64(text: &str) -> Result<Vec<u8>> {
    vodozemac::base64_decode(text).or_fail(Kind::Encoding, "This is not base64")
}

/// Encodes as unpadded base64.
pub fn encode_base64(bytes: &[u8]) -> String {
    vodozemac::base64_encode(bytes)
}

/// Reads a Curve25519 public key of 32 bytes.
///
/// # Errors
/// [`Kind::Encoding`]
pub fn curve25519(text: &str) -> Result<Curve25519PublicKey> {
    exactly::<32>(text, "curve25519 public key").map(Curve25519PublicKey::from_bytes)
}

/// Reads an Ed25519 public key of 32 bytes that is a point of the curve.
///
/// # Errors
/// [`Kind::Encoding`]
pub fn ed25519(text: &str) -> Result<Ed25519PublicKey> {
    Ed25519PublicKey::from_slice(&exactly(text, "ed25519 public key")?)
        .or_fail(Kind::Encoding, "This is not a valid ed25519 public key")
}

/// Reads an Ed25519 signature of 64 bytes.
///
/// # Errors
/// [`Kind::Encoding`]
pub fn signature(text: &str) -> Result<Ed25519Signature> {
    Ed25519Signature::from_slice(&exactly::<64>(text, "ed25519 signature")?)
        .or_fail(Kind::Encoding, "This is not a valid ed25519 signature")
}

/// Reads a private key of 32 bytes.
///
/// # Errors
/// [`Kind::Encoding`]
pub fn private_key(text: &str, what: &str) -> Result<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(decode_base64(text)?);
    let bytes = bytes.as_slice().try_into().map(Zeroizing::new);
    bytes.map_err(|_| Error::new(Kind::Encoding, format!("{what} has 32 bytes.")))
}

/// Decodes exactly `N` bytes. (vodozemac 0.11's own `Ed25519PublicKey::from_base64` panics on text
/// of 44 characters that decodes to 33 bytes.)
fn exactly<const N: usize>(text: &str, what: &str) -> Result<[u8; N]> {
    let bytes =
        decode_base64(text).or_fail(Kind::Encoding, &format!("This is not a valid {what}"))?;
    bytes.as_slice().try_into().map_err(|_| {
        Error::new(
            Kind::Encoding,
            format!(
                "This is not a valid {what}: its length is {} bytes and must be {N}.",
                bytes.len()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_optional_and_never_written() {
        let bytes = [7u8; 32];
        let text = encode_base64(&bytes);
        assert!(!text.ends_with('='));
        assert_eq!(decode_base64(&text).unwrap(), bytes);
        assert_eq!(decode_base64(&format!("{text}=")).unwrap(), bytes);
    }

    #[test]
    fn a_second_spelling_of_a_key_is_refused() {
        // 32 bytes end in a character of which two bits are unused: "A" and "B" differ only there.
        let canonical = format!("{}A", "A".repeat(42));
        assert!(curve25519(&canonical).is_ok());
        assert!(curve25519(&format!("{}B", "A".repeat(42))).is_err());
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for length in [0, 16, 31, 33, 64] {
            let text = encode_base64(&vec![1; length]);
            assert!(curve25519(&text).is_err());
            assert!(ed25519(&text).is_err());
            assert_eq!(signature(&text).is_ok(), length == 64);
        }
    }

    #[test]
    fn url_safe_base64_is_refused() {
        assert!(decode_base64("-_-_").is_err());
    }
}
