//! Events that are sent later (MSC4140), in the form that Synapse has, and in that of the accepted proposal.
//!
//! The server has no clock: what is due is sent when the next request comes, and has the time at which it was due.

use serde_json::{Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::event::{Draft, check_content};
use crate::http::Call;
use crate::json::{Fields, Object};
use crate::token::Caller;

/// The parameter of the query that asks for a delay.
pub(crate) const DELAY: &str = "org.matrix.msc4140.delay";
/// The longest delay: a day.
pub(crate) const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;

/// An event that is sent later.
pub(crate) struct DelayedEvent {
    id: String,
    owner: Caller,
    room: String,
    kind: String,
    content: Object,
    delay: u64,
    since: u64,
}

impl DelayedEvent {
    fn due(&self) -> u64 {
        self.since.saturating_add(self.delay)
    }
}

impl ModelServer {
    /// Sends what is due.
    pub(crate) fn send_delayed_events(&mut self, now: u64) {
        while let Some(next) = self.next_due(now) {
            let event = self.delayed_events.remove(next);
            let at = event.due();
            self.send_delayed(event, at);
        }
    }

    fn next_due(&self, now: u64) -> Option<usize> {
        let due = self.delayed_events.iter().enumerate().filter(|(_, event)| event.due() <= now);
        due.min_by_key(|(_, event)| event.due()).map(|(place, _)| place)
    }

    /// Whether its owner may send it is judged now. One that may not be sent is lost.
    fn send_delayed(&mut self, event: DelayedEvent, now: u64) {
        let DelayedEvent { id, owner, room, kind, content, .. } = event;
        let may = self.joined_room(&owner.user, &room);
        if may.and_then(|room| room.require_power_to_send(&owner.user, &kind, false)).is_err() {
            return;
        }
        let draft = Draft { delay_id: Some(id), kind, content, ..Draft::default() };
        let _ = self.append(&room, &owner.user, draft, now);
    }

    /// `PUT /send/…` with a delay.
    pub(crate) fn delay_by_query(
        &mut self,
        me: &Caller,
        room: &str,
        kind: &str,
        call: &Call,
    ) -> Reply {
        let delay = call.number(DELAY)?.unwrap_or_default() as u64;
        self.delay_event(me, room, kind, call.object()?, delay, call.now)
    }

    /// `PUT /delayed_event/…`.
    pub(crate) fn delay_by_body(
        &mut self,
        me: &Caller,
        room: &str,
        kind: &str,
        call: &Call,
    ) -> Reply {
        let body = call.object()?;
        let delay = body.get("delay_ms").and_then(Value::as_u64);
        let delay = delay.ok_or_else(|| Error::missing_param("delay_ms"))?;
        self.delay_event(me, room, kind, body.need_object("content")?.clone(), delay, call.now)
    }

    fn delay_event(
        &mut self,
        me: &Caller,
        room: &str,
        kind: &str,
        content: Object,
        delay: u64,
        now: u64,
    ) -> Reply {
        if delay > LONGEST_MS {
            let error = "The requested delay exceeds the allowed maximum";
            return Err(Error::new(400, "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE", error));
        }
        let content = check_content(content)?;
        let id = format!("delay{}", self.next("delayed event"));
        self.delayed_events.push(DelayedEvent {
            id: id.clone(),
            owner: me.clone(),
            room: room.to_owned(),
            kind: kind.to_owned(),
            content,
            delay,
            since: now,
        });
        Ok(json!({"delay_id": id}))
    }

    pub(crate) fn route_delayed_events(&mut self, call: &Call, path: &[&str]) -> Reply {
        match (call.method, path) {
            ("GET", []) => {
                let me = self.authenticate(call)?;
                let mine = self.delayed_events.iter().filter(|event| event.owner.user == me.user);
                let list: Vec<Value> = mine.map(described).collect();
                Ok(json!({ "delayed_events": list }))
            }
            // Whoever knows the id may do this.
            ("POST", [id, action @ ("restart" | "cancel" | "send")]) => {
                let missing = || Error::not_found("Delayed event not found");
                let place = self.delayed_events.iter().position(|event| event.id == *id);
                let place = place.ok_or_else(missing)?;
                match *action {
                    "restart" => self.delayed_events[place].since = call.now,
                    "cancel" => drop(self.delayed_events.remove(place)),
                    _ => {
                        let event = self.delayed_events.remove(place);
                        self.send_delayed(event, call.now);
                    }
                }
                Ok(json!({}))
            }
            _ => Err(Error::unrecognized()),
        }
    }
}

fn described(event: &DelayedEvent) -> Value {
    json!({
        "delay_id": event.id,
        "room_id": event.room,
        "type": event.kind,
        "delay_ms": event.delay,
        "delayed_since_ts": event.since,
        "content": event.content,
    })
}
