//! Strict JSON, and its canonical form.
//!
//! Specification: appendices, "Canonical JSON". serde_json's own `Value` keeps the last of two
//! equal names and turns large integers into floats; either would let two readers of one signed
//! text see two objects. [`Json`] refuses the first and marks the second.

use std::{collections::BTreeMap, fmt, fmt::Write};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::error::{Error, Kind, OrFail, Result};

/// The largest integer canonical JSON knows: 2^53 - 1.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// The members of a JSON object. A `BTreeMap` of UTF-8 strings is in code point order, which is
/// the order canonical JSON asks for (UTF-16 order differs above U+D7FF).
pub type Object = BTreeMap<String, Json>;

/// A JSON value in which no object has two members of one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of canonical JSON, written without fraction, exponent or negative zero.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// `[…]`
    Array(Vec<Json>),
    /// `{…}`
    Object(Object),
}

/// Which notations of an integer canonicalisation lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Only the canonical notation. What is signed or checked must be this already: a signature
    /// over `1e1` means different bytes to different readers.
    Canonical,
    /// Also `-0` and `1e10`, which become `0` and `10000000000` as in the specification's example.
    Normalised,
}

impl Json {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`Kind::Json`] when it is not JSON, names a member twice, or nests deeper than 128 levels.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).or_fail(Kind::Json, "This is not JSON that can be relied on")
    }

    /// Reads `text` of a caller, who must hear of a number that readers would take for another.
    ///
    /// # Errors
    /// As [`Json::parse`], and [`Kind::Json`] for a whole number beyond 2^53 - 1.
    pub fn parse_exact(text: &str) -> Result<Self> {
        let json = Self::parse(text)?;
        if json.is_exact() {
            return Ok(json);
        }
        Err(Error::new(
            Kind::Json,
            "JSON holds no whole number beyond 2^53 - 1 exactly. Write it as text.",
        ))
    }

    fn is_exact(&self) -> bool {
        match self {
            Json::Float(value) => value.fract() != 0.0 || value.abs() <= MAX_INTEGER as f64,
            Json::Array(elements) => elements.iter().all(Self::is_exact),
            Json::Object(members) => members.values().all(Self::is_exact),
            _ => true,
        }
    }

    /// Reads `text`, which must be an object.
    ///
    /// # Errors
    /// As [`Json::parse`], and [`Kind::Json`] when it is something other than an object.
    pub fn parse_object(text: &str) -> Result<Object> {
        match Self::parse(text)? {
            Json::Object(members) => Ok(members),
            _ => Err(Error::new(Kind::Json, "A JSON object is wanted here.")),
        }
    }

    /// This value as JSON text, not necessarily canonical.
    ///
    /// # Errors
    /// [`Kind::Json`] when it holds a number that JSON cannot.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).or_fail(Kind::Json, "This cannot be written as JSON")
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        if let Json::Array(elements) = self { Some(elements) } else { None }
    }

    /// The integer, if this is one.
    pub fn as_integer(&self) -> Option<i64> {
        if let Json::Integer(value) = self { Some(*value) } else { None }
    }

    /// The time in milliseconds since 1970, if this is one. Rooms of old versions hold times that some
    /// program wrote with a fraction or an exponent.
    pub fn as_time(&self) -> Option<i64> {
        let time = match self {
            Json::Integer(value) => *value,
            Json::Float(value) if value.abs() <= MAX_INTEGER as f64 => *value as i64,
            _ => return None,
        };
        (time >= 0).then_some(time)
    }

    /// The canonical form.
    ///
    /// # Errors
    /// [`Kind::Json`] when it holds a number that canonical JSON cannot.
    pub fn canonical(&self, numbers: Numbers) -> Result<String> {
        let mut out = String::new();
        self.write(numbers, &mut out)?;
        Ok(out)
    }

    fn write(&self, numbers: Numbers, out: &mut String) -> Result<()> {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Integer(value) => write_integer(*value, out),
            Json::Float(value) => write_integer(normalised(*value, numbers)?, out),
            Json::String(text) => write_string(text, out),
            Json::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    element.write(numbers, out)?;
                }
                out.push(']');
            }
            Json::Object(members) => write_object(members, numbers, out)?,
        }
        Ok(())
    }
}

/// The canonical form of an object.
///
/// # Errors
/// As [`Json::canonical`].
pub fn canonical_object(members: &Object, numbers: Numbers) -> Result<String> {
    let mut out = String::new();
    write_object(members, numbers, &mut out)?;
    Ok(out)
}

fn write_object(members: &Object, numbers: Numbers, out: &mut String) -> Result<()> {
    out.push('{');
    for (i, (name, value)) in members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        value.write(numbers, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_integer(value: i64, out: &mut String) {
    // Writing into a String cannot fail.
    let _ = write!(out, "{value}");
}

fn normalised(value: f64, numbers: Numbers) -> Result<i64> {
    let whole = value.fract() == 0.0 && value.abs() <= MAX_INTEGER as f64;
    match (whole, numbers) {
        (true, Numbers::Normalised) => Ok(value as i64),
        (true, Numbers::Canonical) => Err(Error::new(
            Kind::Json,
            "Signed JSON must write an integer without fraction, exponent or negative zero.",
        )),
        (false, _) => Err(Error::new(
            Kind::Json,
            format!("Canonical JSON knows only integers up to 2^53 - 1; found {value}."),
        )),
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Integer(value) => serializer.serialize_i64(*value),
            Json::Float(value) => serializer.serialize_f64(*value),
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(elements) => serializer.collect_seq(elements),
            Json::Object(members) => serializer.collect_map(members),
        }
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        let canonical = (-MAX_INTEGER..=MAX_INTEGER).contains(&value);
        Ok(if canonical { Json::Integer(value) } else { Json::Float(value as f64) })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        let canonical = value <= MAX_INTEGER as u64;
        Ok(if canonical { Json::Integer(value as i64) } else { Json::Float(value as f64) })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Object::new();
        while let Some((name, value)) = access.next_entry::<String, Json>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_have_been_written_as_a_float() {
        let time = |text: &str| Json::parse(text).unwrap().as_time();
        let whole = Some(1_700_000_000_000);
        for text in ["1700000000000", "1700000000000.0", "1.7e12", "1700000000000.9"] {
            assert_eq!(time(text), whole, "{text}");
        }
        assert_eq!(
            (time("0"), time("-0"), time("0.0"), time("1.5")),
            (Some(0), Some(0), Some(0), Some(1))
        );
        assert_eq!(time("9007199254740991"), Some(MAX_INTEGER));
        for none in ["-1", "-1.5", "9007199254740993", "1e300", "\"1700000000000\"", "null", "[]"] {
            assert_eq!(time(none), None, "{none}");
        }
    }

    fn canonical(text: &str) -> Result<String> {
        Json::parse(text)?.canonical(Numbers::Normalised)
    }

    #[test]
    fn examples_of_the_specification() {
        let examples = [
            ("{}", "{}"),
            (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
            (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
            (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
            (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
            (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
            (r#"{"a": null}"#, r#"{"a":null}"#),
            (r#"{"a": -0, "b": 1e10}"#, r#"{"a":0,"b":10000000000}"#),
            (
                r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile":
                   {"display_name": "John Doe", "three_pids": [{"medium": "email", "address":
                   "john.doe@example.org"}, {"medium": "msisdn", "address": "123456789"}]}}}"#,
                r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
            ),
        ];
        for (text, expected) in examples {
            assert_eq!(canonical(text).unwrap(), expected);
        }
    }

    #[test]
    fn names_are_sorted_by_code_point_not_by_utf16_unit() {
        let text = "{\"\u{ff61}\":1,\"\u{1f600}\":2}";
        assert_eq!(canonical(text).unwrap(), text);
    }

    #[test]
    fn control_characters_are_escaped_as_the_grammar_says() {
        let text = r#"["\u0000\u0001\b\t\n\f\r\u001f\u007f\/\"\\"]"#;
        assert_eq!(
            canonical(text).unwrap(),
            "[\"\\u0000\\u0001\\b\\t\\n\\f\\r\\u001f\u{7f}/\\\"\\\\\"]"
        );
    }

    #[test]
    fn integers_end_at_two_to_the_53() {
        for text in ["9007199254740991", "-9007199254740991"] {
            assert_eq!(canonical(text).unwrap(), text);
        }
        for text in ["9007199254740992", "-9007199254740992", "1e400", "18446744073709551616"] {
            assert!(canonical(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_signed_must_be_written_canonically() {
        for text in ["-0", "1e1", "1.0", "0.5", "9007199254740992"] {
            assert!(Json::parse(text).unwrap().canonical(Numbers::Canonical).is_err(), "{text}");
        }
        assert!(canonical("0.5").is_err());
    }

    #[test]
    fn equal_names_are_refused_also_after_unescaping() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"y":1,"y":2}}]"#] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_stack_overflow() {
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn lone_surrogates_and_trailing_text_are_refused() {
        for text in [r#""\ud800""#, "{} {}", "", "nul"] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
