//! What must reach the server, and what is with the server now.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Kind, OrFail, Result},
    store::{
        Record, Table, Value,
        beside::{self, NeededFile},
    },
};

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
    /// It was refused, and an event has reported it, because nobody waited for it.
    Told,
}

impl OutboxState {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fixed => "fixed",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Told => "told",
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
        /// After this was queued, the server reported that the room is not encrypted.
        plain_allowed: bool,
        /// It is of a verification, which goes also to users whose identity is not settled.
        #[serde(default)]
        verifies: bool,
        /// Files that must be on the server before, in the order in which they are uploaded.
        #[serde(default)]
        uploads: Vec<Upload>,
        /// The server is to send it later: it is the message of a heartbeat.
        #[serde(default)]
        delay: Option<Delay>,
    },
    /// A redaction, which is never encrypted.
    Redaction {
        /// The event to redact.
        event_id: String,
        /// `{"reason": …}` or `{}`.
        content: String,
    },
    /// A reaction that goes out in the clear, also in an encrypted room: servers count reactions.
    Reaction {
        /// `{"m.relates_to": …}`
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
    /// The files that must be on the server before this can be sent.
    pub fn uploads(&self) -> &[Upload] {
        match self {
            OutboxBody::Event { uploads, .. } => uploads,
            _ => &[],
        }
    }

    /// How long the server is to wait before it sends this, if it is to wait.
    pub fn delay(&self) -> Option<Delay> {
        match self {
            OutboxBody::Event { delay, .. } => *delay,
            _ => None,
        }
    }

    /// The type of the to-device events this is, if it is some.
    pub fn to_device(&self) -> Option<&str> {
        match self {
            OutboxBody::RoomKeys { .. } => Some("m.room.encrypted"),
            OutboxBody::ToDevice { event_type, .. } => Some(event_type),
            _ => None,
        }
    }
}

/// How the server is asked to send an event later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// How much later, in milliseconds.
    pub milliseconds: i64,
    /// Whether the server has the endpoints of the accepted proposal, or those before it.
    pub stable: bool,
}

/// A file that waits beside the store until it is on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its name there.
    pub file: String,
    /// How many bytes it has.
    pub size: u64,
    /// The members that lead to the place of its address in the content.
    pub place: Vec<String>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// What the server is told that it is.
    pub content_type: String,
    /// What the server is told that it is called.
    pub name: Option<String>,
}

impl Upload {
    fn needed(&self) -> NeededFile {
        NeededFile { directory: beside::WAITING, name: self.file.clone(), size: self.size }
    }

    /// Reads a JSON array of them.
    ///
    /// # Errors
    /// [`Kind::Json`] when it is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>> {
        serde_json::from_str(text).or_fail(Kind::Json, "The files of a message")
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
    /// When it was first given to the transport, of those times that may have reached the server: from
    /// then on a server remembers its transaction id. Zero where that is not known.
    #[serde(default)]
    pub first_attempted_at: i64,
    /// What is to be sent.
    pub body: OutboxBody,
    /// The path and the bytes, once fixed.
    pub wire: Option<(String, String)>,
    /// The event id, once sent.
    pub event_id: Option<String>,
    /// The error code and text, once refused.
    pub refusal: Option<(String, String)>,
    /// A caller waits for its outcome.
    #[serde(default)]
    pub awaited: bool,
}

impl Record for OutboxRow {
    const TABLE: Table = Table { name: "outbox", key: &["number"], plain: &["room_id", "state"] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.state.as_str().into()]
    }

    fn files(&self) -> Vec<NeededFile> {
        // One that was refused can be sent again.
        match self.state {
            OutboxState::Fixed | OutboxState::Sent => Vec::new(),
            _ => self.body.uploads().iter().map(Upload::needed).collect(),
        }
    }
}

/// The kind of a request, and so how its response is processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Publish keys of this device.
    KeysUpload,
    /// The devices of users, each with the generation of the request.
    KeysQuery {
        /// User ids and generations.
        users: Vec<(String, u64)>,
        /// Who waits for it.
        #[serde(default)]
        lane: Lane,
    },
    /// One-time keys of devices.
    KeysClaim {
        /// User ids and device ids.
        devices: Vec<(String, String)>,
        /// Who waits for it.
        #[serde(default)]
        lane: Lane,
    },
    /// Whether a room is encrypted.
    Encryption {
        /// The room.
        room_id: String,
        /// The last event that was queued when this was requested.
        up_to: i64,
    },
    /// Who may read the history of a room.
    HistoryVisibility {
        /// The room.
        room_id: String,
        /// As for its members, which are forgotten together with it.
        #[serde(default)]
        generation: u64,
    },
    /// The members of a room.
    Members {
        /// The room.
        room_id: String,
        /// How often its members had changed when this was requested.
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
        /// Where the gap ends.
        #[serde(default)]
        to: String,
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
        /// The version of the backup.
        #[serde(default)]
        version: String,
    },
    /// A bundle of room keys.
    KeyBundle {
        /// The room.
        room_id: String,
        /// Who shares it.
        sender: String,
        /// Its number.
        number: i64,
        /// The server that has the file.
        #[serde(default)]
        server: String,
        /// The name of the file there.
        #[serde(default)]
        media_id: String,
    },
    /// Upload a file that a message of the outbox needs.
    Upload {
        /// The number of the message.
        number: i64,
        /// The name of the file.
        file: String,
        /// The room.
        room_id: String,
    },
    /// Send something of the outbox.
    Send {
        /// Its number.
        number: i64,
        /// Whose messages wait until it is sent.
        #[serde(default)]
        lane: Lane,
    },
    /// Have the server not send what it was to send later.
    CancelDelayed {
        /// The number of the heartbeat.
        number: i64,
        /// The server's id for it.
        delay_id: String,
        /// Whether the server has the endpoints of the accepted proposal.
        stable: bool,
    },
    /// What the server is to send later.
    ListDelayed {
        /// Whether the server has the endpoints of the accepted proposal.
        stable: bool,
    },
}

/// Who waits for a request. A request that fails in one lane keeps nobody in another waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Nobody: it is side work.
    #[default]
    Side,
    /// The messages of this room.
    Room(String),
    /// The caller who requested it.
    Caller,
}

impl Lane {
    /// The room, if it is that of one.
    pub fn room(&self) -> Option<&str> {
        match self {
            Self::Room(room_id) => Some(room_id),
            _ => None,
        }
    }

    /// A word for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Side => "side",
            Self::Room(room_id) => room_id,
            Self::Caller => "caller",
        }
    }
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
            Self::Upload { .. } => "upload",
            Self::Send { .. } => "send",
            Self::CancelDelayed { .. } => "cancel_delayed",
            Self::ListDelayed { .. } => "list_delayed",
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
