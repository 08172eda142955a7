//! Joining, inviting, leaving, kicking, banning and forgetting.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{Draft, JOIN_RULES, MEMBER, check_content};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::room::{Membership, NOW, Room};
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn join(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        let body = call.object_or_empty()?;
        let id = self.resolve_room(room)?;
        let unknown = || Error::not_found("No known servers are in this room");
        let room = self.rooms.get(&id).ok_or_else(unknown)?;
        if !room.is_joined(&me.user) {
            self.change_for(me, &id, &me.user, Membership::Join, &body, call.now)?;
        }
        Ok(json!({"room_id": id}))
    }

    pub(crate) fn leave(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        let body = call.object_or_empty()?;
        self.change_for(me, room, &me.user, Membership::Leave, &body, call.now)
    }

    pub(crate) fn invite(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        self.change_of_other(me, room, Membership::Invite, call)
    }

    pub(crate) fn kick(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        if self.membership_of_other(room, call)? == Membership::Ban {
            return Err(Error::forbidden("Cannot kick a user who is banned"));
        }
        self.change_of_other(me, room, Membership::Leave, call)
    }

    pub(crate) fn ban(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        self.change_of_other(me, room, Membership::Ban, call)
    }

    pub(crate) fn unban(&mut self, me: &Caller, room: &str, call: &Call) -> Reply {
        if self.membership_of_other(room, call)? != Membership::Ban {
            return Err(Error::forbidden("Cannot unban a user who is not banned"));
        }
        self.change_of_other(me, room, Membership::Leave, call)
    }

    pub(crate) fn forget(&mut self, me: &Caller, room: &str) -> Reply {
        let unknown = || Error::not_found("Unknown room");
        let room = self.rooms.get_mut(room).ok_or_else(unknown)?;
        if matches!(room.membership(&me.user, NOW), Membership::Join | Membership::Invite) {
            let error = format!("User {} is in room {}", me.user, room.id);
            return Err(Error::new(400, "M_UNKNOWN", error));
        }
        room.forgotten.insert(me.user.clone());
        Ok(json!({}))
    }

    pub(crate) fn joined_rooms(&self, me: &Caller) -> Value {
        json!({"joined_rooms": self.rooms_with(&me.user, Membership::Join)})
    }

    fn membership_of_other(&self, room: &str, call: &Call) -> Result<Membership, Error> {
        let target = call.object()?.need_text("user_id")?.to_owned();
        Ok(self.rooms.get(room).map_or(Membership::Leave, |room| room.membership(&target, NOW)))
    }

    fn change_of_other(
        &mut self,
        me: &Caller,
        room: &str,
        membership: Membership,
        call: &Call,
    ) -> Reply {
        let body = call.object()?;
        let target = checked_user_id(body.need_text("user_id")?)?;
        self.change_for(me, room, target, membership, &body, call.now)
    }

    /// Changes a membership for a request of which only the `reason` goes into the event.
    fn change_for(
        &mut self,
        me: &Caller,
        room: &str,
        target: &str,
        membership: Membership,
        body: &Object,
        now: u64,
    ) -> Reply {
        let mut content = Object::new();
        if let Some(reason) = body.text("reason")? {
            content.insert("reason".to_owned(), Value::from(reason));
        }
        if matches!(membership, Membership::Join | Membership::Invite) {
            content.extend(self.profile_of(target));
        }
        self.change_membership(me, room, target, membership, content, now)?;
        Ok(json!({}))
    }

    pub(crate) fn change_membership(
        &mut self,
        me: &Caller,
        room: &str,
        target: &str,
        membership: Membership,
        mut content: Object,
        now: u64,
    ) -> Result<String, Error> {
        let outside = || Error::forbidden(format!("User {} not in room {room}", me.user));
        let known = self.rooms.get(room).ok_or_else(outside)?;
        content.insert("membership".to_owned(), Value::from(membership.name()));
        let content = check_content(content)?;
        // A request that is made again because its response was lost must not fail for having
        // succeeded.
        if let Some(current) = known.state_event(MEMBER, target, NOW)
            && current.sender == me.user
            && current.content == content
        {
            return Ok(current.id.clone());
        }
        known.check_change(&me.user, target, membership)?;
        let draft = Draft::state(MEMBER, target, content);
        self.append(room, &me.user, draft, now)
    }
}

impl Room {
    /// Whether a user may give a target (possibly themself) a membership.
    fn check_change(&self, me: &str, target: &str, new: Membership) -> Result<(), Error> {
        let old = self.membership(target, NOW);
        match (new, me == target, old) {
            (Membership::Join, true, Membership::Ban) => {
                Err(Error::forbidden("You are banned from this room"))
            }
            (Membership::Join, true, Membership::Join | Membership::Invite) => Ok(()),
            (Membership::Join, true, Membership::Leave) if self.is_public() => Ok(()),
            (Membership::Join, true, Membership::Leave) => {
                Err(Error::forbidden("You are not invited to this room."))
            }
            (Membership::Join, false, _) => Err(Error::forbidden("Cannot join for another user")),

            (Membership::Invite, _, Membership::Join | Membership::Ban) => {
                let state = if old == Membership::Ban { "banned from" } else { "already in" };
                Err(Error::forbidden(format!("{target} is {state} the room")))
            }
            (Membership::Invite, ..) => self.require_power(me, "invite", 0),

            (Membership::Leave, true, Membership::Join | Membership::Invite) => Ok(()),
            (Membership::Leave, false, Membership::Join | Membership::Invite) => {
                self.require_power_over(me, target, "kick")
            }
            (Membership::Leave, false, Membership::Ban) => self.require_power(me, "ban", 50),
            (Membership::Leave, ..) => {
                Err(Error::forbidden(format!("The user {target} is not in the room")))
            }

            (Membership::Ban, ..) => self.require_power_over(me, target, "ban"),
        }
    }

    fn is_public(&self) -> bool {
        let rules = self.state_event(JOIN_RULES, "", NOW);
        rules.is_some_and(|event| event.content.get("join_rule") == Some(&Value::from("public")))
    }
}

/// A user id of the right shape, of whatever server.
pub(crate) fn checked_user_id(user: &str) -> Result<&str, Error> {
    let parts = user.strip_prefix('@').and_then(|rest| rest.split_once(':'));
    match parts {
        Some((localpart, server)) if !localpart.is_empty() && !server.is_empty() => Ok(user),
        _ => Err(Error::invalid_param(format!("Invalid user id: {user}"))),
    }
}
