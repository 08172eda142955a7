//! SIGTERM. R does not handle it: the system ends R wherever it is. A bot finishes its work first.
//!
//! A handler of a signal can be added, and never taken away again. It does what the system would do
//! while nobody watches, and for a second SIGTERM.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use extendr_api::prelude::*;
use mxcrypt_core::{Error, Kind};
use signal_hook::{consts::SIGTERM, flag};

use crate::{answer::answer, arguments};

/// Whether SIGTERM came, or nobody watches: the next one ends the process.
static ENDS: AtomicBool = AtomicBool::new(true);

/// Whether the handler is there, once it was asked for.
static HANDLER: OnceLock<bool> = OnceLock::new();

/// Begins to watch for SIGTERM, or ends it. On Windows no process sends it.
#[extendr]
fn termination_watch(watch: Robj) -> Robj {
    answer(|| {
        let watch = arguments::flag(&watch, "watch")?;
        // Handlers are called in this order: only the second SIGTERM finds the flag set.
        let install = || {
            flag::register_conditional_default(SIGTERM, &ENDS).is_ok()
                && flag::register(SIGTERM, &ENDS).is_ok()
        };
        if watch && !*HANDLER.get_or_init(install) {
            return Err(Error::new(Kind::Internal, "SIGTERM cannot be handled."));
        }
        ENDS.store(!watch, Ordering::SeqCst);
        Ok(())
    })
}

/// Whether SIGTERM came since the watch began.
#[extendr]
fn termination_came() -> Robj {
    answer(|| Ok(ENDS.load(Ordering::SeqCst)))
}

extendr_module! {
    mod termination;
    fn termination_watch;
    fn termination_came;
}
