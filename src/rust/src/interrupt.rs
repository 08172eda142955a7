//! Ctrl-C while Rust waits. R only notes it until it is asked; Rust must not be left by a jump, so it asks, and returns.

use std::{
    ffi::{c_int, c_void},
    ptr,
};

unsafe extern "C-unwind" {
    fn R_CheckUserInterrupt();
    fn R_ToplevelExec(
        work: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
        data: *mut c_void,
    ) -> c_int;
}

unsafe extern "C-unwind" fn check(_: *mut c_void) {
    // SAFETY: R runs this, and jumps out of it where there is an interrupt: nothing here has to be cleaned up.
    unsafe { R_CheckUserInterrupt() }
}

/// Whether the user has interrupted. R has forgotten it then.
pub(crate) fn came() -> bool {
    // SAFETY: only the thread in which R calls us asks (see `interrupts::watch`), and the jump ends in R's own code.
    unsafe { R_ToplevelExec(Some(check), ptr::null_mut()) == 0 }
}
