//! Approvals: what a user was asked to allow in a browser.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::Single;

/// A request that waits for its user's approval.
#[derive(Serialize, Deserialize)]
pub struct Approval {
    /// The body of the request, without authentication: what is approved is this, and nothing else.
    pub body: String,
    /// The session of user-interactive authentication it is approved in.
    pub session: String,
}

/// The approvals that are awaited, by the path of the request.
#[derive(Default, Serialize, Deserialize)]
pub struct Approvals {
    /// One per path: an attempt that was begun again takes the place of the one before.
    pub pending: BTreeMap<String, Approval>,
}

impl Single for Approvals {
    const NAME: &'static str = "approvals";
}
