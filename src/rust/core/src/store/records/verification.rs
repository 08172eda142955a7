//! Verifications that are under way, or lately were.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    primitives::sas::{EphemeralKey, MacMethod},
    store::{Record, Table, Value},
};

/// A verification between a device of another user, or another of ours, and this one.
#[derive(Clone, Serialize, Deserialize)]
pub struct Verification {
    /// Its number here.
    pub number: i64,
    /// The transaction id; in a room, the event id of the request, once it has one.
    pub flow_id: Option<String>,
    /// The other user, who may be ours.
    pub user_id: String,
    /// The other device, once it is known which one it is.
    pub device_id: Option<String>,
    /// The room it takes place in; none between devices.
    pub room_id: Option<String>,
    /// This device requested it.
    pub requested_here: bool,
    /// The devices that the request was sent to, between devices.
    pub asked: Vec<String>,
    /// Our request in the outbox, in a room.
    pub request: Option<i64>,
    /// What both sides can do; before both said so, what the other can.
    pub methods: Vec<String>,
    /// When it ends if nothing happens.
    pub deadline: i64,
    /// The keys that are verified, fixed when both agreed to it.
    pub keys: Option<FixedKeys>,
    /// What the QR code that is shown holds, once it was made.
    pub code: Option<Zeroizing<Vec<u8>>>,
    /// Events that wait until the other device's keys are known, or until our user agrees: types and
    /// contents.
    pub waiting: Vec<(String, String)>,
    /// Hashes of the messages that came: what comes again is left.
    pub seen: Vec<String>,
    /// How far it is.
    pub phase: Phase,
    /// Signatures of ours that the server does not have yet.
    pub owed: Option<Owed>,
}

impl Verification {
    /// One that the other side has requested, in no room and with no device yet.
    pub fn new(number: i64, user_id: &str, deadline: i64) -> Self {
        Self {
            number,
            flow_id: None,
            user_id: user_id.to_owned(),
            device_id: None,
            room_id: None,
            requested_here: false,
            asked: Vec::new(),
            request: None,
            methods: Vec::new(),
            deadline,
            keys: None,
            code: None,
            waiting: Vec::new(),
            seen: Vec::new(),
            phase: Phase::Requested,
            owed: None,
        }
    }
}

/// Keys as they were when a verification began. The verification is about these keys, whatever the
/// server returns later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedKeys {
    /// The Ed25519 key of the other device.
    pub device: String,
    /// The master key of the other user.
    pub master: Option<String>,
}

/// How far a verification is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// One side asked.
    Requested,
    /// The other side agreed.
    Ready,
    /// SAS is under way.
    Sas(Box<Sas>),
    /// The other side scanned our QR code, which proves this if our user sees that it did.
    Scanned(Proven),
    /// Our user scanned the QR code of the other side, which proved this; theirs is to confirm.
    Reciprocated(Proven),
    /// It came to a good end.
    Done(Proven),
    /// It came to another end.
    Cancelled {
        /// The code.
        code: String,
        /// We ended it.
        here: bool,
        /// What our server said that refused a message of it.
        #[serde(default)]
        message: Option<String>,
    },
}

/// How far SAS is.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sas {
    /// We began it.
    pub started_here: bool,
    /// The content of `m.key.verification.start`, as JSON text.
    pub start: String,
    /// Our half of the agreement.
    pub key: EphemeralKey,
    /// How keys are authenticated.
    pub mac: MacMethod,
    /// Emoji can be compared, as well as numbers.
    pub emoji: bool,
    /// What the other side said of its key before it showed it, where we began.
    pub commitment: Option<String>,
    /// The other half, once it was shown.
    pub their_key: Option<String>,
    /// Our user saw the same as the other.
    pub confirmed: bool,
    /// Which of the fixed keys the other side has proven to hold.
    pub proven: Option<Proven>,
}

/// Which keys were proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// That of the device.
    pub device: bool,
    /// The master key of its user.
    pub master: bool,
}

/// A signature that follows from a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owed {
    /// Of another device of ours, by our self-signing key.
    Device,
    /// Of another user's master key, by our user-signing key.
    User,
    /// Of our own master key, by this device.
    OwnMaster,
}

impl Verification {
    /// It has come to an end.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Done(_) | Phase::Cancelled { .. })
    }
}

impl Record for Verification {
    const TABLE: Table = Table { name: "verification", key: &["number"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}
