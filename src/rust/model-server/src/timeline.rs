//! The part of a room's events that a sync shows.

use serde_json::{Value, json};

use crate::event::Event;
use crate::room::Room;
use crate::sync::Position;
use crate::token::Caller;

/// The last events of a range, and what was before them.
pub(crate) struct Timeline<'a> {
    pub(crate) events: Vec<&'a Event>,
    /// Whether the range holds more events than these.
    pub(crate) limited: bool,
    /// The position just before the first event, where the timeline's state and history begin.
    pub(crate) start: u64,
}

impl<'a> Timeline<'a> {
    /// At most `limit` events of `room` after one position and up to another.
    ///
    /// A change of the reader's own membership is always shown: it is how they learn that they
    /// were invited, or thrown out.
    pub(crate) fn last(
        room: &'a Room,
        reader: &Caller,
        after: u64,
        until: u64,
        limit: usize,
    ) -> Self {
        let user = reader.user.as_str();
        let shown = |event: &&Event| event.is_membership_of(user) || room.is_visible(event, user);
        let newest_first = room.between(after, until).iter().rev();
        let mut events: Vec<&Event> = newest_first.filter(shown).take(limit + 1).collect();
        let limited = events.len() > limit;
        events.truncate(limit);
        events.reverse();
        let start = events.first().map_or(until, |event| event.position - 1);
        Self { events, limited, start }
    }

    pub(crate) fn render(&self, room: &Room, reader: &Caller) -> Value {
        json!({
            "events": room.render_all(&self.events, reader),
            "limited": self.limited,
            "prev_batch": Position::at(self.start).to_string(),
        })
    }

    pub(crate) fn has_sender(&self, user: &str) -> bool {
        self.events.iter().any(|event| event.sender == user)
    }
}
