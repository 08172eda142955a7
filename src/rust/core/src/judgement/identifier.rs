//! Identifiers of users, devices, rooms and events.
//!
//! They become parts of paths and of what is printed, so they are checked before they are used.
//! The grammar is not enforced beyond that: old rooms and odd servers hold ids outside of it.

/// The longest identifier of the specification (appendices, "Common Identifier Format"), in bytes.
const LONGEST: usize = 255;

/// Whether `text` can serve as an identifier at all.
pub fn is_sound(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
}

/// Whether `text` can be a segment of a path. `.` and `..` do not survive it: clients and proxies
/// normalise paths, some of them after they decoded what is percent-encoded (RFC 3986, section 6.2.2).
pub fn is_segment(text: &str) -> bool {
    let mut decoded = text.to_ascii_lowercase();
    while decoded.contains("%25") {
        decoded = decoded.replace("%25", "%");
    }
    let decoded = decoded.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    !decoded.split(['/', '\\']).any(|part| part == "." || part == "..")
}

/// Whether `text` can be a user id.
pub fn is_user_id(text: &str) -> bool {
    is_sound(text) && text.starts_with('@') && text.contains(':')
}

/// Whether `text` can be a room id. From room version 12 on it names no server.
pub fn is_room_id(text: &str) -> bool {
    is_sound(text) && text.starts_with('!') && text.len() > 1
}

/// The server part of a user id.
pub fn server_name(user_id: &str) -> Option<&str> {
    user_id.split_once(':').map(|(_, server)| server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_leads_to_another_path_is_refused() {
        for text in [
            ".",
            "..",
            "%2e",
            "%2E%2e",
            ".%2E",
            "%252e%252E",
            "%25252e.",
            "a/..",
            "../a",
            "a\\..\\b",
        ] {
            assert!(!is_segment(text), "{text:?}");
        }
        for text in
            ["", "...", "a.b", "..a", "!room:here", "ab/cd+e", "100%", "%2", "%252", "a%2eb"]
        {
            assert!(is_segment(text), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_printed_or_addressed_is_refused() {
        for text in ["", "@a\0:b", "@a\n:b", "a:b", "@ab", &format!("@{}:b", "a".repeat(255))] {
            assert!(!is_user_id(text), "{text:?}");
        }
        assert!(is_user_id("@alice:example.org:8448"));
        assert_eq!(server_name("@alice:example.org:8448"), Some("example.org:8448"));
    }
}
