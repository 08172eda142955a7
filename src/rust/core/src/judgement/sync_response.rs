//! The response to `GET /sync`, read part by part.
//!
//! Parts are read one by one: a room, an event or a count that cannot be read is named in
//! [`SyncResponse::problems`] and costs nothing else. Only a response without a new token is
//! refused whole, because nothing of it could be committed.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{identifier, members::string, unique_map::UniqueMap};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::account::SIGNED_CURVE25519,
};

/// What a sync brought.
#[derive(Debug, Default)]
pub struct SyncResponse {
    /// The token of the next sync.
    pub next_batch: String,
    /// To-device events, as text.
    pub to_device: Vec<String>,
    /// Users whose devices changed.
    pub changed: Vec<String>,
    /// Somebody else's devices may have changed, too: not all of the list could be read.
    pub others_changed: bool,
    /// Users whose devices need no tracking any more.
    pub left: Vec<String>,
    /// How many one-time keys of ours the server holds; none where that cannot be read.
    pub one_time_keys: Option<u64>,
    /// Whether our fallback key is unused; unknown to servers that have none.
    pub fallback_unused: Option<bool>,
    /// Rooms we are in.
    pub joined: BTreeMap<String, RoomPart>,
    /// Other rooms may have changed, too: not all of them could be read.
    pub others_joined: bool,
    /// Rooms we left or were removed from.
    pub gone: BTreeMap<String, RoomPart>,
    /// Rooms we are invited to, with stripped state events as text.
    pub invited: BTreeMap<String, Vec<String>>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// What a sync brought of a room.
#[derive(Debug, Default)]
pub struct RoomPart {
    /// State before the timeline, as text.
    pub state: Vec<String>,
    /// New events in order, as text.
    pub timeline: Vec<String>,
    /// Events before these are missing, or some that cannot be read.
    pub limited: bool,
    /// Where the missing events end, if that is known.
    pub prev_batch: Option<String>,
    /// State or events are missing that could not be read.
    pub incomplete: bool,
}

/// An object of which members are read one by one.
struct Part<'a> {
    members: BTreeMap<String, &'a RawValue>,
    name: String,
    /// It is an object, or absent.
    readable: bool,
}

impl<'a> Part<'a> {
    fn read(text: &'a RawValue, name: &str, problems: &mut Vec<String>) -> Self {
        let members = serde_json::from_str::<UniqueMap<&RawValue>>(text.get());
        let readable = members.is_ok();
        let members = members.unwrap_or_else(|error| {
            problems.push(format!("{name}: {error}"));
            UniqueMap::default()
        });
        Self { members: members.0, name: name.to_owned(), readable }
    }

    /// A member, or its default where there is none; nothing where it cannot be read.
    fn read_member<T: Deserialize<'a> + Default>(
        &self,
        name: &str,
        problems: &mut Vec<String>,
    ) -> Option<T> {
        let Some(text) = self.members.get(name).filter(|text| text.get() != "null") else {
            return Some(T::default());
        };
        let read = serde_json::from_str(text.get());
        read.map_err(|error| problems.push(format!("{}.{name}: {error}", self.name))).ok()
    }

    fn get<T: Deserialize<'a> + Default>(&self, name: &str, problems: &mut Vec<String>) -> T {
        self.read_member(name, problems).unwrap_or_default()
    }

    fn part(&self, name: &str, problems: &mut Vec<String>) -> Self {
        let path = format!("{}.{name}", self.name);
        match self.members.get(name).filter(|text| text.get() != "null") {
            Some(text) => Part::read(text, &path, problems),
            None => Part { members: BTreeMap::new(), name: path, readable: true },
        }
    }

    fn events(&self, name: &str, problems: &mut Vec<String>) -> Vec<String> {
        self.part(name, problems).list(problems)
    }

    /// The events of this part.
    fn list(&self, problems: &mut Vec<String>) -> Vec<String> {
        let events: Vec<&RawValue> = self.get("events", problems);
        events.into_iter().map(|event| event.get().to_owned()).collect()
    }
}

impl SyncResponse {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is no JSON object or has no token for the next sync.
    pub fn read(text: &str) -> Result<Self> {
        let whole: &RawValue = serde_json::from_str(text).or_fail(Kind::Answer, "The sync")?;
        let mut problems = Vec::new();
        let body = Part::read(whole, "sync", &mut problems);
        let next_batch: String = body.get("next_batch", &mut problems);
        if next_batch.is_empty() {
            return Err(Error::new(Kind::Answer, "The sync brought no token for the next one."));
        }
        let known = problems.len();
        let counts = body.part("device_one_time_keys_count", &mut problems);
        // A count that is absent is zero: servers may leave it out then.
        let one_time_keys = counts.get(SIGNED_CURVE25519, &mut problems);
        let one_time_keys = (problems.len() == known).then_some(one_time_keys);
        let unused: Option<Vec<String>> =
            body.get("device_unused_fallback_key_types", &mut problems);
        let known = problems.len();
        let lists = body.part("device_lists", &mut problems);
        let changed: Vec<&RawValue> = lists.get("changed", &mut problems);
        let (changed, odd) = texts(changed);
        problems.extend(odd.then(|| "device_lists.changed: not all are user ids".to_owned()));
        let others_changed = problems.len() > known;
        let known = problems.len();
        let rooms = body.part("rooms", &mut problems);
        let joined = rooms_in(&rooms, "join", &mut problems);
        let others_joined = problems.len() > known;
        Ok(Self {
            next_batch,
            to_device: body.events("to_device", &mut problems),
            changed,
            others_changed,
            left: lists.get("left", &mut problems),
            one_time_keys,
            fallback_unused: unused.map(|types| types.iter().any(|t| t == SIGNED_CURVE25519)),
            joined: room_parts(joined, &mut problems),
            others_joined,
            gone: room_parts(rooms_in(&rooms, "leave", &mut problems), &mut problems),
            invited: rooms_in(&rooms, "invite", &mut problems)
                .into_iter()
                .map(|(id, room)| {
                    let room = Part::read(room, &format!("room {id}"), &mut problems);
                    (id, room.events("invite_state", &mut problems))
                })
                .collect(),
            problems,
        })
    }
}

/// Those of `list` that are text, and whether there are others.
fn texts(list: Vec<&RawValue>) -> (Vec<String>, bool) {
    let number = list.len();
    let texts: Vec<String> = list.into_iter().filter_map(string).map(Cow::into_owned).collect();
    let odd = texts.len() < number;
    (texts, odd)
}

fn rooms_in<'a>(
    rooms: &Part<'a>,
    name: &str,
    problems: &mut Vec<String>,
) -> Vec<(String, &'a RawValue)> {
    let mut found = Vec::new();
    for (room_id, room) in rooms.part(name, problems).members {
        if identifier::is_sound(&room_id) {
            found.push((room_id, room));
        } else {
            problems.push(format!("rooms.{name}: a room id that is no identifier"));
        }
    }
    found
}

fn room_parts(
    rooms: Vec<(String, &RawValue)>,
    problems: &mut Vec<String>,
) -> BTreeMap<String, RoomPart> {
    let mut parts = BTreeMap::new();
    for (room_id, room) in rooms {
        let known = problems.len();
        let room = Part::read(room, &format!("room {room_id}"), problems);
        let state = room.events("state", problems);
        let before = problems.len();
        let timeline = room.part("timeline", problems);
        let events = timeline.list(problems);
        let limited: bool = timeline.get("limited", problems);
        let prev_batch: Option<String> = timeline.get("prev_batch", problems);
        // What cannot be read is missing, and where it ends is not known.
        let readable = room.readable && problems.len() == before;
        let part = RoomPart {
            state,
            timeline: events,
            limited: limited || !readable,
            prev_batch: prev_batch.filter(|token| readable && !token.is_empty()),
            incomplete: problems.len() > known,
        };
        parts.insert(room_id, part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found() {
        let text = r#"{"next_batch":"s2","to_device":{"events":[{"type":"x"}]},
            "device_lists":{"changed":["@a:b"],"left":["@c:d"]},
            "device_one_time_keys_count":{"signed_curve25519":7,"other":1},
            "device_unused_fallback_key_types":["signed_curve25519"],
            "rooms":{"join":{"!r":{"state":{"events":[{"a":1}]},
              "timeline":{"events":[{"b":2},{"c":3}],"limited":true,"prev_batch":"p"}}},
              "invite":{"!i":{"invite_state":{"events":[{"d":4}]}}},"leave":{"!l":{}}}}"#;
        let sync = SyncResponse::read(text).unwrap();
        assert_eq!((sync.next_batch.as_str(), sync.one_time_keys), ("s2", Some(7)));
        assert_eq!((sync.to_device.len(), sync.changed.len(), sync.left.len()), (1, 1, 1));
        assert_eq!(sync.fallback_unused, Some(true));
        let room = &sync.joined["!r"];
        assert_eq!((room.state.len(), room.timeline.len(), room.limited), (1, 2, true));
        assert_eq!(room.prev_batch.as_deref(), Some("p"));
        assert_eq!(sync.invited["!i"], ["{\"d\":4}"]);
        assert!(sync.gone.contains_key("!l") && sync.problems.is_empty());
    }

    #[test]
    fn an_empty_sync_is_a_sync() {
        let sync = SyncResponse::read(r#"{"next_batch":"s1"}"#).unwrap();
        assert_eq!((sync.one_time_keys, sync.fallback_unused), (Some(0), None));
    }

    #[test]
    fn a_part_that_cannot_be_read_costs_only_itself() {
        let text = r#"{"next_batch":"s2","to_device":7,"device_lists":[],
            "device_one_time_keys_count":{"signed_curve25519":-1},
            "rooms":{"join":{"!good":{"timeline":{"events":[{}]}},"!odd":[],
              "!limited":{"timeline":{"events":[{}],"limited":"yes"}},"\u0000":{}}}}"#;
        let sync = SyncResponse::read(text).unwrap();
        assert_eq!(sync.joined["!good"].timeline.len(), 1);
        assert_eq!(sync.joined["!limited"].timeline.len(), 1);
        let limited = ["!good", "!odd", "!limited"].map(|id| sync.joined[id].limited);
        assert_eq!(limited, [false, true, true]);
        assert!(!sync.joined.contains_key("\0"));
        assert_eq!(sync.problems.len(), 6, "{:?}", sync.problems);
        // What could not be read is known to be missing.
        assert!(sync.joined["!limited"].limited && sync.others_changed && sync.others_joined);
        let incomplete = |room: &str| sync.joined[room].incomplete;
        assert_eq!(["!good", "!odd", "!limited"].map(incomplete), [false, true, true]);
        assert_eq!(sync.one_time_keys, None);
    }

    #[test]
    fn an_answer_without_a_token_is_refused_whole() {
        for text in ["", "[]", "{}", r#"{"next_batch":7}"#, r#"{"next_batch":""}"#, "{\"a\":"] {
            assert_eq!(SyncResponse::read(text).unwrap_err().kind, Kind::Answer, "{text}");
        }
    }
}
