//! `/sync`: everything that happened after a position, for one device.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::ModelServer;
use crate::error::{Error, Reply};
use crate::filter::RoomFilter;
use crate::http::Call;
use crate::token::Caller;

/// A place in the stream, as tokens name it: `s<N>`.
///
/// A sync that could not hold all waiting to-device messages adds how far those have come, which
/// is then behind the rest: `s<N>_<M>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    stream: u64,
    to_device: u64,
}

impl Position {
    pub(crate) fn at(stream: u64) -> Self {
        Self { stream, to_device: stream }
    }

    pub(crate) fn stream(self) -> u64 {
        self.stream
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('s')?;
        let (stream, to_device) = digits.split_once('_').unwrap_or((digits, digits));
        Some(Self { stream: stream.parse().ok()?, to_device: to_device.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.to_device == self.stream {
            write!(f, "s{}", self.stream)
        } else {
            write!(f, "s{}_{}", self.stream, self.to_device)
        }
    }
}

/// What a sync is asked for.
pub(crate) struct SyncRequest {
    /// None for an initial sync.
    pub(crate) since: Option<u64>,
    pub(crate) full_state: bool,
    pub(crate) filter: RoomFilter,
}

impl ModelServer {
    pub(crate) fn sync(&mut self, me: &Caller, call: &Call) -> Reply {
        let filter = self.sync_filter(me, call)?;
        let since = call.query("since").map(|text| self.position_in(text, "since")).transpose()?;
        let full_state = call.query("full_state") == Some("true");
        let request = SyncRequest { since: since.map(Position::stream), full_state, filter };
        if let Some(since) = since {
            self.acknowledge(me, since.to_device)?;
        }
        let (messages, to_device) = self.waiting_messages(me)?;
        let next_batch = Position { to_device, ..Position::at(self.position) };

        let mut answer = json!({
            "next_batch": next_batch.to_string(),
            "account_data": self.new_account_data(me, &request),
            "presence": {"events": []},
            "rooms": self.sync_rooms(me, &request),
            "to_device": {"events": messages},
        });
        let keys = &self.device_of(me)?.one_time_keys;
        answer["device_one_time_keys_count"] = json!(keys.counts());
        answer["device_unused_fallback_key_types"] = json!(keys.unused_fallback_types());
        if let Some(since) = request.since {
            answer["device_lists"] = self.device_lists(&me.user, since, self.position);
        }
        Ok(answer)
    }

    fn new_account_data(&self, me: &Caller, request: &SyncRequest) -> Value {
        let since = request.since.unwrap_or(0);
        let user = self.users.get(&me.user);
        let events = user.map(|user| user.account_data.since(None, since)).unwrap_or_default();
        json!({"events": events})
    }

    fn sync_rooms(&self, me: &Caller, request: &SyncRequest) -> Value {
        let mut sections = [("join", Map::new()), ("invite", Map::new()), ("leave", Map::new())];
        for room in self.rooms.values().filter(|room| request.filter.lets_pass(&room.id)) {
            let Some((name, news)) = self.sync_room(room, me, request) else { continue };
            if let Some((_, section)) = sections.iter_mut().find(|section| section.0 == name) {
                section.insert(room.id.clone(), news);
            }
        }
        sections.into_iter().map(|(name, rooms)| (name.to_owned(), Value::Object(rooms))).collect()
    }

    /// The position a client's token names; it cannot be one that was not given out yet.
    pub(crate) fn position_in(&self, token: &str, name: &str) -> Result<Position, Error> {
        Position::parse(token)
            .filter(|position| position.stream.max(position.to_device) <= self.position)
            .ok_or_else(|| Error::invalid_param(format!("Invalid stream token in {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_say_what_they_mean() {
        for text in ["s0", "s12", "s12_7"] {
            assert_eq!(Position::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "s", "12", "s-1", "s1_", "s1_2_3", "s99999999999999999999"] {
            assert_eq!(Position::parse(text), None);
        }
    }
}
