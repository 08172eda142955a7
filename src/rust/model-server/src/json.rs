//! Typed reading of JSON objects: an absent or null field is none, a wrong type is an error.

use serde_json::{Map, Value};

use crate::error::Error;

pub(crate) type Object = Map<String, Value>;

pub(crate) trait Fields {
    fn text(&self, name: &str) -> Result<Option<&str>, Error>;
    fn flag(&self, name: &str) -> Result<bool, Error>;
    fn object(&self, name: &str) -> Result<Option<&Object>, Error>;
    fn list(&self, name: &str) -> Result<Option<&Vec<Value>>, Error>;

    fn need_text(&self, name: &str) -> Result<&str, Error> {
        self.text(name)?.ok_or_else(|| Error::missing_param(name))
    }

    fn need_object(&self, name: &str) -> Result<&Object, Error> {
        self.object(name)?.ok_or_else(|| Error::missing_param(name))
    }
}

impl Fields for Object {
    fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        field(self, name, "a string", Value::as_str)
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(field(self, name, "a boolean", Value::as_bool)?.unwrap_or_default())
    }

    fn object(&self, name: &str) -> Result<Option<&Object>, Error> {
        field(self, name, "an object", Value::as_object)
    }

    fn list(&self, name: &str) -> Result<Option<&Vec<Value>>, Error> {
        field(self, name, "a list", Value::as_array)
    }
}

/// Reads a value that is already at hand, for example an entry of a map.
pub(crate) fn expect_object<'a>(name: &str, value: &'a Value) -> Result<&'a Object, Error> {
    value.as_object().ok_or_else(|| wrong_type(name, "an object"))
}

/// Reads a list of strings.
pub(crate) fn expect_texts<'a>(name: &str, value: &'a Value) -> Result<Vec<&'a str>, Error> {
    let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    texts.ok_or_else(|| wrong_type(name, "a list of strings"))
}

fn field<'a, T>(
    object: &'a Object,
    name: &str,
    kind: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, Error> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| wrong_type(name, kind)),
    }
}

fn wrong_type(name: &str, kind: &str) -> Error {
    Error::bad_json(format!("{name} must be {kind}"))
}
