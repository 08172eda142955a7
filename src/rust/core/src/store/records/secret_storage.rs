//! Keys of secret storage.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A change of the key of secret storage that was begun and is not done. After a crash it goes on
/// with the same keys, and nobody has to type the old one again.
#[derive(Serialize, Deserialize)]
pub struct KeyChange {
    /// The id of the new key.
    pub key_id: String,
    /// The new key.
    pub key: Zeroizing<[u8; 32]>,
    /// Its description, as text.
    pub description: String,
    /// The id of the key that opened secret storage.
    pub old_key_id: String,
    /// That key.
    pub old_key: Zeroizing<[u8; 32]>,
    /// The ids of the keys that open nothing afterwards: this one, the default key, and that of a
    /// change that was overtaken.
    pub retired: Vec<String>,
}
