//! The response to something that was sent. A page of a proxy with status 200 has delivered nothing.

use std::borrow::Cow;

use super::{
    encrypted_file::address,
    identifier::{is_segment, is_sound},
    members::Members,
};
use crate::error::{Error, Kind, OrFail, Result};

/// The id of an event that was sent, by the response to `PUT /rooms/…/send/…` or `…/redact/…`.
///
/// # Errors
/// [`Kind::Answer`] when it has none.
pub fn event_id(body: &str) -> Result<String> {
    let response = Members::read(body).or_fail(Kind::Answer, "The answer to an event")?;
    let event_id = response.text("event_id").map(Cow::into_owned);
    event_id.ok_or_else(|| Error::new(Kind::Answer, "An event was sent and has no id."))
}

/// What became of an event that the server was to send later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delayed {
    /// It is sent later. The id is the server's for it.
    Scheduled(String),
    /// It was sent at once. The id is that of the event.
    SentAtOnce(String),
}

/// What became of an event that the server was to send later, by its response.
///
/// # Errors
/// [`Kind::Answer`] when it does not say.
pub fn delayed(body: &str) -> Result<Delayed> {
    let response = Members::read(body).or_fail(Kind::Answer, "The answer to a delayed event")?;
    // An id that no request can name could never be cancelled.
    let delay_id = response.text("delay_id").filter(|id| is_sound(id) && is_segment(id));
    match (delay_id, response.text("event_id")) {
        (Some(delay_id), _) => Ok(Delayed::Scheduled(delay_id.into_owned())),
        (None, Some(event_id)) => Ok(Delayed::SentAtOnce(event_id.into_owned())),
        (None, None) => {
            Err(Error::new(Kind::Answer, "An event is to be sent later and has no id."))
        }
    }
}

/// The address of a file, by the response to `POST /upload`.
///
/// # Errors
/// [`Kind::Answer`] when it has none.
pub fn content_uri(body: &str) -> Result<String> {
    let response = Members::read(body).or_fail(Kind::Answer, "The response")?;
    let uri = response.text("content_uri").filter(|uri| address(uri).is_some());
    uri.map(Cow::into_owned).ok_or_else(|| {
        Error::new(Kind::Answer, "A file was uploaded, and the server gave it no address.")
    })
}

/// Checks the response to `PUT /room_keys/keys`. Any other body does not prove that a key is there.
///
/// # Errors
/// [`Kind::Answer`] when it is none.
pub fn keys_backed_up(body: &str) -> Result<()> {
    let response = Members::read(body).or_fail(Kind::Answer, "The response to a backup")?;
    let count = response.integer("count").filter(|count| *count >= 0);
    if response.text("etag").is_none() && count.is_none() {
        return Err(Error::new(Kind::Answer, "The response to a backup has no etag and no count."));
    }
    Ok(())
}

/// Checks that a response which says nothing more is one of the homeserver.
///
/// # Errors
/// [`Kind::Answer`] when it is none.
pub fn acknowledged(body: &str) -> Result<()> {
    Members::read(body).or_fail(Kind::Answer, "The response").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_of_the_homeserver_says_that_something_was_sent() {
        assert_eq!(event_id(r#"{"event_id":"$1","x":[1e9]}"#).unwrap(), "$1");
        acknowledged("{}").unwrap();
        for odd in ["", "<html>", "[]", "null", r#"{"a":1,"a":2}"#] {
            assert_eq!(acknowledged(odd).unwrap_err().kind, Kind::Answer, "{odd}");
            assert_eq!(event_id(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
        for odd in ["{}", r#"{"event_id":7}"#] {
            assert_eq!(event_id(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }

    #[test]
    fn an_event_is_sent_later_or_was_sent_at_once() {
        let scheduled = Delayed::Scheduled("d1".into());
        assert_eq!(delayed(r#"{"delay_id":"d1"}"#).unwrap(), scheduled);
        assert_eq!(delayed(r#"{"event_id":"$1"}"#).unwrap(), Delayed::SentAtOnce("$1".into()));
        for odd in ["", "<html>", "{}", r#"{"delay_id":7}"#, r#"{"delay_id":".."}"#] {
            assert_eq!(delayed(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }

    #[test]
    fn a_file_has_an_address() {
        assert_eq!(content_uri(r#"{"content_uri":"mxc://a/b"}"#).unwrap(), "mxc://a/b");
        for odd in ["", "{}", r#"{"content_uri":"https://a/b"}"#, r#"{"content_uri":7}"#] {
            assert_eq!(content_uri(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }

    #[test]
    fn keys_are_backed_up_where_the_response_counts_them() {
        for good in [r#"{"etag":"1"}"#, r#"{"count":0}"#, r#"{"etag":"1","count":5}"#] {
            keys_backed_up(good).unwrap();
        }
        for odd in ["", "<html>", "{}", r#"{"etag":null,"count":-1}"#] {
            assert_eq!(keys_backed_up(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }
}
