//! What must reach the server, and what is with the server now.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// How far something in the outbox has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    /// Its bytes are not made yet, so it was certainly never sent.
    Queued,
    /// Its bytes are fixed; the server may have them. Only these bytes may be sent again.
    Fixed,
    /// The server has it.
    Sent,
    /// The server will never take it.
    Refused,
}

impl OutboxState {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fixed => "fixed",
            Self::Sent => "sent",
            Self::Refused => "refused",
        }
    }
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxBody {
    /// A room event.
    Event {
        /// The type, before encryption.
        event_type: String,
        /// The content as JSON text, before encryption.
        content: String,
        /// Encrypt also where nothing says that the room is encrypted.
        demand_encryption: bool,
        /// Share the room key with these members only.
        audience: Option<BTreeSet<String>>,
        /// After this was queued the server was asked, and said that the room is not encrypted.
        plain_allowed: bool,
        /// It is of a verification, which goes also to users whose identity is not settled.
        #[serde(default)]
        verifies: bool,
    },
    /// A redaction, which is never encrypted.
    Redaction {
        /// The event to redact.
        event_id: String,
        /// `{"reason": …}` or `{}`.
        content: String,
    },
    /// Room keys for some devices, in one to-device request. Events of the room wait for it.
    RoomKeys {
        /// `{"messages": …}`
        content: String,
    },
    /// Something else to some devices. Nothing waits for it.
    ToDevice {
        /// The type of the events.
        event_type: String,
        /// `{"messages": …}`
        content: String,
    },
}

impl OutboxBody {
    /// The type of the to-device events this is, if it is some.
    pub fn to_device(&self) -> Option<&str> {
        match self {
            OutboxBody::RoomKeys { .. } => Some("m.room.encrypted"),
            OutboxBody::ToDevice { event_type, .. } => Some(event_type),
            _ => None,
        }
    }
}

/// Something in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The place in the queue.
    pub number: i64,
    /// The room.
    pub room_id: String,
    /// How far it has come.
    pub state: OutboxState,
    /// The transaction id, the same for every attempt.
    pub transaction_id: String,
    /// When it was put here.
    pub queued_at: i64,
    /// How often it was given to the transport and may have reached the server.
    pub attempts: u32,
    /// When it was last given to the transport.
    pub attempted_at: i64,
    /// What is to be sent.
    pub body: OutboxBody,
    /// The path and the bytes, once fixed.
    pub wire: Option<(String, String)>,
    /// The event id, once sent.
    pub event_id: Option<String>,
    /// The error code and text, once refused.
    pub refusal: Option<(String, String)>,
}

impl Record for OutboxRow {
    const TABLE: Table = Table { name: "outbox", key: &["number"], plain: &["room_id", "state"] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.state.as_str().into()]
    }
}

/// What a request is about, and so how its answer is taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Publish keys of this device.
    KeysUpload,
    /// The devices of users, each with the generation of the question.
    KeysQuery {
        /// User ids and generations.
        users: Vec<(String, u64)>,
    },
    /// One-time keys of devices.
    KeysClaim {
        /// User ids and device ids.
        devices: Vec<(String, String)>,
    },
    /// Whether a room is encrypted.
    Encryption {
        /// The room.
        room_id: String,
        /// The last event that was queued when this was asked.
        up_to: i64,
    },
    /// Who may read the history of a room.
    HistoryVisibility {
        /// The room.
        room_id: String,
    },
    /// The members of a room.
    Members {
        /// The room.
        room_id: String,
        /// How often its members had changed when this was asked.
        generation: u64,
    },
    /// The next part of a gap in a timeline.
    Gap {
        /// The room.
        room_id: String,
        /// The number of the gap.
        number: i64,
        /// Where this part begins.
        from: String,
    },
    /// Upload the signature that follows from a verification.
    Signature {
        /// The number of the verification.
        number: i64,
    },
    /// Which version of the key backup there is.
    BackupVersion,
    /// Put keys into the key backup.
    BackUp {
        /// The version.
        version: String,
        /// The number of the last session among them.
        up_to: i64,
    },
    /// A key in the key backup.
    BackedUpKey {
        /// The room.
        room_id: String,
        /// The session.
        session_id: String,
    },
    /// A bundle of room keys.
    KeyBundle {
        /// The room.
        room_id: String,
        /// Who shares it.
        sender: String,
        /// Its number.
        number: i64,
    },
    /// Send something of the outbox.
    Send {
        /// Its number.
        number: i64,
    },
}

impl Ask {
    /// The word in the column.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KeysUpload => "keys_upload",
            Self::KeysQuery { .. } => "keys_query",
            Self::KeysClaim { .. } => "keys_claim",
            Self::Encryption { .. } => "encryption",
            Self::HistoryVisibility { .. } => "history_visibility",
            Self::Members { .. } => "members",
            Self::Gap { .. } => "gap",
            Self::Signature { .. } => "signature",
            Self::BackupVersion => "backup_version",
            Self::BackUp { .. } => "back_up",
            Self::BackedUpKey { .. } => "backed_up_key",
            Self::KeyBundle { .. } => "key_bundle",
            Self::Send { .. } => "send",
        }
    }
}

/// A request that is with the server, leased by the process that performs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub number: i64,
    /// What it is about.
    pub ask: Ask,
    /// From then on the process that performs it is taken for dead.
    pub leased_until: i64,
}

impl Record for Request {
    const TABLE: Table = Table { name: "request", key: &["number"], plain: &["kind"] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.ask.kind().into()]
    }
}
