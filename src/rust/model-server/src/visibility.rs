//! Who may read what of a room's past.

use serde_json::Value;

use crate::ModelServer;
use crate::error::Error;
use crate::event::{Event, HISTORY_VISIBILITY, MEMBER};
use crate::room::{Membership, NOW, Room};

impl Room {
    /// Whether a user may read an event: the rules of the history visibility module.
    ///
    /// The state after the event counts as well as the state before it. That makes a difference
    /// for changes of the visibility and of the reader's own membership only, and for those two
    /// the rules say just this.
    pub(crate) fn is_visible(&self, event: &Event, user: &str) -> bool {
        let joined_later = || {
            let mut history = self.past_state(MEMBER, user).rev();
            history.any(|m| m.position > event.position && Membership::of(m) == Membership::Join)
        };
        [event.position - 1, event.position].into_iter().any(|at| {
            let membership = self.membership(user, at);
            match self.history_visibility(at) {
                _ if membership == Membership::Join => true,
                "world_readable" => true,
                "invited" => membership == Membership::Invite,
                "joined" => false,
                _ => joined_later(),
            }
        })
    }

    fn history_visibility(&self, at: u64) -> &str {
        let event = self.state_event(HISTORY_VISIBILITY, "", at);
        let value = event.and_then(|event| event.content.get("history_visibility"));
        value.and_then(Value::as_str).unwrap_or("shared")
    }

    /// Up to where a user may read the room's state: to the end for members, to their leave for
    /// those who left, nothing for others.
    fn readable_until(&self, user: &str) -> Option<u64> {
        if self.is_joined(user) || self.history_visibility(NOW) == "world_readable" {
            return Some(NOW);
        }
        if self.forgotten.contains(user) {
            return None;
        }
        let mut history = self.past_state(MEMBER, user).rev();
        let ended = |event: &&Event| {
            self.membership(user, event.position - 1) == Membership::Join
                && Membership::of(event) != Membership::Join
        };
        history.find(ended).map(|event| event.position)
    }
}

impl ModelServer {
    /// A room that a user may read, with the position up to which they may.
    pub(crate) fn readable_room(&self, user: &str, room: &str) -> Result<(&Room, u64), Error> {
        let outside = || Error::forbidden(format!("User {user} not in room {room}"));
        let room = self.rooms.get(room).ok_or_else(outside)?;
        Ok((room, room.readable_until(user).ok_or_else(outside)?))
    }
}
