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

use self::{
    edits::Edits,
    keys::{Keyring, Slot},
};
pub use self::{keys::SessionKey, row::Row};
use super::{
    relation,
    room_event::{MegolmContent, Payload, RoomEvent, shown_type},
    utd_reason::UtdReason,
};
use crate::{
    error::Result,
    primitives::{megolm, parallel},
    store::records::{Event, Unreadable},
};

mod edits;
mod keys;
mod row;
#[cfg(test)]
mod scratch;

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
    keys: Keyring,
    /// Which event a slot and an index stand for. Events are remembered as hashes that nobody can aim at.
    bound: HashMap<(usize, u32), u64>,
    hasher: RandomState,
    edits: Edits,
    rows: usize,
}

impl Decryption {
    /// Begins with these keys.
    pub fn new(keys: Vec<SessionKey>) -> Self {
        Self {
            keys: Keyring::new(keys),
            bound: HashMap::new(),
            hasher: RandomState::new(),
            edits: Edits::default(),
            rows: 0,
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
        let opened = parallel::map_shares(sealed, |share| open(&self.keys.slots, share));
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
            self.edits.remember(self.rows, &event);
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
        let slot = self.keys.find(&event.room_id, &content.session_id, &outer.sender)?;
        let key = self.keys.slots[slot].keys.first();
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
        // All that a server can change around a ciphertext and that is told of it: one edit must not replace two events.
        let id = (event.event_id.as_deref(), event.origin_server_ts.max(0));
        let tag = self.hasher.hash_one((id, &event.sender, &event.replaces));
        let slot = &mut self.keys.slots[at];
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
            Opened::Not if slot.is_proven() => Err(UtdReason::BadMessage.unreadable()),
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

    /// The rows that are edits, each with the event that it replaces, or with the reason why it does not.
    pub fn edits(&self) -> Vec<(usize, Result<&str, &'static str>)> {
        self.edits.judge()
    }
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
    for at in 0..sessions.len() {
        let session = &mut sessions[at];
        if index < session.first_known_index() {
            begins_later = true;
        } else if let Ok(decrypted) = megolm::decrypt_message(session, &sealed.message) {
            // An export may hold many keys that were made up for a session: they are tried once, not for each message.
            sessions[..=at].rotate_right(1);
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
    use super::{scratch::*, *};
    use crate::store::records::KeySource;

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
    fn an_index_stands_for_one_event() {
        let mut session = megolm::outbound();
        let keys = || vec![direct(&session)];
        let (once, apart, late) = (keys(), keys(), keys());
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
    }

    /// The server chooses who sent what no key proves, and the relation, which is not encrypted.
    #[test]
    fn a_message_has_one_sender_and_replaces_one_event() {
        let mut session = megolm::outbound();
        let keys = || vec![imported(&session)];
        let (swapped, edited, timed) = (keys(), keys(), keys());
        let first = message(&mut session, "$1");
        let of_another = Row { sender: Some(MALLORY.into()), ..first.clone() };
        assert_eq!(codes(swapped, &[first.clone(), of_another]), ["read", "replayed"]);
        let ciphertext = megolm::encrypt(&mut session, payload(ROOM, "x").as_bytes());
        let edit_of = |target: &str| {
            let relation =
                format!(r#","m.relates_to": {{"rel_type":"m.replace","event_id":"{target}"}}"#);
            row("$2", with_ciphertext(&session, &ciphertext, &relation))
        };
        let rows = [edit_of("$1"), edit_of("$0"), edit_of("$1")];
        assert_eq!(codes(edited, &rows), ["read", "replayed", "read"]);
        // No time is as good as the first of 1970, as in a store.
        let timeless = Row { origin_server_ts: None, ..first.clone() };
        let of_1970 = Row { origin_server_ts: Some(0), ..first };
        assert_eq!(codes(timed, &[timeless, of_1970]), ["read", "read"]);
    }

    #[test]
    fn an_event_that_is_refused_takes_no_index() {
        let mut session = megolm::outbound();
        let keys = vec![direct(&session)];
        // Only its sender can encrypt two messages with one index.
        let mut twin = vodozemac::megolm::GroupSession::from_pickle(session.pickle());
        let elsewhere = row("$1", sealed(&mut twin, &payload("!other", "x")));
        let rows = [elsewhere, message(&mut session, "$2")];
        assert_eq!(codes(keys, &rows), ["room_mismatch", "read"]);
    }

    #[test]
    fn what_a_sender_wrote_passes_for_nothing_of_this_package() {
        let mut session = megolm::outbound();
        let key = SessionKey { sender_key: String::new(), ..direct(&session) };
        let plaintext = format!(r#"{{"type":"mxcrypt.trust","content":{{}},"room_id":"{ROOM}"}}"#);
        let read = Decryption::new(vec![key]).read(&[row("$1", sealed(&mut session, &plaintext))]);
        assert_eq!(read[0].event_type, "remote.mxcrypt.trust");
        // An empty key is none.
        assert_eq!(read[0].sender_key, None);
    }

    #[test]
    fn the_key_that_read_a_message_is_tried_first_for_the_next() {
        let mut session = megolm::outbound();
        let mut made_up = imported(&session);
        made_up.key[20] ^= 1;
        let keys = vec![made_up, imported(&session)];
        let row = message(&mut session, "$1");
        let decryption = Decryption::new(keys);
        let (_, sealed) = decryption.begin(&row);
        let keys = &decryption.keys.slots[0].keys;
        let mut sessions: Vec<InboundGroupSession> =
            keys.iter().filter_map(SessionKey::open).collect();
        assert!(matches!(open_with(&mut sessions, &sealed.unwrap()), Opened::Payload(_)));
        assert_eq!(megolm::exported_bytes(&sessions[0]), keys[1].key);
    }
}
