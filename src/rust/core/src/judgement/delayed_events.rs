//! The list of events that the server is to send later (MSC4140, since its end MSC4486).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    identifier::{is_segment, is_sound},
    members::Members,
    unique_map::read_object,
};
use crate::error::{Kind, OrFail, Result};

/// An event that the server is to send later.
#[derive(Debug)]
pub struct DelayedEvent<'a> {
    /// The server's id for it.
    pub delay_id: Cow<'a, str>,
    /// The room.
    pub room_id: Cow<'a, str>,
    /// The content as it was given to the server.
    pub content: Members<'a>,
}

/// The events that the server is to send later.
#[derive(Debug)]
pub struct DelayedEvents<'a> {
    /// Those that can be read.
    pub events: Vec<DelayedEvent<'a>>,
    /// The server has more of them.
    pub more: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    delayed_events: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    next_batch: Option<&'a RawValue>,
}

/// Reads the response to `GET /delayed_events`.
///
/// # Errors
/// [`Kind::Json`] when it is no such list.
pub fn read(body: &str) -> Result<DelayedEvents<'_>> {
    let wire: Wire<'_> = read_object(body).or_fail(Kind::Json, "This is no list of events")?;
    let events = wire.delayed_events.into_iter().filter_map(|text| event(text.get())).collect();
    Ok(DelayedEvents { events, more: wire.next_batch.is_some() })
}

fn event(text: &str) -> Option<DelayedEvent<'_>> {
    let event = Members::read(text).ok()?;
    // One that was sent or cancelled may be listed too.
    if event.raw("finalised").is_some() || event.raw("event_id").is_some() {
        return None;
    }
    Some(DelayedEvent {
        delay_id: event.text("delay_id").filter(|id| is_sound(id) && is_segment(id))?,
        room_id: event.text("room_id")?,
        content: event.object("content")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_sent_is_read_and_the_rest_left_out() {
        let list = read(
            r#"{"delayed_events":[
                {"delay_id":"a","room_id":"!r:x","content":{"body":"1"},"delay":5},
                {"delay_id":"b","room_id":"!r:x","content":{},"finalised":{"event_id":"$1"}},
                {"delay_id":"../c","room_id":"!r:x","content":{}},
                {"delay_id":"d","room_id":"!r:x","content":7}, 7]}"#,
        )
        .unwrap();
        let ids: Vec<&str> = list.events.iter().map(|event| event.delay_id.as_ref()).collect();
        assert_eq!(ids, ["a"]);
        assert!(!list.more);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for odd in ["", "<html>", "{}", "[]", r#"{"delayed_events":{}}"#] {
            assert_eq!(read(odd).unwrap_err().kind, Kind::Json, "{odd}");
        }
    }
}
