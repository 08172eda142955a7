//! Short authentication strings: two devices agree on a secret, and two people compare what is
//! made from it.
//!
//! Specification: client-server API, end-to-end encryption, "Short Authentication String (SAS)
//! verification". (vodozemac's own `Sas` cannot be kept: its key lives as long as a process, and a
//! verification may take several.)

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vodozemac::Curve25519SecretKey;
use zeroize::Zeroizing;

use super::{
    canonical_json::{Numbers, Object, canonical_object},
    keys::{self, encode_base64},
};
use crate::error::{Error, Kind, OrFail, Result};

/// Our half of the agreement.
#[derive(Clone, Serialize, Deserialize)]
pub struct EphemeralKey(Curve25519SecretKey);

impl EphemeralKey {
    /// A new key.
    pub fn random() -> Self {
        Self(Curve25519SecretKey::new())
    }

    /// The public half, unpadded base64.
    pub fn public(&self) -> String {
        vodozemac::Curve25519PublicKey::from(&self.0).to_base64()
    }

    /// The secret that is shared with the owner of `theirs`.
    ///
    /// # Errors
    /// [`Kind::Encoding`] when that is no key, [`Kind::Verification`] when it is one that makes
    /// every secret the same.
    pub fn agree(&self, theirs: &str) -> Result<SharedSecret> {
        let shared = self.0.diffie_hellman(&keys::curve25519(theirs)?);
        let shared = shared.ok_or_else(|| {
            Error::new(Kind::Verification, "The key of the other device makes no secret.")
        })?;
        Ok(SharedSecret(Zeroizing::new(*shared.as_bytes())))
    }
}

/// The commitment of the side that accepts to its key, sent before the key: the side that began
/// cannot choose its own key by it. `start` is the content of `m.key.verification.start`.
///
/// # Errors
/// [`Kind::Json`] when that is not canonical.
pub fn commitment(public_key: &str, start: &Object) -> Result<String> {
    let start = canonical_object(start, Numbers::Canonical)?;
    Ok(encode_base64(&Sha256::digest(format!("{public_key}{start}"))))
}

/// Whether two texts are equal, in a time that tells nothing of where they differ.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// What both devices know, and nobody else if no one stands between them.
pub struct SharedSecret(Zeroizing<[u8; 32]>);

/// What people compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sas {
    /// Seven places in the table of emoji of the specification, from 0.
    pub emoji: [u8; 7],
    /// Three numbers from 1000 to 9191.
    pub decimals: [u16; 3],
}

/// How keys are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacMethod {
    /// `hkdf-hmac-sha256.v2`
    V2,
    /// `hkdf-hmac-sha256`, as libolm has it: with base64 that was written over its own input.
    Libolm,
}

impl MacMethod {
    /// Both, the better one first.
    pub const ALL: [MacMethod; 2] = [MacMethod::V2, MacMethod::Libolm];

    /// The name of the method.
    pub const fn as_str(self) -> &'static str {
        match self {
            MacMethod::V2 => "hkdf-hmac-sha256.v2",
            MacMethod::Libolm => "hkdf-hmac-sha256",
        }
    }
}

impl SharedSecret {
    /// What is compared. `info` says who is speaking with whom.
    ///
    /// # Errors
    /// None that can come about.
    pub fn sas(&self, info: &str) -> Result<Sas> {
        let bytes: [u8; 6] = self.expand(info)?;
        Ok(Sas { emoji: emoji(bytes), decimals: decimals(bytes) })
    }

    /// The MAC of `input`, base64. `info` says whose it is, and of what.
    ///
    /// # Errors
    /// None that can come about.
    pub fn mac(&self, method: MacMethod, input: &str, info: &str) -> Result<String> {
        let key = Zeroizing::new(self.expand::<32>(info)?);
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.as_ref()).or_fail(Kind::Internal, "A MAC")?;
        mac.update(input.as_bytes());
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        Ok(match method {
            MacMethod::V2 => encode_base64(&mac),
            MacMethod::Libolm => overwritten_base64(&mac),
        })
    }

    fn expand<const N: usize>(&self, info: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        Hkdf::<Sha256>::new(None, self.0.as_ref())
            .expand(info.as_bytes(), &mut bytes)
            .or_fail(Kind::Internal, "A short authentication string")?;
        Ok(bytes)
    }
}

/// The first 42 bits, six for each emoji.
fn emoji(bytes: [u8; 6]) -> [u8; 7] {
    let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|place| (bits >> (42 - 6 * place) & 0x3F) as u8)
}

/// The first 39 bits, 13 for each number.
fn decimals(bytes: [u8; 6]) -> [u16; 3] {
    let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|place| (bits >> (35 - 13 * place) & 0x1FFF) as u16 + 1000)
}

/// Base64 of a buffer that is written from its beginning on while it is still read.
fn overwritten_base64(mac: &[u8; 32]) -> String {
    let mut buffer = [0_u8; 43];
    buffer[..32].copy_from_slice(mac);
    for chunk in 0..11 {
        let end = (3 * chunk + 3).min(32);
        let text = encode_base64(&buffer[3 * chunk..end]);
        buffer[4 * chunk..4 * chunk + text.len()].copy_from_slice(text.as_bytes());
    }
    buffer.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use vodozemac::sas;

    use super::*;
    use crate::primitives::canonical_json::Json;

    #[test]
    fn agrees_with_vodozemac() {
        let (ours, theirs) = (EphemeralKey::random(), sas::Sas::new());
        let shared = ours.agree(&theirs.public_key().to_base64()).unwrap();
        let established = theirs.diffie_hellman_with_raw(&ours.public()).unwrap();
        let bytes = established.bytes("info");
        let found = shared.sas("info").unwrap();
        assert_eq!(found.emoji, bytes.emoji_indices());
        let (first, second, third) = bytes.decimals();
        assert_eq!(found.decimals, [first, second, third]);
        let mac = established.calculate_mac("ed25519:A", "info").to_base64();
        assert_eq!(shared.mac(MacMethod::V2, "ed25519:A", "info").unwrap(), mac);
        assert_ne!(shared.mac(MacMethod::V2, "ed25519:A", "other").unwrap(), mac);
    }

    /// Computed with vodozemac's `calculate_mac_invalid_base64`, which agrees with libolm.
    #[test]
    fn the_old_mac_has_the_base64_of_libolm() {
        let mac: [u8; 32] = std::array::from_fn(|place| place as u8);
        assert_eq!(overwritten_base64(&mac), "AAECQwQFUUYIVVlJVlZsSlZsWnNTbFpzV25OVGJGcHo");
    }

    #[test]
    fn bits_are_divided_as_the_specification_says() {
        let bytes = [0xFF, 0x07, 0xE0, 0x3F, 0x81, 0x5A];
        let [b0, b1, b2, b3, b4, _] = bytes.map(u16::from);
        let expected = [
            (b0 << 5 | b1 >> 3) + 1000,
            ((b1 & 0x7) << 10 | b2 << 2 | b3 >> 6) + 1000,
            ((b3 & 0x3F) << 7 | b4 >> 1) + 1000,
        ];
        assert_eq!(decimals(bytes), expected);
        assert_eq!(emoji([0, 0, 0, 0, 0, 0xFF]), [0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(emoji([0xFC, 0x10, 0x83, 0x10, 0x51, 0x80]), [63, 1, 2, 3, 4, 5, 6]);
        assert_eq!(decimals([0xFF; 6]), [9191; 3]);
    }

    #[test]
    fn a_key_that_makes_every_secret_the_same_is_refused() {
        let zero = encode_base64(&[0; 32]);
        assert_eq!(EphemeralKey::random().agree(&zero).err().unwrap().kind, Kind::Verification);
        assert!(EphemeralKey::random().agree("short").is_err());
    }

    #[test]
    fn a_commitment_covers_the_key_and_every_member_of_the_start() {
        let start = Json::parse_object(r#"{"b":[1,"x"],"a":{"unknown":true}}"#).unwrap();
        let made = commitment("key", &start).unwrap();
        let digest = Sha256::digest(r#"key{"a":{"unknown":true},"b":[1,"x"]}"#);
        assert_eq!(made, encode_base64(&digest));
        assert!(same(&made, &made) && !same(&made, &commitment("kez", &start).unwrap()));
    }
}
