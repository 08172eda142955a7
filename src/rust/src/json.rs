//! R values as JSON, and JSON as R values. The table is documented in R, at `mxc_json()`.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    primitives::canonical_json::{Json, MAX_INTEGER, Object},
};

use crate::{
    answer::{answer, string, strings},
    arguments::{self, utf8},
};

/// Deeper nesting than any event may have.
const DEEPEST: usize = 100;

fn refused(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Json, format!("This cannot be written as JSON: {what}."))
}

/// The JSON text of an R value.
#[extendr]
fn json_encode(value: Robj) -> Robj {
    answer(|| Ok(string(&text_of(&value)?)))
}

/// The JSON text of an R value, for Rust.
pub(crate) fn text_of(value: &Robj) -> Result<String> {
    from_r(value, DEEPEST)?.text()
}

/// The R value of JSON text.
#[extendr]
fn json_decode(text: Robj) -> Robj {
    answer(|| Ok(to_r(&Json::parse(&arguments::text(&text, "json")?)?)))
}

fn from_r(value: &Robj, deeper: usize) -> Result<Json> {
    if deeper == 0 {
        return Err(refused("it is nested too deeply"));
    }
    let classes: Vec<String> =
        value.class().map(|names| names.map(str::to_owned).collect()).unwrap_or_default();
    let is = |name: &str| value.get_attrib("class").is_some() && classes.iter().any(|c| c == name);
    if is("json") {
        return Json::parse_exact(&arguments::text(value, "json")?);
    }
    let always_array = is("AsIs");
    let has_class = value.get_attrib("class").is_some();
    if is("factor") {
        return array(factor_labels(value)?, always_array);
    }
    if has_class && !always_array {
        return Err(refused(format!("a value of class {}", classes.join("/"))));
    }
    match value.rtype() {
        Rtype::Null => Ok(Json::Null),
        Rtype::Logicals => {
            let flags = value.as_logical_slice().unwrap_or_default();
            array(flags.iter().map(logical).collect(), always_array)
        }
        Rtype::Integers => {
            let integers = value.as_integer_slice().unwrap_or_default();
            array(integers.iter().map(integer).collect(), always_array)
        }
        Rtype::Doubles => {
            let doubles = value.as_real_slice().unwrap_or_default();
            array(doubles.iter().map(double).collect::<Result<_>>()?, always_array)
        }
        Rtype::Strings => {
            let strings: Strings = value.try_into().map_err(|_| refused("odd text"))?;
            let texts = strings
                .iter()
                .map(|text| Ok(utf8(text, "a string")?.map_or(Json::Null, Json::String)));
            array(texts.collect::<Result<_>>()?, always_array)
        }
        Rtype::List => list(value, deeper),
        other => Err(refused(format!("a value of type {other:?}"))),
    }
}

/// A vector of length one is a scalar, unless `I()` says otherwise.
fn array(mut elements: Vec<Json>, always: bool) -> Result<Json> {
    Ok(match elements.len() {
        1 if !always => elements.remove(0),
        _ => Json::Array(elements),
    })
}

fn logical(flag: &Rbool) -> Json {
    if flag.is_na() { Json::Null } else { Json::Bool(flag.is_true()) }
}

fn integer(number: &i32) -> Json {
    // R's missing integer is the smallest one.
    if *number == i32::MIN { Json::Null } else { Json::Integer((*number).into()) }
}

fn double(number: &f64) -> Result<Json> {
    if number.is_na() {
        Ok(Json::Null)
    } else if !number.is_finite() {
        Err(refused(format!("the number {number}")))
    } else if number.fract() != 0.0 {
        Ok(Json::Float(*number))
    } else if number.abs() <= MAX_INTEGER as f64 {
        Ok(Json::Integer(*number as i64))
    } else {
        Err(refused(format!("the integer {number}, which is beyond 2^53")))
    }
}

fn factor_labels(value: &Robj) -> Result<Vec<Json>> {
    let levels = value.get_attrib("levels").ok_or_else(|| refused("a factor without levels"))?;
    let levels = arguments::texts(&levels, "levels")?;
    let codes = value.as_integer_slice().unwrap_or_default();
    let label = |code: &i32| {
        let level = usize::try_from(*code - 1).ok().and_then(|index| levels.get(index));
        level.map_or(Json::Null, |text| Json::String(text.clone()))
    };
    Ok(codes.iter().map(label).collect())
}

/// A list with names is an object, also when it is empty; without names it is an array.
fn list(value: &Robj, deeper: usize) -> Result<Json> {
    let elements: List = value.try_into().map_err(|_| refused("an odd list"))?;
    let elements: Vec<Json> =
        elements.values().map(|element| from_r(&element, deeper - 1)).collect::<Result<_>>()?;
    let Some(names) = value.get_attrib("names") else { return Ok(Json::Array(elements)) };
    let names = arguments::texts(&names, "names")?;
    let mut object = Object::new();
    for (name, element) in names.into_iter().zip(elements) {
        if name.is_empty() {
            return Err(refused("a list in which only some elements have names"));
        }
        if let Some(twice) = object.insert(name.clone(), element) {
            return Err(refused(format!("two elements named {name} ({twice:?} is one)")));
        }
    }
    Ok(Json::Object(object))
}

/// JSON as R holds it: objects are named lists, arrays are lists, and a NUL inside of text, which
/// R cannot hold, is the replacement character.
pub(crate) fn to_r(json: &Json) -> Robj {
    match json {
        Json::Null => ().into(),
        Json::Bool(flag) => (*flag).into(),
        Json::Integer(number) => i32::try_from(*number)
            .ok()
            .filter(|small| *small != i32::MIN)
            .map_or_else(|| (*number as f64).into(), Into::into),
        Json::Float(number) => (*number).into(),
        Json::String(text) => string(text),
        Json::Array(elements) => List::from_values(elements.iter().map(to_r)).into(),
        Json::Object(members) => {
            let mut list: Robj = List::from_values(members.values().map(to_r)).into();
            // Also of an empty object, to tell it from an empty array.
            let _ =
                list.set_attrib("names", strings(members.keys().map(|name| Some(name.as_str()))));
            list
        }
    }
}

extendr_module! {
    mod json;
    fn json_encode;
    fn json_decode;
}
