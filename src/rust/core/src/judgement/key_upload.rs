//! The response to `POST /keys/upload`.

use super::members::Members;
use crate::{
    error::{Kind, OrFail, Result},
    primitives::account::SIGNED_CURVE25519,
};

/// How many one-time keys of the device the server holds; none where it does not count them.
///
/// # Errors
/// [`Kind::Answer`] when it is no JSON object.
pub fn one_time_key_count(body: &str) -> Result<Option<u64>> {
    let response = Members::read(body).or_fail(Kind::Answer, "The answer to /keys/upload")?;
    let counts = response.object("one_time_key_counts");
    let count = counts.map(|counts| counts.integer(SIGNED_CURVE25519));
    Ok(count.map(|count| count.unwrap_or(0).max(0).unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_is_none_is_zero_and_one_that_is_missing_is_not_known() {
        for (body, count) in [
            ("{}", None),
            (r#"{"one_time_key_counts":null}"#, None),
            (r#"{"one_time_key_counts":[]}"#, None),
            (r#"{"one_time_key_counts":{}}"#, Some(0)),
            (r#"{"one_time_key_counts":{"signed_curve25519":7}}"#, Some(7)),
            (r#"{"one_time_key_counts":{"signed_curve25519":-7}}"#, Some(0)),
            (r#"{"one_time_key_counts":{"signed_curve25519":"7"}}"#, Some(0)),
        ] {
            assert_eq!(one_time_key_count(body).unwrap(), count, "{body}");
        }
        for odd in ["", "<html>", "[]"] {
            assert_eq!(one_time_key_count(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }
}
