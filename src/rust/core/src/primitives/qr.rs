//! QR codes of verification: what is in them.
//!
//! Specification: client-server API, end-to-end encryption, "QR codes". The side that shows one
//! states in it which keys it has and believes in; the side that scans it compares these with what
//! it knows.

use zeroize::Zeroizing;

use super::seal::random_bytes;
use crate::error::{Error, Kind, Result};

const PREFIX: &[u8] = b"MATRIX";
const VERSION: u8 = 2;
/// With fewer bytes the secret could be guessed.
const SHORTEST_SECRET: usize = 8;

/// Who verifies whom with a code, and so whose the keys in it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Another user. The first key is the master key of the user who shows the code; the second is
    /// what they take for the master key of the other.
    User = 0,
    /// Another device of ours, by a device that trusts our master key. The first key is that master
    /// key; the second is what it takes for the Ed25519 key of the other device.
    TrustedDevice = 1,
    /// Another device of ours, by one that does not trust our master key yet. The first key is the
    /// Ed25519 key of the device that shows the code; the second is what it takes for our master key.
    UntrustedDevice = 2,
}

impl Mode {
    /// All modes, in the order of their bytes.
    pub const ALL: [Mode; 3] = [Mode::User, Mode::TrustedDevice, Mode::UntrustedDevice];

    /// The name of the mode.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::User => "user",
            Mode::TrustedDevice => "trusted_device",
            Mode::UntrustedDevice => "untrusted_device",
        }
    }
}

/// What a code says.
#[derive(Clone, PartialEq, Eq)]
pub struct QrCode {
    /// Who verifies whom.
    pub mode: Mode,
    /// The event id of the request, or its transaction id.
    pub flow_id: String,
    /// See [`Mode`]. It is compared as bytes, and need be no point of the curve.
    pub first_key: [u8; 32],
    /// See [`Mode`].
    pub second_key: [u8; 32],
    /// Proves to the side that shows the code that it was scanned: random, 8 bytes or more.
    pub secret: Zeroizing<Vec<u8>>,
}

impl QrCode {
    /// A code with a secret of its own.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the operating system has no randomness.
    pub fn new(
        mode: Mode,
        flow_id: String,
        first_key: [u8; 32],
        second_key: [u8; 32],
    ) -> Result<Self> {
        let secret = Zeroizing::new(random_bytes::<16>()?.to_vec());
        Ok(Self { mode, flow_id, first_key, second_key, secret })
    }

    /// The bytes that the code holds.
    ///
    /// # Errors
    /// [`Kind::QrCode`] when the secret is too short, or the id too long.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        if self.secret.len() < SHORTEST_SECRET {
            return Err(short_secret(self.secret.len()));
        }
        let length = u16::try_from(self.flow_id.len()).map_err(|_| {
            Error::new(Kind::QrCode, "The id of a request has 65535 bytes at most.")
        })?;
        let parts: [&[u8]; 7] = [
            PREFIX,
            &[VERSION, self.mode as u8],
            &length.to_be_bytes(),
            self.flow_id.as_bytes(),
            &self.first_key,
            &self.second_key,
            &self.secret,
        ];
        Ok(Zeroizing::new(parts.concat()))
    }

    /// Reads the bytes of a code.
    ///
    /// # Errors
    /// [`Kind::QrCode`] with what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(PREFIX).ok_or_else(|| {
            Error::new(Kind::QrCode, "This is no QR code of a verification in Matrix.")
        })?;
        let (&[version, mode], rest) = take(rest)?;
        if version != VERSION {
            return Err(Error::new(
                Kind::QrCode,
                format!("This QR code is of version {version}; only version {VERSION} is known."),
            ));
        }
        let mode = *Mode::ALL.get(usize::from(mode)).ok_or_else(|| {
            Error::new(Kind::QrCode, format!("This QR code is of an unknown mode, {mode}."))
        })?;
        let (&length, rest) = take(rest)?;
        let length = usize::from(u16::from_be_bytes(length));
        let (flow_id, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
        let flow_id = std::str::from_utf8(flow_id)
            .map_err(|_| Error::new(Kind::QrCode, "The id in this QR code is not UTF-8."))?;
        let (&first_key, rest) = take(rest)?;
        let (&second_key, secret) = take(rest)?;
        if secret.len() < SHORTEST_SECRET {
            return Err(short_secret(secret.len()));
        }
        let (flow_id, secret) = (flow_id.to_owned(), Zeroizing::new(secret.to_vec()));
        Ok(Self { mode, flow_id, first_key, second_key, secret })
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8])> {
    bytes.split_first_chunk().ok_or_else(cut_off)
}

fn cut_off() -> Error {
    Error::new(Kind::QrCode, "This QR code ends too early.")
}

fn short_secret(length: usize) -> Error {
    Error::new(
        Kind::QrCode,
        format!(
            "The secret in a QR code has {SHORTEST_SECRET} bytes or more; this one has {length}."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(from: u8) -> [u8; 32] {
        std::array::from_fn(|i| from + i as u8)
    }

    /// The example of the specification.
    fn example() -> (QrCode, Vec<u8>) {
        let flow_id = format!("$ABCD{}", "x".repeat(40));
        let code = QrCode {
            mode: Mode::User,
            flow_id: flow_id.clone(),
            first_key: keys(0x00),
            second_key: keys(0x10),
            secret: Zeroizing::new((0x20..0x28).collect()),
        };
        let mut bytes = vec![0x4D, 0x41, 0x54, 0x52, 0x49, 0x58, 0x02, 0x00, 0x00, 0x2D];
        bytes.extend(flow_id.bytes());
        bytes.extend(0x00..0x20);
        bytes.extend(0x10..0x30);
        bytes.extend([0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27]);
        (code, bytes)
    }

    fn refusal(bytes: &[u8]) -> String {
        QrCode::decode(bytes).err().unwrap().message
    }

    #[test]
    fn the_example_of_the_specification() {
        let (code, bytes) = example();
        assert_eq!(*code.encode().unwrap(), bytes);
        assert!(QrCode::decode(&bytes).unwrap() == code);
    }

    #[test]
    fn every_mode_comes_back_and_no_other() {
        let (mut code, mut bytes) = example();
        for mode in Mode::ALL {
            code.mode = mode;
            code.secret.push(0);
            let encoded = code.encode().unwrap();
            assert_eq!(encoded[7], mode as u8);
            assert!(QrCode::decode(&encoded).unwrap() == code);
        }
        for mode in 3..=255 {
            bytes[7] = mode;
            assert!(refusal(&bytes).contains("mode"));
        }
    }

    #[test]
    fn what_is_not_of_matrix_or_of_another_version_is_refused() {
        let (_, bytes) = example();
        for i in 0..6 {
            let mut other = bytes.clone();
            other[i] ^= 0x20;
            assert!(refusal(&other).contains("no QR code"));
        }
        for version in [0, 1, 3, 255] {
            let mut other = bytes.clone();
            other[6] = version;
            assert!(refusal(&other).contains("version"));
        }
    }

    #[test]
    fn an_id_ends_within_the_code_and_is_text() {
        let (_, bytes) = example();
        for length in [[0xFF, 0xFF], [0x00, 0xFF]] {
            let mut other = bytes.clone();
            other[8..10].copy_from_slice(&length);
            assert!(refusal(&other).contains("too early"));
        }
        let mut other = bytes.clone();
        other[12] = 0xFF;
        assert!(refusal(&other).contains("UTF-8"));
        let (mut code, _) = example();
        code.flow_id = "x".repeat(0x1_0000);
        assert!(code.encode().is_err());
    }

    /// A length that is too short leaves a longer secret, and other keys: the comparison with what is
    /// known of the keys fails then.
    #[test]
    fn wherever_it_ends_too_early_it_is_refused() {
        let (_, bytes) = example();
        for length in 0..bytes.len() {
            let message = refusal(&bytes[..length]);
            let expected = match length {
                0..6 => "no QR code",
                6..119 => "too early",
                _ => "secret",
            };
            assert!(message.contains(expected), "{length}: {message}");
        }
        let (mut code, _) = example();
        code.secret.truncate(7);
        assert!(code.encode().is_err());
    }
}
