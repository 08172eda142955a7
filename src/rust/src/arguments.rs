//! What comes from R, checked before it is used.
//!
//! R twins check arguments too, where a better message can be given; these checks are what keeps
//! any R value from harming the process.

use std::ffi::{CStr, c_char, c_void};

use extendr_api::prelude::*;
use extendr_ffi::cetype_t;
use mxcrypt_core::{Error, Kind, Result};

// Not in extendr-ffi. A SEXP is a pointer to something opaque.
unsafe extern "C" {
    fn Rf_getCharCE(charsxp: *mut c_void) -> cetype_t;
    fn Rf_translateCharUTF8(charsxp: *mut c_void) -> *const c_char;
}

fn wrong(name: &str, wanted: &str) -> Error {
    Error::new(Kind::Argument, format!("`{name}` must be {wanted}."))
}

/// A string of R as UTF-8; none for NA.
pub(crate) fn utf8(text: &Rstr, name: &str) -> Result<Option<String>> {
    if text.is_na() {
        return Ok(None);
    }
    // SAFETY: a CHARSXP that R keeps alive during the call. Text marked as bytes, over which R
    // would raise an error through our frames, is refused before it is translated.
    let translated = unsafe {
        let charsxp = text.get().cast();
        if matches!(Rf_getCharCE(charsxp), cetype_t::CE_BYTES) {
            return Err(wrong(name, "text, not bytes"));
        }
        CStr::from_ptr(Rf_translateCharUTF8(charsxp))
    };
    let text = translated.to_str().map_err(|_| wrong(name, "valid text in its encoding"))?;
    Ok(Some(text.to_owned()))
}

/// Strings, none of them NA.
pub(crate) fn texts(value: &Robj, name: &str) -> Result<Vec<String>> {
    let strings: Strings = value.try_into().map_err(|_| wrong(name, "a character vector"))?;
    strings
        .iter()
        .map(|text| utf8(text, name)?.ok_or_else(|| wrong(name, "without missing values")))
        .collect()
}

/// A column of strings, of which one that is missing, or no valid text, is none. `NULL`, and what R has for a column that
/// is missing throughout, is a column of none.
pub(crate) fn cells(value: &Robj, name: &str, rows: usize) -> Result<Vec<Option<String>>> {
    let all_missing = |flags: &[Rbool]| flags.iter().all(|flag| flag.is_na());
    if value.is_null() || value.as_logical_slice().is_some_and(all_missing) {
        return Ok(vec![None; rows]);
    }
    let strings: Strings = value.try_into().map_err(|_| wrong(name, "a character vector"))?;
    Ok(strings.iter().map(|text| utf8(text, name).ok().flatten()).collect())
}

/// One string.
pub(crate) fn text(value: &Robj, name: &str) -> Result<String> {
    match <[String; 1]>::try_from(texts(value, name)?) {
        Ok([text]) => Ok(text),
        Err(_) => Err(wrong(name, "one string")),
    }
}

/// One string, or `NULL`.
pub(crate) fn optional_text(value: &Robj, name: &str) -> Result<Option<String>> {
    if value.is_null() { Ok(None) } else { text(value, name).map(Some) }
}

/// A raw vector.
pub(crate) fn bytes<'a>(value: &'a Robj, name: &str) -> Result<&'a [u8]> {
    value.as_raw_slice().ok_or_else(|| wrong(name, "a raw vector"))
}

/// The UTF-8 text in a raw vector: a body as the server sent it.
pub(crate) fn body(value: &Robj, name: &str) -> Result<String> {
    String::from_utf8(bytes(value, name)?.to_vec())
        .map_err(|_| Error::new(Kind::Answer, "The server's answer is not UTF-8, as JSON must be."))
}

/// Plaintexts: a raw vector is one, a character vector or a list of raw vectors are many.
pub(crate) fn plaintexts(value: &Robj, name: &str) -> Result<Vec<Vec<u8>>> {
    if value.is_raw() {
        return Ok(vec![bytes(value, name)?.to_vec()]);
    }
    if value.is_string() {
        return Ok(texts(value, name)?.into_iter().map(String::into_bytes).collect());
    }
    let wanted = "a raw vector, a character vector, or a list of raw vectors";
    let list: List = value.try_into().map_err(|_| wrong(name, wanted))?;
    list.values()
        .map(|element| {
            element.as_raw_slice().map(<[u8]>::to_vec).ok_or_else(|| wrong(name, wanted))
        })
        .collect()
}

/// A whole number of at most 2^53.
pub(crate) fn whole(value: &Robj, name: &str) -> Result<i64> {
    match <[i64; 1]>::try_from(wholes(value, name)?) {
        Ok([number]) => Ok(number),
        Err(_) => Err(wrong(name, "one whole number")),
    }
}

/// Whole numbers of at most 2^53.
pub(crate) fn wholes(value: &Robj, name: &str) -> Result<Vec<i64>> {
    let wanted = || wrong(name, "a whole number");
    if let Some(integers) = value.as_integer_slice() {
        // R's missing integer is the smallest one.
        let known = |n: &i32| if *n == i32::MIN { Err(wanted()) } else { Ok(i64::from(*n)) };
        return integers.iter().map(known).collect();
    }
    let doubles = value.as_real_slice().ok_or_else(wanted)?;
    let known = |n: &f64| {
        let whole = n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0;
        if whole { Ok(*n as i64) } else { Err(wanted()) }
    };
    doubles.iter().map(known).collect()
}

/// `TRUE` or `FALSE`.
pub(crate) fn flag(value: &Robj, name: &str) -> Result<bool> {
    match (value.as_logical_slice(), value.len()) {
        (Some([flag]), 1) if !flag.is_na() => Ok(flag.is_true()),
        _ => Err(wrong(name, "TRUE or FALSE")),
    }
}
