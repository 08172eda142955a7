//! The machine over a store, as R holds it.

use std::{mem::ManuallyDrop, process};

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    machine::{Machine, Message, Outcome, Reply},
    primitives::{keys::encode_base64, parallel, store_key::StoreKey},
    store::{KeySource, Location, records::Membership},
};

use crate::{
    answer::{answer, number, optional_string, record, string, strings},
    arguments,
    demo::now,
    events,
    handle::{Object, keep, with},
};

/// An open store. R forks its process (`parallel::mclapply`); a child must not touch the
/// connection of its parent, not even to close it, and opens the store anew.
pub(crate) struct OpenMachine {
    location: Location,
    machine: ManuallyDrop<Option<Machine>>,
    process: u32,
}

impl OpenMachine {
    fn open(location: Location) -> Result<Self> {
        let machine = ManuallyDrop::new(Some(Machine::new(location.open()?)));
        Ok(Self { location, machine, process: process::id() })
    }

    /// The machine in this process, opened anew if it is another's or was closed.
    fn here(&mut self) -> Result<&mut Machine> {
        if self.process != process::id() {
            parallel::limit_threads(1);
            self.machine = ManuallyDrop::new(None);
            self.process = process::id();
        }
        let open = match self.machine.take() {
            Some(open) => open,
            None => Machine::new(self.location.open()?),
        };
        Ok(self.machine.insert(open))
    }

    fn close(&mut self) {
        if self.process == process::id() {
            self.machine.take();
        }
    }
}

impl Drop for OpenMachine {
    fn drop(&mut self) {
        self.close();
    }
}

fn on<T: Into<Robj>>(handle: &Robj, work: impl FnOnce(&mut Machine) -> Result<T>) -> Robj {
    answer(|| with(handle, |open: &mut OpenMachine| work(open.here()?)))
}

#[extendr]
fn machine_open(directory: Robj, key: Robj) -> Robj {
    answer(|| {
        let directory = arguments::text(&directory, "store")?;
        let key = if key.is_null() {
            KeySource::File
        } else if key.is_raw() {
            KeySource::Given(StoreKey::from_bytes(arguments::bytes(&key, "store_key")?)?)
        } else {
            KeySource::Given(StoreKey::from_base64(&arguments::text(&key, "store_key")?)?)
        };
        Ok(keep(Object::Machine(OpenMachine::open(Location::new(directory, key))?)))
    })
}

#[extendr]
fn machine_close(handle: Robj) -> Robj {
    answer(|| {
        with(&handle, |open: &mut OpenMachine| {
            open.close();
            Ok(())
        })
    })
}

#[extendr]
fn machine_store_id(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(string(&encode_base64(&machine.store_id()))))
}

#[extendr]
fn machine_identity_keys(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let keys = machine.identity_keys()?;
        Ok(record([
            ("curve25519", string(&keys.curve25519.to_base64())),
            ("ed25519", string(&keys.ed25519.to_base64())),
        ]))
    })
}

#[extendr]
fn machine_binding(handle: Robj) -> Robj {
    on(&handle, |machine| {
        Ok(machine.binding()?.map_or_else(
            || ().into(),
            |bound| {
                record([
                    ("user_id", string(&bound.user_id)),
                    ("device_id", string(&bound.device_id)),
                    ("device_keys", string(&bound.device_keys)),
                ])
            },
        ))
    })
}

#[extendr]
fn machine_bind(handle: Robj, user_id: Robj, device_id: Robj) -> Robj {
    on(&handle, |machine| {
        let user_id = arguments::text(&user_id, "user_id")?;
        let device_id = arguments::text(&device_id, "device_id")?;
        machine.bind(&user_id, &device_id).map(drop)
    })
}

#[extendr]
fn machine_sign(handle: Robj, message: Robj) -> Robj {
    on(&handle, |machine| {
        let messages = arguments::plaintexts(&message, "message")?;
        let signatures: Vec<String> =
            messages.iter().map(|message| machine.sign(message)).collect::<Result<_>>()?;
        Ok(strings(signatures.iter().map(|text| Some(text.as_str()))))
    })
}

#[extendr]
fn machine_unpublished_one_time_keys(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let keys = machine.unpublished_one_time_keys()?;
        let mut list: Robj = List::from_values(keys.iter().map(|(_, key)| string(key))).into();
        let _ = list.set_attrib("names", strings(keys.iter().map(|(id, _)| Some(id.as_str()))));
        Ok(list)
    })
}

#[extendr]
fn machine_set_one_time_key_target(handle: Robj, n: Robj) -> Robj {
    on(&handle, |machine| {
        let n = u64::try_from(arguments::whole(&n, "n_otks")?)
            .map_err(|_| Error::new(Kind::Argument, "`n_otks` must not be negative."))?;
        machine.set_one_time_key_target(n)
    })
}

#[extendr]
fn machine_key_upload(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let upload = machine.key_upload()?;
        Ok(record([
            ("published", upload.published.into()),
            ("pending", upload.pending.is_some().into()),
            ("one_time_keys", (upload.one_time_keys as f64).into()),
            ("conflict", optional_string(upload.conflict.as_deref())),
        ]))
    })
}

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
        // What is not UTF-8 is not JSON either, and is refused as such.
        Ok(status) => Reply::Answer { status, body: String::from_utf8_lossy(body).into_owned() },
        Err(_) => Reply::NotTried,
    }
}

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
        Outcome::Sent { event_id, unreached } => record([
            ("state", string("sent")),
            ("event_id", string(event_id)),
            ("unreached_users", strings(unreached.iter().map(|(user, _)| Some(user.as_str())))),
            (
                "unreached_devices",
                strings(unreached.iter().map(|(_, device)| Some(device.as_str()))),
            ),
        ]),
        Outcome::Refused { code, message } => record([
            ("state", string("refused")),
            ("code", string(code)),
            ("message", string(message)),
        ]),
    }
}

#[extendr]
fn machine_forget(handle: Robj, numbers: Robj) -> Robj {
    on(&handle, |machine| machine.forget(&arguments::wholes(&numbers, "numbers")?))
}

#[extendr]
fn machine_waiting_to_send(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(machine.waiting_to_send()? as f64))
}

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

#[extendr]
fn machine_rooms(handle: Robj) -> Robj {
    on(&handle, |machine| {
        let rooms = machine.rooms()?;
        let column = |pick: fn(&mxcrypt_core::store::records::Room) -> Option<&str>| {
            strings(rooms.iter().map(pick))
        };
        let encrypted: Vec<bool> = rooms.iter().map(|room| room.encryption.is_some()).collect();
        Ok(record([
            ("room_id", column(|room| Some(&room.room_id))),
            ("name", column(|room| room.name.as_deref())),
            ("alias", column(|room| room.alias.as_deref())),
            ("membership", column(|room| Some(room.membership.as_str()))),
            ("encrypted", encrypted.into()),
            ("inviter", column(|room| room.inviter.as_deref())),
        ]))
    })
}

#[extendr]
fn machine_note_encryption(handle: Robj, room_id: Robj, content: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        machine.note_encryption(&room_id, &arguments::text(&content, "content")?)
    })
}

#[extendr]
fn machine_note_members_changed(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| machine.note_members_changed(&arguments::text(&room_id, "room")?))
}

/// Has the device keys published anew, for a login that is new.
#[extendr]
fn machine_publish_anew(handle: Robj) -> Robj {
    on(&handle, Machine::publish_anew)
}

#[extendr]
fn machine_note_own_membership(handle: Robj, room_id: Robj, membership: Robj) -> Robj {
    on(&handle, |machine| {
        let room_id = arguments::text(&room_id, "room")?;
        let membership = Membership::parse(&arguments::text(&membership, "membership")?);
        machine.note_own_membership(&room_id, membership)
    })
}

/// Begins to track the devices of users, or marks them as outdated.
#[extendr]
fn machine_refresh_devices(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| machine.refresh_devices(&arguments::texts(&user_ids, "user_ids")?))
}

/// Those of some users whose devices are not up to date.
#[extendr]
fn machine_outdated_users(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let outdated = machine.outdated(&arguments::texts(&user_ids, "user_ids")?)?;
        Ok(strings(outdated.iter().map(|user_id| Some(user_id.as_str()))))
    })
}

#[extendr]
fn machine_last_event(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(number(machine.last_event()?)))
}

#[extendr]
fn machine_devices(handle: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let devices = machine.devices(&arguments::texts(&user_ids, "user_ids")?)?;
        let column = |pick: fn(&mxcrypt_core::store::records::Device) -> Option<&str>| {
            strings(devices.iter().map(pick))
        };
        let changed: Vec<bool> = devices.iter().map(|device| device.key_changed).collect();
        Ok(record([
            ("user_id", column(|device| Some(&device.user_id))),
            ("device_id", column(|device| Some(&device.device_id))),
            ("display_name", column(|device| device.display_name.as_deref())),
            ("curve25519", column(|device| Some(&device.identity_key))),
            ("ed25519", column(|device| Some(&device.signing_key))),
            ("key_changed", changed.into()),
        ]))
    })
}

extendr_module! {
    mod machine;
    fn machine_open;
    fn machine_close;
    fn machine_store_id;
    fn machine_identity_keys;
    fn machine_binding;
    fn machine_bind;
    fn machine_sign;
    fn machine_unpublished_one_time_keys;
    fn machine_set_one_time_key_target;
    fn machine_key_upload;
    fn machine_sync_token;
    fn machine_receive_sync;
    fn machine_requests;
    fn machine_replies;
    fn machine_send;
    fn machine_redact;
    fn machine_outcomes;
    fn machine_forget;
    fn machine_waiting_to_send;
    fn machine_take;
    fn machine_handed;
    fn machine_acknowledge;
    fn machine_peek;
    fn machine_read_history;
    fn machine_rooms;
    fn machine_note_encryption;
    fn machine_note_members_changed;
    fn machine_note_own_membership;
    fn machine_publish_anew;
    fn machine_refresh_devices;
    fn machine_devices;
    fn machine_outdated_users;
    fn machine_last_event;
}
