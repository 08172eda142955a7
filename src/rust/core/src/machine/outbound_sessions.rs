//! Megolm sessions that messages are sent with.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use serde_json::{json, value::RawValue};
use zeroize::Zeroizing;

use super::Work;
use crate::{
    error::{Kind, OrFail, Result},
    judgement::room_event::RELATES_TO,
    primitives::{account::MEGOLM, canonical_json::Json, megolm},
    store::records::OutboundSession,
};

/// Encrypts an event for a room, and saves the ratchet. Returns the content of `m.room.encrypted`.
pub(super) fn encrypt_room_event(
    work: &Work<'_>,
    session: &mut OutboundSession,
    event_type: &str,
    content: &str,
) -> Result<String> {
    let room_id = session.room_id.as_str();
    let mut content = Json::parse_object(content)?;
    let relation = content.remove(RELATES_TO);
    let payload = json!({"type": event_type, "content": content, "room_id": room_id});
    let payload = Zeroizing::new(payload.to_string());
    let ciphertext = megolm::encrypt(&mut session.session, payload.as_bytes());
    let mut encrypted = json!({
        "algorithm": MEGOLM,
        "sender_key": work.own.identity_key,
        "device_id": work.own.device_id,
        "session_id": session.session_id,
        "ciphertext": ciphertext,
    });
    if let Some(relation) = relation {
        encrypted[RELATES_TO] =
            serde_json::to_value(relation).or_fail(Kind::Internal, "A relation")?;
    }
    Ok(encrypted.to_string())
}

/// JSON text as it stands.
pub(super) fn raw(text: &str) -> Result<&RawValue> {
    serde_json::from_str(text).or_fail(Kind::Internal, "Text that was JSON before")
}

/// Lets the session of a room encrypt no more.
pub(super) fn end_outbound_session(work: &Work<'_>, room_id: &str) -> Result<()> {
    if let Some(mut session) = work.tx.get::<OutboundSession>(&[room_id.into()])?
        && !session.rotate
    {
        session.rotate = true;
        work.tx.put(&session)?;
    }
    Ok(())
}
