//! What a forked R must not share with its parent.
//!
//! `parallel::mclapply` forks R, and a child has all memory of its parent: also the state of the
//! generator that vodozemac takes its keys from, which does not notice a fork (rand 0.10,
//! `ThreadRng`). Two children would make the same keys.

use std::{cell::Cell, process};

use mxcrypt_core::{Kind, Result, error::OrFail, primitives::parallel};

thread_local! {
    static PROCESS: Cell<u32> = Cell::new(process::id());
}

/// Seeds the generator again in a process that it was not seeded in, which uses one thread from then on.
pub(crate) fn notice() -> Result<()> {
    let here = process::id();
    if PROCESS.get() != here {
        // Its siblings have the other cores.
        parallel::limit_threads(1);
        rand::rng().reseed().or_fail(Kind::Internal, "The system gives no random bytes")?;
        PROCESS.set(here);
    }
    Ok(())
}
