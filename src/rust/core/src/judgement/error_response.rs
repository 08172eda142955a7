//! Error responses, and missing ones: whether they are a verdict on the request.
//!
//! Specification: client-server API, "Standard error response". A proxy in front of the homeserver may
//! respond with anything.

use super::members::Members;

/// The error codes after which the same request would be refused again. (Client-server API, "Standard
/// error response", and Synapse's own.)
const FINAL: &[&str] = &[
    "M_FORBIDDEN",
    "M_GUEST_ACCESS_FORBIDDEN",
    "M_NOT_FOUND",
    "M_BAD_JSON",
    "M_NOT_JSON",
    "M_TOO_LARGE",
    "M_BAD_STATE",
    "M_INVALID_PARAM",
    "M_MISSING_PARAM",
    "M_INVALID_SIGNATURE",
    "M_DUPLICATE_ANNOTATION",
    "M_UNSUPPORTED_ROOM_VERSION",
    "M_INCOMPATIBLE_ROOM_VERSION",
    "M_USER_DEACTIVATED",
    "M_MAX_DELAY_EXCEEDED",
    "ORG.MATRIX.MSC4140_MAX_DELAY_EXCEEDED",
    "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE",
];
/// Error codes that say nothing about the request itself: it may succeed later.
const PASSING: &[&str] =
    &["M_LIMIT_EXCEEDED", "M_CONSENT_NOT_GIVEN", "M_RESOURCE_LIMIT_EXCEEDED", "M_UNRECOGNIZED"];
/// How much of an error text is kept, in characters.
const LONGEST_ERROR: usize = 1000;
/// The HTTP status of a request that is too large.
const TOO_LARGE: u16 = 413;

/// A response that is not a success, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The HTTP status; zero where no response came.
    pub status: u16,
    /// The error code; `M_UNKNOWN` where there is none.
    pub code: String,
    /// The error text of the server, or ours in place of it.
    pub message: String,
    has_code: bool,
}

impl ErrorResponse {
    /// Reads a response. Nothing is wrong with one of status 200, whatever its body is.
    pub fn read(status: u16, body: &str) -> Self {
        let body = if status == 200 { "" } else { body };
        let members = Members::read(body).unwrap_or_default();
        let code = members.text("errcode");
        let without = || match status {
            0 => "The server did not respond.".to_owned(),
            _ => format!("The server responded with status {status}."),
        };
        Self {
            status,
            has_code: code.is_some(),
            code: code.map_or_else(|| "M_UNKNOWN".to_owned(), |code| code.into_owned()),
            message: members
                .text("error")
                .map_or_else(without, |text| text.chars().take(LONGEST_ERROR).collect()),
        }
    }

    /// The homeserver refused the request, and would refuse it again. Anything else is temporary: the page of
    /// a proxy, a limit, terms that must be agreed to, and codes that are not known here.
    pub fn is_final(&self) -> bool {
        (400..500).contains(&self.status) && FINAL.contains(&self.code.as_str())
    }

    /// The error is about the request and from the homeserver, not from a proxy in front of it.
    pub fn is_about_request(&self) -> bool {
        self.has_code && !PASSING.contains(&self.code.as_str())
    }

    /// The homeserver, or a proxy in front of it, accepts smaller requests only.
    pub fn is_too_large(&self) -> bool {
        self.status == TOO_LARGE || self.is_final() && self.code == "M_TOO_LARGE"
    }

    /// The requested resource does not exist.
    pub fn is_absence(&self) -> bool {
        self.status == 404 && self.code == "M_NOT_FOUND"
    }
}

/// Whether a status says that the server is away, or busy.
pub fn is_unavailable(status: u16) -> bool {
    status >= 500 || [0, 401, 408, 425, 429].contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, code: &str) -> ErrorResponse {
        ErrorResponse::read(status, &format!(r#"{{"errcode":"{code}","error":"No."}}"#))
    }

    #[test]
    fn only_the_homeserver_refuses_for_good() {
        assert!(error(403, "M_FORBIDDEN").is_final());
        for passing in [
            error(500, "M_FORBIDDEN"),
            error(200, "M_FORBIDDEN"),
            error(429, "M_LIMIT_EXCEEDED"),
            error(403, "M_UNKNOWN"),
            error(403, "ORG.EXAMPLE.NEW"),
            ErrorResponse::read(403, "<html>"),
            ErrorResponse::read(403, r#"{"errcode":7}"#),
            ErrorResponse::read(403, r#"{"errcode":"M_FORBIDDEN","errcode":"M_FORBIDDEN"}"#),
            ErrorResponse::read(0, ""),
        ] {
            assert!(!passing.is_final(), "{passing:?}");
        }
    }

    #[test]
    fn a_code_that_says_nothing_of_the_request_is_not_about_it() {
        assert!(error(400, "M_UNKNOWN").is_about_request());
        for passing in [error(400, "M_UNRECOGNIZED"), ErrorResponse::read(400, "{}")] {
            assert!(!passing.is_about_request(), "{passing:?}");
        }
    }

    #[test]
    fn a_proxy_may_say_that_it_is_too_large_and_not_that_nothing_is_there() {
        assert!(ErrorResponse::read(413, "<html>").is_too_large());
        assert!(error(400, "M_TOO_LARGE").is_too_large());
        assert!(!error(502, "M_TOO_LARGE").is_too_large());
        assert!(error(404, "M_NOT_FOUND").is_absence());
        assert!(!ErrorResponse::read(404, "Not found").is_absence());
        assert!(!error(404, "M_UNRECOGNIZED").is_absence());
    }

    #[test]
    fn a_message_is_cut_and_one_is_made_where_there_is_none() {
        let long = ErrorResponse::read(400, &format!(r#"{{"error":"{}"}}"#, "é".repeat(5000)));
        assert_eq!(long.message.chars().count(), LONGEST_ERROR);
        assert!(ErrorResponse::read(502, "<html>").message.contains("status 502"));
        assert!(ErrorResponse::read(0, "").message.contains("did not respond"));
    }
}
