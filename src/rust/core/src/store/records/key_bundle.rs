//! Bundles of room keys, shared by those who invite.

use serde::{Deserialize, Serialize};

use crate::{
    primitives::attachment::FileKey,
    store::{Record, Table, Value},
};

/// A bundle that we share.
#[derive(Serialize, Deserialize)]
pub struct OwnBundle {
    /// Its number.
    pub number: i64,
    /// The room.
    pub room_id: String,
    /// What opens it.
    pub key: FileKey,
    /// Where it is, once it was uploaded.
    pub url: Option<String>,
    /// Those who have not been told of it yet.
    pub users: Vec<String>,
    /// When it was made.
    pub made_at: i64,
}

impl Record for OwnBundle {
    const TABLE: Table = Table { name: "own_bundle", key: &["number"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

/// A bundle that somebody shares with us.
#[derive(Serialize, Deserialize)]
pub struct ReceivedBundle {
    /// The room.
    pub room_id: String,
    /// Who shares it.
    pub sender: String,
    /// Its place in the order of arrival.
    pub number: i64,
    /// The Curve25519 key of the device that told us of it.
    pub sender_key: String,
    /// Where it is: an `mxc://` address.
    pub url: String,
    /// What opens it.
    pub key: FileKey,
}

impl Record for ReceivedBundle {
    const TABLE: Table =
        Table { name: "received_bundle", key: &["room_id", "sender"], plain: &["number"] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.sender.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}
