//! How large the content of an event may be, before and after encryption.
//!
//! Client-server API, "Size limits": an event has at most 65,536 bytes in the form in which servers
//! send it to each other. A server that is given more refuses it, after its key was shared.

use serde_json::json;

use super::{Machine, Work, rooms};
use crate::{
    error::{Error, Kind, Result},
    judgement::room_event::RELATES_TO,
    primitives::canonical_json::{Json, Object},
};

const LARGEST_EVENT: usize = 65_536;
/// What a server adds to a content: ids of at most 255 bytes, 20 previous events and 10
/// authorising ones at 47 bytes each, a hash, a signature.
const ENVELOPE: usize = 2_560;
/// The members of an encrypted content without their values, and with two keys of 43 characters.
const ENCRYPTED_CONTENT: usize = 200;
/// Version, index, lengths, MAC and signature of a Megolm message.
const MEGOLM_MESSAGE: usize = 83;
/// AES-CBC pads the last block.
const BLOCK: usize = 16;

/// The size of a content, in bytes of JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentSize {
    /// How large it is.
    pub size: usize,
    /// How large it may be.
    pub largest: usize,
}

impl ContentSize {
    /// Whether a server will take it.
    pub fn fits(self) -> bool {
        self.size <= self.largest
    }
}

impl Machine {
    /// The sizes of contents that are meant for `room`. Where it is not the id of a room that is
    /// known to be encrypted, they may be as large as in the clear.
    ///
    /// # Errors
    /// [`Kind::Json`] for what is no content; those of the store.
    pub fn content_sizes(
        &mut self,
        room: Option<&str>,
        event_type: &str,
        contents: &[String],
    ) -> Result<Vec<ContentSize>> {
        self.read(|work| {
            let encrypted = match room {
                Some(room_id) => rooms::room(work, room_id)?.encryption.is_some(),
                None => false,
            };
            let room_id = room.unwrap_or_default();
            let size =
                |content: &String| content_size(work, room_id, event_type, content, encrypted);
            contents.iter().map(size).collect()
        })
    }
}

/// Refuses a content that no server would take.
pub(super) fn check_size(
    work: &Work<'_>,
    room_id: &str,
    event_type: &str,
    content: &str,
    encrypted: bool,
) -> Result<()> {
    let ContentSize { size, largest } =
        content_size(work, room_id, event_type, content, encrypted)?;
    if size <= largest {
        return Ok(());
    }
    let message = format!(
        "The event is too large: its content has {size} bytes, and {largest} fit into an \
         event of this room. Nothing was sent."
    );
    Err(Error::new(Kind::TooLarge, message))
}

fn content_size(
    work: &Work<'_>,
    room_id: &str,
    event_type: &str,
    content: &str,
    encrypted: bool,
) -> Result<ContentSize> {
    let mut content = Json::parse_object(content)?;
    let text = |content: &Object| Json::Object(content.clone()).text();
    let size = text(&content)?.len();
    let clear = LARGEST_EVENT - ENVELOPE;
    if !encrypted {
        return Ok(ContentSize { size, largest: clear });
    }
    // The relation is not encrypted, and takes no more than it has.
    let relation = content.remove(RELATES_TO);
    let beside = size - text(&content)?.len();
    let relation = relation.map_or(Ok(0), |relation| relation.text().map(|text| text.len()))?;
    let around = ENCRYPTED_CONTENT + work.own.device_id.len() + relation;
    // Base64 makes four characters of three bytes.
    let ciphertext = clear.saturating_sub(around) / 4 * 3;
    let blocks = ciphertext.saturating_sub(MEGOLM_MESSAGE) / BLOCK;
    let wrapping = json!({"content": {}, "room_id": room_id, "type": event_type});
    let wrapping = wrapping.to_string().len() - "{}".len();
    // Of the last block, at least one byte is padding.
    let largest = (blocks * BLOCK).saturating_sub(1 + wrapping);
    Ok(ContentSize { size, largest: largest + beside })
}
