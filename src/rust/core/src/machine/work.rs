//! What every topic needs of one open transaction: the store, who we are, what time it is, and what was
//! read. What a topic does with it is a function of the topic.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{Millis, effects::Effects};
use crate::{
    error::Result,
    judgement::trust::Owner,
    primitives::megolm::Decrypted,
    store::{
        Transaction,
        records::{Binding, InboundSession, OwnAccount},
    },
};

/// The inside of one transaction: the store, who we are, what time it is, and what was read.
pub(super) struct Work<'a> {
    pub(super) tx: &'a Transaction<'a>,
    pub(super) own: Binding,
    pub(super) now: Millis,
    /// Read when first needed and written once, because it is the largest record.
    pub(super) account: Option<OwnAccount>,
    pub(super) account_changed: bool,
    /// Megolm sessions that were read, by room, session and sender. Their ratchets advance in
    /// memory, which saves doing it again for the next event.
    pub(super) read: HashMap<(String, String, String), InboundSession>,
    /// Messages that were decrypted ahead with the sessions of `read`, by their ciphertext.
    pub(super) ahead: HashMap<(String, String, String), HashMap<String, Decrypted>>,
    /// What happened, to which other topics have to react.
    pub(super) effects: RefCell<Effects>,
    /// Identities that were judged.
    pub(super) owners: RefCell<HashMap<String, Rc<Owner>>>,
    /// The rooms that are archived, once they were read.
    pub(super) archived: RefCell<Option<HashSet<String>>>,
}

impl<'a> Work<'a> {
    /// The work of the transaction `tx`.
    pub(super) fn begin(tx: &'a Transaction<'a>, own: Binding, now: Millis) -> Self {
        Self {
            tx,
            own,
            now,
            account: None,
            account_changed: false,
            read: HashMap::new(),
            ahead: HashMap::new(),
            effects: RefCell::default(),
            owners: RefCell::default(),
            archived: RefCell::default(),
        }
    }

    /// Writes what is written once, at the end.
    pub(super) fn finish(self) -> Result<()> {
        match &self.account {
            Some(account) if self.account_changed => self.tx.put_single(account),
            _ => Ok(()),
        }
    }
}
