//! Events that are handed over, for R.

use extendr_api::prelude::*;

use crate::{
    answer::{number, optional_string, record},
    arguments, events,
    machine::on,
};

#[extendr]
fn machine_take(handle: Robj, consumer: Robj, limit: Robj) -> Robj {
    on(&handle, |machine| {
        let consumer = arguments::text(&consumer, "consumer")?;
        let limit = usize::try_from(arguments::whole(&limit, "limit")?).unwrap_or(0);
        Ok(events::columns(&machine.take(&consumer, limit)?))
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

#[extendr]
fn machine_last_event(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(number(machine.last_event()?)))
}

#[extendr]
fn machine_read_history(handle: Robj, room_id: Robj, body: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let history = machine.read_history(&room_id, &arguments::body(&body, "body")?)?;
        Ok(record([
            ("events", events::columns(&history.events)),
            ("end", optional_string(history.end.as_deref())),
        ]))
    })
}

extendr_module! {
    mod inbox;
    fn machine_take;
    fn machine_handed;
    fn machine_acknowledge;
    fn machine_peek;
    fn machine_last_event;
    fn machine_read_history;
}
