//! The requests of the machine and their outcomes, and syncs, for R.

use std::time::Duration;

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind,
    machine::{Awaited, Reply, SyncTurn, Trouble},
};

use crate::{
    answer::{number, optional_string, record, string, strings},
    arguments,
    clock::now,
    listener,
    machine::{on, on_place},
};

#[extendr]
fn machine_sync_token(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(optional_string(machine.sync_token()?.as_deref())))
}

#[extendr]
fn machine_receive_sync(handle: Robj, since: Robj, body: Robj) -> Robj {
    on(&handle, |machine| {
        let since = arguments::optional_text(&since, "since")?;
        let body = arguments::body(&body, "body")?;
        let report = machine.receive_sync(now(), since.as_deref(), &body)?;
        Ok(record([
            ("stale", report.stale.into()),
            ("first", number(report.first)),
            ("last", number(report.last)),
            ("problems", strings(report.problems.iter().map(|text| Some(text.as_str())))),
        ]))
    })
}

/// Whose turn it is to ask the server for news: `came`, `theirs` or `ours`. `seen` is when the last sync was applied.
#[extendr]
fn machine_lease_sync(handle: Robj, seen: Robj, timeout: Robj, beside: Robj) -> Robj {
    on_place(&handle, |machine, place| {
        let seen = match seen.is_null() {
            true => None,
            false => Some(arguments::whole(&seen, "seen")?),
        };
        let timeout = arguments::whole(&timeout, "timeout")?;
        let beside = arguments::flag(&beside, "beside")?;
        let lock = listener::lock_at(place);
        let turn = machine.lease_sync(now(), seen, timeout, beside, lock.as_deref())?;
        let (whose, lease) = match turn {
            SyncTurn::Came => ("came", None),
            SyncTurn::Theirs => ("theirs", None),
            SyncTurn::Ours(lease) => ("ours", lease),
        };
        let lease = lease.map_or_else(|| ().into(), number);
        Ok(record([("whose", string(whose)), ("lease", lease)]))
    })
}

#[extendr]
fn machine_release_sync(handle: Robj, number: Robj) -> Robj {
    on(&handle, |machine| machine.release_sync(arguments::whole(&number, "number")?))
}

/// Waits, for some milliseconds at most, until another process may have committed something.
#[extendr]
fn machine_wait_for_commit(handle: Robj, limit: Robj) -> Robj {
    on(&handle, |machine| {
        let limit = arguments::whole(&limit, "limit")?.unsigned_abs();
        machine.wait_for_commit(Duration::from_millis(limit))
    })
}

/// What to perform now, for a caller who waits for the messages of `room_id`, the devices of
/// `user_ids`, and requests of `kinds`. `since` is what the first of these calls returned, which is given `NULL`.
#[extendr]
fn machine_requests(handle: Robj, room_id: Robj, user_ids: Robj, kinds: Robj, since: Robj) -> Robj {
    on(&handle, |machine| {
        let since = match since.is_null() {
            true => machine.failures()?,
            false => arguments::whole(&since, "since")?,
        };
        let awaited = Awaited {
            room_id: arguments::optional_text(&room_id, "room")?,
            users: arguments::texts(&user_ids, "user_ids")?,
            kinds: arguments::texts(&kinds, "kinds")?,
            since,
        };
        let due = machine.requests_for(now(), &awaited)?;
        let requests = due.requests.iter().map(|request| {
            record([
                ("number", number(request.number)),
                ("kind", string(request.kind)),
                ("method", string(request.method)),
                ("path", string(&request.path)),
                ("body", optional_string(request.body.as_deref())),
                ("file", optional_string(request.file.as_ref().map(|file| &*file.file))),
                (
                    "file_type",
                    optional_string(request.file.as_ref().map(|file| &*file.content_type)),
                ),
                ("file_size", request.file.as_ref().map(|file| file.size as f64).into()),
                ("lane", optional_string(request.lane.as_deref())),
            ])
        });
        let held_up = due.held_up.values().map(trouble);
        Ok(record([
            ("requests", List::from_values(requests).into()),
            ("sync_first", due.sync_first.into()),
            ("held_up", List::from_values(held_up).into()),
            ("busy", due.busy.into()),
            ("under_way", due.under_way.into()),
            ("since", number(since)),
        ]))
    })
}

/// Says that a request is still being performed.
#[extendr]
fn machine_renew(handle: Robj, request: Robj) -> Robj {
    on(&handle, |machine| machine.renew(now(), arguments::whole(&request, "request")?))
}

/// `statuses` are those of HTTP; 0 stands for no response, -1 for not tried.
#[extendr]
fn machine_replies(handle: Robj, numbers: Robj, statuses: Robj, bodies: Robj) -> Robj {
    on(&handle, |machine| {
        let numbers = arguments::wholes(&numbers, "numbers")?;
        let statuses = arguments::wholes(&statuses, "statuses")?;
        let bodies = arguments::plaintexts(&bodies, "bodies")?;
        if numbers.len() != statuses.len() || numbers.len() != bodies.len() {
            return Err(Error::new(Kind::Argument, "One status and one body a request."));
        }
        let rows = numbers.into_iter().zip(statuses).zip(bodies);
        let replies = rows.map(|((number, status), body)| (number, reply(status, &body)));
        let troubles = machine.replies(now(), replies.collect())?;
        Ok(List::from_values(troubles.iter().map(trouble)))
    })
}

fn trouble(trouble: &Trouble) -> Robj {
    record([
        ("number", number(trouble.number)),
        ("kind", string(&trouble.kind)),
        ("subject", string(&trouble.subject)),
        ("room_id", optional_string(trouble.room_id.as_deref())),
        ("status", i32::from(trouble.status).into()),
        ("code", string(&trouble.code)),
        ("message", string(&trouble.message)),
    ])
}

fn reply(status: i64, body: &[u8]) -> Reply {
    match u16::try_from(status) {
        Ok(0) => Reply::NoAnswer,
        Ok(status) => match std::str::from_utf8(body) {
            Ok(body) => Reply::Answer { status, body: body.to_owned() },
            Err(_) => Reply::File { status, bytes: body.to_vec() },
        },
        Err(_) => Reply::NotTried,
    }
}

extendr_module! {
    mod pump;
    fn machine_sync_token;
    fn machine_receive_sync;
    fn machine_lease_sync;
    fn machine_release_sync;
    fn machine_wait_for_commit;
    fn machine_requests;
    fn machine_renew;
    fn machine_replies;
}
