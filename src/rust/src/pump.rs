//! What the machine takes in and asks for, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{Error, Kind, machine::Reply};

use crate::{
    answer::{number, optional_string, record, string, strings},
    arguments,
    demo::now,
    machine::on,
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

#[extendr]
fn machine_requests(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let due = machine.requests(now())?;
        let requests = due.requests.iter().map(|request| {
            record([
                ("number", number(request.number)),
                ("kind", string(request.kind)),
                ("method", string(request.method)),
                ("path", string(&request.path)),
                ("body", optional_string(request.body.as_deref())),
            ])
        });
        Ok(record([
            ("requests", List::from_values(requests).into()),
            ("sync_first", due.sync_first.into()),
        ]))
    })
}

/// `statuses` are those of HTTP; 0 stands for no answer, -1 for not tried.
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
        Ok(List::from_values(troubles.iter().map(|trouble| {
            record([
                ("kind", string(trouble.kind)),
                ("status", number(trouble.status.into())),
                ("code", string(&trouble.code)),
                ("message", string(&trouble.message)),
            ])
        })))
    })
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
    fn machine_requests;
    fn machine_replies;
}
