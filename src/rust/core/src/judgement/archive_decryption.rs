//! Decrypts events with a set of room keys, without a store: what comes out follows from the arguments alone, so
//! that processes that share nothing can each do a part of an archive. Events are judged as
//! `machine/room_events.rs` judges them, as far as that needs no state.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use vodozemac::megolm::{InboundGroupSession, MegolmMessage};
use zeroize::Zeroizing;

use super::{
    exported_session::ExportedSession,
    identifier,
    members::Members,
    relation,
    room_event::{ENCRYPTED, MegolmContent, NO_TIME, Payload, RoomEvent, shown_type},
    utd_reason::UtdReason,
};
use crate::{
    error::{Error, Kind, Result},
    primitives::{megolm, parallel},
    store::records::{Event, Facts, InboundSession, KeySource, Unreadable},
};

/// A session as a set of keys holds it.
pub struct SessionKey {
    /// The room it is for.
    pub room_id: String,
    /// Its id.
    pub session_id: String,
    /// The user whose device made it; none where nobody proves it.
    pub sender: Option<String>,
    /// The Curve25519 key of that device, empty where nobody says.
    pub sender_key: String,
    /// Its Ed25519 key.
    pub sender_signing_key: String,
    /// Where it came from.
    pub source: KeySource,
    /// Who handed it on, if somebody did.
    pub forwarder: Option<String>,
    /// It has read an event of its own sender.
    pub has_read: bool,
    /// What an export holds as `session_key`, as bytes.
    pub key: Zeroizing<Vec<u8>>,
}

impl From<InboundSession> for SessionKey {
    fn from(kept: InboundSession) -> Self {
        Self {
            key: megolm::exported_bytes(&kept.session),
            room_id: kept.room_id,
            session_id: kept.session_id,
            sender: kept.sender,
            sender_key: kept.sender_key,
            sender_signing_key: kept.sender_signing_key,
            source: kept.source,
            forwarder: kept.forwarder,
            has_read: kept.first_read > 0,
        }
    }
}

impl From<ExportedSession> for SessionKey {
    fn from(exported: ExportedSession) -> Self {
        let source = KeySource::Imported;
        Self {
            sender_key: exported.sender_key,
            sender_signing_key: exported.sender_signing_key,
            ..InboundSession::new(exported.room_id, exported.session, source).into()
        }
    }
}

impl SessionKey {
    fn open(&self) -> Option<InboundGroupSession> {
        let session = megolm::imported_bytes(&self.key).ok()?;
        // Were it not the key's own id, the session could take the place of any other.
        Some(session).filter(|session| session.session_id() == self.session_id)
    }

    /// The user who made it. Whoever asked for a forwarded key had only named its session.
    fn creator(&self) -> Option<&str> {
        self.sender.as_deref().filter(|_| self.source != KeySource::Forwarded)
    }
}

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
    fn event(&self) -> Event {
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

    fn outer(&self) -> Result<RoomEvent<'_>> {
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

/// The keys of one session that read the events of one sender; the best proven stands first.
struct Slot {
    /// None: nobody proves who made them.
    sender: Option<String>,
    keys: Vec<SessionKey>,
    /// One of them has read an event.
    has_read: bool,
}

/// An encrypted event whose slot was found.
struct Sealed<'a> {
    outer: RoomEvent<'a>,
    room_id: &'a str,
    slot: usize,
    message: MegolmMessage,
}

/// What became of it.
enum Opened {
    Payload(Payload),
    Refused(Unreadable),
    /// No key decrypts it. Whether that speaks against the event or the keys is decided in the order of rows.
    Not,
}

/// Events that are decrypted part by part, each judged beside all that came before it.
pub struct Decryption {
    slots: Vec<Slot>,
    /// Which of them are those of a session in a room.
    places: HashMap<(String, String), Vec<usize>>,
    /// Which event a slot and an index stand for. Events are remembered as hashes that nobody can aim at.
    bound: HashMap<(usize, u32), u64>,
    /// What edits of an event are judged by: the place in `shared`, for few differ. None where two events have its id.
    facts: HashMap<u64, Option<usize>>,
    shared: Vec<Facts>,
    numbers: HashMap<Facts, usize>,
    edits: Vec<(usize, Event)>,
    rows: usize,
    hasher: RandomState,
}

impl Decryption {
    /// Begins with these keys.
    pub fn new(keys: Vec<SessionKey>) -> Self {
        let mut decryption = Self {
            slots: Vec::new(),
            places: HashMap::new(),
            bound: HashMap::new(),
            facts: HashMap::new(),
            shared: Vec::new(),
            numbers: HashMap::new(),
            edits: Vec::new(),
            rows: 0,
            hasher: RandomState::new(),
        };
        let (proven, others): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.creator().is_some());
        for key in proven.into_iter().chain(others) {
            decryption.add(key);
        }
        for slot in &mut decryption.slots {
            slot.keys.sort_by_key(|key| !key.source.is_authentic());
        }
        decryption
    }

    /// A key of which nobody proves who made it joins those of the device that it names, as it does in a store.
    /// Beside them it would read their messages in the name of another sender.
    fn add(&mut self, key: SessionKey) {
        let places = self.places.entry((key.room_id.clone(), key.session_id.clone())).or_default();
        let creator = key.creator();
        let joins = places.iter().copied().find(|at| {
            let slot = &self.slots[*at];
            slot.sender.as_deref() == creator
                || creator.is_none() && slot.keys.iter().any(|kept| is_same_device(kept, &key))
        });
        match joins {
            Some(at) => {
                self.slots[at].has_read |= key.has_read;
                self.slots[at].keys.push(key);
            }
            None => {
                places.push(self.slots.len());
                let sender = creator.map(str::to_owned);
                self.slots.push(Slot { sender, has_read: key.has_read, keys: vec![key] });
            }
        }
    }

    /// Decrypts some more events, in their order.
    pub fn read(&mut self, rows: &[Row]) -> Vec<Event> {
        let begun = parallel::map(rows.iter().collect(), |row| self.begin(row));
        let mut sealed: Vec<(usize, &Sealed<'_>)> = begun
            .iter()
            .enumerate()
            .filter_map(|(at, (_, sealed))| Some((at, sealed.as_ref()?)))
            .collect();
        // A ratchet only goes forwards: each session is opened once, and advanced from message to message.
        sealed.sort_by_key(|(_, sealed)| (sealed.slot, sealed.message.message_index()));
        let opened = parallel::map_shares(sealed, |share| open(&self.slots, share));
        let mut by_row: Vec<Option<(u32, Opened)>> = Vec::new();
        by_row.resize_with(rows.len(), || None);
        for (at, index, outcome) in opened {
            by_row[at] = Some((index, outcome));
        }
        let places: Vec<(Event, Option<usize>)> = begun
            .into_iter()
            .map(|(event, sealed)| (event, sealed.map(|sealed| sealed.slot)))
            .collect();
        let read = places.into_iter().zip(by_row);
        read.map(|((event, slot), opened)| {
            let event = match (slot, opened) {
                (Some(slot), Some((index, opened))) => self.finish(event, slot, index, opened),
                _ => event,
            };
            self.remember(&event);
            self.rows += 1;
            event
        })
        .collect()
    }

    /// Judges an event as far as that needs no key.
    fn begin<'a>(&self, row: &'a Row) -> (Event, Option<Sealed<'a>>) {
        let mut event = row.event();
        let sealed = match row.outer() {
            Ok(outer) => {
                let target = relation::target(&outer.content, relation::REPLACE);
                event.replaces = target.filter(|_| !row.redacted).map(Cow::into_owned);
                if !outer.is_encrypted() {
                    return (event, None);
                }
                self.seal_of(row, outer, &mut event)
            }
            Err(error) => Err(UtdReason::MalformedEvent.because(error.message)),
        };
        match sealed {
            Ok(sealed) => (event, Some(sealed)),
            Err(reason) => {
                event.unreadable = Some(reason);
                (event, None)
            }
        }
    }

    fn seal_of<'a>(
        &self,
        row: &'a Row,
        outer: RoomEvent<'a>,
        event: &mut Event,
    ) -> Result<Sealed<'a>, Unreadable> {
        let content = MegolmContent::read(&outer)?;
        event.session_id = Some(content.session_id.clone().into_owned());
        let place = (event.room_id.clone(), content.session_id.into_owned());
        let places =
            self.places.get(&place).ok_or_else(|| UtdReason::UnknownSession.unreadable())?;
        let of = |sender: Option<&str>| {
            places.iter().copied().find(|at| self.slots[*at].sender.as_deref() == sender)
        };
        let slot = of(Some(&outer.sender)).or_else(|| of(None));
        let slot = slot.ok_or_else(|| UtdReason::SenderMismatch.unreadable())?;
        let key = self.slots[slot].keys.first();
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        event.sender_key = key.and_then(|key| said(&key.sender_key));
        event.sender_signing_key = key.and_then(|key| said(&key.sender_signing_key));
        event.key_source = key.map(|key| key.source);
        event.forwarder = key.and_then(|key| key.forwarder.clone());
        let message = megolm::message(&content.ciphertext)
            .map_err(|error| UtdReason::MalformedEvent.because(error.message))?;
        Ok(Sealed { outer, room_id: row.room_id.as_deref().unwrap_or_default(), slot, message })
    }

    /// Judges what was decrypted, in the order of rows: of two events with one index, the first counts.
    fn finish(&mut self, mut event: Event, at: usize, index: u32, opened: Opened) -> Event {
        let id = (event.event_id.as_deref(), event.origin_server_ts.max(0));
        let tag = self.hasher.hash_one(id);
        let slot = &mut self.slots[at];
        let outcome = match opened {
            // Last, so that only an event that is otherwise good can take an index.
            Opened::Payload(payload) => {
                if *self.bound.entry((at, index)).or_insert(tag) == tag {
                    slot.has_read = true;
                    Ok(payload)
                } else {
                    Err(UtdReason::Replayed.unreadable())
                }
            }
            Opened::Refused(reason) => Err(reason),
            Opened::Not
                if slot.has_read || slot.keys.iter().any(|key| key.source.is_authentic()) =>
            {
                Err(UtdReason::BadMessage.unreadable())
            }
            Opened::Not => Err(UtdReason::WrongKey.unreadable()),
        };
        match outcome {
            Ok(payload) => {
                event.event_type = shown_type(payload.event_type);
                event.content = payload.content_text;
            }
            Err(reason) => event.unreadable = Some(reason),
        }
        event
    }

    fn remember(&mut self, event: &Event) {
        let Some((id, facts)) = event.event_id.as_ref().zip(Facts::of(event)) else { return };
        if event.replaces.is_some() {
            self.edits.push((self.rows, event.clone()));
        }
        let number = *self.numbers.entry(facts).or_insert_with_key(|facts| {
            self.shared.push(facts.clone());
            self.shared.len() - 1
        });
        let key = self.hasher.hash_one((&event.room_id, id));
        let known = self.facts.entry(key).or_insert(Some(number));
        if *known != Some(number) {
            *known = None;
        }
    }

    /// The rows that are edits, each with the event that it replaces, or with the reason why it does not. Only what
    /// was decrypted here is known.
    pub fn edits(&self) -> Vec<(usize, Result<&str, &'static str>)> {
        self.edits
            .iter()
            .map(|(row, edit)| {
                let target = edit.replaces.as_deref().unwrap_or_default();
                let original = self.facts_of(&edit.room_id, target);
                (*row, relation::judge(edit, original).map(|_| target))
            })
            .collect()
    }

    fn facts_of(&self, room_id: &String, event_id: &str) -> Option<&Facts> {
        let number = self.facts.get(&self.hasher.hash_one((room_id, event_id)))?;
        self.shared.get((*number)?)
    }
}

fn is_same_device(kept: &SessionKey, offered: &SessionKey) -> bool {
    kept.sender_key == offered.sender_key
        || kept.sender_key.is_empty()
        || offered.sender_key.is_empty()
}

/// Decrypts the share of a thread: events in the order of their slots and indices.
fn open(slots: &[Slot], share: Vec<(usize, &Sealed<'_>)>) -> Vec<(usize, u32, Opened)> {
    let mut current: Option<(usize, Vec<InboundGroupSession>)> = None;
    let mut opened = Vec::with_capacity(share.len());
    for (row, sealed) in share {
        let at = sealed.slot;
        let sessions = match current.take().filter(|(of, _)| *of == at) {
            Some((_, sessions)) => sessions,
            None => slots[at].keys.iter().filter_map(SessionKey::open).collect(),
        };
        let (_, sessions) = current.insert((at, sessions));
        opened.push((row, sealed.message.message_index(), open_with(sessions, sealed)));
    }
    opened
}

fn open_with(sessions: &mut [InboundGroupSession], sealed: &Sealed<'_>) -> Opened {
    let index = sealed.message.message_index();
    let mut begins_later = false;
    for session in sessions {
        if index < session.first_known_index() {
            begins_later = true;
        } else if let Ok(decrypted) = megolm::decrypt_message(session, &sealed.message) {
            return match Payload::judge(&decrypted.plaintext, sealed.room_id, &sealed.outer) {
                Ok(payload) => Opened::Payload(payload),
                Err(reason) => Opened::Refused(reason),
            };
        }
    }
    if begins_later { Opened::Refused(UtdReason::UnknownIndex.unreadable()) } else { Opened::Not }
}

#[cfg(test)]
mod tests {
    use vodozemac::megolm::GroupSession;

    use super::*;
    use crate::primitives::account::MEGOLM;

    const ALICE: &str = "@alice:example.org";
    const MALLORY: &str = "@mallory:example.org";
    const ROOM: &str = "!room";

    /// The key of a session, from the index that it has come to.
    fn key(session: &GroupSession, source: KeySource, sender: Option<&str>) -> SessionKey {
        let inbound = megolm::inbound(&session.session_key().to_base64()).unwrap();
        let kept = InboundSession::new(ROOM.into(), inbound, source);
        SessionKey {
            sender: sender.map(str::to_owned),
            sender_key: "curve".into(),
            ..SessionKey::from(kept)
        }
    }

    fn direct(session: &GroupSession) -> SessionKey {
        key(session, KeySource::Direct, Some(ALICE))
    }

    fn imported(session: &GroupSession) -> SessionKey {
        key(session, KeySource::Imported, None)
    }

    fn payload(room_id: &str, text: &str) -> String {
        let content = format!(r#"{{"body":"{text}"}}"#);
        format!(r#"{{"type":"m.room.message","content":{content},"room_id":"{room_id}"}}"#)
    }

    fn with_ciphertext(session: &GroupSession, ciphertext: &str, more: &str) -> String {
        let session_id = session.session_id();
        format!(
            r#"{{"algorithm":"{MEGOLM}","session_id":"{session_id}","ciphertext":"{ciphertext}"{more}}}"#
        )
    }

    fn sealed(session: &mut GroupSession, plaintext: &str) -> String {
        let ciphertext = megolm::encrypt(session, plaintext.as_bytes());
        with_ciphertext(session, &ciphertext, "")
    }

    fn row(event_id: &str, content: String) -> Row {
        Row {
            room_id: Some(ROOM.into()),
            event_id: Some(event_id.into()),
            event_type: Some(ENCRYPTED.into()),
            sender: Some(ALICE.into()),
            origin_server_ts: Some(5),
            content: Some(content),
            ..Row::default()
        }
    }

    fn message(session: &mut GroupSession, event_id: &str) -> Row {
        row(event_id, sealed(session, &payload(ROOM, event_id)))
    }

    fn code(event: &Event) -> &str {
        event.unreadable.as_ref().map_or("read", |reason| reason.code.as_str())
    }

    fn codes(keys: Vec<SessionKey>, rows: &[Row]) -> Vec<String> {
        let read = Decryption::new(keys).read(rows);
        read.iter().map(|event| code(event).to_owned()).collect()
    }

    #[test]
    fn events_are_read_in_their_order_whatever_the_order_of_their_indices() {
        let mut sessions = [megolm::outbound(), megolm::outbound(), megolm::outbound()];
        let keys = sessions.iter().map(direct).collect();
        let mut rows: Vec<Row> =
            (0..300).map(|i| message(&mut sessions[i % 3], &format!("${i}"))).collect();
        rows.reverse();
        let mut decryption = Decryption::new(keys);
        let mut read = decryption.read(&rows[..100]);
        read.extend(decryption.read(&rows[100..]));
        assert_eq!(read.len(), 300);
        for (row, event) in rows.iter().zip(&read) {
            let id = row.event_id.as_deref().unwrap();
            assert_eq!(event.content, format!(r#"{{"body":"{id}"}}"#), "{:?}", event.unreadable);
            assert_eq!((event.event_type.as_str(), event.encrypted), ("m.room.message", true));
            assert_eq!(event.key_source, Some(KeySource::Direct));
        }
    }

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

    #[test]
    fn an_index_stands_for_one_event() {
        let mut session = megolm::outbound();
        let keys = || vec![direct(&session)];
        let keys = [keys(), keys(), keys(), keys()];
        let [once, apart, late, wrong] = keys;
        let first = message(&mut session, "$1");
        let again = Row { event_id: Some("$2".into()), ..first.clone() };
        let later = Row { origin_server_ts: Some(6), ..first.clone() };
        let rows = [first.clone(), again.clone(), first.clone(), later];
        assert_eq!(codes(once, &rows), ["read", "replayed", "read", "replayed"]);
        // Also in another part of the call.
        let mut decryption = Decryption::new(apart);
        decryption.read(std::slice::from_ref(&again));
        assert_eq!(code(&decryption.read(std::slice::from_ref(&first))[0]), "replayed");
        // The first row counts, not the lower index.
        let next = message(&mut session, "$3");
        let next_again = Row { event_id: Some("$4".into()), ..next.clone() };
        let rows = [next_again, first.clone(), next];
        assert_eq!(codes(late, &rows), ["read", "read", "replayed"]);
        // An event that is refused takes no index.
        let elsewhere = sealed(&mut session, &payload("!other", "x"));
        let rows = [row("$5", elsewhere.clone()), row("$6", elsewhere)];
        assert_eq!(codes(wrong, &rows), ["room_mismatch", "room_mismatch"]);
    }

    #[test]
    fn the_key_of_a_sender_reads_nobody_elses_events() {
        let mut session = megolm::outbound();
        let keys = [
            vec![direct(&session)],
            // The same key from an export must not open a way around.
            vec![imported(&session), direct(&session)],
            vec![direct(&session), SessionKey { sender_key: String::new(), ..imported(&session) }],
            vec![imported(&session)],
            vec![key(&session, KeySource::Forwarded, Some(ALICE))],
        ];
        let own = message(&mut session, "$1");
        let swapped = Row { sender: Some(MALLORY.into()), ..message(&mut session, "$2") };
        let rows = [own, swapped];
        for (keys, of_another) in keys.into_iter().zip([false, false, false, true, true]) {
            let expected = ["read", if of_another { "read" } else { "sender_mismatch" }];
            assert_eq!(codes(keys, &rows), expected);
        }
    }

    /// A user who was given a key can hand it on in their own name.
    #[test]
    fn what_another_user_hands_on_neither_reads_nor_blocks_the_creators_events() {
        let mut session = megolm::outbound();
        let handed_on = SessionKey {
            sender: Some(MALLORY.into()),
            sender_key: "another".into(),
            ..direct(&session)
        };
        let keys = vec![handed_on, direct(&session)];
        let own = message(&mut session, "$1");
        let copied =
            Row { event_id: Some("$2".into()), sender: Some(MALLORY.into()), ..own.clone() };
        assert_eq!(codes(keys, &[copied, own]), ["read", "read"]);
    }

    #[test]
    fn made_up_keys_block_no_other() {
        let mut session = megolm::outbound();
        let mut made_up = imported(&session);
        made_up.key[20] ^= 1;
        let mut nonsense = imported(&session);
        nonsense.key[0] = 9;
        let mut other = megolm::outbound();
        let of_another = SessionKey { session_id: session.session_id(), ..imported(&other) };
        let foreign = megolm::encrypt(&mut other, payload(ROOM, "x").as_bytes());
        let foreign = row("$2", with_ciphertext(&session, &foreign, ""));
        let good = imported(&session);
        let good_row = message(&mut session, "$1");
        let only = |key: &SessionKey| SessionKey {
            key: key.key.clone(),
            session_id: session.session_id(),
            ..imported(&session)
        };
        for bad in [&made_up, &nonsense, &of_another] {
            assert_eq!(codes(vec![only(bad)], std::slice::from_ref(&good_row)), ["wrong_key"]);
        }
        // Nor does a key read what only another session wrote.
        assert_eq!(codes(vec![only(&of_another)], &[foreign]), ["wrong_key"]);
        let keys = vec![made_up, nonsense, of_another, good];
        assert_eq!(codes(keys, std::slice::from_ref(&good_row)), ["read"]);
    }

    #[test]
    fn a_key_that_has_read_an_event_is_not_the_wrong_one() {
        let mut session = megolm::outbound();
        let keys = || vec![imported(&session)];
        let (fresh, used) = (keys(), keys());
        let known = vec![SessionKey { has_read: true, ..imported(&session) }];
        let good = message(&mut session, "$1");
        let mut other = megolm::outbound();
        let foreign = megolm::encrypt(&mut other, b"x");
        let bad = row("$2", with_ciphertext(&session, &foreign, ""));
        assert_eq!(codes(fresh, &[bad.clone(), good.clone()]), ["wrong_key", "read"]);
        assert_eq!(codes(used, &[good, bad.clone()]), ["read", "bad_message"]);
        assert_eq!(codes(known, &[bad]), ["bad_message"]);
    }

    #[test]
    fn keys_of_one_session_are_tried_until_one_reads() {
        let mut session = megolm::outbound();
        let first = imported(&session);
        let row = message(&mut session, "$1");
        let late = || imported(&session);
        assert_eq!(codes(vec![late()], std::slice::from_ref(&row)), ["unknown_index"]);
        assert_eq!(codes(vec![late(), first], &[row]), ["read"]);
    }

    #[test]
    fn edits_are_judged_by_what_is_read_beside_them() {
        let mut session = megolm::outbound();
        let keys = vec![imported(&session)];
        let mut edit = |event_id: &str, target: &str, sender: &str| {
            let plaintext = format!(
                r#"{{"type":"m.room.message","content":{{"m.new_content":{{}}}},"room_id":"{ROOM}"}}"#
            );
            let ciphertext = megolm::encrypt(&mut session, plaintext.as_bytes());
            let relation =
                format!(r#","m.relates_to":{{"rel_type":"m.replace","event_id":"{target}"}}"#);
            let content = with_ciphertext(&session, &ciphertext, &relation);
            Row { sender: Some(sender.into()), ..row(event_id, content) }
        };
        let edits = [
            edit("$1", "$original", ALICE),
            edit("$2", "$original", MALLORY),
            edit("$3", "$1", ALICE),
            edit("$4", "$absent", ALICE),
            edit("$5", "$twice", ALICE),
        ];
        let plain = Row {
            event_type: Some("m.room.message".into()),
            content: edits[0].content.clone(),
            ..edits[0].clone()
        };
        let plain = Row { event_id: Some("$6".into()), ..plain };
        let mut decryption = Decryption::new(keys);
        decryption.read(&edits);
        decryption.read(&[plain]);
        let originals = [
            message(&mut session, "$original"),
            message(&mut session, "$twice"),
            Row { sender: Some(MALLORY.into()), ..message(&mut session, "$twice") },
        ];
        assert!(decryption.read(&originals).iter().all(|event| code(event) == "read"));
        let judged = decryption.edits();
        let expected = [
            (0, Ok("$original")),
            (1, Err("other_sender")),
            (2, Err("edit_of_edit")),
            (3, Err("unknown_original")),
            (4, Err("unknown_original")),
            (5, Err("not_encrypted")),
        ];
        assert_eq!(judged, expected);
    }
}
