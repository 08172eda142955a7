//! The delivery of events, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Result,
    judgement::messages_page::{MessagesPage, times},
    machine::{Handed, Unsigned},
};

use crate::{
    answer::{answer, number, optional_string, record, strings},
    arguments,
    clock::now,
    events,
    machine::on,
};

/// What a consumer is to be given: the numbers of the events, and the events; `NULL` where there are none.
#[extendr]
fn machine_take(handle: Robj, consumer: Robj, limit: Robj, unsigned: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        let limit = usize::try_from(arguments::whole(&limit, "limit")?).unwrap_or(0);
        let taken = machine.take(now(), &consumer, limit, unsigned_of(&unsigned)?)?;
        let numbers: Vec<f64> = taken.iter().map(|row| row.number as f64).collect();
        // Of an idle sync there is nothing to build.
        let events = if taken.is_empty() { ().into() } else { events::frame(&taken) };
        Ok(record([("numbers", numbers.into()), ("events", events)]))
    })
}

#[extendr]
fn machine_handed(handle: Robj, consumer: Robj, number: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        machine.handed(now(), &consumer, arguments::whole(&number, "number")?)
    })
}

#[extendr]
fn machine_acknowledge(handle: Robj, consumer: Robj, number: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        machine.acknowledge(now(), &consumer, arguments::whole(&number, "number")?)
    })
}

/// When a consumer first began, which is now if it never did, in milliseconds.
#[extendr]
fn machine_consumer_began(handle: Robj, consumer: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        Ok(number(machine.consumer_began(now(), &consumer)?))
    })
}

/// How often a handler was given an event, this time included.
#[extendr]
fn machine_begin_attempt(handle: Robj, consumer: Robj, number: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        let number = arguments::whole(&number, "number")?;
        Ok(f64::from(machine.begin_attempt(now(), &consumer, number)?))
    })
}

#[extendr]
fn machine_withdraw_attempt(handle: Robj, consumer: Robj, number: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        machine.withdraw_attempt(now(), &consumer, arguments::whole(&number, "number")?)
    })
}

#[extendr]
fn machine_set_aside(handle: Robj, consumer: Robj, number: Robj, error: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        let error = arguments::text(&error, "error")?;
        machine.set_aside(now(), &consumer, arguments::whole(&number, "number")?, &error)
    })
}

#[extendr]
fn machine_peek(handle: Robj, first: Robj, last: Robj) -> Robj {
    on(&handle, |machine| {
        let first = arguments::whole(&first, "first")?;
        let last = arguments::whole(&last, "last")?;
        Ok(events::frame(&machine.peek(now(), first, last)?))
    })
}

/// The events that wait for a key.
#[extendr]
fn machine_undecrypted(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(events::frame(&machine.undecrypted(now())?)))
}

#[extendr]
fn machine_last_event(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(number(machine.last_event()?)))
}

/// Of a page of history: where older events begin, how many it has, and the times of the oldest and the
/// newest, `NA` where none has one.
#[extendr]
fn history_peek(body: Robj) -> Robj {
    answer(|| {
        let body = arguments::body(&body, "body")?;
        let page = MessagesPage::read(&body)?;
        let (oldest, newest) = times(&page.events()).unzip();
        Ok(record([
            ("end", optional_string(page.end.as_deref())),
            ("n", number(page.chunk.len() as i64)),
            ("oldest", oldest.map(|time| time as f64).into()),
            ("newest", newest.map(|time| time as f64).into()),
        ]))
    })
}

#[extendr]
fn machine_track_senders(handle: Robj, body: Robj) -> Robj {
    on(&handle, |machine| machine.track_senders(now(), &arguments::body(&body, "body")?))
}

#[extendr]
fn machine_read_history(
    handle: Robj,
    room_id: Robj,
    body: Robj,
    unsigned: Robj,
    edits: Robj,
) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let body = arguments::body(&body, "body")?;
        let mut history = machine.read_history(now(), &room_id, &body, unsigned_of(&unsigned)?)?;
        if arguments::flag(&edits, "edits")? {
            history.events.iter_mut().for_each(Handed::apply_edit);
        }
        Ok(events::frame(&history.events))
    })
}

/// Why edits of ours would not count.
#[extendr]
fn machine_edit_refusals(handle: Robj, room_id: Robj, event_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_ids = arguments::texts(&event_ids, "event_id")?;
        Ok(strings(machine.edit_refusals(&room_id, &event_ids)?))
    })
}

pub(crate) fn unsigned_of(unsigned: &Robj) -> Result<Unsigned> {
    let handed_over = arguments::flag(unsigned, "unsigned")?;
    Ok(if handed_over { Unsigned::HandedOver } else { Unsigned::AsTheModeSays })
}

extendr_module! {
    mod inbox;
    fn machine_take;
    fn machine_handed;
    fn machine_acknowledge;
    fn machine_consumer_began;
    fn machine_begin_attempt;
    fn machine_withdraw_attempt;
    fn machine_set_aside;
    fn machine_peek;
    fn machine_undecrypted;
    fn machine_last_event;
    fn history_peek;
    fn machine_track_senders;
    fn machine_read_history;
    fn machine_edit_refusals;
}
