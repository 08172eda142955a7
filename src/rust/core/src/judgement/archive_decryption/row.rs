//! An event of an archive as a row has it, which may be anything.

use crate::{
    error::{Error, Kind, Result},
    judgement::{
        identifier,
        members::Members,
        room_event::{ENCRYPTED, MegolmContent, NO_TIME, RoomEvent, shown_type},
    },
    store::records::Event,
};

/// An event of an archive, part by part. A part that cannot be read is none.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The room.
    pub room_id: Option<String>,
    /// The event.
    pub event_id: Option<String>,
    /// Its type.
    pub event_type: Option<String>,
    /// Who the server says sent it.
    pub sender: Option<String>,
    /// When, in milliseconds since 1970.
    pub origin_server_ts: Option<i64>,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content, JSON text.
    pub content: Option<String>,
    /// It was redacted.
    pub redacted: bool,
    /// The event that it redacts.
    pub redacts: Option<String>,
    /// It came encrypted, and was decrypted already.
    pub decrypted: bool,
}

impl Row {
    /// The event, with what is known of the row.
    pub(super) fn event(&self) -> Event {
        Event {
            room_id: self.room_id.clone().unwrap_or_default(),
            event_id: self.event_id.clone(),
            event_type: shown_type(self.event_type.clone().unwrap_or_default()),
            state_key: self.state_key.clone(),
            sender: self.sender.clone().unwrap_or_default(),
            origin_server_ts: self.origin_server_ts.unwrap_or(NO_TIME),
            content: self.content.clone().unwrap_or_default(),
            encrypted: self.decrypted
                || self.event_type.as_deref() == Some(ENCRYPTED) && !self.redacted,
            redacted: self.redacted,
            redacts: self.redacts.clone(),
            ..Event::default()
        }
    }

    pub(super) fn outer(&self) -> Result<RoomEvent<'_>> {
        let missing = |name: &str| {
            Error::new(Kind::Json, format!("The event has no {name} that can be one."))
        };
        let id = |part: &Option<String>, name: &str| {
            let sound = part.clone().filter(|id| identifier::is_sound(id));
            sound.ok_or_else(|| missing(name))
        };
        id(&self.room_id, "room_id")?;
        let content_text = self.content.as_deref().ok_or_else(|| missing("content"))?;
        Ok(RoomEvent {
            event_id: id(&self.event_id, "event_id")?,
            event_type: self.event_type.clone().ok_or_else(|| missing("type"))?,
            sender: id(&self.sender, "sender")?,
            origin_server_ts: self.origin_server_ts.unwrap_or(NO_TIME),
            state_key: self.state_key.clone(),
            content: Members::read(content_text)?,
            content_text,
            unsigned: Members::default(),
            transaction_id: None,
            redacted: self.redacted,
            redacts: self.redacts.clone(),
        })
    }

    /// The room and the session that it is encrypted with, if it is.
    pub fn session(&self) -> Option<(String, String)> {
        let outer = self.outer().ok().filter(RoomEvent::is_encrypted)?;
        let session_id = MegolmContent::read(&outer).ok()?.session_id.into_owned();
        Some((self.room_id.clone()?, session_id))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Decryption, scratch::*},
        *,
    };
    use crate::primitives::megolm;

    #[test]
    fn each_row_has_its_own_reason() {
        let mut session = megolm::outbound();
        let mut late = megolm::outbound();
        let early = message(&mut late, "$early");
        let keys = vec![direct(&session), direct(&late)];
        let altered = sealed(&mut session, "x");
        let at = altered.find("ciphertext").unwrap() + 40;
        let flipped = if altered.as_bytes()[at] == b'A' { "B" } else { "A" };
        let altered = format!("{}{flipped}{}", &altered[..at], &altered[at + 1..]);
        let good = message(&mut session, "$good");
        let state = Row { state_key: Some(String::new()), ..good.clone() };
        let without = |change: fn(&mut Row)| {
            let mut row = good.clone();
            change(&mut row);
            row
        };
        let rows = [
            ("unknown_index", early),
            ("bad_message", row("$1", altered)),
            ("room_mismatch", row("$2", sealed(&mut session, &payload("!other", "x")))),
            ("payload_not_json", row("$3", sealed(&mut session, "x"))),
            ("unknown_session", message(&mut megolm::outbound(), "$4")),
            ("unknown_session", Row { room_id: Some("!other".into()), ..good.clone() }),
            ("malformed_event", row("$5", with_ciphertext(&session, "x", ""))),
            ("malformed_event", row("$6", "{}".into())),
            ("malformed_event", row("$7", "[".into())),
            ("malformed_event", row("$8", r#"{"a":1,"a":2}"#.into())),
            ("unknown_algorithm", row("$9", r#"{"algorithm":"m.other"}"#.into())),
            ("state_event", state),
            ("malformed_event", without(|row| row.room_id = None)),
            ("malformed_event", without(|row| row.event_id = None)),
            ("malformed_event", without(|row| row.event_id = Some("$\u{0}".into()))),
            ("malformed_event", without(|row| row.sender = None)),
            ("malformed_event", without(|row| row.event_type = None)),
            ("malformed_event", without(|row| row.content = None)),
            ("malformed_event", Row::default()),
            ("read", Row { origin_server_ts: None, ..good }),
        ];
        let (expected, rows): (Vec<&str>, Vec<Row>) = rows.into_iter().unzip();
        assert_eq!(codes(keys, &rows), expected);
    }

    #[test]
    fn what_is_not_encrypted_stays_as_it_is() {
        let plain = Row { event_type: Some("m.room.message".into()), ..row("$1", "{}".into()) };
        let redacted = Row { redacted: true, ..row("$2", "{}".into()) };
        let ours = Row { event_type: Some("mxcrypt.trust".into()), ..row("$3", "{}".into()) };
        let read = Decryption::new(Vec::new()).read(&[plain, redacted, ours]);
        assert!(read.iter().all(|event| !event.encrypted && event.unreadable.is_none()));
        // Nobody else's event passes for one that this package made.
        assert_eq!(read[2].event_type, "remote.mxcrypt.trust");
    }
}
