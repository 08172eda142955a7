//! A clock that nobody sets. R's own, `Sys.sleep()` and `later` follow that of the system: once it is set back,
//! a limit lasts until it says the time again.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use extendr_api::prelude::*;

use crate::{answer::answer, arguments};

static BEGAN: OnceLock<Instant> = OnceLock::new();

/// Seconds since the first call.
#[extendr]
fn monotonic_seconds() -> Robj {
    answer(|| Ok(BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64()))
}

/// Waits for at most a second.
#[extendr]
fn monotonic_sleep(milliseconds: Robj) -> Robj {
    answer(|| {
        let milliseconds = arguments::whole(&milliseconds, "milliseconds")?;
        thread::sleep(Duration::from_millis(milliseconds.clamp(0, 1000).unsigned_abs()));
        Ok(())
    })
}

extendr_module! {
    mod monotonic;
    fn monotonic_seconds;
    fn monotonic_sleep;
}
