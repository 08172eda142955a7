//! History that is shared with those who are invited, for R.

use extendr_api::prelude::*;

use crate::{
    answer::{number, raw, record},
    arguments,
    clock::now,
    machine::on,
};

/// A bundle to be uploaded: its number and bytes. NULL where there is nothing to share.
#[extendr]
fn machine_make_key_bundle(handle: Robj, room_id: Robj) -> Robj {
    on(&handle, |machine| {
        let bundle = machine.make_key_bundle(now(), &arguments::text(&room_id, "room")?)?;
        Ok(bundle.map_or(().into(), |(count, bytes)| {
            record([("number", number(count)), ("bytes", raw(&bytes))])
        }))
    })
}

#[extendr]
fn machine_share_key_bundle(handle: Robj, number: Robj, url: Robj, user_ids: Robj) -> Robj {
    on(&handle, |machine| {
        let number = arguments::whole(&number, "number")?;
        let url = arguments::text(&url, "url")?;
        machine.share_key_bundle(now(), number, &url, &arguments::texts(&user_ids, "user_id")?)
    })
}

#[extendr]
fn machine_key_bundle_waits(handle: Robj, number: Robj) -> Robj {
    on(&handle, |machine| machine.key_bundle_waits(arguments::whole(&number, "number")?))
}

extendr_module! {
    mod key_bundles;
    fn machine_make_key_bundle;
    fn machine_share_key_bundle;
    fn machine_key_bundle_waits;
}
