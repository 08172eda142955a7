//! Remembers the events of timelines, so that none is delivered twice. A server may repeat itself:
//! in the next sync, or because the tokens of a gap are wrong and overlap the events beside it.

use sha2::{Digest, Sha256};

use super::Work;
use crate::{
    error::Result,
    judgement::room_event::{ENCRYPTED, MegolmContent, RoomEvent},
};

/// Whether an event of a timeline is new. From now on it is not. An id that stands for another
/// event than before is new: the server must not hide one by naming it like an older one.
pub(super) fn is_new(work: &Work<'_>, room_id: &str, event: &RoomEvent<'_>) -> Result<bool> {
    work.tx.is_new_event(room_id, &event.event_id, &digest(event))
}

/// A digest of what servers do not change between two copies of an event. (`unsigned` they do.) Of an
/// encrypted event it is what is decrypted: anything else around it is the server's to change.
fn digest(event: &RoomEvent<'_>) -> [u8; 32] {
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
    hash.finalize().into()
}
