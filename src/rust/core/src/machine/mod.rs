//! The machine: what to save, what to ask of the server, what to answer. It never touches the
//! network. [`Machine::requests`] says what must be asked now, [`Machine::replies`] takes in what
//! was answered, and each call is one transaction of the store.
//!
//! | file | what it does |
//! |---|---|
//! | `sync` | takes in a sync: the order of work |
//! | `to_device`, `olm_sessions`, `olm_repair` | the channel between two devices, and its repair |
//! | `room_keys` | who gets the key of a room, and keys that came |
//! | `inbound_sessions` | which of the keys that came are kept, and which reads an event |
//! | `key_requests`, `received_requests`, `withheld` | keys that we ask for, are asked for, or are refused |
//! | `key_bundles` | history that is shared with those who are invited |
//! | `room_events`, `timeline`, `gaps` | reads events, keeps those that wait |
//! | `key_export` | exported keys, out and in |
//! | `rooms`, `device_lists`, `key_upload` | what is known of rooms, of devices, of our own keys |
//! | `identity`, `identity_creation` | cross-signing: our own identity, and one that is made, step by step |
//! | `user_trust`, `trust_changes` | identities of users, the trust they give, and that it changed |
//! | `verification` | makes sure of the keys of others, step by step |
//! | `isolation` | which devices get keys, and what the others are told |
//! | `approval` | approvals of its user that a request waits for |
//! | `secret_sharing` | private keys that our own devices give each other |
//! | `dehydrated_device` | a device that waits on the server for the next one |
//! | `secret_storage` | secrets are put there, and its key is changed |
//! | `key_backup`, `backup_upload`, `backup_restore` | room keys that the server keeps, encrypted |
//! | `outbox`, `send_to_room`, `send_to_devices` | what must be sent, in which order, and what must come before it |
//! | `outcomes` | what became of it |
//! | `pump`, `replies` | the requests for it, and what came of them |
//! | `store_import` | a device that moves here from another package |
//! | `inbox`, `history`, `relations` | hands events over, reads old ones, judges edits |

mod approval;
mod backup_restore;
mod backup_upload;
mod dehydrated_device;
mod device_lists;
mod gaps;
mod history;
mod identity;
mod identity_creation;
mod inbound_sessions;
mod inbox;
mod isolation;
mod key_backup;
mod key_bundles;
mod key_export;
mod key_requests;
mod key_upload;
mod olm_repair;
mod olm_sessions;
mod outbox;
mod outcomes;
mod own_account;
mod path;
mod pump;
mod received_requests;
mod relations;
mod replies;
mod room_events;
mod room_keys;
mod rooms;
mod secret_sharing;
mod secret_storage;
mod send_to_devices;
mod send_to_room;
mod store_import;
mod sync;
mod timeline;
mod to_device;
mod trust_changes;
mod user_trust;
mod verification;
mod withheld;

use std::{cell::RefCell, collections::HashMap, rc::Rc};

pub use self::{
    backup_restore::RestoredKey,
    dehydrated_device::{RehydratedKeys, Rehydration},
    history::History,
    identity::IdentityStatus,
    identity_creation::{Storage, UnderWay},
    inbound_sessions::Keeping,
    inbox::{Handed, Unsigned},
    key_backup::{BackupStatus, SignatureReport, Signer},
    key_export::{Imported, KeyExport},
    outbox::Message,
    outcomes::Outcome,
    pump::{Requests, WireRequest},
    relations::Edit,
    replies::{Reply, Trouble},
    store_import::check_published,
    sync::SyncReport,
    user_trust::{DeviceTrust, UserTrust},
    verification::{Cancelled, State as VerificationState, VerificationStatus},
};
use crate::{
    error::{Error, Kind, Result},
    judgement::trust::Owner,
    store::{
        Store, Transaction,
        records::{Binding, InboundSession, OwnAccount},
    },
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
}

impl Machine {
    /// A machine over `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The id of the store.
    pub fn store_id(&self) -> [u8; 16] {
        self.store.id()
    }

    /// Does `work` in one transaction, for the user and device the store is bound to.
    fn work<T>(&mut self, now: Millis, work: impl FnOnce(&mut Work<'_>) -> Result<T>) -> Result<T> {
        self.store.transaction(|tx| {
            let own = tx.get_single::<Binding>()?.ok_or_else(|| {
                Error::new(
                    Kind::StoreBinding,
                    "This store belongs to no device yet. Publish its keys first.",
                )
            })?;
            Work::within(tx, own, now, work)
        })
    }
}

/// The inside of one transaction: the store, who we are, what time it is, and what was read.
struct Work<'a> {
    tx: &'a Transaction<'a>,
    own: Binding,
    now: Millis,
    /// Read when first needed and written once, because it is the largest record.
    account: Option<OwnAccount>,
    account_changed: bool,
    /// Megolm sessions that were read, by room, session and sender. Their ratchets advance in
    /// memory, which saves doing it again for the next event.
    read: HashMap<(String, String, String), InboundSession>,
    /// Identities that were judged.
    owners: RefCell<HashMap<String, Rc<Owner>>>,
}

impl<'a> Work<'a> {
    /// Does `work` in the transaction `tx`.
    fn within<T>(
        tx: &'a Transaction<'a>,
        own: Binding,
        now: Millis,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut open = Work {
            tx,
            own,
            now,
            account: None,
            account_changed: false,
            read: HashMap::new(),
            owners: RefCell::default(),
        };
        let done = work(&mut open)?;
        open.finish()?;
        Ok(done)
    }

    fn finish(self) -> Result<()> {
        match &self.account {
            Some(account) if self.account_changed => self.tx.put_single(account),
            _ => Ok(()),
        }
    }
}
