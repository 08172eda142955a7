//! A store is made of a copy, whose original may have gone on after the copy was made.
//!
//! What the original encrypted since is not known here, so nothing that it encrypted with encrypts again: a ratchet that
//! goes back in time would use keys a second time. What decrypts stays, and so does the position of the sync: events that
//! the original has seen come once more. Messages that waited in the outbox go out under their old transaction ids, so
//! that the server recognises those that the original has sent.

use super::{Millis, Work, key_upload, outbound_sessions};
use crate::{
    error::Result,
    store::{
        Query, Store,
        records::{Binding, OlmSession, OutboundSession},
    },
};

/// Lets a copy be used.
///
/// # Errors
/// Those of the store; nothing has changed then.
pub fn revive(store: &mut Store, now: Millis) -> Result<()> {
    store.transaction(|tx| {
        if let Some(own) = tx.get_single::<Binding>()? {
            super::within(tx, own, now, revive_device)?;
        }
        tx.remove_closure()
    })
}

fn revive_device(work: &mut Work<'_>) -> Result<()> {
    for room_id in work.tx.texts::<OutboundSession>("room_id", &Query::all())? {
        outbound_sessions::end_outbound_session(work, &room_id)?;
    }
    for identity_key in work.tx.texts::<OlmSession>("identity_key", &Query::all())? {
        for session in work.tx.select(&Query::equal("identity_key", identity_key.as_str()))? {
            work.tx.put(&OlmSession { receive_only: true, ..session })?;
        }
    }
    key_upload::begin_again(work)
}
