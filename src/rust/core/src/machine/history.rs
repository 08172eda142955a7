//! Reads the history of a room, without handing it to consumers.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Handed, Machine, Unsigned, Work, timeline::notice};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::{room_event::RoomEvent, unique_map::read_object},
};

/// A page of history.
#[derive(Debug)]
pub struct History {
    /// Its events, in the order of the server.
    pub events: Vec<Handed>,
    /// The token of the next page, if there is one.
    pub end: Option<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    chunk: Vec<&'a RawValue>,
    #[serde(default)]
    end: Option<String>,
}

impl Machine {
    /// Reads `body`, a page of `GET /rooms/…/messages` of the room `room_id`. Events go through
    /// the same checks as those of a sync: an index that stands for one event stands for no other.
    ///
    /// # Errors
    /// [`Kind::Answer`] when `body` is no such page.
    pub fn read_history(
        &mut self,
        room_id: &str,
        body: &str,
        unsigned: Unsigned,
    ) -> Result<History> {
        let page: Page<'_> = read_object(body).or_fail(Kind::Answer, "A page of messages")?;
        self.work(0, |work| {
            let hold_back = work.holds_back(unsigned)?;
            let read = |text: &&RawValue| work.read_old_event(room_id, text.get(), hold_back);
            let events = page.chunk.iter().map(read);
            Ok(History { events: events.collect::<Result<_>>()?, end: page.end.clone() })
        })
    }
}

impl Work<'_> {
    fn read_old_event(&mut self, room_id: &str, text: &str, hold_back: bool) -> Result<Handed> {
        let event = match RoomEvent::read(text) {
            Ok(event) => self.read_event(room_id, &event)?,
            Err(error) => notice(room_id, "", "malformed_event", &error.message),
        };
        self.judged(0, event, hold_back)
    }
}
