//! What is known of rooms and their members, from sync and from asking.
//!
//! All of it is the server's word. It may add protection and never take it away: a room that was
//! once encrypted stays so, and a member who was seen to leave ends the session.

use super::{Machine, Work, room_keys::shares_history};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        identifier,
        room_event::RoomEvent,
        room_state,
        unique_map::{UniqueMap, read_object},
    },
    primitives::canonical_json::{Json, Object},
    store::{
        Query,
        records::{Member, Membership, Room, SyncPosition},
    },
};

impl Machine {
    /// All rooms that were seen.
    ///
    /// # Errors
    /// Those of the store.
    pub fn rooms(&mut self) -> Result<Vec<Room>> {
        self.work(0, |work| work.tx.select(&Query::all()))
    }

    /// Remembers, for ever, that a room is encrypted: `content` is that of `m.room.encryption`.
    ///
    /// # Errors
    /// [`Kind::Json`] when `content` is no JSON object.
    pub fn note_encryption(&mut self, room_id: &str, content: &str) -> Result<()> {
        let content = Json::parse_object(content)?;
        self.work(0, |work| work.set_encryption(room_id, &content))
    }

    /// Remembers that the members of a room changed in a way that sync has not told yet: someone
    /// was invited, or removed, by ourselves.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_members_changed(&mut self, room_id: &str) -> Result<()> {
        self.work(0, |work| {
            work.change_room(room_id, |room| {
                room.forget_members();
                room.recipients_generation += 1;
            })
        })
    }

    /// Lets the next message of a room begin a new session.
    ///
    /// # Errors
    /// Those of the store.
    pub fn rotate_room_key(&mut self, room_id: &str) -> Result<()> {
        self.work(0, |work| work.end_outbound_session(room_id))
    }

    /// Remembers our own membership, which an answer other than a sync has told.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_own_membership(&mut self, room_id: &str, membership: Membership) -> Result<()> {
        self.work(0, |work| work.set_own_membership(room_id, membership))
    }
}

impl Work<'_> {
    pub(super) fn room(&self, room_id: &str) -> Result<Room> {
        let fresh = || Room { room_id: room_id.to_owned(), ..Room::default() };
        Ok(self.tx.get(&[room_id.into()])?.unwrap_or_else(fresh))
    }

    pub(super) fn change_room(&self, room_id: &str, change: impl FnOnce(&mut Room)) -> Result<()> {
        let mut room = self.room(room_id)?;
        let before = room.clone();
        change(&mut room);
        if room == before && self.tx.count::<Room>(&Query::equal("room_id", room_id))? > 0 {
            return Ok(());
        }
        self.tx.put(&room)
    }

    /// Takes in that we are in a room, were invited, or are out of it.
    pub(super) fn set_own_membership(&self, room_id: &str, membership: Membership) -> Result<()> {
        self.change_room(room_id, |room| {
            if room.membership != membership {
                // What happened while we were away was not told.
                room.forget_members();
                room.recipients_generation += 1;
            }
            room.membership = membership;
        })?;
        if membership == Membership::Leave { self.end_outbound_session(room_id) } else { Ok(()) }
    }

    /// Takes in a state event of a sync. With `limited`, events before it were left out.
    pub(super) fn note_state(
        &mut self,
        room_id: &str,
        event: &RoomEvent,
        limited: bool,
    ) -> Result<()> {
        let text = |name: &str| event.content.get(name).and_then(Json::as_str).map(str::to_owned);
        let state_key = event.state_key.as_deref();
        match (event.event_type.as_str(), state_key) {
            ("m.room.history_visibility", Some("")) => {
                self.set_history_visibility(room_id, text("history_visibility"))
            }
            (event_type, Some("")) => self.note_description(room_id, event_type, &event.content),
            ("m.room.member", Some(user_id)) if identifier::is_user_id(user_id) => {
                let membership = Membership::parse(&text("membership").unwrap_or_default());
                if user_id == self.own.user_id && membership == Membership::Join {
                    self.note_own_join(room_id, event.origin_server_ts)?;
                }
                self.set_member(room_id, user_id, membership, limited)
            }
            _ => Ok(()),
        }
    }

    /// The first join of a stay counts: a new display name is a join event too.
    fn note_own_join(&self, room_id: &str, at: i64) -> Result<()> {
        let known: Option<Member> =
            self.tx.get(&[room_id.into(), self.own.user_id.as_str().into()])?;
        if known.is_some_and(|member| member.membership == Membership::Join) {
            return Ok(());
        }
        self.change_room(room_id, |room| room.joined_at = Some(at))
    }

    /// Takes in what a room is called and how it is encrypted: of these an invitation tells too.
    pub(super) fn note_description(
        &self,
        room_id: &str,
        event_type: &str,
        content: &Object,
    ) -> Result<()> {
        let text = |name: &str| content.get(name).and_then(Json::as_str).map(str::to_owned);
        match event_type {
            "m.room.encryption" => self.set_encryption(room_id, content),
            "m.room.name" => self.change_room(room_id, |room| room.name = text("name")),
            "m.room.canonical_alias" => {
                self.change_room(room_id, |room| room.alias = text("alias"))
            }
            _ => Ok(()),
        }
    }

    fn set_encryption(&self, room_id: &str, content: &Object) -> Result<()> {
        let settings = room_state::encryption(content);
        let known = self.room(room_id)?.encryption;
        // A session is for the algorithm under which it began, also if the room comes back to it.
        if known.as_ref().is_some_and(|known| known.algorithm != settings.algorithm) {
            self.end_outbound_session(room_id)?;
        }
        let encryption = Some(room_state::tighten(known, settings));
        self.change_room(room_id, |room| room.encryption = encryption)
    }

    fn set_history_visibility(&self, room_id: &str, visibility: Option<String>) -> Result<()> {
        let before = self.room(room_id)?;
        let after = Room { history_visibility: visibility.clone(), ..before.clone() };
        if before.visibility_known && shares_history(&before) != shares_history(&after) {
            self.end_outbound_session(room_id)?;
        }
        self.change_room(room_id, |room| {
            if room.history_visibility != visibility {
                room.recipients_generation += 1;
            }
            room.history_visibility = visibility;
            room.visibility_known = true;
        })
    }

    fn set_member(
        &mut self,
        room_id: &str,
        user_id: &str,
        membership: Membership,
        limited: bool,
    ) -> Result<()> {
        let known: Option<Member> = self.tx.get(&[room_id.into(), user_id.into()])?;
        let known = known.map(|member| member.membership);
        let present = |m: Membership| matches!(m, Membership::Join | Membership::Invite);
        // Whoever leaves may hold the key. In a part of a timeline with a gap before it, whoever is
        // not in may have been in meanwhile, also those who are invited now.
        let may_have_left = limited && membership != Membership::Join;
        if may_have_left || !present(membership) && known.is_some_and(present) {
            self.end_outbound_session(room_id)?;
        }
        if known == Some(membership) {
            return Ok(());
        }
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        self.tx.put(&Member { room_id: room_id.clone(), user_id, membership })?;
        self.change_room(&room_id, |room| room.recipients_generation += 1)
    }

    /// Takes in that members came with a sync, after the list was fetched at an older token: the
    /// list and the sync may have crossed, so the list is fetched again before it is relied on.
    pub(super) fn members_came_with_sync(&self, room_id: &str, since: Option<&str>) -> Result<()> {
        self.change_room(room_id, |room| {
            // So may an answer that is still on its way.
            room.members_generation += 1;
            if room.members_fetched_at.as_deref() == Some(since.unwrap_or_default()) {
                room.members_known = false;
            }
        })
    }

    /// Takes in the answer to `GET /rooms/…/members`, asked in `generation`.
    pub(super) fn members_answered(
        &mut self,
        room_id: &str,
        generation: u64,
        body: &str,
    ) -> Result<()> {
        if self.room(room_id)?.members_generation != generation {
            // Somebody may have left since, whom this answer still shows: it is asked again.
            return Ok(());
        }
        let answer: UniqueMap<Json> = read_object(body).or_fail(Kind::Answer, "The members")?;
        let Some(Json::Array(chunk)) = answer.0.get("chunk") else {
            return Err(Error::new(Kind::Answer, "The answer about members has no list of them."));
        };
        let told: Vec<(&str, Membership)> = chunk.iter().filter_map(member_of).collect();
        for (user_id, membership) in &told {
            self.set_member(room_id, user_id, *membership, false)?;
        }
        // Whoever is not in the list is not in the room.
        let known = self.tx.select::<Member>(&Query::equal("room_id", room_id))?;
        let told: std::collections::BTreeSet<&str> = told.iter().map(|(user, _)| *user).collect();
        for member in known.iter().filter(|member| !told.contains(member.user_id.as_str())) {
            self.set_member(room_id, &member.user_id, Membership::Leave, false)?;
        }
        let position = self.tx.get_single::<SyncPosition>()?.unwrap_or_default();
        self.change_room(room_id, |room| {
            room.members_known = true;
            room.members_fetched_at = Some(position.token.unwrap_or_default());
        })
    }

    /// Takes in the answer to a question about the history visibility; 404 means the default.
    pub(super) fn history_visibility_answered(
        &self,
        room_id: &str,
        body: Option<&str>,
    ) -> Result<()> {
        let visibility = match body {
            Some(body) => {
                let content = Json::parse_object(body).or_fail(Kind::Answer, "The visibility")?;
                content.get("history_visibility").and_then(Json::as_str).map(str::to_owned)
            }
            None => None,
        };
        if self.room(room_id)?.visibility_known {
            // A sync has told it since.
            return Ok(());
        }
        self.set_history_visibility(room_id, visibility)
    }

    /// Takes in the answer to a question about the encryption of a room; 404 means none.
    pub(super) fn encryption_answered(
        &mut self,
        room_id: &str,
        up_to: i64,
        body: Option<&str>,
    ) -> Result<()> {
        match body {
            Some(body) => {
                let content = Json::parse_object(body).or_fail(Kind::Answer, "The encryption")?;
                self.set_encryption(room_id, &content)
            }
            None => self.allow_plain(room_id, up_to),
        }
    }
}

fn member_of(event: &Json) -> Option<(&str, Membership)> {
    let event = event.as_object()?;
    let user_id = event.get("state_key")?.as_str().filter(|id| identifier::is_user_id(id))?;
    let membership = event.get("content")?.as_object()?.get("membership")?.as_str()?;
    (event.get("type")?.as_str()? == "m.room.member")
        .then(|| (user_id, Membership::parse(membership)))
}
