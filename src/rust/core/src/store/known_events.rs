//! What is remembered of each event: that a timeline brought it, and what edits of it are judged by. A few bytes each,
//! since there is one row for every event of the last hundred thousand.
//!
//! A row is found by a keyed hash of room and event, so it names neither. It is not sealed, and has 16 bytes beside its
//! key: the number of its facts, a hash of what the event said, and a tag of 64 bits. The facts (the sender, the type
//! and so on) are in a sealed row that events with the same facts share.
//!
//! The tag covers the key of the row, its columns and the facts themselves, not their number alone. So an attacker who can
//! write the file, but has no key, is noticed when they alter a row, move it, or exchange the facts that it refers to. They
//! can try a guess of a tag only on a process that has the key, which stops at a wrong one. What is not noticed is a row
//! that was deleted or put back as it once was, as with any row. No edit counts for an event without a row.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{
    Query, Transaction,
    database::{Row, Table, Value},
    records::{Facts, SharedFacts},
};
use crate::error::{Error, Kind, Result};

pub(super) const TABLE: Table =
    Table { name: "known_event", key: &["event"], plain: &["generation"] };

/// Events that came one after the other form a generation, and are forgotten together: so no index of their order is
/// needed.
const GENERATION: i64 = 8192;
/// How many generations are remembered beside the one that is being filled: 100,000 events at least.
const MOST_GENERATIONS: i64 = 13;
pub(super) const COUNTER: &str = "known event";

/// Stand where a row has the number of its facts.
const NO_FACTS: u32 = 0;
const CONTRADICTORY_FACTS: u32 = 1;

/// What edits of an event are judged by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum KnownFacts {
    /// It could not be read yet.
    #[default]
    None,
    /// The server returned two events under one id: who could say which one is edited?
    Contradictory,
    /// These.
    Known(Rc<NumberedFacts>),
}

/// Facts, with what stands for them.
#[derive(Debug, PartialEq, Eq)]
struct NumberedFacts {
    facts: Facts,
    number: u32,
    tag: [u8; 16],
}

/// What is remembered of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct KnownEvent {
    generation: i64,
    /// A keyed hash of what a timeline said that it is.
    digest: Option<u32>,
    facts: KnownFacts,
}

/// The rows that a transaction has used. They are written once, at its end.
#[derive(Default)]
pub(super) struct KnownEvents {
    rows: BTreeMap<i64, (KnownEvent, bool)>,
    /// What was put since, and in which generation.
    facts: HashMap<Facts, (Rc<NumberedFacts>, i64)>,
    /// What was read.
    numbered: HashMap<u32, Rc<NumberedFacts>>,
}

impl Transaction<'_> {
    /// Whether an event that a timeline brought is new. From now on it is not. One with another digest is another
    /// event, whatever its id.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn is_new_event(&self, room_id: &str, event_id: &str, digest: &[u8]) -> Result<bool> {
        let key = self.event_key(&[room_id.as_bytes(), event_id.as_bytes()]);
        let short = self.seals.event_tag.of(&[&key.to_be_bytes(), digest]);
        let short = u32::from_be_bytes(first(&short)).max(1);
        let known = self.known_event(key)?;
        match &known {
            Some(KnownEvent { digest: Some(of_it), .. }) if *of_it == short => return Ok(false),
            // The row of its id belongs to another event already.
            Some(KnownEvent { digest: Some(_), .. }) => {
                let key = self.event_key(&[room_id.as_bytes(), event_id.as_bytes(), digest]);
                if self.known_event(key)?.is_some() {
                    return Ok(false);
                }
                self.remember_event(key, None, |row| row.digest = Some(short))?;
            }
            _ => self.remember_event(key, known, |row| row.digest = Some(short))?,
        }
        Ok(true)
    }

    /// Remembers what edits of an event are judged by.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn remember_facts(&self, room_id: &str, event_id: &str, facts: &Facts) -> Result<()> {
        let key = self.event_key(&[room_id.as_bytes(), event_id.as_bytes()]);
        let known = self.known_event(key)?;
        let facts = match known.as_ref().map(|row| &row.facts) {
            None | Some(KnownFacts::None) => self.shared(facts)?,
            Some(KnownFacts::Known(known)) if known.facts != *facts => KnownFacts::Contradictory,
            Some(_) => return Ok(()),
        };
        self.remember_event(key, known, |row| row.facts = facts)
    }

    /// What edits of an event are judged by; none where nothing is known, or where two events have its id.
    ///
    /// # Errors
    /// [`Kind::StoreTampered`], [`Kind::Store`]
    pub fn facts_of(&self, room_id: &str, event_id: &str) -> Result<Option<Facts>> {
        let key = self.event_key(&[room_id.as_bytes(), event_id.as_bytes()]);
        Ok(self.known_event(key)?.and_then(|row| match row.facts {
            KnownFacts::Known(known) => Some(known.facts.clone()),
            KnownFacts::None | KnownFacts::Contradictory => None,
        }))
    }

    /// Remembers that two events have this id.
    pub(super) fn remember_contradiction(&self, room_id: &str, event_id: &str) -> Result<()> {
        let key = self.event_key(&[room_id.as_bytes(), event_id.as_bytes()]);
        let known = self.known_event(key)?;
        self.remember_event(key, known, |row| row.facts = KnownFacts::Contradictory)
    }

    /// Checks a row by its tag, which is over all that it refers to.
    pub(super) fn check_known_event(&self, row: &Row) -> Result<()> {
        let key = match row.key[..] {
            [Value::Integer(key)] => key,
            _ => return Err(Error::new(Kind::StoreTampered, "Its key is no number.")),
        };
        match self.read_event(key, row)? {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::StoreTampered, "The facts that it refers to are gone.")),
        }
    }

    fn event_key(&self, parts: &[&[u8]]) -> i64 {
        i64::from_be_bytes(first(&self.seals.event_key.of(parts)))
    }

    fn known_event(&self, key: i64) -> Result<Option<KnownEvent>> {
        if let Some((known, _)) = self.known_events.borrow().rows.get(&key) {
            return Ok(Some(known.clone()));
        }
        let Some(row) = self.database.get(&TABLE, &[key.into()])? else { return Ok(None) };
        let known = self.read_event(key, &row)?;
        if let Some(known) = &known {
            self.known_events.borrow_mut().rows.insert(key, (known.clone(), false));
        }
        Ok(known)
    }

    /// A row as it was written; none if the facts that it refers to are gone.
    fn read_event(&self, key: i64, row: &Row) -> Result<Option<KnownEvent>> {
        let tampered = || Error::new(Kind::StoreTampered, "A row of known_event was altered.");
        let (parts, _) = row.body.as_chunks();
        let ([facts, digest, _, _], [Value::Integer(generation)]) = (parts, &row.plain[..]) else {
            return Err(tampered());
        };
        let digest = u32::from_be_bytes(*digest);
        let facts = match u32::from_be_bytes(*facts) {
            NO_FACTS => KnownFacts::None,
            CONTRADICTORY_FACTS => KnownFacts::Contradictory,
            number => match self.facts_numbered(number)? {
                Some(facts) => KnownFacts::Known(facts),
                None => return Ok(None),
            },
        };
        let digest = (digest != 0).then_some(digest);
        let known = KnownEvent { generation: *generation, digest, facts };
        if self.event_body(key, &known) != row.body {
            return Err(tampered());
        }
        Ok(Some(known))
    }

    fn event_body(&self, key: i64, event: &KnownEvent) -> Vec<u8> {
        let (number, facts) = match &event.facts {
            KnownFacts::None => (NO_FACTS, &[][..]),
            KnownFacts::Contradictory => (CONTRADICTORY_FACTS, &[][..]),
            KnownFacts::Known(facts) => (facts.number, &facts.tag[..]),
        };
        let (number, digest) = (number.to_be_bytes(), event.digest.unwrap_or(0).to_be_bytes());
        let (key, generation) = (key.to_be_bytes(), event.generation.to_be_bytes());
        let tag = self.seals.event_tag.of(&[&key, &generation, &number, facts, &digest]);
        [&number[..], &digest, &tag[..8]].concat()
    }

    fn remember_event(
        &self,
        key: i64,
        known: Option<KnownEvent>,
        change: impl FnOnce(&mut KnownEvent),
    ) -> Result<()> {
        self.writable()?;
        let mut row = match known {
            Some(known) => known,
            None => KnownEvent { generation: self.generation_of_next()?, ..KnownEvent::default() },
        };
        change(&mut row);
        self.known_events.borrow_mut().rows.insert(key, (row, true));
        Ok(())
    }

    /// The generation of an event that comes now. Where one begins, the oldest is forgotten.
    fn generation_of_next(&self) -> Result<i64> {
        let before = self.take_number(COUNTER)? - 1;
        let generation = generation(before);
        if before % GENERATION == 0 {
            let old = Query::all().until("generation", generation - MOST_GENERATIONS - 1);
            self.writable()?.delete(&TABLE, &old)?;
            self.delete_where::<SharedFacts>(&old)?;
        }
        Ok(generation)
    }

    /// The facts under their number, which are kept as long as events refer to them. Where their number stands for
    /// others, the event counts as one that has none: a number is a keyed hash, so nobody can bring that about.
    fn shared(&self, facts: &Facts) -> Result<KnownFacts> {
        let generation = generation(self.last_number(COUNTER)?);
        if let Some((known, used)) = self.known_events.borrow().facts.get(facts)
            && *used == generation
        {
            return Ok(KnownFacts::Known(known.clone()));
        }
        let known = Rc::new(self.numbered(facts.clone()));
        let row = self.get::<SharedFacts>(&[i64::from(known.number).into()])?;
        if row.as_ref().is_some_and(|row| row.facts != *facts) {
            return Ok(KnownFacts::Contradictory);
        }
        if row.is_none_or(|row| row.generation < generation) {
            let (number, facts) = (known.number.into(), facts.clone());
            self.put(&SharedFacts { number, generation, facts })?;
        }
        let mut events = self.known_events.borrow_mut();
        events.facts.insert(facts.clone(), (known.clone(), generation));
        Ok(KnownFacts::Known(known))
    }

    fn facts_numbered(&self, number: u32) -> Result<Option<Rc<NumberedFacts>>> {
        if let Some(facts) = self.known_events.borrow().numbered.get(&number) {
            return Ok(Some(facts.clone()));
        }
        let Some(row) = self.get::<SharedFacts>(&[i64::from(number).into()])? else {
            return Ok(None);
        };
        let facts = Rc::new(self.numbered(row.facts));
        self.known_events.borrow_mut().numbered.insert(number, facts.clone());
        Ok(Some(facts))
    }

    fn numbered(&self, facts: Facts) -> NumberedFacts {
        let flags = [u8::from(facts.encrypted), u8::from(facts.is_edit)];
        let parts = [facts.sender.as_bytes(), facts.event_type.as_bytes(), &flags];
        let tag = self.seals.facts_tag.of(&parts);
        let number = u32::from_be_bytes(first(&tag)).max(CONTRADICTORY_FACTS + 1);
        NumberedFacts { facts, number, tag }
    }

    /// Writes what changed, in the order of the keys.
    pub(super) fn write_known_events(&self) -> Result<()> {
        let events = self.known_events.take();
        for (key, (event, changed)) in events.rows {
            if changed {
                let body = self.event_body(key, &event);
                self.writable()?.put(&TABLE, &[key.into()], &[event.generation.into()], &body)?;
            }
        }
        Ok(())
    }
}

pub(super) fn generation(events_before: i64) -> i64 {
    events_before / GENERATION
}

fn first<const N: usize>(tag: &[u8; 16]) -> [u8; N] {
    std::array::from_fn(|place| tag[place])
}
