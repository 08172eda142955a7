//! Creating rooms, and their aliases.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{CREATE, Draft, HISTORY_VISIBILITY, JOIN_RULES, MEMBER, POWER_LEVELS};
use crate::http::Call;
use crate::json::{Fields, Object, expect_object, expect_texts};
use crate::membership::checked_user_id;
use crate::room::{Membership, Room};
use crate::token::Caller;

/// The room version that events are shaped after, whichever a client asks for.
const VERSION: &str = "11";

/// The room that a request describes, all of it checked.
struct Plan {
    alias: Option<String>,
    state: Vec<Draft>,
    invited: Vec<String>,
    is_direct: bool,
}

impl ModelServer {
    pub(crate) fn create_room(&mut self, me: &Caller, call: &Call) -> Reply {
        let plan = self.plan_room(me, &call.object()?)?;
        let id = format!("!{}:{}", self.next("room"), self.name);
        self.rooms.insert(id.clone(), Room::new(id.clone()));
        if let Some(alias) = plan.alias {
            self.aliases.insert(alias, id.clone());
        }
        for draft in plan.state {
            self.append(&id, &me.user, draft, call.now)?;
        }
        for user in plan.invited {
            let mut draft = self.member(&user, Membership::Invite);
            if plan.is_direct {
                draft.content.insert("is_direct".to_owned(), Value::from(true));
            }
            self.append(&id, &me.user, draft, call.now)?;
        }
        Ok(json!({"room_id": id}))
    }

    fn plan_room(&self, me: &Caller, body: &Object) -> Result<Plan, Error> {
        let invited = invited(me, body)?;
        let alias = self.free_alias(body)?;
        let mut state = vec![
            Draft::state(CREATE, "", creation_content(body)?),
            self.member(&me.user, Membership::Join),
            Draft::state(POWER_LEVELS, "", power_levels(me, body, &invited)?),
        ];
        if let Some(alias) = &alias {
            state.push(fixed("m.room.canonical_alias", "alias", alias));
        }
        let initial = initial_state(body)?;
        let preset = preset(body)?.into_iter();
        // A preset is a default only, so it does not come before what the request says itself.
        state.extend(preset.filter(|draft| !initial.iter().any(|other| other.kind == draft.kind)));
        state.extend(initial);
        state.extend(body.text("name")?.map(|name| fixed("m.room.name", "name", name)));
        state.extend(body.text("topic")?.map(|topic| fixed("m.room.topic", "topic", topic)));
        let state = state.into_iter().map(Draft::checked).collect::<Result<_, _>>()?;
        Ok(Plan { alias, state, invited, is_direct: body.flag("is_direct")? })
    }

    fn member(&self, user: &str, membership: Membership) -> Draft {
        let mut content = self.profile_of(user);
        content.insert("membership".to_owned(), Value::from(membership.name()));
        Draft::state(MEMBER, user, content)
    }

    fn free_alias(&self, body: &Object) -> Result<Option<String>, Error> {
        let Some(localpart) = body.text("room_alias_name")? else { return Ok(None) };
        if localpart.is_empty() || localpart.contains([':', '#', '\0']) {
            return Err(Error::invalid_param("Invalid characters in room alias"));
        }
        let alias = format!("#{localpart}:{}", self.name);
        if self.aliases.contains_key(&alias) {
            return Err(Error::new(400, "M_ROOM_IN_USE", "Room alias already taken"));
        }
        Ok(Some(alias))
    }

    pub(crate) fn room_alias(&self, alias: &str) -> Reply {
        let room = self.resolve_alias(alias)?;
        Ok(json!({"room_id": room, "servers": [self.name]}))
    }

    /// The id of a room that is given by its id or an alias.
    pub(crate) fn resolve_room(&self, room: &str) -> Result<String, Error> {
        match room.chars().next() {
            Some('!') => Ok(room.to_owned()),
            Some('#') => self.resolve_alias(room),
            _ => Err(Error::invalid_param(format!("{room} is not a room id or alias"))),
        }
    }

    fn resolve_alias(&self, alias: &str) -> Result<String, Error> {
        let missing = || Error::not_found(format!("Room alias {alias} not found"));
        self.aliases.get(alias).cloned().ok_or_else(missing)
    }
}

fn invited(me: &Caller, body: &Object) -> Result<Vec<String>, Error> {
    let Some(users) = body.get("invite").filter(|users| !users.is_null()) else {
        return Ok(Vec::new());
    };
    let mut invited = Vec::new();
    for user in expect_texts("invite", users)? {
        let user = checked_user_id(user)?.to_owned();
        if user == me.user {
            return Err(Error::forbidden(format!("{user} is already in the room.")));
        }
        if !invited.contains(&user) {
            invited.push(user);
        }
    }
    Ok(invited)
}

fn creation_content(body: &Object) -> Result<Object, Error> {
    let mut content = body.object("creation_content")?.cloned().unwrap_or_default();
    content.remove("creator");
    content.insert("room_version".to_owned(), Value::from(VERSION));
    Ok(content)
}

/// Any member may set state, but for the power levels themselves: enough for a demo, and said in
/// the room rather than built into the server.
fn power_levels(me: &Caller, body: &Object, invited: &[String]) -> Result<Object, Error> {
    let mut users = Object::new();
    users.insert(me.user.clone(), Value::from(100));
    if body.text("preset")? == Some("trusted_private_chat") {
        users.extend(invited.iter().map(|user| (user.clone(), Value::from(100))));
    }
    let levels = json!({
        "ban": 50,
        "events": {POWER_LEVELS: 100},
        "events_default": 0,
        "invite": 0,
        "kick": 50,
        "redact": 50,
        "state_default": 0,
        "users": users,
        "users_default": 0,
    });
    let mut levels = expect_object(POWER_LEVELS, &levels)?.clone();
    if let Some(overrides) = body.object("power_level_content_override")? {
        levels.extend(overrides.clone());
    }
    Ok(levels)
}

fn preset(body: &Object) -> Result<[Draft; 3], Error> {
    let implied = match body.text("visibility")? {
        Some("public") => "public_chat",
        _ => "private_chat",
    };
    let (join_rule, guest_access) = match body.text("preset")?.unwrap_or(implied) {
        "private_chat" | "trusted_private_chat" => ("invite", "can_join"),
        "public_chat" => ("public", "forbidden"),
        other => return Err(Error::invalid_param(format!("'{other}' is not a valid preset"))),
    };
    Ok([
        fixed(JOIN_RULES, "join_rule", join_rule),
        fixed(HISTORY_VISIBILITY, "history_visibility", "shared"),
        fixed("m.room.guest_access", "guest_access", guest_access),
    ])
}

fn initial_state(body: &Object) -> Result<Vec<Draft>, Error> {
    let events = body.list("initial_state")?.map_or(&[][..], Vec::as_slice);
    let draft = |event| {
        let event = expect_object("initial_state", event)?;
        let kind = event.need_text("type")?;
        if [CREATE, MEMBER].contains(&kind) {
            return Err(Error::invalid_param(format!("{kind} cannot be initial state")));
        }
        let content = event.need_object("content")?.clone();
        Ok(Draft::state(kind, event.text("state_key")?.unwrap_or(""), content))
    };
    events.iter().map(draft).collect()
}

/// State with an empty key and one field.
fn fixed(kind: &str, field: &str, value: &str) -> Draft {
    let mut content = Object::new();
    content.insert(field.to_owned(), Value::from(value));
    Draft::state(kind, "", content)
}
