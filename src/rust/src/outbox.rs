//! What is to be sent, for R.

use std::path::Path;

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    machine::{ContentSize, Message, Outcome, Unsent},
    store::records::{Isolation, OutboxState, Upload},
};

use crate::{
    answer::{number, optional_string, record, string, strings},
    arguments,
    clock::now,
    identity::identity_status,
    machine::on,
};

#[extendr]
fn machine_send(
    handle: Robj,
    room_id: Robj,
    types: Robj,
    contents: Robj,
    transaction_ids: Robj,
    demand_encryption: Robj,
    audience: Robj,
) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let types = arguments::texts(&types, "type")?;
        let contents = arguments::texts(&contents, "content")?;
        let transaction_ids = transaction_ids_of(&transaction_ids, contents.len())?;
        let demand_encryption = arguments::flag(&demand_encryption, "demand_encryption")?;
        let audience = if audience.is_null() {
            None
        } else {
            Some(arguments::texts(&audience, "member_ids")?.into_iter().collect())
        };
        if types.len() != contents.len() || transaction_ids.len() != contents.len() {
            return Err(Error::new(Kind::Argument, "One type and transaction id a content."));
        }
        let rows = types.into_iter().zip(contents).zip(transaction_ids);
        let messages = rows.map(|((event_type, content), transaction_id)| Message {
            room_id: room_id.clone(),
            event_type,
            content,
            transaction_id,
            demand_encryption,
            audience: audience.clone(),
        });
        let numbers = machine.send(now(), messages.collect())?;
        Ok(numbers.into_iter().map(|number| number as f64).collect::<Vec<f64>>())
    })
}

/// Puts messages in the outbox that need files to be on the server before them. `uploads` are JSON
/// arrays of `Upload`, one a content.
#[extendr]
fn machine_send_files(
    handle: Robj,
    room_id: Robj,
    contents: Robj,
    uploads: Robj,
    transaction_ids: Robj,
) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let contents = arguments::texts(&contents, "content")?;
        let uploads = arguments::texts(&uploads, "uploads")?;
        let transaction_ids = transaction_ids_of(&transaction_ids, contents.len())?;
        if uploads.len() != contents.len() || transaction_ids.len() != contents.len() {
            return Err(Error::new(Kind::Argument, "One transaction id a file."));
        }
        let rows = contents.into_iter().zip(&uploads).zip(transaction_ids);
        let messages = rows.map(|((content, uploads), transaction_id)| {
            let message = Message {
                room_id: room_id.clone(),
                event_type: "m.room.message".to_owned(),
                content,
                transaction_id,
                demand_encryption: false,
                audience: None,
            };
            Ok((message, Upload::read_all(uploads)?))
        });
        let numbers = machine.send_with_files(now(), messages.collect::<Result<Vec<_>>>()?)?;
        Ok(numbers.into_iter().map(|number| number as f64).collect::<Vec<f64>>())
    })
}

fn transaction_ids_of(value: &Robj, n: usize) -> Result<Vec<Option<String>>> {
    if value.is_null() {
        return Ok(vec![None; n]);
    }
    Ok(arguments::texts(value, "transaction_id")?.into_iter().map(Some).collect())
}

/// The names of the files that messages of the outbox need.
#[extendr]
fn machine_waiting_files(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let names = machine.waiting_files()?;
        Ok(strings(names.iter().map(|name| Some(name.as_str()))))
    })
}

/// Keeps the file at `path` in the store, for other machines.
#[extendr]
fn machine_keep_file(handle: Robj, name: Robj, path: Robj) -> Robj {
    on(&handle, |machine| {
        let name = arguments::text(&name, "name")?;
        machine.keep_file(now(), &name, Path::new(&arguments::text(&path, "path")?))
    })
}

/// Writes a file that the store keeps to `path`. Returns whether there is one.
#[extendr]
fn machine_fetch_file(handle: Robj, name: Robj, path: Robj) -> Robj {
    on(&handle, |machine| {
        let name = arguments::text(&name, "name")?;
        machine.fetch_file(&name, Path::new(&arguments::text(&path, "path")?))
    })
}

/// Deletes those of the files `names` that the store keeps, and that no message needs.
#[extendr]
fn machine_forget_files(handle: Robj, names: Robj) -> Robj {
    on(&handle, |machine| machine.forget_files(now(), &arguments::texts(&names, "names")?))
}

/// How large contents are, and may be. `room` is an id, or `NULL` where it is not known yet.
#[extendr]
fn machine_content_sizes(handle: Robj, room: Robj, event_type: Robj, contents: Robj) -> Robj {
    on(&handle, |machine| {
        let room = arguments::optional_text(&room, "room")?;
        let event_type = arguments::text(&event_type, "type")?;
        let contents = arguments::texts(&contents, "content")?;
        let sizes = machine.content_sizes(room.as_deref(), &event_type, &contents)?;
        let fits: Vec<bool> = sizes.iter().map(|size| size.fits()).collect();
        let column = |pick: fn(&ContentSize) -> usize| {
            sizes.iter().map(|size| pick(size) as f64).collect::<Vec<f64>>()
        };
        Ok(record([
            ("size", column(|size| size.size).into()),
            ("largest", column(|size| size.largest).into()),
            ("fits", fits.into()),
        ]))
    })
}

#[extendr]
fn machine_redact(handle: Robj, room_id: Robj, event_id: Robj, content: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_id = arguments::text(&event_id, "event_id")?;
        let content = arguments::text(&content, "content")?;
        Ok(number(machine.redact(now(), &room_id, &event_id, &content)?))
    })
}

#[extendr]
fn machine_react(handle: Robj, room_id: Robj, event_id: Robj, key: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let event_id = arguments::text(&event_id, "event_id")?;
        let key = arguments::text(&key, "key")?;
        Ok(number(machine.react(now(), &room_id, &event_id, &key)?))
    })
}

#[extendr]
fn machine_outcomes(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| {
        let outcomes = machine.outcomes(&arguments::wholes(&numbers, "numbers")?)?;
        Ok(List::from_values(outcomes.iter().map(outcome)))
    })
}

/// What the caller of messages is told at their end. Those that the server has are forgotten.
#[extendr]
fn machine_settle(handle: Robj, room_id: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let numbers = arguments::wholes(&numbers, "numbers")?;
        let settled = machine.settle(now(), &room_id, &numbers)?;
        Ok(record([
            ("outcomes", List::from_values(settled.outcomes.iter().map(outcome)).into()),
            ("identity", identity_status(&settled.identity)),
            ("isolation", string(settled.isolation.as_str())),
            ("successor", optional_string(settled.successor.as_deref())),
        ]))
    })
}

fn outcome(outcome: &Outcome) -> Robj {
    match outcome {
        Outcome::Waiting => record([("state", string("waiting"))]),
        Outcome::Sent { event_id, unreached, withheld } => record([
            ("state", string("sent")),
            ("event_id", string(event_id)),
            ("unreached", devices(unreached)),
            ("withheld", devices(withheld)),
        ]),
        Outcome::Refused { code, message } => record([
            ("state", string("refused")),
            ("code", string(code)),
            ("message", string(message)),
        ]),
    }
}

pub(crate) fn devices(names: &[(String, String)]) -> Robj {
    record([
        ("user_id", strings(names.iter().map(|(user_id, _)| Some(user_id.as_str())))),
        ("device_id", strings(names.iter().map(|(_, device_id)| Some(device_id.as_str())))),
    ])
}

/// The isolation mode; set to `mode` if that is not `NULL`.
#[extendr]
fn machine_isolation(handle: Robj, mode: Robj) -> Robj {
    on(&handle, |machine| {
        if let Some(mode) = arguments::optional_text(&mode, "mode")? {
            let known = Isolation::ALL.into_iter().find(|known| known.as_str() == mode);
            machine.set_isolation(
                now(),
                known.ok_or_else(|| {
                    Error::new(Kind::Argument, "There is no such isolation mode.")
                })?,
            )?;
        }
        Ok(string(machine.isolation()?.as_str()))
    })
}

/// The devices that were refused the key of a room's current session.
#[extendr]
fn machine_withheld(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| Ok(devices(&machine.withheld(&arguments::text(&room_id, "room_id")?)?)))
}

#[extendr]
fn machine_forget(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| machine.forget(now(), &arguments::wholes(&numbers, "numbers")?))
}

/// The messages that were not sent, as columns.
#[extendr]
fn machine_unsent(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let unsent = machine.unsent(now())?;
        let text = |of: fn(&Unsent) -> &str| strings(unsent.iter().map(|row| Some(of(row))));
        let numbers = |of: fn(&Unsent) -> i64| -> Robj {
            unsent.iter().map(|row| of(row) as f64).collect::<Vec<f64>>().into()
        };
        let reason = |of: fn(&(String, String)) -> &str| {
            strings(unsent.iter().map(|row| row.reason.as_ref().map(of)))
        };
        Ok(record([
            ("number", numbers(|row| row.number)),
            ("room_id", text(|row| &row.room_id)),
            ("type", text(|row| &row.event_type)),
            ("queued_at", numbers(|row| row.queued_at)),
            ("state", text(|row| state(row.state))),
            ("attempts", numbers(|row| row.attempts.into())),
            ("errcode", reason(|(code, _)| code)),
            ("reason", reason(|(_, message)| message)),
            ("content", text(|row| &row.content)),
        ]))
    })
}

fn state(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Queued => "queued",
        OutboxState::Fixed => "sending",
        OutboxState::Sent => "sent",
        OutboxState::Refused | OutboxState::Told => "refused",
    }
}

/// Nobody waits any more for what becomes of these.
#[extendr]
fn machine_leave(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| machine.leave(now(), &arguments::wholes(&numbers, "numbers")?))
}

#[extendr]
fn machine_retry(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| machine.retry(now(), &arguments::wholes(&numbers, "numbers")?))
}

/// Keeps what was refused, and whose caller was told.
#[extendr]
fn machine_keep_refused(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| machine.keep_refused(now(), &arguments::wholes(&numbers, "numbers")?))
}

#[extendr]
fn machine_discard(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| machine.discard(now(), &arguments::wholes(&numbers, "numbers")?))
}

#[extendr]
fn machine_last_queued(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(number(machine.last_queued()?)))
}

#[extendr]
fn machine_waiting_to_send(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(machine.waiting_to_send()? as f64))
}

extendr_module! {
    mod outbox;
    fn machine_send;
    fn machine_send_files;
    fn machine_waiting_files;
    fn machine_keep_file;
    fn machine_fetch_file;
    fn machine_forget_files;
    fn machine_content_sizes;
    fn machine_redact;
    fn machine_react;
    fn machine_outcomes;
    fn machine_settle;
    fn machine_isolation;
    fn machine_withheld;
    fn machine_forget;
    fn machine_unsent;
    fn machine_leave;
    fn machine_retry;
    fn machine_keep_refused;
    fn machine_discard;
    fn machine_last_queued;
    fn machine_waiting_to_send;
}
