//! Paths of the client-server API.

use std::fmt::Write;

/// Where files are.
pub(super) const MEDIA: &str = "/_matrix/client/v1/media";

/// Percent-encodes `segments` into a path of the client-server API.
pub(super) fn path(segments: &[&str]) -> String {
    path_of("/_matrix/client/v3", segments)
}

/// Percent-encodes `segments` into a path below `root`.
pub(super) fn path_of(root: &str, segments: &[&str]) -> String {
    let mut path = root.to_owned();
    for segment in segments {
        path.push('/');
        percent_encode(segment, &mut path);
    }
    path
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
