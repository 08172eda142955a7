//! Values on their way to the server, in the binary form of their types.

use std::borrow::Cow;

/// The numbers of types in `pg_type`, which never change.
const BYTEA: pq_sys::Oid = 17;
pub(crate) const INT8: pq_sys::Oid = 20;
const BYTEA_ARRAY: pq_sys::Oid = 1001;
const INT8_ARRAY: pq_sys::Oid = 1016;

/// A value in place of `$1`, `$2` and so on.
#[derive(Debug, Clone)]
pub enum Parameter<'a> {
    /// `bigint`
    Integer(i64),
    /// `bytea`
    Bytes(&'a [u8]),
    /// `bigint[]`
    Integers(Vec<i64>),
    /// `bytea[]`
    ManyBytes(Vec<&'a [u8]>),
}

impl Parameter<'_> {
    pub(crate) fn type_number(&self) -> pq_sys::Oid {
        match self {
            Parameter::Integer(_) => INT8,
            Parameter::Bytes(_) => BYTEA,
            Parameter::Integers(_) => INT8_ARRAY,
            Parameter::ManyBytes(_) => BYTEA_ARRAY,
        }
    }

    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Parameter::Integer(number) => Cow::Owned(number.to_be_bytes().to_vec()),
            // An empty slice may point anywhere; what libpq gets must not be null, which it is not.
            Parameter::Bytes(bytes) => Cow::Borrowed(bytes),
            Parameter::Integers(numbers) => {
                let items = numbers.iter().map(|number| number.to_be_bytes());
                Cow::Owned(array(INT8, numbers.len(), items))
            }
            Parameter::ManyBytes(items) => Cow::Owned(array(BYTEA, items.len(), items.iter())),
        }
    }
}

/// An array of one dimension without nulls, as `array_recv` of PostgreSQL reads it.
fn array<I: AsRef<[u8]>>(
    type_number: pq_sys::Oid,
    length: usize,
    items: impl Iterator<Item = I>,
) -> Vec<u8> {
    let dimensions: i32 = if length == 0 { 0 } else { 1 };
    let mut bytes = Vec::new();
    bytes.extend(dimensions.to_be_bytes());
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend(type_number.to_be_bytes());
    if length > 0 {
        // What is longer has no room in a message of the protocol.
        bytes.extend((length as i32).to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
    }
    for item in items {
        let item = item.as_ref();
        bytes.extend((item.len() as i32).to_be_bytes());
        bytes.extend(item);
    }
    bytes
}
