//! The files of archived messages. R fetches them into a directory beside the store; here is what is known of them.
//!
//! A file gets its name once its row is there, and loses its row in the transaction that deletes the event. So a
//! file of such a name that no row has is to be deleted, at any time, and one that is missing is fetched again.

use std::collections::HashMap;

use super::{Machine, Millis, Work, archive};
use crate::{
    error::Result,
    judgement::attachment::Attachment,
    store::{
        Query,
        records::{ArchivedMedia, ArchivedRoom, MediaFile},
    },
};

/// After so many failures a file is not requested any more.
const MOST_TRIES: u8 = 3;

/// Why a file was not kept. It is no failure that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// The server does not have it, or has another.
    Missing,
    /// It is larger than so many bytes.
    LargerThan(u64),
}

impl Machine {
    /// The events of a room whose files should be kept and are not, oldest first. `present` has the sizes of the
    /// files in the directory, by name.
    ///
    /// # Errors
    /// Those of the store.
    pub fn wanted_media(
        &mut self,
        room_id: &str,
        present: &HashMap<String, u64>,
    ) -> Result<Vec<String>> {
        self.read(|work| {
            let Some(room) = work.tx.get::<ArchivedRoom>(&[room_id.into()])? else {
                return Ok(Vec::new());
            };
            let is_there = |file: &MediaFile| present.get(&file.name) == Some(&file.size);
            let mut wanted = work.tx.select::<ArchivedMedia>(&Query::equal("room_id", room_id))?;
            wanted.retain(|media| {
                media.tries < MOST_TRIES
                    && media.larger_than.is_none_or(|size| size < room.largest_media)
                    && room.largest_media > 0
                    && !media.file.as_ref().is_some_and(is_there)
            });
            // A server that deletes files begins with the oldest.
            wanted.sort_by_key(|media| media.sent_at);
            Ok(wanted.into_iter().map(|media| media.event_id).collect())
        })
    }

    /// The attachment of an archived event, if it is there still.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_attachment(
        &mut self,
        room_id: &str,
        event_id: &str,
    ) -> Result<Option<Attachment>> {
        self.read(|work| {
            let known = archive::archived(work, room_id, event_id)?;
            Ok(known.and_then(|known| Attachment::of(&known.event)))
        })
    }

    /// Notes which file holds the attachment of an event. Returns whether it is wanted: the event may be gone.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keep_media(
        &mut self,
        now: Millis,
        room_id: &str,
        event_id: &str,
        file: MediaFile,
    ) -> Result<bool> {
        self.work(now, |work| {
            let Some(known) = media_of(work, room_id, event_id)? else { return Ok(false) };
            work.tx.put(&ArchivedMedia { file: Some(file), tries: 0, ..known })?;
            Ok(true)
        })
    }

    /// Notes that the attachment of an event could not be kept.
    ///
    /// # Errors
    /// Those of the store.
    pub fn refuse_media(
        &mut self,
        now: Millis,
        room_id: &str,
        event_id: &str,
        reason: NotKept,
    ) -> Result<()> {
        self.work(now, |work| {
            let Some(known) = media_of(work, room_id, event_id)? else { return Ok(()) };
            work.tx.put(&match reason {
                NotKept::Missing => {
                    ArchivedMedia { file: None, tries: known.tries.saturating_add(1), ..known }
                }
                NotKept::LargerThan(size) => {
                    ArchivedMedia { file: None, larger_than: Some(size), ..known }
                }
            })
        })
    }

    /// The file that was kept of what an event has at `url`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn kept_media(
        &mut self,
        room_id: &str,
        event_id: &str,
        url: &str,
    ) -> Result<Option<MediaFile>> {
        self.read(|work| {
            let known = media_of(work, room_id, event_id)?.filter(|media| media.url == url);
            Ok(known.and_then(|media| media.file))
        })
    }

    /// The names of all files that rows have. Others in the directory may be deleted.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_files(&mut self) -> Result<Vec<String>> {
        self.read(|work| {
            work.tx.texts::<ArchivedMedia>("file_name", &Query::all().after("file_name", ""))
        })
    }
}

fn media_of(work: &Work<'_>, room_id: &str, event_id: &str) -> Result<Option<ArchivedMedia>> {
    work.tx.get(&[room_id.into(), event_id.into()])
}
