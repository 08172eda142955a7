//! Remembers the events of timelines, so that none is delivered twice. A server may repeat itself:
//! in the next sync, or because the tokens of a gap are wrong and overlap the events beside it.

use sha2::{Digest, Sha256};

use super::Work;
use crate::{
    error::Result,
    judgement::room_event::{ENCRYPTED, MegolmContent, RoomEvent},
    primitives::keys::encode_base64,
    store::{Query, records::TakenEvent},
};

/// How many events are remembered: more than the largest gap holds, and what came meanwhile.
const MOST_TAKEN: i64 = 50_000;

/// Whether an event of a timeline is new. From now on it is not. An id that stands for another
/// event than before is new: the server must not hide one by naming it like an older one.
pub(super) fn is_new(work: &Work<'_>, room_id: &str, event: &RoomEvent<'_>) -> Result<bool> {
    let (room_id, event_id, digest) = (room_id.to_owned(), event.event_id.clone(), digest(event));
    let key = [room_id.as_str().into(), event_id.as_str().into(), digest.as_str().into()];
    if work.tx.get::<TakenEvent>(&key)?.is_some() {
        return Ok(false);
    }
    let number = work.tx.take_number("taken event")?;
    work.tx.put(&TakenEvent { room_id, event_id, digest, number })?;
    Ok(true)
}

/// Forgets the oldest events beyond the bound.
pub(super) fn bound_taken(work: &Work<'_>) -> Result<()> {
    let surplus = work.tx.last_number("taken event")? - MOST_TAKEN;
    if surplus > 0 {
        work.tx.delete_where::<TakenEvent>(&Query::all().until("number", surplus))?;
    }
    Ok(())
}

/// A digest of what servers do not change between two copies of an event. (`unsigned` they do.) Of an
/// encrypted event it is what is decrypted: anything else around it is the server's to change.
fn digest(event: &RoomEvent<'_>) -> String {
    let sent_at = event.origin_server_ts.to_string();
    let encrypted = MegolmContent::read(event).ok().filter(|_| event.is_encrypted());
    let parts = match &encrypted {
        Some(content) => [ENCRYPTED, &event.sender, &*content.session_id, &*content.ciphertext],
        None => [event.event_type.as_str(), &event.sender, &sent_at, event.content_text],
    };
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    encode_base64(&hash.finalize())
}
