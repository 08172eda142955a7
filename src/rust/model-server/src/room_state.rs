//! Reading a room's state, members and single events.

use serde_json::{Map, Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::room::{Membership, NOW};
use crate::sync::Position;
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn whole_state(&self, me: &Caller, room: &str) -> Reply {
        let (room, until) = self.readable_room(&me.user, room)?;
        let state = room.state(until);
        Ok(state.iter().map(|event| room.render_whole(event, me)).collect())
    }

    pub(crate) fn state(
        &self,
        me: &Caller,
        room: &str,
        kind: &str,
        key: &str,
        call: &Call,
    ) -> Reply {
        let (room, until) = self.readable_room(&me.user, room)?;
        let missing = || Error::not_found("Event not found.");
        let event = room.state_event(kind, key, until).ok_or_else(missing)?;
        match call.query("format") {
            Some("event") => Ok(room.render_whole(event, me)),
            _ => Ok(json!(event.content)),
        }
    }

    pub(crate) fn event(&self, me: &Caller, room: &str, event: &str) -> Reply {
        let (room, _) = self.readable_room(&me.user, room)?;
        let event = room.event(event).filter(|event| room.is_visible(event, &me.user));
        let missing = || Error::not_found("Event not found.");
        event.map(|event| room.render_whole(event, me)).ok_or_else(missing)
    }

    pub(crate) fn members(&self, me: &Caller, room: &str, call: &Call) -> Reply {
        let (room, until) = self.readable_room(&me.user, room)?;
        let at = call.query("at").map(|at| self.position_in(at, "at")).transpose()?;
        let at = at.map_or(NOW, Position::stream).min(until);
        let wanted =
            (read_membership(call, "membership")?, read_membership(call, "not_membership")?);
        let is_wanted = |membership| match wanted {
            (None, None) => true,
            (is, is_not) => is == Some(membership) || is_not.is_some_and(|not| not != membership),
        };
        let chunk: Vec<Value> = room
            .members(at)
            .filter(|(_, event)| is_wanted(Membership::of(event)))
            .map(|(_, event)| room.render_whole(event, me))
            .collect();
        Ok(json!({"chunk": chunk}))
    }

    pub(crate) fn joined_members(&self, me: &Caller, room: &str) -> Reply {
        let room = self.joined_room(&me.user, room)?;
        let joined: Map<String, Value> = room
            .members(NOW)
            .filter(|(_, event)| Membership::of(event) == Membership::Join)
            .map(|(user, event)| {
                let field = |name| event.content.get(name);
                let member =
                    json!({"display_name": field("displayname"), "avatar_url": field("avatar_url")});
                (user.to_owned(), member)
            })
            .collect();
        Ok(json!({"joined": joined}))
    }
}

fn read_membership(call: &Call, name: &str) -> Result<Option<Membership>, Error> {
    let invalid = || Error::invalid_param(format!("Query parameter {name} is no membership"));
    call.query(name).map(|value| Membership::named(value).ok_or_else(invalid)).transpose()
}
