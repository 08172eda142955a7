//! An event of an archive as a row has it, which may be anything.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    error::{Error, Kind, Result},
    judgement::{
        identifier,
        members::Members,
        room_event::{ENCRYPTED, MegolmContent, NO_TIME, RoomEvent, shown_type},
    },
    primitives::canonical_json::Json,
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
    /// An event that is JSON text. What names it is read also where it is none, so that its row can be found.
    pub fn read(text: &str) -> Self {
        let Ok(members) = Members::read(text) else { return Self::default() };
        let part = |name: &str| members.text(name).map(Cow::into_owned);
        let time = members.raw("origin_server_ts");
        let named = Self {
            room_id: part("room_id"),
            event_id: part("event_id"),
            event_type: part("type"),
            sender: part("sender"),
            origin_server_ts: time.and_then(|time| Json::parse(time.get()).ok()?.as_time()),
            // A column of a table that became JSON.
            redacted: members.raw("redacted").is_some_and(|flag| flag.get() == "true"),
            ..Self::default()
        };
        let as_table = with_object_content(&members);
        let Ok(event) = RoomEvent::read(as_table.as_deref().unwrap_or(text)) else {
            // `outer()` says what is wrong. It cannot know of a state key that is none.
            let is_odd =
                |key: &&RawValue| key.get() != "null" && members.text("state_key").is_none();
            let content = part("content")
                .or_else(|| Some(members.raw("content")?.get().to_owned()))
                .filter(|_| members.raw("state_key").filter(is_odd).is_none());
            return Self { content, ..named };
        };
        Self {
            state_key: event.state_key,
            content: Some(event.content_text.to_owned()),
            redacted: event.redacted || named.redacted,
            redacts: event.redacts,
            ..named
        }
    }

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

/// The text of an event whose content is JSON text in a string, as rows of a table have it (`toJSON()` of Spark); none
/// for others.
fn with_object_content(event: &Members<'_>) -> Option<String> {
    let content = event.text("content")?;
    let content: &RawValue = serde_json::from_str(&content).ok()?;
    let mut event = event.clone();
    event.0.insert("content".to_owned(), content);
    serde_json::to_string(&event.0).ok()
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
            ("malformed_event", without(|row| row.room_id = Some("!\u{0}".into()))),
            ("malformed_event", without(|row| row.event_id = None)),
            ("malformed_event", without(|row| row.event_id = Some("$\u{0}".into()))),
            ("malformed_event", without(|row| row.sender = None)),
            ("malformed_event", without(|row| row.sender = Some("@a\n:b".into()))),
            ("malformed_event", without(|row| row.event_type = None)),
            ("malformed_event", without(|row| row.content = None)),
            ("malformed_event", Row::default()),
            (
                "malformed_event",
                Row { event_type: Some("m.x".into()), content: None, ..good.clone() },
            ),
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
        let was_read =
            Row { event_type: Some("m.x".into()), decrypted: true, ..row("$4", "{}".into()) };
        assert!(Decryption::new(Vec::new()).read(&[was_read])[0].encrypted);
        // Nobody else's event passes for one that this package made.
        assert_eq!(read[2].event_type, "remote.mxcrypt.trust");
    }

    #[test]
    fn a_redacted_event_replaces_nothing_and_has_no_session() {
        let edit = r#"{"session_id":"x","ciphertext":"x","algorithm":"m.megolm.v1.aes-sha2",
            "m.relates_to":{"rel_type":"m.replace","event_id":"$1"}}"#;
        let mut edit = row("$2", edit.into());
        let replaced = |row: &Row| {
            let read = Decryption::new(Vec::new()).read(std::slice::from_ref(row));
            read[0].replaces.clone()
        };
        assert_eq!(replaced(&edit).as_deref(), Some("$1"));
        assert_eq!(edit.session(), Some((ROOM.into(), "x".into())));
        edit.redacted = true;
        assert_eq!((replaced(&edit), edit.session()), (None, None));
        let plain = Row { event_type: Some("m.x".into()), redacted: false, ..edit };
        assert_eq!(plain.session(), None);
    }

    #[test]
    fn an_event_is_read_from_json_as_servers_and_tables_have_it() {
        let content = r#"{"a":"\u00e9\""}"#;
        let as_text = serde_json::to_string(content).unwrap();
        let event = |content: &str, more: &str| {
            let names = r#""room_id":"!room","event_id":"$1","type":"m.x","sender":"@a:b""#;
            Row::read(&format!("{{{names},\"content\":{content}{more}}}"))
        };
        let more = r#","origin_server_ts":5,"state_key":"","unsigned":{"redacted_because":{}}"#;
        let row = event(content, more);
        assert_eq!(row.content.as_deref(), Some(content));
        assert_eq!(row.state_key.as_deref(), Some(""));
        assert_eq!((row.origin_server_ts, row.redacted), (Some(5), true));
        let row = event(&as_text, r#","redacted":false"#);
        assert_eq!(row.content.as_deref(), Some(content));
        assert_eq!((row.origin_server_ts, row.redacted), (None, false));
        assert!(event(&as_text, r#","redacted":true"#).redacted);
        // A row that is refused is still known by its names.
        let twice = r#"{"a":1,"a":2}"#;
        for (content, more) in
            [("7", ""), ("\"[\"", ""), ("[]", ""), (twice, ""), ("{}", r#","state_key":7"#)]
        {
            let row = event(content, &format!(r#"{more},"origin_server_ts":5"#));
            assert_eq!(row.event_id.as_deref(), Some("$1"), "{content}");
            assert_eq!(row.origin_server_ts, Some(5), "{content}");
            assert!(row.outer().is_err(), "{content}");
            assert_eq!(row.content.is_none(), !more.is_empty(), "{content}");
        }
        for text in ["", "7", r#"{"event_id":"$1","event_id":"$2"}"#] {
            assert_eq!(Row::read(text).event_id, None);
        }
    }
}
