//! Error responses, with the codes and status numbers that Synapse gives.

use serde_json::{Value, json};

use crate::http::Response;

/// What every endpoint returns.
pub(crate) type Reply = Result<Value, Error>;

#[derive(Clone, Debug)]
pub(crate) struct Error {
    status: u16,
    body: Value,
}

impl Error {
    pub(crate) fn new(status: u16, errcode: &str, error: impl Into<String>) -> Self {
        Self { status, body: json!({"errcode": errcode, "error": error.into()}) }
    }

    /// The 401 that asks for user-interactive authentication; it need not carry an `errcode`.
    pub(crate) fn challenge(body: Value) -> Self {
        Self { status: 401, body }
    }

    pub(crate) fn bad_json(error: impl Into<String>) -> Self {
        Self::new(400, "M_BAD_JSON", error)
    }

    pub(crate) fn missing_param(name: &str) -> Self {
        Self::new(400, "M_MISSING_PARAM", format!("Missing parameter: {name}"))
    }

    pub(crate) fn invalid_param(error: impl Into<String>) -> Self {
        Self::new(400, "M_INVALID_PARAM", error)
    }

    pub(crate) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(403, "M_FORBIDDEN", error)
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(404, "M_NOT_FOUND", error)
    }

    pub(crate) fn wrong_backup(current: &str) -> Self {
        let mut error = Self::new(403, "M_WRONG_ROOM_KEYS_VERSION", "Wrong backup version.");
        error.body["current_version"] = json!(current);
        error
    }

    pub(crate) fn unrecognized() -> Self {
        Self::new(404, "M_UNRECOGNIZED", "Unrecognized request")
    }

    pub(crate) fn unknown_token(error: &str, soft_logout: bool) -> Self {
        let errcode = "M_UNKNOWN_TOKEN";
        let body = json!({"errcode": errcode, "error": error, "soft_logout": soft_logout});
        Self { status: 401, body }
    }

    /// The error as it stands in a list of failures beside successes.
    pub(crate) fn into_body(self) -> Value {
        self.body
    }

    pub(crate) fn into_response(self) -> Response {
        Response { status: self.status, body: self.body.to_string() }
    }
}
