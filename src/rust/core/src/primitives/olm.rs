//! Olm: the encrypted channel between two devices.
//!
//! Specification: client-server API, end-to-end encryption, "`m.olm.v1.curve25519-aes-sha2`".

use vodozemac::{
    Curve25519PublicKey,
    olm::{Account, InboundCreationResult, OlmMessage, PreKeyMessage, Session, SessionConfig},
};

use super::{contained, keys};
use crate::error::{Error, Kind, OrFail, Result};

/// Reads a message from the two parts in which Matrix carries it.
///
/// # Errors
/// [`Kind::Olm`] unless `message_type` is 0 (pre-key) or 1 and `body` is base64 of such a message.
pub fn message(message_type: i64, body: &str) -> Result<OlmMessage> {
    let message_type = usize::try_from(message_type)
        .ok()
        .filter(|number| *number <= 1)
        .ok_or_else(|| Error::new(Kind::Olm, "An Olm message is of type 0 or 1."))?;
    let body = keys::decode_base64(body).or_fail(Kind::Olm, "The body of an Olm message")?;
    contained(|| {
        OlmMessage::from_parts(message_type, &body).or_fail(Kind::Olm, "This is not an Olm message")
    })
}

/// The two parts in which Matrix carries a message: its type, and its body as unpadded base64.
pub fn parts(message: &OlmMessage) -> (i64, String) {
    let (message_type, body) = message.to_parts();
    (message_type as i64, keys::encode_base64(&body))
}

/// Opens a session towards a peer with a one-time key that was claimed and verified.
///
/// # Errors
/// [`Kind::Olm`] when a key of the peer would make the shared secret predictable.
pub fn outbound(
    account: &Account,
    identity_key: Curve25519PublicKey,
    one_time_key: Curve25519PublicKey,
) -> Result<Session> {
    account
        .create_outbound_session(SessionConfig::version_1(), identity_key, one_time_key)
        .or_fail(Kind::Olm, "No Olm session can be opened with these keys")
}

/// Opens a session from a pre-key message. The one-time key is used up only if this succeeds.
///
/// # Errors
/// [`Kind::Olm`] when the message names another sender key or an unknown one-time key, or does
/// not decrypt.
pub fn inbound(
    account: &mut Account,
    identity_key: Curve25519PublicKey,
    message: &PreKeyMessage,
) -> Result<InboundCreationResult> {
    contained(|| {
        account
            .create_inbound_session(SessionConfig::version_1(), identity_key, message)
            .or_fail(Kind::Olm, "No Olm session can be opened from this message")
    })
}

/// Encrypts.
///
/// # Errors
/// [`Kind::Olm`] when the peer's ratchet key would make the shared secret predictable.
pub fn encrypt(session: &mut Session, plaintext: &[u8]) -> Result<OlmMessage> {
    session.encrypt(plaintext).or_fail(Kind::Olm, "The Olm session cannot encrypt")
}

/// Decrypts. A session that fails is unchanged.
///
/// # Errors
/// [`Kind::Olm`]
pub fn decrypt(session: &mut Session, message: &OlmMessage) -> Result<Vec<u8>> {
    contained(|| session.decrypt(message).or_fail(Kind::Olm, "The Olm message does not decrypt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The points of small order, with and without bit 255: the low-order inputs to X25519.
    const SMALL_ORDER: [[u8; 32]; 7] = {
        const fn le(first: u8, fill: u8, last: u8) -> [u8; 32] {
            let mut bytes = [fill; 32];
            bytes[0] = first;
            bytes[31] = last;
            bytes
        }
        [
            [0; 32],
            le(1, 0, 0),
            le(0xec, 0xff, 0x7f),
            le(0xed, 0xff, 0x7f),
            le(0xee, 0xff, 0x7f),
            [
                0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
                0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
                0x5f, 0x49, 0xb8, 0x00,
            ],
            [
                0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
                0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
                0xd0, 0x9f, 0x11, 0x57,
            ],
        ]
    };

    fn one_time_key(account: &mut Account) -> Curve25519PublicKey {
        account.generate_one_time_keys(1);
        let key = *account.one_time_keys().values().next().unwrap();
        account.mark_keys_as_published();
        key
    }

    #[test]
    fn both_sides_talk_and_bodies_are_unpadded_but_may_be_padded() {
        let (alice, mut bob) = (Account::new(), Account::new());
        let key = one_time_key(&mut bob);
        for length in 1..4 {
            let mut session = outbound(&alice, bob.curve25519_key(), key).unwrap();
            let sent = encrypt(&mut session, &vec![b'x'; length * 16]).unwrap();
            let (message_type, body) = parts(&sent);
            assert!(!body.contains('='));
            let padded = format!("{body}{}", "=".repeat((4 - body.len() % 4) % 4));
            assert_eq!(
                message(message_type, &body).unwrap(),
                message(message_type, &padded).unwrap()
            );
        }
    }

    #[test]
    fn a_pre_key_message_that_fails_keeps_the_one_time_key() {
        let (alice, mut bob) = (Account::new(), Account::new());
        let key = one_time_key(&mut bob);
        let mut session = outbound(&alice, bob.curve25519_key(), key).unwrap();
        let sent = encrypt(&mut session, b"hello").unwrap();
        let (_, body) = parts(&sent);
        let mut broken = keys::decode_base64(&body).unwrap();
        *broken.last_mut().unwrap() ^= 1;
        let OlmMessage::PreKey(broken) = OlmMessage::from_parts(0, &broken).unwrap() else {
            panic!("a pre-key message")
        };
        assert!(inbound(&mut bob, alice.curve25519_key(), &broken).is_err());
        let OlmMessage::PreKey(good) = sent else { panic!("a pre-key message") };
        assert_eq!(inbound(&mut bob, alice.curve25519_key(), &good).unwrap().plaintext, b"hello");
        assert!(inbound(&mut bob, alice.curve25519_key(), &good).is_err(), "used up now");
    }

    #[test]
    fn small_order_keys_open_no_session() {
        let alice = Account::new();
        let good = Account::new().curve25519_key();
        for point in SMALL_ORDER {
            for high_bit in [0, 0x80] {
                let mut point = point;
                point[31] |= high_bit;
                let bad = Curve25519PublicKey::from_bytes(point);
                assert!(outbound(&alice, bad, good).is_err(), "identity key {point:?}");
                assert!(outbound(&alice, good, bad).is_err(), "one-time key {point:?}");
            }
        }
    }

    #[test]
    fn other_types_and_garbage_are_errors() {
        for (message_type, body) in [(2, "AwoE"), (-1, "AwoE"), (0, ""), (1, "%%%"), (0, "AAAA")] {
            assert!(message(message_type, body).is_err());
        }
    }
}
