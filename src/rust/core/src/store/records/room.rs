//! Rooms and their members.

use serde::{Deserialize, Serialize};

use crate::{
    primitives::account::MEGOLM,
    store::{Record, Table, Value},
};

/// How a room is encrypted. Once a room has this it keeps it, whatever the server says later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The algorithm, which may be one that is not known here.
    pub algorithm: String,
    /// A session encrypts at most this many messages.
    pub rotation_messages: u64,
    /// A session is used at most this long, in milliseconds.
    pub rotation_period: i64,
}

impl Default for Encryption {
    /// What the specification recommends: a hundred messages, a week.
    fn default() -> Self {
        Self {
            algorithm: MEGOLM.to_owned(),
            rotation_messages: 100,
            rotation_period: 7 * 24 * 60 * 60 * 1000,
        }
    }
}

/// What is known of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The room.
    pub room_id: String,
    /// Our own membership.
    pub membership: Membership,
    /// How it is encrypted, if it ever was seen to be.
    pub encryption: Option<Encryption>,
    /// The history visibility: `joined` keeps room keys from those only invited.
    pub history_visibility: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its canonical alias.
    pub alias: Option<String>,
    /// We joined it by a call, and no sync has reported it yet: what comes with the first one is from before.
    #[serde(default)]
    pub unsynced: bool,
    /// When we came in, by our server's clock.
    #[serde(default)]
    pub joined_at: Option<i64>,
    /// Who invited us.
    pub inviter: Option<String>,
    /// The invitation said that the room is a direct one.
    #[serde(default)]
    pub direct: bool,
    /// The room that replaces this one, by its tombstone.
    #[serde(default)]
    pub successor: Option<String>,
    /// Who sent that tombstone.
    #[serde(default)]
    pub upgraded_by: Option<String>,
    /// The history visibility was learned, by sync or by asking.
    pub visibility_known: bool,
    /// The list of members is complete and current.
    pub members_known: bool,
    /// The sync token at which the members were fetched. A sync response that was under way then
    /// may report older changes after newer ones.
    pub members_fetched_at: Option<String>,
    /// Rises when a member comes or goes, or may have: a response to an older request says nothing.
    #[serde(default)]
    pub members_generation: u64,
    /// Rises when a member or a device of a member comes or goes.
    pub recipients_generation: u64,
}

impl Room {
    /// Notes that members have changed, or may have.
    pub fn forget_members(&mut self) {
        self.members_known = false;
        self.members_generation += 1;
    }
}

impl Record for Room {
    const TABLE: Table = Table { name: "room", key: &["room_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into()]
    }
}

/// The membership of a user in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// In the room.
    Join,
    /// Invited.
    Invite,
    /// Asked to be let in.
    Knock,
    /// Not, or no longer, in the room.
    #[default]
    Leave,
    /// Banned.
    Ban,
}

impl Membership {
    /// Reads the `membership` of an `m.room.member` event; what is not known counts as gone.
    pub fn parse(text: &str) -> Self {
        match text {
            "join" => Self::Join,
            "invite" => Self::Invite,
            "knock" => Self::Knock,
            "ban" => Self::Ban,
            _ => Self::Leave,
        }
    }

    /// The word of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}

/// A user in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The room.
    pub room_id: String,
    /// The user.
    pub user_id: String,
    /// The membership.
    pub membership: Membership,
}

impl Record for Member {
    const TABLE: Table = Table { name: "member", key: &["room_id", "user_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.user_id.as_str().into()]
    }
}
