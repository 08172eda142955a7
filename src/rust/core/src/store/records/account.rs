//! The account, whose it is, and how far it has come with the server.

use serde::{Deserialize, Serialize};
use vodozemac::olm::Account;

use super::pickled_account;
use crate::store::Single;

/// Opens only under the key of this store.
#[derive(Serialize, Deserialize)]
pub struct KeyCheck {
    /// What was remembered of events is kept as of schema version 16; see `old_events.rs`.
    #[serde(default)]
    pub known_events: bool,
}

impl Single for KeyCheck {
    const NAME: &'static str = "key check";
}

/// The user and device a store belongs to, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The user id.
    pub user_id: String,
    /// The device id.
    pub device_id: String,
    /// The public Curve25519 key of the account, unpadded base64.
    pub identity_key: String,
    /// The public Ed25519 key of the account, unpadded base64.
    pub signing_key: String,
    /// The signed device keys.
    pub device_keys: String,
}

impl Single for Binding {
    const NAME: &'static str = "binding";
}

/// The Olm account of this device.
#[derive(Serialize, Deserialize)]
pub struct OwnAccount {
    /// The account.
    #[serde(with = "pickled_account")]
    pub account: Account,
}

impl Single for OwnAccount {
    const NAME: &'static str = "account";
}

/// Which of the account's keys the server has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KeyUpload {
    /// The device keys were uploaded.
    pub published: bool,
    /// When they were first given out; zero where that was not noted.
    #[serde(default)]
    pub began_at: i64,
    /// An upload that was made, saved and not yet confirmed, byte for byte.
    pub pending: Option<String>,
    /// How many one-time keys the server holds unclaimed, as far as it said.
    pub one_time_keys: u64,
    /// How many it should hold.
    pub target: u64,
    /// The server handed out the fallback key, so that a new one is due.
    pub fallback_used: bool,
    /// When the fallback key was replaced; its predecessor is forgotten an hour later.
    pub fallback_replaced_at: Option<i64>,
    /// How often in a row the server counted fewer keys than it should hold by then.
    #[serde(default)]
    pub short: u32,
    /// Until then it is given no more for that reason.
    #[serde(default)]
    pub rest_until: i64,
    /// Why no more keys are uploaded: the server holds others under the same names.
    pub conflict: Option<String>,
}

impl Single for KeyUpload {
    const NAME: &'static str = "key upload";
}

/// How far the server's stream of events was processed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SyncPosition {
    /// The token of the next sync; none before the first.
    pub token: Option<String>,
    /// When the last response was committed, in milliseconds since 1970.
    pub committed_at: i64,
}

impl Single for SyncPosition {
    const NAME: &'static str = "sync position";
}

/// The right to renew the login.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LoginLease {
    /// The number of the lease; zero where nobody has one.
    pub number: i64,
    /// When it expires, in milliseconds since 1970.
    pub until: i64,
}

impl Single for LoginLease {
    const NAME: &'static str = "login lease";
}

/// The right to ask the server for news, which takes as long as there are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SyncLease {
    /// The number of the lease; zero where nobody has one.
    pub number: i64,
    /// When it began, in milliseconds since 1970.
    pub begun: i64,
    /// When it expires.
    pub until: i64,
    /// A lock that its process has, and loses when it ends.
    #[serde(default)]
    pub lock: Option<String>,
}

impl Single for SyncLease {
    const NAME: &'static str = "sync lease";
}
