//! The keys that a decryption is given, and which of them read the events of a sender.

use std::collections::HashMap;

use vodozemac::megolm::InboundGroupSession;
use zeroize::Zeroizing;

use crate::{
    judgement::{exported_session::ExportedSession, utd_reason::UtdReason},
    primitives::megolm,
    store::records::{InboundSession, KeySource, Unreadable},
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
    pub(super) fn open(&self) -> Option<InboundGroupSession> {
        let session = megolm::imported_bytes(&self.key).ok()?;
        // Were it not the key's own id, the session could take the place of any other.
        Some(session).filter(|session| session.session_id() == self.session_id)
    }

    /// The user who made it. Whoever asked for a forwarded key had only named its session.
    fn creator(&self) -> Option<&str> {
        self.sender.as_deref().filter(|_| self.source != KeySource::Forwarded)
    }
}

/// The keys of one session that read the events of one sender; the best proven stands first.
pub(super) struct Slot {
    /// None: nobody proves who made them.
    sender: Option<String>,
    pub(super) keys: Vec<SessionKey>,
    /// One of them has read an event.
    pub(super) has_read: bool,
}

impl Slot {
    /// Whether the ratchet of a key is known to be the right one: what it does not decrypt was altered.
    pub(super) fn is_proven(&self) -> bool {
        self.has_read || self.keys.iter().any(|key| key.source.is_authentic())
    }
}

/// Keys by what they read.
pub(super) struct Keyring {
    pub(super) slots: Vec<Slot>,
    /// Which of them are those of a session in a room.
    places: HashMap<(String, String), Vec<usize>>,
}

impl Keyring {
    pub(super) fn new(keys: Vec<SessionKey>) -> Self {
        let mut ring = Self { slots: Vec::new(), places: HashMap::new() };
        let (proven, others): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.creator().is_some());
        for key in proven.into_iter().chain(others) {
            ring.add(key);
        }
        for slot in &mut ring.slots {
            slot.keys.sort_by_key(|key| !key.source.is_authentic());
        }
        ring
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

    /// The slot that reads what `sender` encrypted with a session.
    pub(super) fn find(
        &self,
        room_id: &str,
        session_id: &str,
        sender: &str,
    ) -> Result<usize, Unreadable> {
        let place = (room_id.to_owned(), session_id.to_owned());
        let places =
            self.places.get(&place).ok_or_else(|| UtdReason::UnknownSession.unreadable())?;
        let of = |sender: Option<&str>| {
            places.iter().copied().find(|at| self.slots[*at].sender.as_deref() == sender)
        };
        let slot = of(Some(sender)).or_else(|| of(None));
        slot.ok_or_else(|| UtdReason::SenderMismatch.unreadable())
    }
}

fn is_same_device(kept: &SessionKey, offered: &SessionKey) -> bool {
    kept.sender_key == offered.sender_key
        || kept.sender_key.is_empty()
        || offered.sender_key.is_empty()
}

#[cfg(test)]
mod tests {
    use vodozemac::megolm::GroupSession;

    use super::{
        super::{Decryption, Row, scratch::*},
        *,
    };

    #[test]
    fn the_key_of_a_sender_reads_nobody_elses_events() {
        let mut session = megolm::outbound();
        let keys = [
            vec![direct(&session)],
            // The same key from an export must not open a way around.
            vec![imported(&session), direct(&session)],
            vec![direct(&session), SessionKey { sender_key: String::new(), ..imported(&session) }],
            vec![SessionKey { sender_key: String::new(), ..direct(&session) }, imported(&session)],
            vec![imported(&session)],
            vec![key(&session, KeySource::Forwarded, Some(ALICE))],
        ];
        let own = message(&mut session, "$1");
        let swapped = Row { sender: Some(MALLORY.into()), ..message(&mut session, "$2") };
        let rows = [own, swapped];
        for (keys, of_another) in keys.into_iter().zip([false, false, false, false, true, true]) {
            let expected = ["read", if of_another { "read" } else { "sender_mismatch" }];
            assert_eq!(codes(keys, &rows), expected);
        }
    }

    /// A user who was given a key can hand it on in their own name.
    #[test]
    fn what_another_user_hands_on_neither_reads_nor_blocks_the_creators_events() {
        let mut session = megolm::outbound();
        let of_mallory = |session: &GroupSession| SessionKey {
            sender: Some(MALLORY.into()),
            sender_key: "another".into(),
            ..direct(session)
        };
        let both = vec![of_mallory(&session), direct(&session)];
        // Also where the creator's key is in an export alone: it names another device.
        let exported = vec![of_mallory(&session), imported(&session)];
        let own = message(&mut session, "$1");
        let copied =
            Row { event_id: Some("$2".into()), sender: Some(MALLORY.into()), ..own.clone() };
        assert_eq!(codes(both, &[copied, own.clone()]), ["read", "read"]);
        assert_eq!(codes(exported, &[own]), ["read"]);
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
        let used_one = || SessionKey { has_read: true, ..imported(&session) };
        let (known, beside) = (vec![used_one()], vec![imported(&session), used_one()]);
        let good = message(&mut session, "$1");
        let mut other = megolm::outbound();
        let foreign = megolm::encrypt(&mut other, b"x");
        let bad = row("$2", with_ciphertext(&session, &foreign, ""));
        assert_eq!(codes(fresh, &[bad.clone(), good.clone()]), ["wrong_key", "read"]);
        assert_eq!(codes(used, &[good, bad.clone()]), ["read", "bad_message"]);
        assert_eq!(codes(known, std::slice::from_ref(&bad)), ["bad_message"]);
        assert_eq!(codes(beside, &[bad]), ["bad_message"]);
    }

    #[test]
    fn keys_of_one_session_are_tried_until_one_reads() {
        let mut session = megolm::outbound();
        let (first, first_again) = (imported(&session), imported(&session));
        let row = message(&mut session, "$1");
        let late = || imported(&session);
        assert_eq!(codes(vec![late()], std::slice::from_ref(&row)), ["unknown_index"]);
        assert_eq!(codes(vec![late(), first], std::slice::from_ref(&row)), ["read"]);
        // Two that came from the sender are of one ratchet too: its message is not read twice.
        let own = |key: SessionKey| SessionKey { sender: Some(ALICE.into()), ..key };
        let [late, first] =
            [direct(&session), own(SessionKey { source: KeySource::Direct, ..first_again })];
        let again = Row { event_id: Some("$2".into()), ..row.clone() };
        assert_eq!(codes(vec![late, first], &[row, again]), ["read", "replayed"]);
    }

    #[test]
    fn the_best_proven_key_of_a_sender_is_the_one_that_is_named() {
        let mut session = megolm::outbound();
        let keys = vec![key(&session, KeySource::Backup, Some(ALICE)), direct(&session)];
        let read = Decryption::new(keys).read(&[message(&mut session, "$1")]);
        assert_eq!(read[0].key_source, Some(KeySource::Direct));
    }

    #[test]
    fn a_key_is_what_its_source_says() {
        let session = megolm::outbound();
        let inbound = || megolm::inbound(&session.session_key().to_base64()).unwrap();
        let kept = InboundSession::new(ROOM.into(), inbound(), KeySource::Direct);
        assert!(!SessionKey::from(kept).has_read);
        let kept = InboundSession::new(ROOM.into(), inbound(), KeySource::Direct);
        let kept = SessionKey::from(InboundSession { first_read: 1, ..kept });
        assert_eq!((kept.has_read, kept.source), (true, KeySource::Direct));
        let exported = SessionKey::from(ExportedSession {
            room_id: ROOM.into(),
            session: inbound(),
            sender_key: "curve".into(),
            sender_signing_key: "ed".into(),
            shared_history: false,
        });
        assert_eq!((exported.source, exported.sender), (KeySource::Imported, None));
        assert_eq!(exported.session_id, session.session_id());
    }
}
