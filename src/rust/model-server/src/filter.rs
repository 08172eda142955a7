//! Filters, and the few parts of them that a sync honours.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::token::Caller;

const DEFAULT_LIMIT: usize = 10;
/// As Synapse has it.
const MAX_LIMIT: usize = 100;

/// What a filter says about the rooms of a sync.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RoomFilter {
    /// How many timeline events to give at most.
    pub(crate) limit: usize,
    pub(crate) lazy_load_members: bool,
    /// The ids of the rooms to tell of; none is for all.
    rooms: Option<Vec<Value>>,
}

impl RoomFilter {
    fn read(filter: &Object) -> Result<Self, Error> {
        let empty = Object::new();
        let room = filter.object("room")?.unwrap_or(&empty);
        let limit = match room.object("timeline")?.and_then(|timeline| timeline.get("limit")) {
            None | Some(Value::Null) => DEFAULT_LIMIT,
            Some(limit) => {
                let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
                limit.ok_or_else(|| Error::bad_json("limit must be a number"))?
            }
        };
        let state = room.object("state")?.unwrap_or(&empty);
        let lazy_load_members = state.flag("lazy_load_members")?;
        let rooms = room.list("rooms")?.cloned();
        Ok(Self { limit: limit.min(MAX_LIMIT), lazy_load_members, rooms })
    }

    /// Whether a sync is to tell of a room.
    pub(crate) fn lets_pass(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|id| id == room))
    }
}

impl ModelServer {
    /// The filter a sync asks for: JSON text, the id of a stored filter, or none.
    pub(crate) fn sync_filter(&self, me: &Caller, call: &Call) -> Result<RoomFilter, Error> {
        let text = call.query("filter").unwrap_or("{}");
        if text.starts_with('{') {
            let invalid = |_| Error::invalid_param("Invalid filter JSON");
            return RoomFilter::read(&serde_json::from_str(text).map_err(invalid)?);
        }
        let missing = || Error::invalid_param("No such filter");
        let stored = self.stored_filter(me, text).and_then(Value::as_object);
        RoomFilter::read(stored.ok_or_else(missing)?)
    }

    pub(crate) fn add_filter(&mut self, me: &Caller, user: &str, call: &Call) -> Reply {
        me.must_be(user)?;
        let filter = call.object()?;
        RoomFilter::read(&filter)?;
        let filters = &mut self.user_of(me)?.filters;
        filters.push(Value::Object(filter));
        Ok(json!({"filter_id": (filters.len() - 1).to_string()}))
    }

    pub(crate) fn filter(&self, me: &Caller, user: &str, id: &str) -> Reply {
        me.must_be(user)?;
        self.stored_filter(me, id).cloned().ok_or_else(|| Error::not_found("No such filter"))
    }

    fn stored_filter(&self, me: &Caller, id: &str) -> Option<&Value> {
        self.users.get(&me.user)?.filters.get(id.parse::<usize>().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filter: Value) -> Option<RoomFilter> {
        RoomFilter::read(filter.as_object()?).ok()
    }

    #[test]
    fn defaults_limits_and_types() {
        let plain = Some(RoomFilter { limit: 10, lazy_load_members: false, rooms: None });
        assert_eq!(read(json!({})), plain);
        assert_eq!(read(json!({"room": {"timeline": {}, "state": null}})), plain);
        let filter =
            json!({"room": {"timeline": {"limit": 5000}, "state": {"lazy_load_members": true}}});
        let expected = RoomFilter { limit: 100, lazy_load_members: true, rooms: None };
        assert_eq!(read(filter), Some(expected));
        let some = read(json!({"room": {"rooms": ["!a:x"]}})).unwrap();
        assert!(some.lets_pass("!a:x") && !some.lets_pass("!b:x"));
        assert_eq!(read(json!({"room": {"rooms": "!a:x"}})), None);
        assert_eq!(read(json!({"room": {"timeline": {"limit": "3"}}})), None);
        assert_eq!(read(json!({"room": []})), None);
    }
}
