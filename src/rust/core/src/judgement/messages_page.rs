//! A page of `GET /rooms/…/messages`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    identifier,
    relation::Bundled,
    room_event::{NO_TIME, RoomEvent},
    unique_map::read_object,
};
use crate::error::{Kind, OrFail, Result};

/// A page, whose events are read one by one.
#[derive(Debug, Deserialize)]
pub struct MessagesPage<'a> {
    /// Its events, in the order of the server. A page without them is none: an empty object would end a
    /// gap in silence.
    #[serde(borrow)]
    pub chunk: Vec<&'a RawValue>,
    /// The token of the next page, if there is one.
    #[serde(default)]
    pub end: Option<String>,
}

impl<'a> MessagesPage<'a> {
    /// Reads `body`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is no such page.
    pub fn read(body: &'a str) -> Result<Self> {
        read_object(body).or_fail(Kind::Answer, "A page of messages")
    }

    /// Its events; in place of one that is none, why.
    pub fn events(&self) -> Vec<Result<RoomEvent<'a>>> {
        self.chunk.iter().map(|text| RoomEvent::read(text.get())).collect()
    }

    /// The users who sent an encrypted event of it.
    pub fn encrypted_senders(&self) -> BTreeSet<String> {
        let encrypted = self.events().into_iter().flatten().filter(RoomEvent::is_encrypted);
        encrypted.map(|event| event.sender).filter(|id| identifier::is_user_id(id)).collect()
    }
}

/// The earliest and the latest time at which events were sent, according to the server, in
/// milliseconds since 1970. None if no event has a time.
pub fn times(events: &[Result<RoomEvent<'_>>]) -> Option<(i64, i64)> {
    let times = events.iter().flatten().map(|event| event.origin_server_ts);
    let mut times = times.filter(|time| *time != NO_TIME);
    let first = times.next()?;
    Some(times.fold((first, first), |(from, to), time| (from.min(time), to.max(time))))
}

/// An event and the events that the server bundled with it, each read once.
#[derive(Debug)]
pub struct BundledEvent<'a> {
    /// The event, or why it is none.
    pub event: Result<RoomEvent<'a>>,
    /// What the server says is its newest edit.
    pub edit: Option<Result<RoomEvent<'a>>>,
    /// What the server says is the newest message of the thread that begins with it.
    pub latest_in_thread: Option<Box<BundledEvent<'a>>>,
}

impl<'a> BundledEvent<'a> {
    /// Reads what came with `event`. Of that, only the newest message of a thread brings something
    /// along in turn.
    pub fn of(event: Result<RoomEvent<'a>>) -> Self {
        Self::read(event, true)
    }

    fn read(event: Result<RoomEvent<'a>>, with_thread: bool) -> Self {
        let bundled = event.as_ref().map(|event| Bundled::of(&event.unsigned)).unwrap_or_default();
        let latest = bundled.latest_in_thread.filter(|_| with_thread);
        let latest = latest.map(|text| Box::new(Self::read(RoomEvent::read(text), false)));
        Self { event, edit: bundled.edit.map(RoomEvent::read), latest_in_thread: latest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_page_are_those_of_events_that_have_one() {
        let event = |time: &str| {
            format!(
                r#"{{"type":"m.x","sender":"@a:b","event_id":"$1","content":{{}},{time}"x":1}}"#
            )
        };
        let page = |members: &[&str]| {
            let events: Vec<String> = members.iter().map(|time| event(time)).collect();
            let text = format!(r#"{{"chunk":[{},7]}}"#, events.join(","));
            times(&MessagesPage::read(&text).unwrap().events())
        };
        let members = [
            "\"origin_server_ts\":5,",
            "\"origin_server_ts\":2,",
            "",
            "\"origin_server_ts\":\"9\",",
        ];
        assert_eq!(page(&members), Some((2, 5)));
        assert_eq!(page(&members[2..]), None);
    }
    #[test]
    fn only_users_who_sent_encrypted_events_are_tracked() {
        let event = |event_type: &str, sender: &str| {
            format!(
                r#"{{"type":"{event_type}","sender":"{sender}","event_id":"$1","content":{{}}}}"#
            )
        };
        let events = [
            event("m.room.encrypted", "@a:b"),
            event("m.room.encrypted", "@a:b"),
            event("m.room.encrypted", "nobody"),
            event("m.room.message", "@c:b"),
            "7".to_owned(),
        ];
        let text = format!(r#"{{"chunk":[{}]}}"#, events.join(","));
        let senders = MessagesPage::read(&text).unwrap().encrypted_senders();
        assert_eq!(senders.into_iter().collect::<Vec<_>>(), ["@a:b"]);
    }

    #[test]
    fn what_is_bundled_with_an_event_is_read_two_levels_deep() {
        let event = |id: &str, relations: &str| {
            format!(
                r#"{{"type":"m","sender":"@a:b","event_id":"{id}","content":{{}},
                    "unsigned":{{"m.relations":{{{relations}}}}}}}"#
            )
        };
        let thread = |latest: &str| format!(r#""m.thread":{{"latest_event":{latest}}}"#);
        let inner = event("$3", &format!(r#""m.replace":7,{}"#, thread(&event("$4", ""))));
        let text = event("$1", &format!(r#""m.replace":{},{}"#, event("$2", ""), thread(&inner)));
        let read = BundledEvent::of(RoomEvent::read(&text));
        assert_eq!(read.event.unwrap().event_id, "$1");
        assert_eq!(read.edit.unwrap().unwrap().event_id, "$2");
        let latest = read.latest_in_thread.unwrap();
        assert_eq!(latest.event.unwrap().event_id, "$3");
        assert!(latest.edit.unwrap().is_err() && latest.latest_in_thread.is_none());
        assert!(BundledEvent::of(RoomEvent::read("7")).edit.is_none());
    }
}
