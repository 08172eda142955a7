//! The machine: what to save, and which requests to make. It never touches the network.
//! [`Machine::requests`] returns the requests to make now, [`Machine::replies`] processes their
//! responses, and each call is one transaction of the store.
//!
//! | file | what it does |
//! |---|---|
//! | `work`, `effects` | one open transaction: its state, and what happened in it |
//! | `reactions` | who reacts to what happened |
//! | `sync`, `sync_position` | applies a sync: the order of work, and where it goes on |
//! | `to_device`, `olm_sessions`, `olm_repair` | the channel between two devices, and its repair |
//! | `room_keys`, `recipients`, `isolation` | who gets the key of a room, and who does not |
//! | `outbound_sessions`, `inbound_sessions` | Megolm sessions: the one that encrypts, those that decrypt |
//! | `key_requests`, `received_requests`, `withheld` | keys that we ask for, are asked for, or are refused |
//! | `key_bundles` | history that is shared with invited users |
//! | `room_events`, `timeline`, `gaps`, `taken_events` | decrypts events, once, and keeps those that wait |
//! | `olm_ahead` | reads the to-device events of a sync on all cores, and opens the Olm sessions that they begin |
//! | `decryption_ahead` | decrypts the messages of a long timeline on all cores, before their events are judged |
//! | `key_export` | exported keys, out and in |
//! | `rooms`, `devices`, `own_account`, `key_upload` | what is known of rooms, of devices, of our own keys |
//! | `tracking`, `device_lists` | whose devices are tracked, and what the server returned of them |
//! | `identity`, `identity_creation`, `identity_import` | cross-signing: our own identity, made or taken from secret storage |
//! | `user_trust`, `trust_decisions`, `trust_changes` | trust in users and devices: computed, decided, changed |
//! | `verification` | verifies the keys of others, step by step |
//! | `bounds` | how much is kept of what others send |
//! | `approval`, `login_lease`, `sync_lease` | approvals that a request waits for; who renews the login; who asks the server for news |
//! | `secret_sharing` | private keys that our own devices give each other |
//! | `dehydrated_device` | a device that waits on the server for the next one |
//! | `secret_storage` | secrets are put there, and its key is changed |
//! | `key_backup`, `backup_version`, `backup_status` | room keys that the server keeps: which version, whose, how far |
//! | `backup_creation`, `backup_key` | makes the backup; its private keys |
//! | `backup_upload`, `backup_restore` | keys go to the backup, and come back |
//! | `outbox`, `send_to_room`, `send_to_devices` | what must be sent, in which order, and what must come before it |
//! | `uploads`, `kept_files` | files that must be on the server before their event, and where they wait |
//! | `heartbeats` | messages that the server sends later, unless it is told not to |
//! | `event_size` | what is too large to be sent |
//! | `outcomes`, `refusals` | messages that were sent, and those that will never be |
//! | `settlement` | what the caller of messages is told at their end |
//! | `request_table`, `path` | all requests: path, body, how each is backed off, what a response means |
//! | `requests`, `pump`, `failures` | which requests to perform now, and when those that failed are made again |
//! | `replies` | which topic processes each response |
//! | `inbox`, `history`, `relations`, `message_trust` | delivers events with the trust in them, reads old ones, judges edits |
//! | `archive`, `archive_history`, `archive_media`, `archive_reading` | what a user wants to keep of rooms |
//! | `store_import` | a device that moves here from another package |
//! | `store_restore` | a store is made of a copy, whose original is gone |
//!
//! A file calls another by its name, and no file calls one that calls it, directly or through others:
//! `tools/layers.R` checks it. What would be such a circle is an effect.

mod approval;
mod archive;
mod archive_history;
mod archive_media;
mod archive_reading;
mod backup_creation;
mod backup_key;
mod backup_restore;
mod backup_status;
mod backup_upload;
mod backup_version;
mod bounds;
mod decryption_ahead;
mod dehydrated_device;
mod device_lists;
mod devices;
mod effects;
mod event_size;
mod failures;
mod gaps;
mod heartbeats;
mod history;
mod identity;
mod identity_creation;
mod identity_import;
mod inbound_sessions;
mod inbox;
mod isolation;
mod kept_files;
mod key_backup;
mod key_bundles;
mod key_export;
mod key_requests;
mod key_upload;
mod login_lease;
mod message_trust;
mod olm_ahead;
mod olm_repair;
mod olm_sessions;
mod outbound_sessions;
mod outbox;
mod outcomes;
mod owed_keys;
mod own_account;
mod path;
mod pump;
mod reactions;
mod received_requests;
mod recipients;
mod refusals;
mod relations;
mod replies;
mod request_table;
mod requests;
mod room_events;
mod room_keys;
mod rooms;
mod secret_sharing;
mod secret_storage;
mod send_to_devices;
mod send_to_room;
mod settlement;
mod store_import;
mod store_restore;
mod sync;
mod sync_lease;
mod sync_position;
mod taken_events;
mod timeline;
mod to_device;
mod tracking;
mod trust_changes;
mod trust_decisions;
mod uploads;
mod user_trust;
mod verification;
mod withheld;
mod work;

use self::work::Work;
pub use self::{
    archive::ArchiveStatus,
    archive_history::ArchivedPage,
    archive_media::NotKept,
    archive_reading::{ArchivedPart, ArchivedText, Part, Place},
    backup_restore::RestoredKey,
    backup_status::{BackupStatus, SignatureReport, Signer},
    dehydrated_device::{RehydratedKeys, Rehydration},
    event_size::ContentSize,
    failures::Trouble,
    heartbeats::NewHeartbeat,
    history::History,
    identity::{IdentityStatus, UnderWay},
    identity_creation::Storage,
    inbound_sessions::Keeping,
    key_export::{Imported, KeyExport},
    message_trust::{Edit, Handed, Unsigned},
    outbox::Message,
    outcomes::Outcome,
    own_account::random_device_id,
    pump::{Awaited, Requests, WireRequest},
    refusals::Unsent,
    replies::Reply,
    settlement::Settlement,
    store_import::{check_published, read_mx_client_store},
    store_restore::revive,
    sync::SyncReport,
    sync_lease::SyncTurn,
    user_trust::{DeviceTrust, UserTrust},
    verification::{Cancelled, State as VerificationState, VerificationStatus},
};
use std::time::Duration;

use crate::{
    error::{Error, Kind, Result},
    store::{Store, Transaction, records::Binding},
};

/// A time in milliseconds since 1970. The machine has no clock: callers say what time it is.
pub type Millis = i64;

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

/// A device's end-to-end encryption over one store. Any number of machines, in any number of
/// processes, may work on one store: the store is the memory, not the machine.
pub struct Machine {
    store: Store,
    /// The number of the lease on the long poll, while this process holds it.
    sync_lease: Option<i64>,
    /// When it looked last whether the process lives that has it.
    looked_at: Millis,
}

impl Machine {
    /// A machine over `store`.
    pub fn new(store: Store) -> Self {
        Self { store, sync_lease: None, looked_at: Millis::MIN / 2 }
    }

    /// Waits until another process may have committed something, for at most `limit`: see
    /// [`Database::wait_for_commit`](crate::store::Database::wait_for_commit).
    ///
    /// # Errors
    /// Those of the store.
    pub fn wait_for_commit(&mut self, limit: Duration) -> Result<()> {
        self.store.wait_for_commit(limit)
    }

    /// The id of the store.
    pub fn store_id(&self) -> [u8; 16] {
        self.store.id()
    }

    /// Does `work` in one transaction, for the user and device the store is bound to.
    fn work<T>(&mut self, now: Millis, work: impl FnOnce(&mut Work<'_>) -> Result<T>) -> Result<T> {
        self.store.transaction(|tx| within(tx, binding(tx)?, now, work))
    }

    /// Does `work`, which the power may take back: see [`Store::eventual_transaction`]. What leaves the process is
    /// given out by [`Machine::requests`], and that is durable with all that was done before it.
    fn eventual_work<T>(
        &mut self,
        now: Millis,
        work: impl FnOnce(&mut Work<'_>) -> Result<T>,
    ) -> Result<T> {
        self.store.eventual_transaction(|tx| within(tx, binding(tx)?, now, work))
    }

    /// Does `work`, which only reads. It has no clock, so whatever it wrote would expire at once or
    /// never: the store refuses to write here.
    fn read<T>(&mut self, work: impl FnOnce(&mut Work<'_>) -> Result<T>) -> Result<T> {
        self.store.read(|tx| within(tx, binding(tx)?, Millis::MIN, work))
    }
}

fn binding(tx: &Transaction<'_>) -> Result<Binding> {
    tx.get_single()?.ok_or_else(|| {
        Error::new(
            Kind::StoreBinding,
            "This store belongs to no device yet. Publish its keys first.",
        )
    })
}

/// Does `work` in the transaction `tx`, and what follows from it.
fn within<'a, T>(
    tx: &'a Transaction<'a>,
    own: Binding,
    now: Millis,
    work: impl FnOnce(&mut Work<'a>) -> Result<T>,
) -> Result<T> {
    let mut open = Work::begin(tx, own, now);
    let done = work(&mut open)?;
    reactions::finish(&mut open)?;
    open.finish()?;
    Ok(done)
}
