//! Handles: Rust objects that R holds, checked for type, process and life before every use.
//!
//! Which objects there are is not known here: the module of a type makes it one that a handle can
//! hold.

use std::{any::Any, cell::RefCell, process};

use extendr_api::prelude::*;
use extendr_ffi::R_ExternalPtrTag;
use mxcrypt_core::{Error, Kind, Result};

use crate::answer::{answer, string};

/// A type that a handle can hold.
pub(crate) trait Held: Any {
    /// What it is called.
    const NAME: &'static str;
    /// Whether a forked process may go on using it. A ratchet that two processes advance encrypts
    /// two messages with one key.
    const OUTLIVES_FORK: bool = false;
}

struct Handle {
    process: u32,
    name: &'static str,
    object: RefCell<Box<dyn Any>>,
}

/// Gives `object` to R.
pub(crate) fn keep<H: Held>(object: H) -> Robj {
    let object: RefCell<Box<dyn Any>> = RefCell::new(Box::new(object));
    ExternalPtr::new(Handle { process: process::id(), name: H::NAME, object }).into()
}

/// Does `work` with the object in a handle.
pub(crate) fn with<H: Held, T>(value: &Robj, work: impl FnOnce(&mut H) -> Result<T>) -> Result<T> {
    let wrong = |what: &str| Error::new(Kind::Handle, format!("This must be {}{what}", H::NAME));
    if !is_ours(value) {
        return Err(wrong("."));
    }
    let handle: ExternalPtr<Handle> = value.try_into().map_err(|_| {
        wrong(": it was saved and read again, or is of another session, and is empty now.")
    })?;
    if handle.process != process::id() && !H::OUTLIVES_FORK {
        return Err(wrong(" of this process: a forked process must make its own."));
    }
    let mut object = handle.object.try_borrow_mut().map_err(|_| wrong(" that is not in use."))?;
    work(object.downcast_mut().ok_or_else(|| wrong(", and is another kind of handle."))?)
}

/// Whether this is an external pointer that `keep` made. Looking behind any other, of another
/// package, would be undefined behaviour.
fn is_ours(value: &Robj) -> bool {
    if !value.is_external_pointer() {
        return false;
    }
    // SAFETY: it is an external pointer, and R keeps it alive during the call.
    let tag = unsafe { Robj::from_sexp(R_ExternalPtrTag(value.get())) };
    tag.as_str() == Some(std::any::type_name::<Handle>())
}

/// What a handle holds, for printing. Says why if it cannot be used.
#[extendr]
fn handle_describe(handle: Robj) -> Robj {
    answer(|| {
        let handle: ExternalPtr<Handle> = if is_ours(&handle) {
            (&handle).try_into().map_err(|_| Error::new(Kind::Handle, "empty"))?
        } else {
            return Err(Error::new(Kind::Handle, "not a handle"));
        };
        match handle.object.try_borrow() {
            Ok(_) => Ok(string(handle.name)),
            Err(_) => Err(Error::new(Kind::Handle, "in use")),
        }
    })
}

extendr_module! {
    mod handle;
    fn handle_describe;
}
