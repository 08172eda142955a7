//! Verifications, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{machine::VerificationStatus, store::records::Proven};

use crate::{
    answer::{number, optional_string, raw, record, string, strings},
    arguments,
    clock::now,
    machine::on,
};

fn status(status: &VerificationStatus) -> Robj {
    let cancelled = status.cancelled.as_ref();
    let sas = status.sas.as_ref();
    let numbers = |numbers: Option<Vec<i32>>| numbers.map_or_else(|| ().into(), Robj::from);
    let emoji = sas.filter(|_| status.emoji).map(|sas| sas.emoji.map(i32::from).to_vec());
    let decimals = sas.map(|sas| sas.decimals.map(i32::from).to_vec());
    let proven = |pick: fn(&Proven) -> bool| status.proven.as_ref().is_some_and(pick);
    record([
        ("number", number(status.number)),
        ("user_id", string(&status.user_id)),
        ("device_id", optional_string(status.device_id.as_deref())),
        ("room_id", optional_string(status.room_id.as_deref())),
        ("requested_here", status.requested_here.into()),
        ("state", string(status.state.as_str())),
        ("methods", strings(status.methods.iter().map(|method| Some(*method)))),
        ("shows_code", status.shows_code.into()),
        ("emoji", numbers(emoji)),
        ("decimals", numbers(decimals)),
        ("identity_proven", proven(|keys| keys.master).into()),
        ("device_proven", proven(|keys| keys.device).into()),
        ("code", optional_string(cancelled.map(|end| end.code.as_str()))),
        ("reason", optional_string(cancelled.and_then(|end| end.reason.as_deref()))),
        ("cancelled_here", cancelled.is_some_and(|end| end.here).into()),
    ])
}

#[extendr]
fn machine_verifications(handle: Robj) -> Robj {
    on(&handle, |machine| Ok(List::from_values(machine.verifications()?.iter().map(status))))
}

#[extendr]
fn machine_request_verification(
    handle: Robj,
    user_id: Robj,
    device_id: Robj,
    room_id: Robj,
) -> Robj {
    on(&handle, |machine| {
        let user_id = arguments::text(&user_id, "user_id")?;
        let device_id = arguments::optional_text(&device_id, "device_id")?;
        let room_id = arguments::optional_text(&room_id, "room")?;
        let (device_id, room_id) = (device_id.as_deref(), room_id.as_deref());
        Ok(status(&machine.request_verification(now(), &user_id, device_id, room_id)?))
    })
}

#[extendr]
fn machine_accept_verification(handle: Robj, verification: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        Ok(status(&machine.accept_verification(now(), verification)?))
    })
}

#[extendr]
fn machine_start_sas(handle: Robj, verification: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        Ok(status(&machine.start_sas(now(), verification)?))
    })
}

/// The bytes of the code.
#[extendr]
fn machine_show_code(handle: Robj, verification: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        Ok(raw(&machine.show_code(now(), verification)?))
    })
}

#[extendr]
fn machine_scan_code(handle: Robj, verification: Robj, bytes: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        let bytes = arguments::bytes(&bytes, "code")?;
        Ok(status(&machine.scan_code(now(), verification, bytes)?))
    })
}

#[extendr]
fn machine_confirm_verification(handle: Robj, verification: Robj, same: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        let same = arguments::flag(&same, "same")?;
        Ok(status(&machine.confirm_verification(now(), verification, same)?))
    })
}

#[extendr]
fn machine_time_out_verification(handle: Robj, verification: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        Ok(status(&machine.time_out_verification(now(), verification)?))
    })
}

#[extendr]
fn machine_cancel_verification(handle: Robj, verification: Robj) -> Robj {
    on(&handle, |machine| {
        let verification = arguments::whole(&verification, "verification")?;
        Ok(status(&machine.cancel_verification(now(), verification)?))
    })
}

extendr_module! {
    mod verification;
    fn machine_verifications;
    fn machine_request_verification;
    fn machine_accept_verification;
    fn machine_start_sas;
    fn machine_show_code;
    fn machine_scan_code;
    fn machine_confirm_verification;
    fn machine_cancel_verification;
    fn machine_time_out_verification;
}
