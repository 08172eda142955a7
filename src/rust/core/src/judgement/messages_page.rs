//! A page of `GET /rooms/…/messages`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
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

    /// When its events were sent, as the server says: the earliest time and the latest. None where no
    /// event says so.
    pub fn times(&self) -> Option<(i64, i64)> {
        let events = self.chunk.iter().filter_map(|text| RoomEvent::read(text.get()).ok());
        let mut times = events.map(|event| event.origin_server_ts).filter(|time| *time != NO_TIME);
        let first = times.next()?;
        Some(times.fold((first, first), |(from, to), time| (from.min(time), to.max(time))))
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
        let page = |times: &[&str]| {
            let events: Vec<String> = times.iter().map(|time| event(time)).collect();
            let text = format!(r#"{{"chunk":[{},7]}}"#, events.join(","));
            MessagesPage::read(&text).unwrap().times()
        };
        let times = [
            "\"origin_server_ts\":5,",
            "\"origin_server_ts\":2,",
            "",
            "\"origin_server_ts\":\"9\",",
        ];
        assert_eq!(page(&times), Some((2, 5)));
        assert_eq!(page(&times[2..]), None);
    }
}
