//! Redactions: an event that takes away the content of another.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{Draft, Event, REDACTION, check_content};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::token::Caller;

impl ModelServer {
    pub(crate) fn redact(&mut self, me: &Caller, room: &str, event: &str, call: &Call) -> Reply {
        let mut content = call.object_or_empty()?;
        content.insert("redacts".to_owned(), Value::from(event));
        self.send_redaction(me, room, check_content(content)?, call)
    }

    pub(crate) fn send_redaction(
        &mut self,
        me: &Caller,
        room: &str,
        content: Object,
        call: &Call,
    ) -> Reply {
        let target = content.need_text("redacts")?.to_owned();
        let known = self.joined_room(&me.user, room)?;
        known.require_power_to_send(&me.user, REDACTION, false)?;
        let missing = || Error::not_found(format!("Event {target} not found"));
        if known.event(&target).ok_or_else(missing)?.sender != me.user {
            known.require_power(&me.user, "redact", 50)?;
        }
        let draft = Draft::message(REDACTION, content, me, call.transaction());
        let id = self.append(room, &me.user, draft, call.now)?;
        if let Some(event) = self.rooms.get_mut(room).and_then(|room| room.event_mut(&target)) {
            strip(event);
            event.redacted_by = Some(id.clone());
        }
        Ok(json!({"event_id": id}))
    }
}

/// Takes away what the redaction algorithm of room version 11 does not keep.
fn strip(event: &mut Event) {
    let kept: &[&str] = match event.kind.as_str() {
        "m.room.create" => return,
        "m.room.member" => &["membership", "join_authorised_via_users_server"],
        "m.room.join_rules" => &["join_rule", "allow"],
        "m.room.power_levels" => &[
            "ban",
            "events",
            "events_default",
            "invite",
            "kick",
            "redact",
            "state_default",
            "users",
            "users_default",
        ],
        "m.room.history_visibility" => &["history_visibility"],
        REDACTION => &["redacts"],
        _ => &[],
    };
    event.content.retain(|key, _| kept.contains(&key.as_str()));
}
