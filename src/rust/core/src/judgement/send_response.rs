//! The response to something that was sent. A page of a proxy with status 200 has delivered nothing.

use super::members::Members;
use crate::error::{Error, Kind, OrFail, Result};

/// The id of an event that was sent, by the response to `PUT /rooms/…/send/…` or `…/redact/…`.
///
/// # Errors
/// [`Kind::Answer`] when it has none.
pub fn event_id(body: &str) -> Result<String> {
    let response = Members::read(body).or_fail(Kind::Answer, "The answer to an event")?;
    let event_id = response.text("event_id").map(|id| id.into_owned());
    event_id.ok_or_else(|| Error::new(Kind::Answer, "An event was sent and has no id."))
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
}
