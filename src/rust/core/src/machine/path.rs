//! Paths of the client-server API.

use std::fmt::Write;

use crate::{
    error::{Error, Kind, Result},
    judgement::identifier::is_segment,
};

/// Where files are.
pub(super) const MEDIA: &str = "/_matrix/client/v1/media";

/// Percent-encodes `segments` into a path of the client-server API.
///
/// # Errors
/// [`Kind::Argument`] when a segment would lead to another path.
pub(super) fn path(segments: &[&str]) -> Result<String> {
    path_of("/_matrix/client/v3", segments)
}

/// Percent-encodes `segments` into a path below `root`.
///
/// # Errors
/// As [`path`].
pub(super) fn path_of(root: &str, segments: &[&str]) -> Result<String> {
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

/// Appends `text`, percent-encoded, to a path or query.
pub(super) fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
