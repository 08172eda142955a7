//! Sending events into rooms.

use serde_json::json;

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{CREATE, Draft, MEMBER, REDACTION, check_content};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::membership::checked_user_id;
use crate::room::Membership;
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn send(&mut self, me: &Caller, room: &str, kind: &str, call: &Call) -> Reply {
        let content = check_content(call.object()?)?;
        if kind == REDACTION {
            return self.send_redaction(me, room, content, call);
        }
        self.joined_room(&me.user, room)?.require_power_to_send(&me.user, kind, false)?;
        let draft = Draft::message(kind, content, me, call.transaction());
        let id = self.append(room, &me.user, draft, call.now)?;
        Ok(json!({"event_id": id}))
    }

    pub(crate) fn set_state(
        &mut self,
        me: &Caller,
        room: &str,
        kind: &str,
        key: &str,
        call: &Call,
    ) -> Reply {
        let content = check_content(call.object()?)?;
        if kind == MEMBER {
            return self.set_membership(me, room, key, content, call);
        }
        self.joined_room(&me.user, room)?.require_power_to_send(&me.user, kind, true)?;
        if kind == CREATE {
            return Err(Error::forbidden("A room is created only once"));
        }
        if key.starts_with('@') && key != me.user {
            return Err(Error::forbidden("You are not allowed to set others state"));
        }
        let id = self.append(room, &me.user, Draft::state(kind, key, content), call.now)?;
        Ok(json!({"event_id": id}))
    }

    fn set_membership(
        &mut self,
        me: &Caller,
        room: &str,
        target: &str,
        content: Object,
        call: &Call,
    ) -> Reply {
        let target = checked_user_id(target)?;
        let invalid = || Error::invalid_param("Unknown membership");
        let membership = Membership::named(content.need_text("membership")?).ok_or_else(invalid)?;
        let id = self.change_membership(me, room, target, membership, content, call.now)?;
        Ok(json!({"event_id": id}))
    }
}
