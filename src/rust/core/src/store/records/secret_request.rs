//! Secrets that devices of one user request from each other.

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// Our request for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRequest {
    /// The name of the secret.
    pub name: String,
    /// The name of the request.
    pub request_id: String,
    /// Our devices that were asked.
    pub asked: Vec<String>,
    /// When the last of them was asked.
    #[serde(default)]
    pub asked_at: i64,
}

impl Record for SecretRequest {
    const TABLE: Table = Table { name: "secret_request", key: &["name"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.name.as_str().into()]
    }
}

/// The request of another device of ours for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedSecretRequest {
    /// The device it is for.
    pub device_id: String,
    /// The name of the request.
    pub request_id: String,
    /// The name of the secret.
    pub name: String,
    /// When it came.
    pub received_at: i64,
}

impl Record for ReceivedSecretRequest {
    const TABLE: Table =
        Table { name: "received_secret_request", key: &["device_id", "request_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.device_id.as_str().into(), self.request_id.as_str().into()]
    }
}
