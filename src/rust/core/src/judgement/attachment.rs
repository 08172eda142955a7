//! The attachment of an event: its file, not the thumbnail.
//!
//! Specification: client-server API, "m.room.message msgtypes" and "Sticker messages".

use super::{
    encrypted_file::{EncryptedFile, address},
    members::Members,
};
use crate::{primitives::canonical_json::Json, store::records::Event};

/// The attachment of an event.
pub struct Attachment {
    /// Where it is: an `mxc://` address.
    pub url: String,
    /// What opens it, if it is encrypted.
    pub file: Option<EncryptedFile>,
}

impl Attachment {
    /// The attachment of an event that can be read. An edit has none: it shows that of its message again.
    pub fn of(event: &Event) -> Option<Self> {
        let is_shown = ["m.room.message", "m.sticker"].contains(&event.event_type.as_str())
            && event.state_key.is_none()
            && event.unreadable.is_none()
            && event.replaces.is_none();
        if !is_shown {
            return None;
        }
        let content = Members::read(&event.content).ok()?;
        let msgtype = content.text("msgtype").unwrap_or_default();
        if ["m.text", "m.notice", "m.emote", "m.location"].contains(&&*msgtype) {
            return None;
        }
        // A `url` beside it is never used: nothing says what should be there.
        if let Some(file) = content.raw("file").filter(|file| file.get() != "null") {
            let file = EncryptedFile::read(&Json::parse_object(file.get()).ok()?).ok()?;
            return Some(Self { url: file.url.clone(), file: Some(file) });
        }
        let url = content.text("url").filter(|url| address(url).is_some())?;
        Some(Self { url: url.into_owned(), file: None })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::primitives::attachment;

    fn message(content: &Value) -> Event {
        Event {
            event_type: "m.room.message".into(),
            content: content.to_string(),
            ..Event::default()
        }
    }

    #[test]
    fn a_file_is_found_encrypted_or_not() {
        let key = attachment::encrypt(&mut [1, 2]).unwrap();
        let file = EncryptedFile { url: "mxc://here/a".into(), key }.write();
        let both = json!({"msgtype": "m.file", "file": file, "url": "mxc://here/b"});
        let found = Attachment::of(&message(&both)).unwrap();
        assert_eq!((found.url.as_str(), found.file.is_some()), ("mxc://here/a", true));
        let plain = json!({"msgtype": "m.image", "url": "mxc://here/b", "file": null});
        let found = Attachment::of(&message(&plain)).unwrap();
        assert_eq!((found.url.as_str(), found.file.is_none()), ("mxc://here/b", true));
        let sticker = Event { event_type: "m.sticker".into(), ..message(&plain) };
        assert!(Attachment::of(&sticker).is_some());
    }

    #[test]
    fn what_shows_no_file_has_none() {
        let url = "mxc://here/a";
        for content in [
            json!({"msgtype": "m.text", "url": url}),
            json!({"msgtype": "m.file", "url": "https://here/a"}),
            json!({"msgtype": "m.file", "url": url, "file": {}}),
            json!({"msgtype": "m.file", "url": url, "file": "x"}),
            json!({"msgtype": "m.file"}),
        ] {
            assert!(Attachment::of(&message(&content)).is_none(), "{content}");
        }
        let content = json!({"msgtype": "m.file", "url": url});
        let state = Event { state_key: Some(String::new()), ..message(&content) };
        let avatar = Event { event_type: "m.room.avatar".into(), ..message(&content) };
        let edit = Event { replaces: Some("$a".into()), ..message(&content) };
        for event in [state, avatar, edit] {
            assert!(Attachment::of(&event).is_none());
        }
    }
}
