//! Files that wait in the store itself, where it is a database that several machines share.

use serde::{Deserialize, Serialize};

use crate::store::{Record, Table, Value};

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePiece {
    /// The name of the file.
    pub name: String,
    /// Which piece it is, from 0.
    pub number: i64,
    /// When it was kept.
    pub kept_at: i64,
    /// Its bytes, in base64.
    pub bytes: String,
}

impl Record for FilePiece {
    const TABLE: Table = Table { name: "file_piece", key: &["name", "number"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.name.as_str().into(), self.number.into()]
    }
}
