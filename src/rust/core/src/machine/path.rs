//! Paths of the client-server API.

use std::fmt::Write;

use crate::{
    error::{Error, Kind, Result},
    judgement::identifier::is_segment,
};

/// Where most of the client-server API is.
pub(super) const CLIENT: &str = "/_matrix/client/v3";
/// Where files are.
pub(super) const MEDIA: &str = "/_matrix/client/v1/media";
/// Where files go.
pub(super) const UPLOADS: &str = "/_matrix/media/v3";

/// Where events are that the server is to send later.
pub(super) const DELAYED_STABLE: &str = "/_matrix/client/v1";
/// Where they were before the proposal was accepted.
pub(super) const DELAYED: &str = "/_matrix/client/unstable/org.matrix.msc4140";

/// Percent-encodes `segments` into a path below `root`.
///
/// # Errors
/// [`Kind::Argument`] when a segment would lead to another path.
pub(super) fn path(root: &str, segments: &[&str]) -> Result<String> {
    let mut path = root.to_owned();
    for segment in segments {
        if !is_segment(segment) {
            return Err(Error::new(
                Kind::Argument,
                format!("{segment:?} cannot be part of a request: it would lead to another path."),
            ));
        }
        path.push('/');
        percent_encode(segment, &mut path);
    }
    Ok(path)
}

/// The query of those `parameters` that have a value, percent-encoded.
pub(super) fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        percent_encode(value, &mut query);
    }
    query
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
