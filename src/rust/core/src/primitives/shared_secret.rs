//! What proves to us that a request comes from a party with whom we share a secret, such as the sender of a webhook.
//!
//! The proof that is compared comes from outside: the comparison must not tell by its duration how
//! much of it was right.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Kind, OrFail, Result};

/// HMAC-SHA-256 of a message, with a key of any length.
///
/// # Errors
/// [`Kind::Internal`], never seen.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).or_fail(Kind::Internal, "A MAC")?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().into())
}

/// Whether two texts are equal. Their hashes are compared, so that not even the length of the
/// secret can be measured.
#[must_use]
pub fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one).ct_eq(&Sha256::digest(other)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // RFC 4231, test cases 2 and 6.
    #[test]
    fn the_mac_is_that_of_the_rfc() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?").unwrap();
        assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let mac = hmac_sha256(&[0xaa; 131], long).unwrap();
        assert_eq!(hex(&mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn only_the_same_text_is_equal() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        assert!(!equal_in_constant_time(b"secret", b"secret "));
        assert!(!equal_in_constant_time(b"secret", b"secre"));
        assert!(!equal_in_constant_time(b"secret", b""));
    }
}
