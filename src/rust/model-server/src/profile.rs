//! Profiles: the display name and avatar of a user, also in the rooms they are in.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{Draft, MEMBER};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::room::{Membership, NOW};
use crate::token::Caller;

/// The fields there are, and how long they may be.
const FIELDS: [(&str, usize); 2] = [("displayname", 256), ("avatar_url", 1000)];

impl ModelServer {
    pub(crate) fn profile(&self, user: &str) -> Reply {
        let user = self.users.get(user).ok_or_else(no_profile)?;
        Ok(Value::Object(user.profile.clone()))
    }

    pub(crate) fn profile_field(&self, user: &str, field: &str) -> Reply {
        let user = self.users.get(user).ok_or_else(no_profile)?;
        let value = user.profile.get(field).ok_or_else(no_profile)?;
        Ok(json!({field: value}))
    }

    pub(crate) fn set_profile(
        &mut self,
        me: &Caller,
        user: &str,
        field: &str,
        call: &Call,
    ) -> Reply {
        me.must_be(user)?;
        let known = FIELDS.iter().find(|(name, _)| *name == field);
        let (_, max_length) = known.ok_or_else(Error::unrecognized)?;
        let body = call.object()?;
        let value = body.need_text(field)?;
        if value.len() > *max_length {
            return Err(Error::invalid_param(format!("{field} is too long (max {max_length})")));
        }
        let value = Value::from(value);
        let profile = &mut self.user_of(me)?.profile;
        if profile.insert(field.to_owned(), value.clone()) != Some(value) {
            self.show_profile_in_rooms(me, call.now)?;
        }
        Ok(json!({}))
    }

    fn show_profile_in_rooms(&mut self, me: &Caller, now: u64) -> Result<(), Error> {
        let joined = self.rooms_with(&me.user, Membership::Join);
        for room in joined {
            let current = self.rooms.get(&room).and_then(|r| r.state_event(MEMBER, &me.user, NOW));
            let mut content = current.map(|event| event.content.clone()).unwrap_or_default();
            content.extend(self.profile_of(&me.user));
            self.append(&room, &me.user, Draft::state(MEMBER, &me.user, content), now)?;
        }
        Ok(())
    }

    /// The profile fields that go into a membership event; none for users of other servers.
    pub(crate) fn profile_of(&self, user: &str) -> Object {
        self.users.get(user).map(|user| user.profile.clone()).unwrap_or_default()
    }
}

fn no_profile() -> Error {
    Error::not_found("Profile was not found")
}
