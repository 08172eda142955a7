//! Requests that failed, and when each is tried again.

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// The last failure of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed: the subject of an [`super::Ask`].
    pub subject: String,
    /// Rises with each failure, of any request.
    pub number: i64,
    /// How often it failed since it last succeeded.
    pub failures: u32,
    /// It is not tried before this time, unless somebody waits for it.
    pub retry_at: i64,
    /// When it failed last.
    #[serde(default)]
    pub failed_at: i64,
    /// The largest batch that is worth a try, where the request is one of several subjects.
    pub batch: usize,
    /// The HTTP status; zero where no response came.
    pub status: u16,
    /// The error code.
    pub code: String,
    /// The error text.
    pub message: String,
}

impl Record for Failure {
    const TABLE: Table = Table { name: "failure", key: &["subject"], plain: &["number"] };

    fn key(&self) -> Vec<Value> {
        vec![self.subject.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}
