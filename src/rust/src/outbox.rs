//! What is to be sent, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind,
    machine::{Message, Outcome},
    store::records::Isolation,
};

use crate::{
    answer::{number, record, string, strings},
    arguments,
    demo::now,
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
        let mut transaction_ids = if transaction_ids.is_null() {
            vec![None; contents.len()]
        } else {
            let ids = arguments::texts(&transaction_ids, "transaction_id")?;
            ids.into_iter().map(Some).collect()
        };
        let demand_encryption = arguments::flag(&demand_encryption, "demand_encryption")?;
        let audience = if audience.is_null() {
            None
        } else {
            Some(arguments::texts(&audience, "member_ids")?.into_iter().collect())
        };
        if types.len() != contents.len() || transaction_ids.len() != contents.len() {
            return Err(Error::new(Kind::Argument, "One type and transaction id a content."));
        }
        let rows = types.into_iter().zip(contents).zip(transaction_ids.drain(..));
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
fn machine_outcomes(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| {
        let outcomes = machine.outcomes(&arguments::wholes(&numbers, "numbers")?)?;
        Ok(List::from_values(outcomes.iter().map(outcome)))
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

fn devices(names: &[(String, String)]) -> Robj {
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
    on(&handle, |machine| machine.forget(&arguments::wholes(&numbers, "numbers")?))
}

#[extendr]
fn machine_waiting_to_send(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(machine.waiting_to_send()? as f64))
}

extendr_module! {
    mod outbox;
    fn machine_send;
    fn machine_redact;
    fn machine_outcomes;
    fn machine_isolation;
    fn machine_withheld;
    fn machine_forget;
    fn machine_waiting_to_send;
}
