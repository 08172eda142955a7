//! Devices of users, and how fresh our knowledge of them is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// A user whose devices are tracked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The user.
    pub user_id: String,
    /// The devices must be requested before they are relied on.
    pub outdated: bool,
    /// Another one each time the list is marked as outdated, or tracked again, so that a response to an
    /// older request cannot clear a newer mark.
    pub generation: u64,
    /// The latest generation whose response was applied. One of the same or an older generation changes nothing
    /// any more.
    #[serde(default)]
    pub applied: u64,
    /// How often in a row the user's server could not be reached.
    pub failures: u32,
    /// The question is not repeated before this time.
    pub retry_at: i64,
    /// Devices that the server returned and that cannot be given keys, and why.
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
}

impl Record for DeviceList {
    const TABLE: Table = Table { name: "device_list", key: &["user_id"], plain: &["outdated"] };

    fn key(&self) -> Vec<Value> {
        vec![self.user_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![i64::from(self.outdated).into()]
    }
}

/// What our user decided about a device, on this device alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalTrust {
    /// Nothing.
    #[default]
    Unset,
    /// Its fingerprint was compared.
    Verified,
    /// It gets no keys.
    Blocked,
}

/// A device whose keys were judged. Its keys never change here: another Ed25519 key under a known
/// name is refused and flagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The owner.
    pub user_id: String,
    /// The name of the device.
    pub device_id: String,
    /// The Curve25519 identity key, unpadded base64.
    pub identity_key: String,
    /// The Ed25519 key, unpadded base64.
    pub signing_key: String,
    /// What the owner calls it; not signed.
    pub display_name: Option<String>,
    /// The signed object as it came, for signatures that are judged later.
    pub device_keys: String,
    /// The self-signing key of its owner whose signature on it was checked.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// What our user decided about it.
    #[serde(default)]
    pub local: LocalTrust,
    /// It is a dehydrated device (MSC3814), which its owner's next device reads from.
    #[serde(default)]
    pub dehydrated: bool,
    /// When it was first seen.
    pub first_seen_at: i64,
    /// It is no longer on the server. It is remembered, because messages from it may still come.
    pub deleted: bool,
    /// The server offered another Ed25519 key for it, which was refused.
    pub key_changed: bool,
    /// How often in a row no one-time key could be had.
    pub claim_failures: u32,
    /// No one-time key is claimed before this time.
    pub claim_retry_at: i64,
    /// It was told that no Olm session with it could be opened.
    #[serde(default)]
    pub told_no_olm: bool,
}

impl Record for Device {
    const TABLE: Table =
        Table { name: "device", key: &["user_id", "device_id"], plain: &["identity_key"] };

    fn key(&self) -> Vec<Value> {
        vec![self.user_id.as_str().into(), self.device_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.identity_key.as_str().into()]
    }
}
