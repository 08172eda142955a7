//! Megolm: the ratchet of a room.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use vodozemac::megolm::{
    ExportedSessionKey, GroupSession, InboundGroupSession, MegolmMessage, SessionConfig, SessionKey,
};

use zeroize::Zeroizing;

use super::{contained, keys::decode_base64};
use crate::error::{Kind, OrFail, Result};

const NOT_EXPORTED: &str = "This is not an exported Megolm session key";
/// The length of an exported session key, in bytes: version, index, ratchet, public key.
pub const EXPORTED_LENGTH: usize = 1 + 4 + 128 + 32;

/// A message that was decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: Vec<u8>,
    /// The index of the ratchet that encrypted it. One index must never stand for two events.
    pub message_index: u32,
}

/// A new outbound session.
pub fn outbound() -> GroupSession {
    GroupSession::new(SessionConfig::version_1())
}

/// The receiving side of `session_key`, which is signed by the session it belongs to.
///
/// # Errors
/// [`Kind::Megolm`]
pub fn inbound(session_key: &str) -> Result<InboundGroupSession> {
    let wrong = "This is not a Megolm session key";
    // vodozemac's own reading of base64 refuses padding here.
    let bytes = Zeroizing::new(decode_base64(session_key).or_fail(Kind::Megolm, wrong)?);
    let key = contained(|| SessionKey::from_bytes(&bytes).or_fail(Kind::Megolm, wrong))?;
    Ok(InboundGroupSession::new(&key, SessionConfig::version_1()))
}

/// The receiving side of `exported`, a session key that somebody else may have changed.
///
/// # Errors
/// [`Kind::Megolm`]
pub fn imported(exported: &str) -> Result<InboundGroupSession> {
    let bytes = Zeroizing::new(decode_base64(exported).or_fail(Kind::Megolm, NOT_EXPORTED)?);
    imported_bytes(&bytes)
}

/// The same for the bytes of such a key.
///
/// # Errors
/// [`Kind::Megolm`]
pub fn imported_bytes(bytes: &[u8]) -> Result<InboundGroupSession> {
    let read = || ExportedSessionKey::from_bytes(bytes).or_fail(Kind::Megolm, NOT_EXPORTED);
    Ok(InboundGroupSession::import(&contained(read)?, SessionConfig::version_1()))
}

/// The bytes of such a key, from the first index that `session` knows.
pub fn exported_bytes(session: &InboundGroupSession) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(session.export_at_first_known_index().to_bytes())
}

/// Encrypts; the ciphertext is unpadded base64.
pub fn encrypt(session: &mut GroupSession, plaintext: &[u8]) -> String {
    session.encrypt(plaintext).to_base64()
}

/// Reads a ciphertext.
///
/// # Errors
/// [`Kind::Megolm`]
pub fn message(ciphertext: &str) -> Result<MegolmMessage> {
    contained(|| {
        MegolmMessage::from_base64(ciphertext).or_fail(Kind::Megolm, "This is not a Megolm message")
    })
}

/// Decrypts.
///
/// # Errors
/// [`Kind::Megolm`] when the message is not of this session, was altered, or is of an index
/// before the first one this session knows.
pub fn decrypt(session: &mut InboundGroupSession, ciphertext: &str) -> Result<Decrypted> {
    decrypt_message(session, &message(ciphertext)?)
}

/// Decrypts a message that was read.
///
/// # Errors
/// Those of [`decrypt`].
pub fn decrypt_message(
    session: &mut InboundGroupSession,
    message: &MegolmMessage,
) -> Result<Decrypted> {
    let decrypted = contained(|| {
        session.decrypt(message).or_fail(Kind::Megolm, "The Megolm message does not decrypt")
    })?;
    Ok(Decrypted { plaintext: decrypted.plaintext, message_index: decrypted.message_index })
}

/// A copy of a session, for another thread. It begins at the first known index.
pub fn copy(session: &InboundGroupSession) -> InboundGroupSession {
    InboundGroupSession::from_pickle(session.pickle())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_rise_and_earlier_ones_stay_closed() {
        let mut sender = outbound();
        let first = encrypt(&mut sender, b"0");
        let mut late = inbound(&sender.session_key().to_base64()).unwrap();
        let second = encrypt(&mut sender, b"1");
        assert!(decrypt(&mut late, &first).is_err());
        let decrypted = decrypt(&mut late, &second).unwrap();
        assert_eq!((decrypted.plaintext.as_slice(), decrypted.message_index), (&b"1"[..], 1));
    }

    #[test]
    fn altered_messages_and_keys_are_errors() {
        let mut sender = outbound();
        let key = sender.session_key().to_base64();
        let mut receiver = inbound(&key).unwrap();
        let sent = encrypt(&mut sender, b"x");
        for position in [0, sent.len() / 2, sent.len() - 1] {
            let mut altered = sent.clone().into_bytes();
            altered[position] = if altered[position] == b'A' { b'Q' } else { b'A' };
            assert!(decrypt(&mut receiver, &String::from_utf8(altered).unwrap()).is_err());
        }
        assert!(inbound(&key[..key.len() - 4]).is_err());
        assert!(inbound("").is_err());
    }
}
