//! Whole stores: checked, made smaller, copied, restored and moved. Each opens the store by itself, so that none is held
//! open by R meanwhile.

use std::path::Path;

use extendr_api::prelude::*;
use mxcrypt_core::{
    Result,
    machine::revive,
    primitives::store_key::StoreKey,
    store::{Copied, KeySource, Location},
};

use crate::{
    answer::{answer, record, string, strings},
    arguments,
    clock::now,
};

/// Where the key of a store comes from: the file beside it, raw bytes, or base64.
pub(crate) fn key_source(key: &Robj) -> Result<KeySource> {
    if key.is_null() {
        Ok(KeySource::File)
    } else if key.is_raw() {
        Ok(KeySource::Given(StoreKey::from_bytes(arguments::bytes(key, "store_key")?)?))
    } else {
        Ok(KeySource::Given(StoreKey::from_base64(&arguments::text(key, "store_key")?)?))
    }
}

fn location(place: &Robj, key: &Robj, beside: &Robj) -> Result<Location> {
    let location = Location::at(&arguments::text(place, "store")?, key_source(key)?)?;
    Ok(location.with_files_in(arguments::text(beside, "beside")?))
}

/// The tables with their numbers, and beside them the damaged rows.
#[extendr]
fn store_check(place: Robj, key: Robj, beside: Robj) -> Robj {
    answer(|| {
        let reports = location(&place, &key, &beside)?.check()?;
        let numbers = |of: fn(&mxcrypt_core::store::TableReport) -> usize| -> Vec<f64> {
            reports.iter().map(|report| of(report) as f64).collect()
        };
        let damage =
            || reports.iter().flat_map(|report| report.damage.iter().map(move |of| (report, of)));
        Ok(record([
            ("table", strings(reports.iter().map(|report| Some(report.table)))),
            ("rows", numbers(|report| report.rows).into()),
            ("damaged", numbers(|report| report.damaged).into()),
            ("damaged_table", strings(damage().map(|(report, _)| Some(report.table)))),
            ("row", strings(damage().map(|(_, of)| Some(of.row.as_str())))),
            ("reason", strings(damage().map(|(_, of)| Some(of.reason.as_str())))),
        ]))
    })
}

#[extendr]
fn store_vacuum(place: Robj, key: Robj, beside: Robj) -> Robj {
    answer(|| location(&place, &key, &beside)?.vacuum())
}

#[extendr]
fn store_back_up(
    place: Robj,
    key: Robj,
    beside: Robj,
    to: Robj,
    made_at: Robj,
    with_key: Robj,
) -> Robj {
    answer(|| {
        let (to, made_at) = (arguments::text(&to, "path")?, arguments::text(&made_at, "made_at")?);
        let with_key = arguments::flag(&with_key, "key")?;
        Ok(copied(&location(&place, &key, &beside)?.back_up(Path::new(&to), &made_at, with_key)?))
    })
}

#[extendr]
fn store_restore(place: Robj, key: Robj, beside: Robj, to: Robj, with_key: Robj) -> Robj {
    answer(|| {
        let to = arguments::text(&to, "store_dir")?;
        let with_key = arguments::flag(&with_key, "key")?;
        let copy = location(&place, &key, &beside)?;
        Ok(copied(&copy.restore(Path::new(&to), with_key, |store| revive(store, now()))?))
    })
}

fn copied(copied: &Copied) -> Robj {
    record([
        ("missing", strings(copied.missing.iter().map(|path| Some(path.as_str())))),
        ("has_key", copied.has_key.into()),
    ])
}

#[extendr]
fn store_move(
    place: Robj,
    key: Robj,
    beside: Robj,
    to: Robj,
    to_key: Robj,
    to_beside: Robj,
) -> Robj {
    answer(|| {
        let to = location(&to, &to_key, &to_beside)?;
        location(&place, &key, &beside)?.move_to(now(), &to)
    })
}

/// The key of a store, in base64.
#[extendr]
fn store_key_of_place(place: Robj, key: Robj, beside: Robj) -> Robj {
    answer(|| Ok(string(&location(&place, &key, &beside)?.open_key()?.to_base64())))
}

extendr_module! {
    mod stores;
    fn store_check;
    fn store_vacuum;
    fn store_back_up;
    fn store_restore;
    fn store_move;
    fn store_key_of_place;
}
