//! Olm and Megolm sessions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vodozemac::{
    megolm::{GroupSession, InboundGroupSession},
    olm::Session,
};
use zeroize::Zeroizing;

use super::{pickled_inbound, pickled_olm, pickled_outbound};
use crate::store::{Record, Single, Table, Value};

/// The device at the other end of an Olm session. Its Curve25519 key alone does not say which one that
/// is: anybody can publish a device with the Curve25519 key of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// The session is from a store that did not record its device.
    #[default]
    Unrecorded,
    /// No payload that came over the session was accepted yet.
    Unproven,
    /// The session was opened with a one-time key that this device signed, or a payload of this device
    /// came over it.
    Device {
        /// The owner of the device.
        user_id: String,
        /// The Ed25519 key of the device, unpadded base64.
        signing_key: String,
    },
}

impl Peer {
    /// The user whose device it is; empty where that is not known.
    pub fn user_id(&self) -> &str {
        match self {
            Peer::Unrecorded | Peer::Unproven => "",
            Peer::Device { user_id, .. } => user_id,
        }
    }
}

/// An Olm session with the device that owns `identity_key`.
#[derive(Serialize, Deserialize)]
pub struct OlmSession {
    /// The peer's Curve25519 key, unpadded base64.
    pub identity_key: String,
    /// Which device that is.
    #[serde(default)]
    pub peer: Peer,
    /// The session's id.
    pub session_id: String,
    /// The ratchet.
    #[serde(with = "pickled_olm")]
    pub session: Session,
    /// When a message was last received on it, or when it was made. The session with the latest
    /// is used for sending.
    pub last_received_at: i64,
    /// It comes from another store, where it may have encrypted what it does not know of: it must
    /// not encrypt again.
    #[serde(default)]
    pub receive_only: bool,
}

impl OlmSession {
    /// One whose device no payload has named yet.
    pub fn new(identity_key: String, session: Session, last_received_at: i64) -> Self {
        Self {
            identity_key,
            peer: Peer::Unproven,
            session_id: session.session_id(),
            session,
            last_received_at,
            receive_only: false,
        }
    }
}

impl Record for OlmSession {
    const TABLE: Table =
        Table { name: "olm_session", key: &["identity_key", "session_id"], plain: &["user_id"] };

    fn key(&self) -> Vec<Value> {
        vec![self.identity_key.as_str().into(), self.session_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.peer.user_id().into()]
    }
}

/// How a Megolm session came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// It is our own.
    Own,
    /// From the device that made it, over Olm.
    Direct,
    /// From another device of ours, which we asked for it. Who made it is what that device says.
    Forwarded,
    /// From the key backup, into which the server can put what it likes.
    Backup,
    /// From a key export, or a store of another package. Who made it is what that says.
    Imported,
    /// From the user who invited us. Who made it is what they say.
    Bundle,
}

impl KeySource {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeySource::Own => "own",
            KeySource::Direct => "direct",
            KeySource::Forwarded => "forwarded",
            KeySource::Backup => "backup",
            KeySource::Imported => "imported",
            KeySource::Bundle => "bundle",
        }
    }

    /// Whether it proves which device made the session.
    pub const fn is_authentic(self) -> bool {
        matches!(self, KeySource::Own | KeySource::Direct)
    }
}

/// A Megolm session that messages of others, and our own, are read with.
#[derive(Serialize, Deserialize)]
pub struct InboundSession {
    /// The room it is for.
    pub room_id: String,
    /// Its id: the session's public Ed25519 key.
    pub session_id: String,
    /// The number under which its message indices are remembered.
    pub number: i64,
    /// The ratchet, at the lowest index we know.
    #[serde(with = "pickled_inbound")]
    pub session: InboundGroupSession,
    /// The user whose device made it. Keys that were exported or forwarded do not say.
    pub sender: Option<String>,
    /// The Curve25519 key of that device; empty where nobody says.
    pub sender_key: String,
    /// The Ed25519 key that device claimed inside the Olm message; empty where nobody says.
    pub sender_signing_key: String,
    /// How it came to us.
    pub source: KeySource,
    /// The device of ours that handed it on, or the user who shared it, if one did.
    #[serde(default)]
    pub forwarder: Option<String>,
    /// Its sender allows sharing it with users who are invited later.
    pub shared_history: bool,
    /// Rises with each session that is kept or becomes better: what is above the number that the key
    /// backup has come to is not backed up. Zero: it came from there.
    #[serde(default)]
    pub changed: i64,
    /// Its place in the order in which sessions first read an event of their own sender; zero: it has
    /// read none.
    #[serde(default)]
    pub first_read: i64,
}

impl InboundSession {
    /// One of which nobody says who made it, and that was not kept yet.
    pub fn new(room_id: String, session: InboundGroupSession, source: KeySource) -> Self {
        Self {
            room_id,
            session_id: session.session_id(),
            number: 0,
            session,
            sender: None,
            sender_key: String::new(),
            sender_signing_key: String::new(),
            source,
            forwarder: None,
            shared_history: false,
            changed: 0,
            first_read: 0,
        }
    }
}

impl Record for InboundSession {
    const TABLE: Table = Table {
        name: "inbound_session",
        key: &["room_id", "session_id", "sender"],
        plain: &["changed"],
    };

    fn key(&self) -> Vec<Value> {
        vec![
            self.room_id.as_str().into(),
            self.session_id.as_str().into(),
            self.sender.as_deref().unwrap_or_default().into(),
        ]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.changed.into()]
    }
}

/// Which devices of the users who may read are given room keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// All.
    All,
    /// All; but nothing is sent as long as a verified user has a device that is not signed.
    VerifiedUsers,
    /// Those that their owner has signed, as the specification recommends.
    #[default]
    Signed,
}

impl Isolation {
    /// All modes.
    pub const ALL: [Isolation; 3] = [Isolation::All, Isolation::VerifiedUsers, Isolation::Signed];

    /// The name of the mode.
    pub const fn as_str(self) -> &'static str {
        match self {
            Isolation::All => "all",
            Isolation::VerifiedUsers => "verified_users",
            Isolation::Signed => "signed",
        }
    }
}

/// The mode that holds for everyday messages.
#[derive(Default, Serialize, Deserialize)]
pub struct IsolationMode {
    /// The mode.
    pub mode: Isolation,
}

impl Single for IsolationMode {
    const NAME: &'static str = "isolation mode";
}

/// The Megolm session we encrypt with in a room.
#[derive(Serialize, Deserialize)]
pub struct OutboundSession {
    /// The room.
    pub room_id: String,
    /// Its id.
    pub session_id: String,
    /// The ratchet.
    #[serde(with = "pickled_outbound")]
    pub session: GroupSession,
    /// When it was made.
    pub created_at: i64,
    /// Someone who may hold the key is gone: it must not encrypt again.
    pub rotate: bool,
    /// The generation of the room's recipients all of whom were given the key.
    pub shared_generation: Option<u64>,
    /// The users it was narrowed to, where a caller asked for that.
    pub audience: Option<BTreeSet<String>>,
    /// Devices that should have the key and could not be reached, as user and device ids.
    pub unreached: Vec<(String, String)>,
    /// When it makes sense to try them again.
    pub retry_at: Option<i64>,
    /// Those who are invited later may be given it.
    #[serde(default)]
    pub shared_history: bool,
    /// Which devices it is for.
    #[serde(default)]
    pub isolation: Isolation,
    /// Devices that were told that they get no key because they are not signed.
    #[serde(default)]
    pub withheld: BTreeSet<(String, String)>,
    /// Devices that were told that they are blocked.
    #[serde(default)]
    pub blocked: BTreeSet<(String, String)>,
}

impl Record for OutboundSession {
    const TABLE: Table = Table { name: "outbound_session", key: &["room_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into()]
    }
}

/// A device that was given the key of an outbound session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyShare {
    /// The session.
    pub session_id: String,
    /// The owner of the device.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// The Curve25519 key it was encrypted to.
    pub identity_key: String,
    /// The first index it can read.
    pub message_index: u32,
    /// It may have been lost on the way, and is given again.
    #[serde(default)]
    pub lost: bool,
}

impl Record for KeyShare {
    const TABLE: Table =
        Table { name: "key_share", key: &["session_id", "user_id", "device_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![
            self.session_id.as_str().into(),
            self.user_id.as_str().into(),
            self.device_id.as_str().into(),
        ]
    }
}

/// The key of an outbound session that a device should have been given, and could not be.
#[derive(Clone, Serialize, Deserialize)]
pub struct OwedKey {
    /// The owner of the device.
    pub user_id: String,
    /// The device, or `*` for all of its owner's.
    pub device_id: String,
    /// The session.
    pub session_id: String,
    /// Its room.
    pub room_id: String,
    /// The first index that the device misses.
    pub message_index: u32,
    /// Which devices the session is for.
    pub isolation: Isolation,
    /// The content of `m.room_key` from that index on.
    pub content: Zeroizing<String>,
    /// When the device was first sent nothing.
    pub owed_since: i64,
    /// When to look at it again.
    pub due_at: i64,
}

impl Record for OwedKey {
    const TABLE: Table =
        Table { name: "owed_key", key: &["user_id", "device_id", "session_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![
            self.user_id.as_str().into(),
            self.device_id.as_str().into(),
            self.session_id.as_str().into(),
        ]
    }
}

/// When to look at the keys that are owed, if there are any.
#[derive(Serialize, Deserialize)]
pub struct OwedKeysDue {
    /// The earliest time of all.
    pub at: Option<i64>,
}

impl Single for OwedKeysDue {
    const NAME: &'static str = "owed keys due";
}
