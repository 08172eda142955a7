//! Requests in, responses out, and the reading of paths, queries and bodies.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::Error;
use crate::json::Object;

/// An HTTP request, reduced to what a homeserver looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// The percent-encoded path with its query, for example `/_matrix/client/v3/sync?since=s3`.
    pub path: String,
    /// The bearer token of the `Authorization` header.
    pub token: Option<String>,
    /// The body, JSON text or nothing.
    pub body: Vec<u8>,
}

/// An HTTP response. Its content type is always `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// JSON text.
    pub body: String,
}

/// A request taken apart, with the time at which it came.
pub(crate) struct Call<'a> {
    pub(crate) now: u64,
    pub(crate) method: &'a str,
    pub(crate) path: Vec<String>,
    pub(crate) token: Option<&'a str>,
    query: BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
}

impl<'a> Call<'a> {
    pub(crate) fn new(now: u64, request: &'a Request) -> Self {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        Self {
            now,
            method: &request.method,
            // Split before decoding: an encoded slash belongs to its segment.
            path: path.strip_prefix('/').unwrap_or(path).split('/').map(percent_decode).collect(),
            token: request.token.as_deref(),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(query_pair).collect(),
            body: &request.body,
        }
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A query parameter that is a whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Error> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Error::invalid_param(format!("Query parameter {name} must be an integer"))
            })
        };
        self.query(name).map(parse).transpose()
    }

    /// The transaction id, which ends the path of every endpoint that takes one.
    pub(crate) fn transaction(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The body, which must be a JSON object.
    pub(crate) fn object(&self) -> Result<Object, Error> {
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Error::bad_json("Content must be a JSON object.")),
            Err(_) => Err(Error::new(400, "M_NOT_JSON", "Content not JSON.")),
        }
    }

    /// The body where clients are used to sending none.
    pub(crate) fn object_or_empty(&self) -> Result<Object, Error> {
        if self.body.is_empty() { Ok(Object::new()) } else { self.object() }
    }
}

fn query_pair(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    (decode(name), decode(value))
}

fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = escaped(rest).unwrap_or((*first, tail));
        decoded.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The byte that a leading `%xx` stands for, and what follows it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, tail @ ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = digit(high)? * 16 + digit(low)?;
    Some((u8::try_from(byte).ok()?, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str) -> (Vec<String>, Option<String>) {
        let request = Request { path: path.to_owned(), ..Request::default() };
        let call = Call::new(0, &request);
        (call.path.clone(), call.query("q").map(str::to_owned))
    }

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        assert_eq!(call("/a/%21x%2Fy%3Ademo/b+c").0, ["a", "!x/y:demo", "b+c"]);
        assert_eq!(call("/state/m.room.name/").0, ["state", "m.room.name", ""]);
    }

    #[test]
    fn queries_are_decoded_as_forms() {
        assert_eq!(call("/?p=1&q=%7B%22a+b%22%3A1%7D").1.as_deref(), Some(r#"{"a b":1}"#));
        assert_eq!(call("/?q").1.as_deref(), Some(""));
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(call("/%/%4/%zz/%ff").0, ["%", "%4", "%zz", "\u{fffd}"]);
    }
}
