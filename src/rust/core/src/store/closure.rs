//! Stores that must not be used: copies, and stores on their way from one place to another.
//!
//! Two stores of one device would encrypt with the same keys, and neither would be secure. So a store says itself that
//! it is closed, and each transaction asks: a process that opened it before learns of it, too.

use serde::{Deserialize, Serialize};

use super::Single;
use crate::error::{Error, Kind};

/// Why a store is closed. A store that can be used has no such record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closure {
    /// It is a copy.
    Copy {
        /// When it was made, in words.
        made_at: String,
    },
    /// It is being moved. What was not finished can be begun again.
    Leaving {
        /// Where to.
        to: String,
        /// Random bytes that tell this move from others.
        id: [u8; 16],
    },
    /// All of a store that is being moved has arrived here.
    Arrived {
        /// Where from.
        from: String,
        /// That of the move.
        id: [u8; 16],
    },
    /// It was moved, for ever.
    Moved {
        /// Where to.
        to: String,
        /// That of the move.
        id: [u8; 16],
    },
}

impl Single for Closure {
    const NAME: &'static str = "closure";
}

impl Closure {
    /// What somebody is told who opens it.
    pub fn refusal(&self) -> Error {
        let (kind, message) = match self {
            Self::Copy { made_at } => (
                Kind::StoreCopy,
                format!(
                    "This store is a copy, made {made_at}. A copy is not used: it and its original \
                     would encrypt with the same keys. If the original is gone for good, \
                     mx_store_restore(path, store_dir, original_is_gone = TRUE) makes a store of it."
                ),
            ),
            Self::Leaving { to, .. } => (
                Kind::StoreMoved,
                format!(
                    "This store is being moved to {to}. If no process is at it any more, finish it \
                     with mx_store_move(), from here to that place or another."
                ),
            ),
            Self::Arrived { from, .. } => (
                Kind::StoreMoved,
                format!(
                    "The move of this store from {from} is not finished. Call mx_store_move() again, \
                     from there to here."
                ),
            ),
            Self::Moved { to, .. } => (
                Kind::StoreMoved,
                format!(
                    "This store was moved to {to}. Use it there; what is left here can be deleted."
                ),
            ),
        };
        Error::new(kind, message)
    }
}
