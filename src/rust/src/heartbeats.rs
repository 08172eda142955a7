//! Messages that the server sends later, unless it is told not to, for R.

// What a heartbeat is made of crosses over as it is.
#![allow(clippy::too_many_arguments)]

use extendr_api::prelude::*;
use mxcrypt_core::{machine::NewHeartbeat, store::records::Heartbeat};

use crate::{
    answer::{number, optional_string, record, strings},
    arguments,
    clock::now,
    machine::on,
    outbox::devices,
};

/// `delay` and `wait` are milliseconds.
#[extendr]
fn machine_heartbeat_start(
    handle: Robj,
    id: Robj,
    name: Robj,
    room_id: Robj,
    content: Robj,
    delay: Robj,
    stable: Robj,
    wait: Robj,
) -> Robj {
    on(&handle, |machine| {
        let new = NewHeartbeat {
            id: arguments::optional_text(&id, "id")?,
            name: arguments::optional_text(&name, "name")?,
            room_id: arguments::text(&room_id, "room")?,
            content: arguments::text(&content, "text")?,
            delay: arguments::whole(&delay, "after")?,
            stable: arguments::flag(&stable, "stable")?,
            wait: arguments::whole(&wait, "wait")?,
        };
        Ok(number(machine.start_heartbeat(now(), new)?))
    })
}

/// The messages of all heartbeats, as columns.
#[extendr]
fn machine_heartbeats(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let rows = machine.heartbeats(now())?;
        let text = |of: fn(&Heartbeat) -> Option<&str>| strings(rows.iter().map(of));
        let numbers = |of: fn(&Heartbeat) -> f64| -> Robj {
            rows.iter().map(of).collect::<Vec<f64>>().into()
        };
        let cancel: Vec<bool> = rows.iter().map(|row| row.cancel).collect();
        Ok(record([
            ("number", numbers(|row| row.number as f64)),
            ("id", text(|row| Some(&row.id))),
            ("name", text(|row| row.name.as_deref())),
            ("room_id", text(|row| Some(&row.room_id))),
            ("content", text(|row| Some(&row.content))),
            ("delay", numbers(|row| row.delay as f64)),
            ("since", numbers(|row| row.since as f64)),
            ("state", text(|row| Some(row.state.as_str()))),
            ("cancel", cancel.into()),
            ("event_id", text(|row| row.event_id.as_deref())),
            ("sent_at", numbers(|row| row.sent_at.map_or(f64::NAN, |at| at as f64))),
            ("errcode", text(|row| row.refusal.as_ref().map(|(code, _)| code.as_str()))),
            ("error", text(|row| row.refusal.as_ref().map(|(_, error)| error.as_str()))),
        ]))
    })
}

#[extendr]
fn machine_heartbeat_abandon(handle: Robj, heartbeat: Robj) -> Robj {
    on(&handle, |machine| machine.abandon_heartbeat(now(), arguments::whole(&heartbeat, "number")?))
}

#[extendr]
fn machine_heartbeat_stop(handle: Robj, id: Robj) -> Robj {
    on(&handle, |machine| machine.stop_heartbeat(now(), &arguments::text(&id, "id")?))
}

#[extendr]
fn machine_heartbeat_restart_path(handle: Robj, heartbeat: Robj) -> Robj {
    on(&handle, |machine| {
        let path = machine.heartbeat_restart_path(arguments::whole(&heartbeat, "number")?)?;
        Ok(optional_string(path.as_deref()))
    })
}

#[extendr]
fn machine_heartbeat_restarted(handle: Robj, heartbeat: Robj, there: Robj) -> Robj {
    on(&handle, |machine| {
        let heartbeat = arguments::whole(&heartbeat, "number")?;
        machine.heartbeat_restarted(now(), heartbeat, arguments::flag(&there, "there")?)
    })
}

/// The devices that cannot read what is encrypted for a room now.
#[extendr]
fn machine_left_out(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| {
        let [unreached, withheld] = machine.left_out(&arguments::text(&room_id, "room")?)?;
        Ok(record([("unreached", devices(&unreached)), ("withheld", devices(&withheld))]))
    })
}

extendr_module! {
    mod heartbeats;
    fn machine_heartbeat_start;
    fn machine_heartbeats;
    fn machine_heartbeat_abandon;
    fn machine_heartbeat_stop;
    fn machine_heartbeat_restart_path;
    fn machine_heartbeat_restarted;
    fn machine_left_out;
}
