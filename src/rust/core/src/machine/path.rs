//! Paths of the client-server API.

use std::fmt::Write;

/// Percent-encodes `segments` into a path of the client-server API.
pub(super) fn path(segments: &[&str]) -> String {
    let mut path = "/_matrix/client/v3".to_owned();
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
