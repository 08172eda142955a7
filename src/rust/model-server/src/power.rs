//! Power levels: what a member may do.

use serde_json::Value;

use crate::error::Error;
use crate::event::{CREATE, POWER_LEVELS};
use crate::json::Object;
use crate::room::{Membership, NOW, Room};

impl Room {
    /// Lets a joined user through whose power reaches what an action needs.
    pub(crate) fn require_power(
        &self,
        user: &str,
        action: &str,
        default: i64,
    ) -> Result<(), Error> {
        self.require_level(user, self.level(action, default), action)
    }

    /// Lets a joined user through who may send events of this type.
    pub(crate) fn require_power_to_send(
        &self,
        user: &str,
        kind: &str,
        is_state: bool,
    ) -> Result<(), Error> {
        let events = self.power_levels().and_then(|levels| levels.get("events"));
        let default = match (is_state, self.power_levels()) {
            (false, _) => self.level("events_default", 0),
            (true, Some(_)) => self.level("state_default", 50),
            (true, None) => 0,
        };
        let level = events.and_then(|events| events.get(kind)).and_then(Value::as_i64);
        self.require_level(user, level.unwrap_or(default), "send this event")
    }

    /// Lets a joined user through who may act against another, as to kick or to ban.
    pub(crate) fn require_power_over(
        &self,
        user: &str,
        target: &str,
        action: &str,
    ) -> Result<(), Error> {
        self.require_power(user, action, 50)?;
        if self.power(user) > self.power(target) {
            Ok(())
        } else {
            Err(Error::forbidden(format!("Your power does not exceed that of {target}")))
        }
    }

    fn require_level(&self, user: &str, level: i64, action: &str) -> Result<(), Error> {
        if self.membership(user, NOW) != Membership::Join {
            return Err(Error::forbidden(format!("User {user} not in room {}", self.id)));
        }
        if self.power(user) >= level {
            Ok(())
        } else {
            Err(Error::forbidden(format!("You don't have permission to {action} in this room")))
        }
    }

    fn power(&self, user: &str) -> i64 {
        let Some(levels) = self.power_levels() else {
            let create = self.state_event(CREATE, "", NOW);
            return if create.is_some_and(|event| event.sender == user) { 100 } else { 0 };
        };
        let own = levels.get("users").and_then(|users| users.get(user)).and_then(Value::as_i64);
        own.unwrap_or_else(|| self.level("users_default", 0))
    }

    fn level(&self, name: &str, default: i64) -> i64 {
        let level = self.power_levels().and_then(|levels| levels.get(name));
        level.and_then(Value::as_i64).unwrap_or(default)
    }

    fn power_levels(&self) -> Option<&Object> {
        self.state_event(POWER_LEVELS, "", NOW).map(|event| &event.content)
    }
}
