//! Delivers events, at least once, to each consumer at its own pace. An event whose handler keeps
//! failing is set aside, and an event of its own reports it.

use super::{
    Handed, Machine, Millis, Unsigned, Work,
    archive::{self, Side},
    message_trust, relations,
};
use crate::{
    error::Result,
    judgement::{room_event::NO_TIME, utd_reason::UtdReason},
    primitives::canonical_json::{Json, Object},
    store::{
        Query,
        records::{Attempt, Consumer, Event, Given, InboxRow, Unreadable},
    },
};

/// The type of a row that stands for events which are missing.
pub(super) const MISSING: &str = "mxcrypt.missing";

/// The type of the event that reports an event which was set aside. Like a change of trust, it has
/// no sender: nobody can send one.
const HANDLER_FAILED: &str = "mxcrypt.handler_failed";

/// How many events are kept for consumers that do not come. Beyond it the oldest go, and those
/// whose turn they would have been are told.
const LARGEST_INBOX: i64 = 100_000;

impl Machine {
    /// Up to `limit` events that `consumer` has not dealt with. Those it was handed by the call
    /// before, see [`Machine::handed`], count as dealt with now.
    ///
    /// # Errors
    /// Those of the store.
    pub fn take(
        &mut self,
        now: Millis,
        consumer: &str,
        limit: usize,
        unsigned: Unsigned,
    ) -> Result<Vec<Handed>> {
        self.eventual_work(now, |work| {
            let hold_back = message_trust::holds_back(work, unsigned)?;
            let mut state = consumer_named(work, consumer)?;
            if state.cursor != state.handed {
                state.cursor = state.handed;
                work.tx.put(&state)?;
                forget_dealt_with(work)?;
            }
            let rows = inbox_after(work, state.cursor, limit)?;
            note_given(work, &rows)?;
            let mut handed = Vec::with_capacity(rows.len());
            handed.extend(lost_before(work, &state, rows.first())?);
            for row in rows {
                handed.push(relations::delivered(work, row.number, row.event, hold_back)?);
            }
            Ok(handed)
        })
    }

    /// Notes that `consumer` was given the events up to `number`. This is the last step of the
    /// delivery: a process that ends before it is given the same events again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn handed(&mut self, now: Millis, consumer: &str, number: i64) -> Result<()> {
        self.eventual_work(now, |work| {
            let mut state = consumer_named(work, consumer)?;
            state.handed = state.handed.max(number);
            work.tx.put(&state)
        })
    }

    /// Notes that `consumer` has dealt with all events up to `number`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn acknowledge(&mut self, now: Millis, consumer: &str, number: i64) -> Result<()> {
        self.eventual_work(now, |work| acknowledge(work, consumer, number))
    }

    /// When `consumer` first began, which is now if it never did.
    ///
    /// # Errors
    /// Those of the store.
    pub fn consumer_began(&mut self, now: Millis, consumer: &str) -> Result<Millis> {
        self.work(now, |work| {
            let mut state = consumer_named(work, consumer)?;
            let began = *state.began_at.get_or_insert(now);
            work.tx.put(&state)?;
            Ok(began)
        })
    }

    /// Counts one more attempt of `consumer` at event `number`, before its handler is called.
    /// Returns how many there were, also in processes that have ended since.
    ///
    /// # Errors
    /// Those of the store.
    pub fn begin_attempt(&mut self, now: Millis, consumer: &str, number: i64) -> Result<u32> {
        self.eventual_work(now, |work| {
            let mut state = consumer_named(work, consumer)?;
            let before = state.attempts_at(number);
            let count = before.saturating_add(1);
            state.attempt = Some(Attempt { number, count });
            work.tx.put(&state)?;
            Ok(count)
        })
    }

    /// Takes back an attempt that was interrupted: it says nothing about the event.
    ///
    /// # Errors
    /// Those of the store.
    pub fn withdraw_attempt(&mut self, now: Millis, consumer: &str, number: i64) -> Result<()> {
        self.eventual_work(now, |work| {
            let mut state = consumer_named(work, consumer)?;
            let count = state.attempts_at(number).saturating_sub(1);
            state.attempt = Some(Attempt { number, count });
            work.tx.put(&state)
        })
    }

    /// Sets aside event `number`, whose handler failed with `error`: `consumer` goes on behind it,
    /// and an event of type `mxcrypt.handler_failed` tells every consumer. An event of this type
    /// that is set aside itself is not reported again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_aside(
        &mut self,
        now: Millis,
        consumer: &str,
        number: i64,
        error: &str,
    ) -> Result<()> {
        self.eventual_work(now, |work| {
            let failed: Option<InboxRow> = work.tx.get(&[number.into()])?;
            if let Some(row) = failed
                && !is_own_report(&row.event)
            {
                hand_over(work, report_of_failure(now, consumer, &row.event, error)?)?;
            }
            acknowledge(work, consumer, number)
        })
    }

    /// The number of the last event that was put in the inbox.
    ///
    /// # Errors
    /// Those of the store.
    pub fn last_event(&mut self) -> Result<i64> {
        self.read(|work| work.tx.last_number("inbox"))
    }

    /// The events from `first` to `last`, for a caller who does not take them through a consumer.
    ///
    /// # Errors
    /// Those of the store.
    pub fn peek(&mut self, now: Millis, first: i64, last: i64) -> Result<Vec<Handed>> {
        self.eventual_work(now, |work| {
            let range = Query::all().after("number", first - 1).until("number", last);
            let rows = work.tx.select::<InboxRow>(&range)?;
            note_given(work, &rows)?;
            rows.into_iter()
                .map(|row| relations::delivered(work, row.number, row.event, false))
                .collect()
        })
    }
}

impl Consumer {
    fn attempts_at(&self, number: i64) -> u32 {
        self.attempt.filter(|attempt| attempt.number == number).map_or(0, |attempt| attempt.count)
    }
}

fn is_own_report(event: &Event) -> bool {
    event.event_type == HANDLER_FAILED && event.sender.is_empty()
}

fn report_of_failure(now: Millis, consumer: &str, failed: &Event, error: &str) -> Result<Event> {
    let text = |text: &str| Json::String(text.to_owned());
    let event_id = failed.event_id.as_deref();
    let body = format!(
        "The handler of \"{consumer}\" failed, and {} of type {} was set aside: {error}",
        event_id.map_or("an event".to_owned(), |id| format!("event {id}")),
        failed.event_type,
    );
    let content = Object::from([
        ("body".to_owned(), Json::String(body)),
        ("consumer".to_owned(), text(consumer)),
        ("error".to_owned(), text(error)),
        ("event_id".to_owned(), event_id.map_or(Json::Null, text)),
        ("event_type".to_owned(), text(&failed.event_type)),
        ("room_id".to_owned(), text(&failed.room_id)),
        ("sender".to_owned(), text(&failed.sender)),
    ]);
    Ok(Event {
        room_id: failed.room_id.clone(),
        event_id: failed.event_id.clone(),
        event_type: HANDLER_FAILED.to_owned(),
        origin_server_ts: now,
        content: Json::Object(content).text()?,
        ..Event::default()
    })
}

fn acknowledge(work: &Work<'_>, consumer: &str, number: i64) -> Result<()> {
    let mut state = consumer_named(work, consumer)?;
    state.cursor = state.cursor.max(number);
    state.handed = state.handed.max(number);
    work.tx.put(&state)?;
    forget_dealt_with(work)
}

/// A consumer. One that comes for the first time begins with the oldest event there is; from
/// then on, what it has not dealt with is kept for it.
fn consumer_named(work: &Work<'_>, name: &str) -> Result<Consumer> {
    if let Some(known) = work.tx.get(&[name.into()])? {
        return Ok(known);
    }
    let place = match inbox_after(work, 0, 1)?.first() {
        Some(oldest) => oldest.number - 1,
        None => work.tx.last_number("inbox")?,
    };
    let fresh = Consumer {
        name: name.to_owned(),
        cursor: place,
        handed: place,
        attempt: None,
        began_at: None,
    };
    work.tx.put(&fresh)?;
    Ok(fresh)
}

fn inbox_after(work: &Work<'_>, cursor: i64, limit: usize) -> Result<Vec<InboxRow>> {
    work.tx.select(&Query::all().after("number", cursor).limit(limit))
}

/// The number of the last event that anybody was given.
pub(super) fn last_given(work: &Work<'_>) -> Result<i64> {
    Ok(work.tx.get_single::<Given>()?.unwrap_or_default().last)
}

fn note_given(work: &Work<'_>, rows: &[InboxRow]) -> Result<()> {
    match rows.last() {
        Some(row) if row.number > last_given(work)? => {
            work.tx.put_single(&Given { last: row.number })
        }
        _ => Ok(()),
    }
}

/// Delivers an event that waited for its key: in place of the row `row`, which says that it waits,
/// unless somebody was given that row already. `given` is the last row that anybody was given. So a
/// room is read in order, and no event comes twice without need.
pub(super) fn hand_over_late(work: &Work<'_>, row: i64, given: i64, event: Event) -> Result<()> {
    let waits: Option<InboxRow> = work.tx.get(&[row.into()])?;
    let is_of_it = |waits: &InboxRow| {
        waits.event.room_id == event.room_id && waits.event.event_id == event.event_id
    };
    if row > given && waits.as_ref().is_some_and(is_of_it) {
        archive::keep(work, &event, Side::New)?;
        return work.tx.put(&InboxRow { number: row, event });
    }
    hand_over(work, event)
}

/// Events that every consumer has dealt with are deleted; so are the oldest beyond the bound.
fn forget_dealt_with(work: &Work<'_>) -> Result<()> {
    let consumers = work.tx.select::<Consumer>(&Query::all())?;
    let dealt_with = consumers.iter().map(|consumer| consumer.cursor).min().unwrap_or(0);
    work.tx.delete_where::<InboxRow>(&Query::all().until("number", dealt_with))?;
    bound_inbox(work)
}

/// Deletes the oldest events beyond the bound.
pub(super) fn bound_inbox(work: &Work<'_>) -> Result<()> {
    // Numbers rise by one and the oldest go first: what is kept is known without counting.
    let surplus = work.tx.last_number("inbox")? - LARGEST_INBOX;
    if surplus > 0 {
        work.tx.delete_where::<InboxRow>(&Query::all().until("number", surplus))?;
    }
    Ok(())
}

/// A row for a consumer whose next events were deleted before it came.
fn lost_before(
    work: &Work<'_>,
    state: &Consumer,
    next: Option<&InboxRow>,
) -> Result<Option<Handed>> {
    let Some(next) = next.filter(|row| row.number > state.cursor + 1) else { return Ok(None) };
    let message = match next.number - state.cursor - 1 {
        1 => "1 event was kept too long for this consumer and is gone.".to_owned(),
        n => format!("{n} events were kept too long for this consumer and are gone."),
    };
    let missing = missing("", UtdReason::InboxOverflow.because(message));
    relations::delivered(work, next.number - 1, missing, false).map(Some)
}

/// Puts an event in the inbox, and in the archive if its room has one.
pub(super) fn hand_over(work: &Work<'_>, event: Event) -> Result<()> {
    archive::keep(work, &event, Side::New)?;
    let number = work.tx.take_number("inbox")?;
    work.tx.put(&InboxRow { number, event })
}

/// A row that stands for events which are missing.
pub(super) fn missing(room_id: &str, why: Unreadable) -> Event {
    Event {
        room_id: room_id.to_owned(),
        event_type: MISSING.to_owned(),
        origin_server_ts: NO_TIME,
        content: "{}".to_owned(),
        unreadable: Some(why),
        ..Event::default()
    }
}
