//! Knocking: asking the members of a room for an invitation.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{Draft, JOIN_RULES, MEMBER, check_content};
use crate::http::Call;
use crate::json::Fields;
use crate::room::{Membership, NOW};
use crate::token::Caller;

impl ModelServer {
    /// A user who knocks is outside of the room, as after leaving it, until somebody invites them.
    pub(crate) fn knock(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        let body = call.object_or_empty()?;
        let id = self.resolve_room(room)?;
        let unknown = || Error::not_found("No known servers are in this room");
        let room = self.rooms.get(&id).ok_or_else(unknown)?;
        let rule = room.state_event(JOIN_RULES, "", NOW);
        let rule = rule.and_then(|event| event.content.get("join_rule")).and_then(Value::as_str);
        let is_outside = room.membership(&me.user, NOW) == Membership::Leave;
        if !is_outside || !matches!(rule, Some("knock" | "knock_restricted")) {
            return Err(Error::forbidden("You are not allowed to knock on this room."));
        }
        let mut content = self.profile_of(&me.user);
        content.insert("membership".to_owned(), Value::from("knock"));
        if let Some(reason) = body.text("reason")? {
            content.insert("reason".to_owned(), Value::from(reason));
        }
        let draft = Draft::state(MEMBER, &me.user, check_content(content)?);
        self.append(&id, &me.user, draft, call.now)?;
        Ok(json!({"room_id": id}))
    }
}
