//! What a statement returned.

use std::{
    ffi::{CStr, c_int},
    ptr::NonNull,
};

/// `PG_DIAG_SQLSTATE` and `PG_DIAG_MESSAGE_PRIMARY` of postgres_ext.h
const SQLSTATE: c_int = b'C' as c_int;
const PRIMARY: c_int = b'M' as c_int;

use crate::parameter::INT8;

/// The rows of a statement.
pub struct Rows {
    raw: NonNull<pq_sys::PGresult>,
}

impl Rows {
    pub(crate) fn new(raw: *mut pq_sys::PGresult) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self { raw })
    }

    /// The code and the text of an error, if this is one: without the statement, and without details, which have values
    /// of rows in them.
    pub(crate) fn error(&self) -> Option<(String, String)> {
        use pq_sys::ExecStatusType as Status;
        // SAFETY: a result.
        let status = unsafe { pq_sys::PQresultStatus(self.raw.as_ptr()) };
        let fine = [Status::PGRES_COMMAND_OK, Status::PGRES_TUPLES_OK, Status::PGRES_EMPTY_QUERY];
        if fine.contains(&status) {
            return None;
        }
        // SAFETY: a result; the texts end with NUL and belong to it, fields may be null.
        let (code, primary, whole) = unsafe {
            let field = |field| {
                let text = pq_sys::PQresultErrorField(self.raw.as_ptr(), field);
                if text.is_null() { c"" } else { CStr::from_ptr(text) }
            };
            let whole = CStr::from_ptr(pq_sys::PQresultErrorMessage(self.raw.as_ptr()));
            (field(SQLSTATE), field(PRIMARY), whole)
        };
        let text = |text: &CStr| text.to_string_lossy().trim().to_owned();
        // What libpq itself says has no fields.
        Some((text(code), text(if primary.is_empty() { whole } else { primary })))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        // SAFETY: a result.
        unsafe { pq_sys::PQntuples(self.raw.as_ptr()) as usize }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What stands in a row and a column, both counted from zero: none where there is no such place, or a null.
    pub fn bytes(&self, row: usize, column: usize) -> Option<&[u8]> {
        // SAFETY: a result.
        let columns = unsafe { pq_sys::PQnfields(self.raw.as_ptr()) as usize };
        if row >= self.len() || column >= columns {
            return None;
        }
        let (raw, row, column) = (self.raw.as_ptr(), row as c_int, column as c_int);
        // SAFETY: a place that there is. The bytes belong to the result, which outlives the slice.
        unsafe {
            if pq_sys::PQgetisnull(raw, row, column) != 0 {
                return None;
            }
            let length = pq_sys::PQgetlength(raw, row, column) as usize;
            let value = pq_sys::PQgetvalue(raw, row, column).cast::<u8>();
            Some(std::slice::from_raw_parts(value, length))
        }
    }

    /// A `bigint` in binary form.
    pub fn integer(&self, row: usize, column: usize) -> Option<i64> {
        Some(i64::from_be_bytes(self.bytes(row, column)?.try_into().ok()?))
    }

    /// Whether a column is a `bigint`.
    pub fn is_integer(&self, column: usize) -> bool {
        // SAFETY: a result; for a column that there is not, libpq says 0.
        unsafe { pq_sys::PQftype(self.raw.as_ptr(), column as c_int) == INT8 }
    }

    /// What the server says that it did, such as `COMMIT`.
    pub fn command(&self) -> String {
        // SAFETY: a result, to which the text belongs.
        let command = unsafe { CStr::from_ptr(pq_sys::PQcmdStatus(self.raw.as_ptr())) };
        command.to_string_lossy().into_owned()
    }

    /// How many rows a statement changed.
    pub fn changed(&self) -> usize {
        // SAFETY: a result, to which the text belongs.
        let changed = unsafe { CStr::from_ptr(pq_sys::PQcmdTuples(self.raw.as_ptr())) };
        changed.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: a result, used no more.
        unsafe { pq_sys::PQclear(self.raw.as_ptr()) };
    }
}
