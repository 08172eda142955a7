//! What goes back to R: a value, or a failure as a value.

use std::panic::{AssertUnwindSafe, catch_unwind};

use extendr_api::prelude::*;
use mxcrypt_core::{Error, Kind, Result, store::interrupts};

use crate::{fork, interrupt};

/// Does `work`; an error, and even a panic, becomes a value of class `mxcrypt_failure`.
pub(crate) fn answer<T: Into<Robj>>(work: impl FnOnce() -> Result<T>) -> Robj {
    interrupts::watch(interrupt::came);
    match catch_unwind(AssertUnwindSafe(|| fork::notice().and_then(|()| work()))) {
        Ok(Ok(value)) => value.into(),
        Ok(Err(error)) => failure(&error),
        Err(_) => failure(&Error::new(
            Kind::Internal,
            "Something failed that must not. Nothing was changed. Please report it.",
        )),
    }
}

fn failure(error: &Error) -> Robj {
    let mut failure =
        record([("code", string(error.kind.code())), ("message", string(&error.message))]);
    // Setting a class on a fresh list cannot fail.
    let _ = failure.set_attrib("class", "mxcrypt_failure");
    failure
}

/// A named list.
pub(crate) fn record<const N: usize>(members: [(&str, Robj); N]) -> Robj {
    List::from_pairs(members).into()
}

/// Text for R, which knows no NUL inside of text.
fn shown(text: &str) -> Rstr {
    if text.contains('\0') { Rstr::from(text.replace('\0', "\u{fffd}")) } else { Rstr::from(text) }
}

/// One string.
pub(crate) fn string(text: &str) -> Robj {
    Strings::from_values([shown(text)]).into()
}

/// One string, or `NULL`.
pub(crate) fn optional_string(text: Option<&str>) -> Robj {
    text.map_or_else(|| ().into(), string)
}

/// Strings; none is NA.
pub(crate) fn strings<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Robj {
    let texts: Vec<Rstr> =
        texts.into_iter().map(|text| text.map_or_else(Rstr::na, shown)).collect();
    Strings::from_values(texts).into()
}

/// Bytes.
pub(crate) fn raw(bytes: &[u8]) -> Robj {
    Raw::from_bytes(bytes).into()
}

/// A whole number, as R's double: exact up to 2^53.
pub(crate) fn number(value: i64) -> Robj {
    (value as f64).into()
}
