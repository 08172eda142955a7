//! The machine over a store, as R holds it.

use std::{
    mem::ManuallyDrop,
    path::Path,
    process,
    time::{Duration, Instant},
};

use extendr_api::prelude::*;
use mxcrypt_core::{
    Kind, Result, machine::Machine, primitives::keys::encode_base64,
    primitives::store_key::StoreKey, store::KeySource, store::Location, store::inspection,
};

use crate::{
    answer::{answer, number, optional_string, record, string},
    arguments,
    handle::{Held, keep, with},
    stores::key_source,
};

/// How often a call is done again whose connection to a database broke, and for how long: a server that is away has
/// been waited for by then.
const MOST_TRIES: usize = 5;
const RETRIED_FOR: Duration = Duration::from_secs(20);

/// An open store. R forks its process (`parallel::mclapply`); a child must not touch the connection
/// of its parent, not even to close it, and opens the store again.
pub(crate) struct OpenMachine {
    location: Location,
    machine: ManuallyDrop<Option<Machine>>,
    process: u32,
}

impl Held for OpenMachine {
    const NAME: &'static str = "an open store";
    const OUTLIVES_FORK: bool = true;
}

impl OpenMachine {
    fn open(location: Location) -> Result<Self> {
        let machine = ManuallyDrop::new(Some(Machine::new(location.open()?)));
        Ok(Self { location, machine, process: process::id() })
    }

    /// The machine in this process, opened again if it is another's or was closed.
    fn here(&mut self) -> Result<&mut Machine> {
        if self.process != process::id() {
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
        if self.process == process::id()
            && let Some(mut machine) = self.machine.take()
        {
            // Otherwise it expires.
            let _ = machine.give_up_sync();
        }
    }
}

impl Drop for OpenMachine {
    fn drop(&mut self) {
        self.close();
    }
}

/// Does `work`, again when the connection to a database broke and what was begun was undone. Most calls are one
/// transaction; the few with two repeat what they do.
pub(crate) fn over_breaks<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let (begun, mut tries) = (Instant::now(), 0);
    loop {
        match work() {
            Err(error)
                if error.kind == Kind::StoreUnreachable
                    && tries < MOST_TRIES
                    && begun.elapsed() < RETRIED_FOR =>
            {
                tries += 1;
            }
            done => return done,
        }
    }
}

pub(crate) fn on<T: Into<Robj>>(
    handle: &Robj,
    mut work: impl FnMut(&mut Machine) -> Result<T>,
) -> Robj {
    on_place(handle, |machine, _| work(machine))
}

/// The same, with the place of the store.
pub(crate) fn on_place<T: Into<Robj>>(
    handle: &Robj,
    mut work: impl FnMut(&mut Machine, &str) -> Result<T>,
) -> Robj {
    answer(|| {
        with(handle, |open: &mut OpenMachine| {
            let place = open.location.name();
            over_breaks(|| work(open.here()?, &place))
        })
    })
}

#[extendr]
fn machine_open(place: Robj, key: Robj) -> Robj {
    answer(|| {
        let place = arguments::text(&place, "store")?;
        let location = Location::at(&place, key_source(&key)?)?;
        Ok(keep(over_breaks(|| OpenMachine::open(location.clone()))?))
    })
}

/// Whether there is a store in a directory, or at an address.
#[extendr]
fn store_is_there(place: Robj) -> Robj {
    answer(|| {
        let place = arguments::text(&place, "store")?;
        let location = Location::at(&place, KeySource::File)?;
        over_breaks(|| location.is_there())
    })
}

/// Whether this build keeps stores in PostgreSQL.
#[extendr]
fn store_has_postgres() -> Robj {
    Robj::from(cfg!(feature = "postgres"))
}

/// A new key for a store, in base64.
#[extendr]
fn store_key_generate() -> Robj {
    answer(|| Ok(string(&StoreKey::generate()?.to_base64())))
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
fn machine_last_sync(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(machine.last_sync()?.map_or_else(|| ().into(), number)))
}

/// What can be known of the place of a store without its key. A lock is tried with a file of its
/// own; why it did not hold is `lock_failure`.
#[extendr]
fn store_inspect(directory: Robj) -> Robj {
    answer(|| {
        let directory = arguments::text(&directory, "store")?;
        let directory = Path::new(&directory);
        let failure = inspection::test_locks(directory).err().map(|error| error.message);
        let schema = i64::try_from(inspection::schema_version()).unwrap_or_default();
        Ok(record([
            ("schema", number(schema)),
            ("local", inspection::is_local(directory).into()),
            ("lock_failure", optional_string(failure.as_deref())),
        ]))
    })
}

extendr_module! {
    mod machine;
    fn machine_open;
    fn store_is_there;
    fn store_has_postgres;
    fn store_key_generate;
    fn machine_close;
    fn machine_store_id;
    fn machine_binding;
    fn machine_bind;
    fn machine_last_sync;
    fn store_inspect;
}
