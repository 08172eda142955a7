//! Events that are handed over, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Result,
    machine::{Handed, History, Unsigned},
};

use crate::{
    answer::{answer, number, optional_string, record, strings},
    arguments, events,
    machine::on,
};

#[extendr]
fn machine_take(handle: Robj, consumer: Robj, limit: Robj, unsigned: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        let limit = usize::try_from(arguments::whole(&limit, "limit")?).unwrap_or(0);
        Ok(events::columns(&machine.take(&consumer, limit, unsigned_of(&unsigned)?)?))
    })
}

#[extendr]
fn machine_handed(handle: Robj, consumer: Robj, number: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        machine.handed(&consumer, arguments::whole(&number, "number")?)
    })
}

#[extendr]
fn machine_acknowledge(handle: Robj, consumer: Robj, number: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        machine.acknowledge(&consumer, arguments::whole(&number, "number")?)
    })
}

#[extendr]
fn machine_peek(handle: Robj, first: Robj, last: Robj) -> Robj {
    on(&handle, |machine| {
        let first = arguments::whole(&first, "first")?;
        let last = arguments::whole(&last, "last")?;
        Ok(events::columns(&machine.peek(first, last)?))
    })
}

/// The events that wait for a key.
#[extendr]
fn machine_undecrypted(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(events::columns(&machine.undecrypted()?)))
}

#[extendr]
fn machine_last_event(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(number(machine.last_event()?)))
}

#[extendr]
fn history_peek(body: Robj) -> Robj {
    answer(|| {
        let (end, n) = History::peek(&arguments::body(&body, "body")?)?;
        Ok(record([("end", optional_string(end.as_deref())), ("n", number(n as i64))]))
    })
}

#[extendr]
fn machine_track_senders(handle: Robj, body: Robj) -> Robj {
    on(&handle, |machine| machine.track_senders(&arguments::body(&body, "body")?))
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
        let mut history = machine.read_history(&room_id, &body, unsigned_of(&unsigned)?)?;
        if arguments::flag(&edits, "edits")? {
            history.events.iter_mut().for_each(Handed::apply_edit);
        }
        Ok(events::columns(&history.events))
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

fn unsigned_of(unsigned: &Robj) -> Result<Unsigned> {
    let handed_over = arguments::flag(unsigned, "unsigned")?;
    Ok(if handed_over { Unsigned::HandedOver } else { Unsigned::AsTheModeSays })
}

extendr_module! {
    mod inbox;
    fn machine_take;
    fn machine_handed;
    fn machine_acknowledge;
    fn machine_peek;
    fn machine_undecrypted;
    fn machine_last_event;
    fn history_peek;
    fn machine_track_senders;
    fn machine_read_history;
    fn machine_edit_refusals;
}
