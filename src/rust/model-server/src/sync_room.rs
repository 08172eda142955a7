//! What a sync tells of one room.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::event::{Event, MEMBER};
use crate::room::{Membership, NOW, Room};
use crate::sync::SyncRequest;
use crate::timeline::Timeline;
use crate::token::Caller;

const MAX_HEROES: usize = 5;

impl ModelServer {
    /// The news of a room and the section of the response they go to; none when there are none.
    pub(crate) fn sync_room(
        &self,
        room: &Room,
        me: &Caller,
        request: &SyncRequest,
    ) -> Option<(&'static str, Value)> {
        let own = room.state_event(MEMBER, &me.user, NOW)?;
        let is_news = request.since.is_none_or(|since| own.position > since);
        match Membership::of(own) {
            Membership::Join => Some(("join", self.sync_joined(room, me, request)?)),
            Membership::Invite if is_news || request.full_state => {
                Some(("invite", json!({"invite_state": {"events": room.stripped_state(own)}})))
            }
            // A client that starts over has nothing to leave.
            Membership::Leave | Membership::Ban if is_news && request.since.is_some() => {
                Some(("leave", self.sync_left(room, me, own, request)))
            }
            _ => None,
        }
    }

    fn sync_joined(&self, room: &Room, me: &Caller, request: &SyncRequest) -> Option<Value> {
        let view = View::of_member(room, me, request, self.position);
        let account_data = self.room_account_data(room, me, view.known.unwrap_or(0));
        let is_quiet = view.timeline.events.is_empty() && !view.timeline.limited;
        if view.known.is_some() && is_quiet && account_data.is_empty() && !request.full_state {
            return None;
        }
        Some(json!({
            "timeline": view.timeline.render(room, me),
            "state": {"events": room.render_all(&view.state(), me)},
            "summary": view.summary(),
            "account_data": {"events": account_data},
            "ephemeral": {"events": []},
            "unread_notifications": {"highlight_count": 0, "notification_count": 0},
        }))
    }

    fn sync_left(&self, room: &Room, me: &Caller, own: &Event, request: &SyncRequest) -> Value {
        let view = View::of_leaver(room, me, request, own.position);
        // Turning down an invitation shows nothing of the room.
        let was_member = room.membership(&me.user, own.position - 1) == Membership::Join;
        let state = if was_member { view.state() } else { Vec::new() };
        json!({
            "timeline": view.timeline.render(room, me),
            "state": {"events": room.render_all(&state, me)},
            "account_data": {"events": []},
        })
    }

    fn room_account_data(&self, room: &Room, me: &Caller, since: u64) -> Vec<Value> {
        let user = self.users.get(&me.user);
        user.map(|user| user.account_data.since(Some(&room.id), since)).unwrap_or_default()
    }
}

/// A room as one device is to see it in one sync.
struct View<'a> {
    room: &'a Room,
    me: &'a Caller,
    request: &'a SyncRequest,
    /// Up to where the client knows the room already; none when it is new to them, or when they
    /// were away in between.
    known: Option<u64>,
    timeline: Timeline<'a>,
}

impl<'a> View<'a> {
    fn of_member(room: &'a Room, me: &'a Caller, request: &'a SyncRequest, now: u64) -> Self {
        let was_there = |since: &u64| room.joined_throughout(&me.user, *since, now);
        let known = request.since.filter(was_there);
        let after = known.unwrap_or(0);
        let mut timeline = Timeline::last(room, me, after, now, request.filter.limit);
        // The timeline does not continue what the client may hold from an earlier stay.
        timeline.limited |= request.since.is_some() && known.is_none();
        Self { room, me, request, known, timeline }
    }

    fn of_leaver(room: &'a Room, me: &'a Caller, request: &'a SyncRequest, left: u64) -> Self {
        let was_there = |since: &u64| room.joined_throughout(&me.user, *since, left - 1);
        let known = request.since.filter(was_there);
        let after = request.since.unwrap_or(0);
        let timeline = Timeline::last(room, me, after, left, request.filter.limit);
        Self { room, me, request, known, timeline }
    }

    /// The state to send: all of it as of the timeline's start, or what changed until then.
    fn state(&self) -> Vec<&'a Event> {
        let (full, lazy) = (self.is_full(), self.request.filter.lazy_load_members);
        let heroes = if full && lazy { self.heroes() } else { Vec::new() };
        let needed = |user: &str| {
            self.timeline.has_sender(user)
                || (full && (user == self.me.user || heroes.contains(&user)))
        };
        let is_sent = |event: &&Event| {
            let changed = self.known.is_some_and(|known| event.position > known);
            match event.state_key.as_deref().filter(|_| lazy && event.is_membership()) {
                // Members who changed unseen in a gap are sent in any case, or they were lost.
                Some(user) => needed(user) || changed,
                None => full || changed,
            }
        };
        self.room.state(self.timeline.start).into_iter().filter(is_sent).collect()
    }

    fn is_full(&self) -> bool {
        self.request.full_state || self.known.is_none()
    }

    /// Counts and heroes, when the client cannot know them or they may have changed.
    fn summary(&self) -> Value {
        let mut news = self.room.between(self.known.unwrap_or(0), NOW).iter();
        if !self.is_full() && !news.any(Event::is_membership) {
            return json!({});
        }
        json!({
            "m.heroes": self.heroes(),
            "m.joined_member_count": self.count(Membership::Join),
            "m.invited_member_count": self.count(Membership::Invite),
        })
    }

    fn count(&self, membership: Membership) -> usize {
        self.room.members_who(membership, NOW).len()
    }

    /// The first others in the room, after whom it can be named; if none are left, those who were.
    fn heroes(&self) -> Vec<&'a str> {
        let mut members: Vec<(&str, &Event)> =
            self.room.members(NOW).filter(|(user, _)| *user != self.me.user).collect();
        members.sort_by_key(|(_, event)| event.position);
        let (present, gone): (Vec<_>, Vec<_>) = members.into_iter().partition(|(_, event)| {
            matches!(Membership::of(event), Membership::Join | Membership::Invite)
        });
        let heroes = if present.is_empty() { gone } else { present };
        heroes.into_iter().map(|(user, _)| user).take(MAX_HEROES).collect()
    }
}
