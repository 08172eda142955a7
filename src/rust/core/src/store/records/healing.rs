//! What keeps sessions healthy.

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// An Olm message that was read. One that comes again is a replay, and no sign of a broken session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlmMessageSeen {
    /// A hash of its ciphertext.
    pub tag: String,
    /// Its place in the order of arrival.
    pub number: i64,
}

impl Record for OlmMessageSeen {
    const TABLE: Table = Table { name: "olm_message", key: &["tag"], plain: &["number"] };

    fn key(&self) -> Vec<Value> {
        vec![self.tag.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

/// A device whose Olm sessions with us are, or were, broken. Its Ed25519 key is not known yet when its
/// message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlmRepair {
    /// Its owner, as this user claims.
    pub user_id: String,
    /// Its Curve25519 key.
    pub identity_key: String,
    /// Its owner shares no room with us, and is tracked for the repair alone.
    pub is_stranger: bool,
    /// A new session is to be made.
    pub is_due: bool,
    /// When it became due.
    pub broken_at: i64,
    /// When the last session was made for this reason; zero if never.
    pub repaired_at: i64,
}

impl Record for OlmRepair {
    const TABLE: Table =
        Table { name: "olm_repair", key: &["user_id", "identity_key"], plain: &["is_stranger"] };

    fn key(&self) -> Vec<Value> {
        vec![self.user_id.as_str().into(), self.identity_key.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![i64::from(self.is_stranger).into()]
    }
}

/// Word that we get no key of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldKey {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// Who says so.
    pub sender: String,
    /// Its place in the order of arrival.
    pub number: i64,
    /// Why, for programs.
    pub code: String,
}

impl Record for WithheldKey {
    const TABLE: Table = Table {
        name: "withheld_key",
        key: &["room_id", "session_id", "sender"],
        plain: &["number"],
    };

    fn key(&self) -> Vec<Value> {
        vec![
            self.room_id.as_str().into(),
            self.session_id.as_str().into(),
            self.sender.as_str().into(),
        ]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

/// Our request for a room key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// Who the server says sent the event that cannot be read.
    pub sender: String,
    /// The name of the request.
    pub request_id: String,
    /// Not before this time: most keys come by themselves.
    pub due_at: i64,
    /// Our devices that were asked.
    pub asked: Vec<String>,
}

impl Record for KeyRequest {
    const TABLE: Table =
        Table { name: "key_request", key: &["room_id", "session_id"], plain: &["sender"] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.session_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.sender.as_str().into()]
    }
}

/// The request of another device for a room key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedRequest {
    /// Who asks.
    pub user_id: String,
    /// The device it is for.
    pub device_id: String,
    /// The name of the request.
    pub request_id: String,
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// When it came.
    pub received_at: i64,
}

impl Record for ReceivedRequest {
    const TABLE: Table = Table {
        name: "received_request",
        key: &["user_id", "device_id", "request_id"],
        plain: &[],
    };

    fn key(&self) -> Vec<Value> {
        vec![
            self.user_id.as_str().into(),
            self.device_id.as_str().into(),
            self.request_id.as_str().into(),
        ]
    }
}
