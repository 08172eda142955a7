//! A private key that is kept with its public part. To derive the public part takes as long as to read
//! several rows of the store, and each call of the machine compares it with what the server returns.

use std::{fmt, sync::OnceLock};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

/// A private key of 32 bytes. It is written as these bytes, and those of the public part after them; older rows
/// have the private part alone.
#[derive(Clone)]
pub(super) struct KeptKey {
    private: Zeroizing<[u8; 32]>,
    public: OnceLock<[u8; 32]>,
}

impl KeptKey {
    pub(super) fn new(private: Zeroizing<[u8; 32]>, derive: fn(&[u8; 32]) -> [u8; 32]) -> Self {
        let public = OnceLock::from(derive(&private));
        Self { private, public }
    }

    pub(super) fn private(&self) -> &[u8; 32] {
        &self.private
    }

    pub(super) fn public(&self, derive: fn(&[u8; 32]) -> [u8; 32]) -> [u8; 32] {
        *self.public.get_or_init(|| derive(&self.private))
    }
}

impl Serialize for KeptKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.private.iter().chain(self.public.get().into_iter().flatten()))
    }
}

impl<'de> Deserialize<'de> for KeptKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bytes)
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = KeptKey;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("32 or 64 bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<KeptKey, A::Error> {
        // Into its place at once: a vector that grows would leave copies behind.
        let mut private = Zeroizing::new([0; 32]);
        let mut public = [0; 32];
        let mut places = private.iter_mut().chain(&mut public);
        let mut read = 0;
        while let Some(byte) = bytes.next_element()? {
            *places.next().ok_or_else(|| A::Error::invalid_length(read + 1, &self))? = byte;
            read += 1;
        }
        let public = match read {
            32 => OnceLock::new(),
            64 => OnceLock::from(public),
            _ => return Err(A::Error::invalid_length(read, &self)),
        };
        Ok(KeptKey { private, public })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(_: &[u8; 32]) -> [u8; 32] {
        [9; 32]
    }

    #[test]
    fn the_public_part_is_read_and_not_derived_again() {
        let key = KeptKey::new(Zeroizing::new([1; 32]), |_| [2; 32]);
        let text = serde_json::to_string(&key).unwrap();
        let read: KeptKey = serde_json::from_str(&text).unwrap();
        assert_eq!((read.private(), read.public(wrong)), (&[1; 32], [2; 32]));
    }

    #[test]
    fn a_row_of_the_private_part_alone_is_read() {
        let text = serde_json::to_string(&[1; 32]).unwrap();
        let read: KeptKey = serde_json::from_str(&text).unwrap();
        assert_eq!((read.private(), read.public(|_| [2; 32])), (&[1; 32], [2; 32]));
        for length in [0, 31, 33, 63, 65] {
            let text = serde_json::to_string(&vec![1; length]).unwrap();
            assert!(serde_json::from_str::<KeptKey>(&text).is_err(), "{length} bytes");
        }
    }
}
