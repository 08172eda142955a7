//! Stores of mx.client, for R.

use std::path::Path;

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    machine::{check_published, read_mx_client_store},
    store::mx_client::MxClientStore,
};

use crate::{
    answer::{answer, number, record, strings},
    arguments,
    clock::now,
    handle::{Held, keep, with},
    machine::on,
};

/// A store of mx.client that was read; none once it was imported.
pub(crate) struct Foreign(Option<MxClientStore>);

impl Held for Foreign {
    const NAME: &'static str = "a store of another package";
}

impl Foreign {
    fn store(&self) -> Result<&MxClientStore> {
        self.0.as_ref().ok_or_else(imported)
    }
}

fn imported() -> Error {
    Error::new(Kind::Handle, "This store was imported already.")
}

#[extendr]
fn mx_client_store_read(directory: Robj) -> Robj {
    answer(|| {
        let directory = arguments::text(&directory, "from")?;
        let store = read_mx_client_store(Path::new(&directory))?;
        Ok(keep(Foreign(Some(store))))
    })
}

/// How many sessions there are, and which cannot be used.
#[extendr]
fn mx_client_store_describe(store: Robj) -> Robj {
    answer(|| {
        with(&store, |foreign: &mut Foreign| {
            let store = foreign.store()?;
            let refused = &store.refused;
            Ok(record([
                ("olm", number(store.olm.len() as i64)),
                ("inbound", number(store.inbound.len() as i64)),
                ("refused", strings(refused.iter().map(|(place, _)| Some(place.as_str())))),
                ("reason", strings(refused.iter().map(|(_, why)| Some(why.message.as_str())))),
            ]))
        })
    })
}

#[extendr]
fn mx_client_store_check(store: Robj, body: Robj, user_id: Robj, device_id: Robj) -> Robj {
    answer(|| {
        with(&store, |foreign: &mut Foreign| {
            let body = arguments::body(&body, "body")?;
            let user_id = arguments::text(&user_id, "user_id")?;
            let device_id = arguments::text(&device_id, "device_id")?;
            check_published(foreign.store()?, &body, &user_id, &device_id)
        })
    })
}

#[extendr]
fn machine_import_store(handle: Robj, store: Robj, user_id: Robj, device_id: Robj) -> Robj {
    on(&handle, |machine| {
        with(&store, |foreign: &mut Foreign| {
            let user_id = arguments::text(&user_id, "user_id")?;
            let device_id = arguments::text(&device_id, "device_id")?;
            let store = foreign.0.take().ok_or_else(imported)?;
            machine.import_store(now(), store, &user_id, &device_id)
        })
    })
}

extendr_module! {
    mod store_import;
    fn mx_client_store_read;
    fn mx_client_store_describe;
    fn mx_client_store_check;
    fn machine_import_store;
}
