//! The rival of the benchmark: the same workloads over matrix-sdk-crypto and its SQLite store.
//!
//! ```text
//! sdk prepare DIR            makes a device, prints its keys as JSON
//! sdk fill DIR FILE SIZE...  takes in room keys of FILE (a sync answer a line), copies the store
//! sdk run WORKLOAD DIR       runs it, prints lines of JSON
//! ```
//!
//! DIR holds the same fixtures as the limit and mxcrypt have, written for this device; see
//! bench/fixtures.R. Whatever fails panics: nobody relies on a benchmark that went half-way.

mod device;
#[path = "../../raw/src/meter.rs"]
mod meter;
mod share;
mod workloads;

use std::{env, path::Path};

fn main() {
    // A store that is dropped closes its connections there.
    let _context = device::RUNTIME.enter();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["prepare", dir] => device::prepare(Path::new(dir)),
        ["fill", dir, ref files @ ..] => device::fill(Path::new(dir), files),
        ["run", workload, dir] => workloads::run(workload, Path::new(dir)),
        _ => panic!("see the beginning of src/main.rs for what to say"),
    }
}
