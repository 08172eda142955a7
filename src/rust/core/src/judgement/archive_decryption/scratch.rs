//! Sessions, keys and rows of the tests.

use vodozemac::megolm::GroupSession;

use super::{Decryption, Row, SessionKey};
use crate::{
    judgement::room_event::ENCRYPTED,
    primitives::{account::MEGOLM, megolm},
    store::records::{Event, InboundSession, KeySource},
};

pub(super) const ALICE: &str = "@alice:example.org";
pub(super) const MALLORY: &str = "@mallory:example.org";
pub(super) const ROOM: &str = "!room";

/// The key of a session, from the index that it has come to.
pub(super) fn key(session: &GroupSession, source: KeySource, sender: Option<&str>) -> SessionKey {
    let inbound = megolm::inbound(&session.session_key().to_base64()).unwrap();
    let kept = InboundSession::new(ROOM.into(), inbound, source);
    SessionKey {
        sender: sender.map(str::to_owned),
        sender_key: "curve".into(),
        ..SessionKey::from(kept)
    }
}

pub(super) fn direct(session: &GroupSession) -> SessionKey {
    key(session, KeySource::Direct, Some(ALICE))
}

pub(super) fn imported(session: &GroupSession) -> SessionKey {
    key(session, KeySource::Imported, None)
}

pub(super) fn payload(room_id: &str, text: &str) -> String {
    let content = format!(r#"{{"body":"{text}"}}"#);
    format!(r#"{{"type":"m.room.message","content":{content},"room_id":"{room_id}"}}"#)
}

pub(super) fn with_ciphertext(session: &GroupSession, ciphertext: &str, more: &str) -> String {
    let session_id = session.session_id();
    format!(
        r#"{{"algorithm":"{MEGOLM}","session_id":"{session_id}","ciphertext":"{ciphertext}"{more}}}"#
    )
}

pub(super) fn sealed(session: &mut GroupSession, plaintext: &str) -> String {
    let ciphertext = megolm::encrypt(session, plaintext.as_bytes());
    with_ciphertext(session, &ciphertext, "")
}

pub(super) fn row(event_id: &str, content: String) -> Row {
    Row {
        room_id: Some(ROOM.into()),
        event_id: Some(event_id.into()),
        event_type: Some(ENCRYPTED.into()),
        sender: Some(ALICE.into()),
        origin_server_ts: Some(5),
        content: Some(content),
        ..Row::default()
    }
}

pub(super) fn message(session: &mut GroupSession, event_id: &str) -> Row {
    row(event_id, sealed(session, &payload(ROOM, event_id)))
}

pub(super) fn code(event: &Event) -> &str {
    event.unreadable.as_ref().map_or("read", |reason| reason.code.as_str())
}

pub(super) fn codes(keys: Vec<SessionKey>, rows: &[Row]) -> Vec<String> {
    let read = Decryption::new(keys).read(rows);
    read.iter().map(|event| code(event).to_owned()).collect()
}
