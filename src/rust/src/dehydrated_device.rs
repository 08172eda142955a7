//! A device that waits on the server for the next one, for R.

use extendr_api::prelude::*;
use mxcrypt_core::machine::Rehydration;

use crate::{
    answer::{answer, optional_string, record, string, strings},
    arguments,
    clock::now,
    handle::{Held, keep, with},
    machine::on,
    secret_storage::{Storage, on_storage},
};

impl Held for Rehydration {
    const NAME: &'static str = "a dehydrated device";
}

#[extendr]
fn machine_seal_dehydration_key(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let content = machine.seal_dehydration_key(&storage.contents, storage.secret()?)?;
        Ok(optional_string(content.as_deref()))
    })
}

/// The id of a new one, and what puts it on the server.
#[extendr]
fn machine_make_dehydrated_device(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let secret = storage.secret()?;
        let (device_id, body) = machine.make_dehydrated_device(&storage.contents, secret)?;
        Ok(record([("device_id", string(&device_id)), ("body", string(&body))]))
    })
}

/// Its id, and a handle that reads what it was sent.
#[extendr]
fn dehydrated_device_open(stored: Robj, storage: Robj) -> Robj {
    answer(|| {
        let stored = arguments::body(&stored, "stored")?;
        let device = with(&storage, |storage: &mut Storage| {
            Rehydration::open(&storage.contents, storage.secret()?, &stored)
        })?;
        let device_id = string(&device.device_id);
        Ok(record([("device_id", device_id), ("handle", keep(device))]))
    })
}

#[extendr]
fn machine_receive_dehydrated_events(handle: Robj, device: Robj, body: Robj) -> Robj {
    on(&handle, |machine| {
        let body = arguments::body(&body, "body")?;
        let found = with(&device, |device: &mut Rehydration| {
            machine.receive_dehydrated_events(now(), device, &body)
        })?;
        Ok(record([
            ("room_id", strings(found.keys.iter().map(|(room_id, _)| Some(room_id.as_str())))),
            ("session_id", strings(found.keys.iter().map(|(_, id)| Some(id.as_str())))),
            ("problems", strings(found.problems.iter().map(|text| Some(text.as_str())))),
            ("next_batch", optional_string(found.next_batch.as_deref())),
            ("empty", found.empty.into()),
        ]))
    })
}

extendr_module! {
    mod dehydrated_device;
    fn machine_seal_dehydration_key;
    fn machine_make_dehydrated_device;
    fn dehydrated_device_open;
    fn machine_receive_dehydrated_events;
}
