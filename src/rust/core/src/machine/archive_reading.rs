//! Reads the archive, part by part in the order of time, and finds what it says.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{Handed, Machine, Millis, Unsigned, Work, archive, message_trust, relations};
use crate::{
    error::Result,
    judgement::members::Members,
    store::{
        Query,
        records::{ArchivedEdit, ArchivedEvent, Event, Facts, KeySource},
    },
};

/// The place of an archived event: its time, and its number among those of one time.
pub type Place = (Millis, i64);

/// Which part of the archive of a room is wanted.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The room.
    pub room_id: String,
    /// Events that were sent then or later; all if it is not set.
    pub since: Option<Millis>,
    /// Events that were sent before; all if it is not set.
    pub until: Option<Millis>,
    /// The place of the last event of the part before.
    pub after: Option<Place>,
    /// How many events are wanted at most.
    pub limit: usize,
}

/// Events of the archive, oldest first.
#[derive(Debug)]
pub struct ArchivedPart {
    /// The events.
    pub events: Vec<Handed>,
    /// The place of the last one, if there may be more.
    pub last: Option<Place>,
}

/// What an archived event says.
#[derive(Debug, PartialEq, Eq)]
pub struct ArchivedText {
    /// The event.
    pub event_id: String,
    /// Where it stands.
    pub place: Place,
    /// Who the server says sent it.
    pub sender: String,
    /// Its text as it is by now. None where it has none, cannot be read, or edits another.
    pub body: Option<String>,
}

impl Machine {
    /// A part of the archive, with the trust in its events as it is now. With `edits`, events are as their newest
    /// edit says.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_part(
        &mut self,
        now: Millis,
        part: &Part,
        unsigned: Unsigned,
        edits: bool,
    ) -> Result<ArchivedPart> {
        self.work(now, |work| {
            let hold_back = message_trust::holds_back(work, unsigned)?;
            let rows = rows_of(part, |query| work.tx.select::<ArchivedEvent>(query))?;
            let is_full = rows.len() >= part.limit;
            let last = rows.last().filter(|_| is_full).map(place_of);
            let events = rows.into_iter().map(|row| shown(work, row.event, hold_back, edits));
            Ok(ArchivedPart { events: events.collect::<Result<_>>()?, last })
        })
    }

    /// Archived events by their ids, as of [`Machine::archived_part`]. Those that are not there are left out.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_events(
        &mut self,
        now: Millis,
        room_id: &str,
        event_ids: &[String],
        unsigned: Unsigned,
    ) -> Result<Vec<Handed>> {
        self.work(now, |work| {
            let hold_back = message_trust::holds_back(work, unsigned)?;
            let mut events = Vec::with_capacity(event_ids.len());
            for event_id in event_ids {
                if let Some(row) = archive::archived(work, room_id, event_id)? {
                    events.push(shown(work, row.event, hold_back, true)?);
                }
            }
            Ok(events)
        })
    }

    /// What a part of the archive says, for searches.
    ///
    /// # Errors
    /// Those of the store.
    pub fn archived_texts(
        &mut self,
        now: Millis,
        part: &Part,
        unsigned: Unsigned,
    ) -> Result<Vec<ArchivedText>> {
        self.work(now, |work| {
            let hold_back = message_trust::holds_back(work, unsigned)?;
            let of_room = Query::equal("room_id", part.room_id.as_str());
            let edited = work.tx.texts::<ArchivedEdit>("original", &of_room)?;
            let edited: HashSet<String> = edited.into_iter().collect();
            let read = |query: &Query| work.tx.select_map(query, text_of);
            let mut held_back = HashMap::new();
            let mut texts = Vec::new();
            for (mut text, origin) in rows_of(part, read)? {
                if edited.contains(&text.event_id) {
                    let row = archive::archived(work, &part.room_id, &text.event_id)?;
                    let event =
                        row.map(|row| shown(work, row.event, hold_back, true)).transpose()?;
                    text.body = event.and_then(|handed| body_of(&handed.event));
                } else if hold_back
                    && text.body.is_some()
                    && is_held_back(work, &mut held_back, origin)?
                {
                    text.body = None;
                }
                texts.push(text);
            }
            Ok(texts)
        })
    }
}

/// The rows of a part.
fn rows_of<T>(part: &Part, read: impl Fn(&Query) -> Result<Vec<T>>) -> Result<Vec<T>> {
    let of_room = || Query::equal("room_id", part.room_id.as_str());
    let mut rows = Vec::new();
    let mut later = of_room();
    if let Some((time, number)) = part.after {
        let same = of_room().and("sent_at", time).after("number", number);
        rows = read(&same.limit(part.limit))?;
        later = later.after("sent_at", time);
    } else if let Some(since) = part.since {
        later = later.after("sent_at", since.saturating_sub(1));
    }
    if let Some(until) = part.until {
        later = later.until("sent_at", until.saturating_sub(1));
    }
    if rows.len() < part.limit {
        rows.extend(read(&later.limit(part.limit - rows.len()))?);
    }
    Ok(rows)
}

fn place_of(row: &ArchivedEvent) -> Place {
    (row.sent_at, row.number)
}

/// An event as it is shown now.
fn shown(work: &Work<'_>, event: Event, hold_back: bool, edits: bool) -> Result<Handed> {
    let mut handed = message_trust::judged(work, 0, event, hold_back)?;
    let (room_id, event_id) = (handed.event.room_id.clone(), handed.event.event_id.clone());
    if let Some(target) = &handed.event.replaces {
        let original = archive::archived(work, &room_id, target)?;
        let facts = original.and_then(|original| Facts::of(&original.event));
        relations::judge_edit_of(&mut handed, facts.as_ref());
    } else if let Some(event_id) = event_id.filter(|_| edits) {
        let edits = archive::edits_of(work, &room_id, &event_id)?;
        let edits: Vec<Event> = edits.into_iter().map(|edit| edit.event).collect();
        relations::find_edit(work, &mut handed, None, &edits, hold_back)?;
        handed.apply_edit();
    }
    Ok(handed)
}

/// What the trust in an event depends on, in an event that says nothing. Few of a room differ.
type Origin = (String, bool, Option<String>, Option<String>, Option<KeySource>);

fn text_of(row: ArchivedEvent) -> (ArchivedText, Origin) {
    let place = place_of(&row);
    let event = row.event;
    let stands = event.unreadable.is_none() && event.replaces.is_none();
    let text = ArchivedText {
        body: body_of(&event).filter(|_| stands),
        place,
        event_id: event.event_id.unwrap_or_default(),
        sender: event.sender.clone(),
    };
    let keys = (event.sender_key, event.sender_signing_key);
    (text, (event.sender, event.encrypted, keys.0, keys.1, event.key_source))
}

/// Whether events of this origin are held back.
fn is_held_back(
    work: &Work<'_>,
    known: &mut HashMap<Origin, bool>,
    origin: Origin,
) -> Result<bool> {
    if let Some(known) = known.get(&origin) {
        return Ok(*known);
    }
    let (sender, encrypted, sender_key, sender_signing_key, key_source) = origin.clone();
    let event =
        Event { sender, encrypted, sender_key, sender_signing_key, key_source, ..Event::default() };
    let judged = message_trust::judged(work, 0, event, true)?;
    let is_held_back = judged.event.unreadable.is_some();
    known.insert(origin, is_held_back);
    Ok(is_held_back)
}

fn body_of(event: &Event) -> Option<String> {
    if event.unreadable.is_some() {
        return None;
    }
    let content = Members::read(&event.content).ok()?;
    content.text("body").map(Cow::into_owned)
}
