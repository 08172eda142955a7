//! A room: its events in order, and its state at any position of the stream.
//!
//! Every question about state is asked "at" a position, since a sync looks at the room as it was
//! when the last sync ended, and someone who left sees it as it was then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ModelServer;
use crate::error::Error;
use crate::event::{Draft, ENCRYPTION, Event, MEMBER};

/// The position that is after everything.
pub(crate) const NOW: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    Join,
    Invite,
    /// Has left, or was never there.
    Leave,
    Ban,
}

impl Membership {
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Join, Self::Invite, Self::Leave, Self::Ban].into_iter().find(|m| m.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }

    pub(crate) fn of(event: &Event) -> Self {
        let name = event.content.get("membership").and_then(Value::as_str);
        name.and_then(Self::named).unwrap_or(Self::Leave)
    }
}

#[derive(Default)]
pub(crate) struct Room {
    pub(crate) id: String,
    /// In the order of their positions.
    events: Vec<Event>,
    /// Places in `events`.
    by_id: BTreeMap<String, usize>,
    /// Places in `events` of every event a piece of state ever was, by type and state key.
    state: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    /// Places in `events` of events that relate to another, by its id.
    children: BTreeMap<String, Vec<usize>>,
    /// Users who want to hear no more of the room.
    pub(crate) forgotten: BTreeSet<String>,
}

impl Room {
    pub(crate) fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    fn push(&mut self, event: Event) {
        let place = self.events.len();
        self.by_id.insert(event.id.clone(), place);
        if let Some((_, parent)) = event.relation() {
            self.children.entry(parent.to_owned()).or_default().push(place);
        }
        if let Some(key) = &event.state_key {
            let keys = self.state.entry(event.kind.clone()).or_default();
            keys.entry(key.clone()).or_default().push(place);
            if event.kind == MEMBER {
                self.forgotten.remove(key);
            }
        }
        self.events.push(event);
    }

    pub(crate) fn event(&self, id: &str) -> Option<&Event> {
        self.by_id.get(id).and_then(|place| self.events.get(*place))
    }

    pub(crate) fn event_mut(&mut self, id: &str) -> Option<&mut Event> {
        self.by_id.get(id).and_then(|place| self.events.get_mut(*place))
    }

    /// The events that stand in a relation to another, oldest first. A redaction ends it.
    pub(crate) fn children(&self, id: &str, rel_type: &str) -> impl Iterator<Item = &Event> {
        let places = self.children.get(id).into_iter().flatten();
        let related = move |event: &&Event| event.relation() == Some((rel_type, id));
        places.filter_map(|place| self.events.get(*place)).filter(related)
    }

    /// The events after one position, up to and with another.
    pub(crate) fn between(&self, after: u64, until: u64) -> &[Event] {
        let place = |position| self.events.partition_point(|event| event.position <= position);
        self.events.get(place(after)..place(until)).unwrap_or_default()
    }

    /// Every event that was or is the state of this type and key, oldest first.
    pub(crate) fn past_state(
        &self,
        kind: &str,
        key: &str,
    ) -> impl DoubleEndedIterator<Item = &Event> {
        let places = self.state.get(kind).and_then(|keys| keys.get(key));
        places.into_iter().flatten().filter_map(|place| self.events.get(*place))
    }

    pub(crate) fn state_event(&self, kind: &str, key: &str, at: u64) -> Option<&Event> {
        self.past_state(kind, key).rev().find(|event| event.position <= at)
    }

    /// The whole state, in the order in which it was set.
    pub(crate) fn state(&self, at: u64) -> Vec<&Event> {
        let kinds = self.state.keys();
        let mut state: Vec<&Event> = kinds.flat_map(|kind| self.state_of_kind(kind, at)).collect();
        state.sort_by_key(|event| event.position);
        state
    }

    fn state_of_kind<'a>(&'a self, kind: &str, at: u64) -> impl Iterator<Item = &'a Event> {
        let current = move |places: &Vec<usize>| {
            let mut events = places.iter().rev().filter_map(|place| self.events.get(*place));
            events.find(|event| event.position <= at)
        };
        self.state.get(kind).into_iter().flat_map(BTreeMap::values).filter_map(current)
    }

    /// The membership event of everyone who has one, by user.
    pub(crate) fn members(&self, at: u64) -> impl Iterator<Item = (&str, &Event)> {
        self.state_of_kind(MEMBER, at)
            .filter_map(|event| Some((event.state_key.as_deref()?, event)))
    }

    pub(crate) fn members_who(&self, membership: Membership, at: u64) -> BTreeSet<&str> {
        let members = self.members(at);
        members.filter(|(_, event)| Membership::of(event) == membership).map(|m| m.0).collect()
    }

    pub(crate) fn membership(&self, user: &str, at: u64) -> Membership {
        self.state_event(MEMBER, user, at).map_or(Membership::Leave, Membership::of)
    }

    pub(crate) fn is_joined(&self, user: &str) -> bool {
        self.membership(user, NOW) == Membership::Join
    }

    /// Whether a user was joined at one position and at every later one up to another.
    pub(crate) fn joined_throughout(&self, user: &str, from: u64, until: u64) -> bool {
        let mut later = self
            .past_state(MEMBER, user)
            .filter(|event| event.position > from && event.position <= until);
        self.membership(user, from) == Membership::Join
            && later.all(|event| Membership::of(event) == Membership::Join)
    }

    pub(crate) fn is_encrypted(&self, at: u64) -> bool {
        self.state_event(ENCRYPTION, "", at).is_some()
    }
}

impl ModelServer {
    /// Adds an event to a room. Whether its sender may send it was decided before.
    pub(crate) fn append(
        &mut self,
        room: &str,
        sender: &str,
        draft: Draft,
        now: u64,
    ) -> Result<String, Error> {
        let position = self.advance();
        let id = format!("${position}:{}", self.name);
        let unknown = || Error::not_found("Unknown room");
        self.rooms.get_mut(room).ok_or_else(unknown)?.push(Event {
            position,
            id: id.clone(),
            kind: draft.kind,
            state_key: draft.state_key,
            sender: sender.to_owned(),
            content: draft.content,
            sent_at: now,
            sent_by: draft.sent_by,
            delay_id: draft.delay_id,
            redacted_by: None,
        });
        Ok(id)
    }

    /// A room that a user may act in.
    pub(crate) fn joined_room(&self, user: &str, room: &str) -> Result<&Room, Error> {
        let outside = || Error::forbidden(format!("User {user} not in room {room}"));
        self.rooms.get(room).filter(|room| room.is_joined(user)).ok_or_else(outside)
    }

    pub(crate) fn rooms_with(&self, user: &str, membership: Membership) -> Vec<String> {
        let rooms = self.rooms.values();
        rooms
            .filter(|room| room.membership(user, NOW) == membership)
            .map(|room| room.id.clone())
            .collect()
    }
}
