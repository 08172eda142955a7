//! What a user wants to keep of rooms.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{
    primitives::attachment::FileKey,
    store::{
        Record, Table, Value,
        beside::{self, NeededFile},
    },
};

/// A room that is archived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedRoom {
    /// The room.
    pub room_id: String,
    /// Where older events begin that were not read yet; none before the first page.
    pub next: Option<String>,
    /// All that is older was read.
    pub complete: bool,
    /// Events are kept this long, in milliseconds; for ever if it is not set.
    pub retention: Option<i64>,
    /// What was sent before this time was forgotten, and is not kept again.
    pub forgotten: Option<i64>,
    /// Files of messages are kept that have at most so many bytes; none if it is 0.
    pub largest_media: u64,
}

impl Record for ArchivedRoom {
    const TABLE: Table = Table { name: "archived_room", key: &["room_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into()]
    }
}

/// An event of an archived room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedEvent {
    /// When the server first said that it was sent.
    pub sent_at: i64,
    /// Its place among events of one time: what came with syncs is counted up, older history down.
    pub number: i64,
    /// The event. One that cannot be read holds what is encrypted.
    pub event: Event,
}

impl Record for ArchivedEvent {
    const TABLE: Table = Table {
        name: "archived_event",
        key: &["room_id", "sent_at", "number"],
        plain: &["event_id"],
    };

    fn key(&self) -> Vec<Value> {
        vec![self.event.room_id.as_str().into(), self.sent_at.into(), self.number.into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.event.event_id.as_deref().unwrap_or_default().into()]
    }
}

/// That an archived event says it replaces another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedEdit {
    /// The room.
    pub room_id: String,
    /// What is replaced.
    pub original: String,
    /// The edit.
    pub event_id: String,
}

impl Record for ArchivedEdit {
    const TABLE: Table =
        Table { name: "archived_edit", key: &["room_id", "original", "event_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![
            self.room_id.as_str().into(),
            self.original.as_str().into(),
            self.event_id.as_str().into(),
        ]
    }
}

/// That an archived event waits for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedUnread {
    /// The room.
    pub room_id: String,
    /// The session whose key is missing.
    pub session_id: String,
    /// The event.
    pub event_id: String,
}

impl Record for ArchivedUnread {
    const TABLE: Table =
        Table { name: "archived_unread", key: &["room_id", "session_id", "event_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![
            self.room_id.as_str().into(),
            self.session_id.as_str().into(),
            self.event_id.as_str().into(),
        ]
    }
}

/// That an event was redacted, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedRedaction {
    /// The room.
    pub room_id: String,
    /// What was redacted.
    pub event_id: String,
}

impl Record for ArchivedRedaction {
    const TABLE: Table =
        Table { name: "archived_redaction", key: &["room_id", "event_id"], plain: &[] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.event_id.as_str().into()]
    }
}

/// That an archived event has an attachment.
#[derive(Serialize, Deserialize)]
pub struct ArchivedMedia {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// When it was sent, as for the event.
    pub sent_at: i64,
    /// Where the server has the file.
    pub url: String,
    /// The file beside the store, if it is kept.
    pub file: Option<MediaFile>,
    /// How often the server did not give it.
    pub tries: u8,
    /// It is known to have more bytes than so many.
    pub larger_than: Option<u64>,
}

/// A file beside the store.
#[derive(Serialize, Deserialize)]
pub struct MediaFile {
    /// Its name, which reveals nothing of its content.
    pub name: String,
    /// How many bytes it has.
    pub size: u64,
    /// What opens it, if its event does not say it: it was encrypted here.
    pub key: Option<FileKey>,
}

impl Record for ArchivedMedia {
    const TABLE: Table =
        Table { name: "archived_media", key: &["room_id", "event_id"], plain: &["file_name"] };

    fn key(&self) -> Vec<Value> {
        vec![self.room_id.as_str().into(), self.event_id.as_str().into()]
    }

    fn plain(&self) -> Vec<Value> {
        vec![self.file.as_ref().map_or("", |file| file.name.as_str()).into()]
    }

    fn files(&self) -> Vec<NeededFile> {
        let needed = |file: &MediaFile| NeededFile {
            directory: beside::ARCHIVED,
            name: file.name.clone(),
            size: file.size,
        };
        self.file.iter().map(needed).collect()
    }
}
