//! Dead man's switches: messages that the server sends later, unless it is told not to.

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// How far a heartbeat has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeartbeatState {
    /// Its message is on the way to the server.
    Starting,
    /// Its message was given to the transport, and whether the server has it is not known.
    InDoubt,
    /// The server has its message, and sends it when the delay ends.
    Armed,
    /// The server does not have its message any more: it was sent, cancelled or lost.
    Gone,
    /// The server has sent its message.
    Sent,
    /// The server did not take its message.
    Refused,
}

impl HeartbeatState {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::InDoubt => "unknown",
            Self::Armed => "armed",
            Self::Gone => "gone",
            Self::Sent => "sent",
            Self::Refused => "refused",
        }
    }
}

/// One message that the server is to send later. A heartbeat that is started again has several of them,
/// until the server has cancelled the old ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The number of its message in the outbox.
    pub number: i64,
    /// The heartbeat it belongs to.
    pub id: String,
    /// The user's name for it.
    pub name: Option<String>,
    /// The room.
    pub room_id: String,
    /// The content as JSON text, before encryption: it may be started again.
    pub content: String,
    /// How long the server waits, in milliseconds.
    pub delay: i64,
    /// Whether the server has the endpoints of the accepted proposal, or those before it.
    pub stable: bool,
    /// How far it has come.
    pub state: HeartbeatState,
    /// Until then its message may be given to the server, and not later.
    pub deadline: i64,
    /// When the server took its message, or began to wait again, by our clock.
    pub since: i64,
    /// The content as the server has it: encrypted where the room is.
    pub sent_content: Option<String>,
    /// How many attempts to give it to the server were certainly in vain.
    pub refused_attempts: u32,
    /// Where its message is in doubt: before this time the server may still get it.
    pub unsettled_until: i64,
    /// The server's id for it. Whoever knows it can cancel the message.
    pub delay_id: Option<String>,
    /// The server is to be told not to send it.
    pub cancel: bool,
    /// The id of the event, once it was sent.
    pub event_id: Option<String>,
    /// When it was sent, by the clock of the server.
    pub sent_at: Option<i64>,
    /// The error code and text, once refused.
    pub refusal: Option<(String, String)>,
}

impl Heartbeat {
    /// When the server sends it.
    pub fn due(&self) -> i64 {
        self.since.saturating_add(self.delay)
    }
}

impl Record for Heartbeat {
    const TABLE: Table = Table { name: "heartbeat", key: &["number"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}
