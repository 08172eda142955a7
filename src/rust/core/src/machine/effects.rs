//! What happened in a transaction. A topic that changes something to which other topics react pushes an
//! [`Effect`], and does not call them: `reactions` knows who they are.

use std::collections::BTreeSet;

use super::Work;
use crate::store::records::{Device, OutboxRow};

/// Something that happened.
pub(super) enum Effect {
    /// A key of a room key session was stored.
    RoomKeyArrived { room_id: String, session_id: String },
    /// The private key of the key backup was stored, or it fits another version now.
    BackupKeyArrived,
    /// The devices of a user, or the trust in them, changed.
    RecipientsChanged { user_id: String },
    /// An Olm session with a device was opened.
    OlmSessionOpened { device: Box<Device> },
    /// A device of a user has opened an Olm session with us.
    OlmSessionProven { user_id: String },
    /// The server took a message.
    MessageSent { row: Box<OutboxRow>, event_id: String },
    /// A message will never be sent.
    MessageRefused { row: Box<OutboxRow> },
    /// Something that a sender caused was stored, and is bounded.
    StoredFrom { sender: String },
}

/// What happened in a transaction so far.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) room_keys: BTreeSet<(String, String)>,
    pub(super) backup_key: bool,
    pub(super) recipients: BTreeSet<String>,
    pub(super) opened: Vec<Device>,
    pub(super) proven: BTreeSet<String>,
    pub(super) sent: Vec<(OutboxRow, String)>,
    pub(super) refused: Vec<OutboxRow>,
    pub(super) senders: BTreeSet<String>,
}

/// Notes that something happened.
pub(super) fn push(work: &Work<'_>, effect: Effect) {
    let mut effects = work.effects.borrow_mut();
    match effect {
        Effect::RoomKeyArrived { room_id, session_id } => {
            effects.room_keys.insert((room_id, session_id));
        }
        Effect::BackupKeyArrived => effects.backup_key = true,
        Effect::RecipientsChanged { user_id } => {
            effects.recipients.insert(user_id);
        }
        Effect::OlmSessionOpened { device } => effects.opened.push(*device),
        Effect::OlmSessionProven { user_id } => {
            effects.proven.insert(user_id);
        }
        Effect::MessageSent { row, event_id } => effects.sent.push((*row, event_id)),
        Effect::MessageRefused { row } => effects.refused.push(*row),
        Effect::StoredFrom { sender } => {
            effects.senders.insert(sender);
        }
    }
}

impl Effects {
    /// Whether nothing happened that is reacted to at once.
    pub(super) fn is_empty(&self) -> bool {
        let Self { room_keys, backup_key, recipients, opened, proven, sent, refused, senders: _ } =
            self;
        room_keys.is_empty()
            && !backup_key
            && recipients.is_empty()
            && opened.is_empty()
            && proven.is_empty()
            && sent.is_empty()
            && refused.is_empty()
    }
}
