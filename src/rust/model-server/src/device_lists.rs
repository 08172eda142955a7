//! Whose devices changed, and whose devices a user has no more business with.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::Event;
use crate::http::Call;
use crate::room::{Membership, Room};
use crate::token::Caller;

/// A change of a user's device keys, cross-signing keys or signatures.
pub(crate) struct Change {
    position: u64,
    user: String,
    /// The one user who can see it, if not all can.
    only_for: Option<String>,
}

impl ModelServer {
    pub(crate) fn note_device_change(&mut self, user: &str) {
        let position = self.advance();
        self.device_changes.push(Change { position, user: user.to_owned(), only_for: None });
    }

    pub(crate) fn note_change_for(&mut self, user: &str, reader: &str) {
        let position = self.advance();
        let only_for = Some(reader.to_owned());
        self.device_changes.push(Change { position, user: user.to_owned(), only_for });
    }

    pub(crate) fn key_changes(&self, me: &Caller, call: &Call) -> Reply {
        let place = |name| {
            let token = call.query(name).ok_or_else(|| Error::missing_param(name))?;
            self.position_in(token, name)
        };
        let (from, to) = (place("from")?, place("to")?);
        Ok(self.device_lists(&me.user, from.stream(), to.stream()))
    }

    /// The device list news for a user after one position and up to another.
    ///
    /// A user is `changed` to those who share an encrypted room with them when their keys changed,
    /// or when they were invited to or joined such a room, or began to share one otherwise.
    pub(crate) fn device_lists(&self, me: &str, from: u64, to: u64) -> Value {
        let before = self.sharing(me, from);
        let after = self.sharing(me, to);
        let mut changed = self.changed_users(me, from, to);
        changed.retain(|user| *user == me || after.contains(user));
        changed.extend(after.difference(&before));
        changed.extend(self.arrivals(me, from, to));
        let left: BTreeSet<&str> = before.difference(&after).copied().collect();
        json!({"changed": changed, "left": left})
    }

    fn changed_users(&self, reader: &str, from: u64, to: u64) -> BTreeSet<&str> {
        let place = |at| self.device_changes.partition_point(|change| change.position <= at);
        let changes = self.device_changes.get(place(from)..place(to)).unwrap_or_default();
        let seen = |change: &&Change| change.only_for.as_deref().is_none_or(|only| only == reader);
        changes.iter().filter(seen).map(|change| change.user.as_str()).collect()
    }

    /// Everyone in an encrypted room with a user, but for that user.
    pub(crate) fn sharing(&self, me: &str, at: u64) -> BTreeSet<&str> {
        let rooms = self.encrypted_rooms(me, at);
        let mut users: BTreeSet<&str> =
            rooms.flat_map(|room| room.members_who(Membership::Join, at)).collect();
        users.remove(me);
        users
    }

    /// Who was invited to or joined an encrypted room of a user, perhaps not for the first time.
    fn arrivals(&self, me: &str, from: u64, to: u64) -> BTreeSet<&str> {
        let has_come = |event: &&Event| {
            event.position > from
                && matches!(Membership::of(event), Membership::Join | Membership::Invite)
        };
        let rooms = self.encrypted_rooms(me, to);
        let others = rooms.flat_map(|room| room.members(to)).filter(|(user, _)| *user != me);
        others.filter(|(_, event)| has_come(event)).map(|(user, _)| user).collect()
    }

    fn encrypted_rooms(&self, me: &str, at: u64) -> impl Iterator<Item = &Room> {
        let is_in = move |room: &&Room| {
            room.is_encrypted(at) && room.membership(me, at) == Membership::Join
        };
        self.rooms.values().filter(is_in)
    }
}
