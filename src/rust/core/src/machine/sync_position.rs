//! Where in the stream of the server this device is.

use super::Work;
use crate::{
    error::Result,
    store::{Transaction, records::SyncPosition},
};

/// The token of the last sync; none during the first.
pub(super) fn sync_token(work: &Work<'_>) -> Result<Option<String>> {
    token_in(work.tx)
}

pub(super) fn token_in(tx: &Transaction<'_>) -> Result<Option<String>> {
    Ok(tx.get_single::<SyncPosition>()?.and_then(|position| position.token))
}
