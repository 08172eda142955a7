//! The benchmark's other side: the workloads over bare vodozemac, without a store and on one core.
//!
//! ```text
//! raw devices DIR                                   what W3 and W7 read
//! raw peer DIR USER ED25519 CURVE25519 OTK SESSIONS what W2 and W5 read, written for one device
//! raw run WORKLOAD DIR                              runs it, prints one line of JSON
//! ```
//!
//! Whatever fails panics: nobody relies on a benchmark that went half-way.

mod devices;
mod meter;
mod peer;
mod wire;
mod workloads;

use std::{env, path::Path};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["devices", dir] => devices::write(Path::new(dir)),
        ["peer", dir, user_id, ed25519, curve25519, one_time_key, sessions] => {
            let receiver = peer::Receiver { user_id, ed25519, curve25519, one_time_key };
            peer::write(Path::new(dir), &receiver, sessions.parse().expect("a number"));
        }
        ["run", workload, dir] => workloads::run(workload, Path::new(dir)),
        _ => panic!("see the beginning of src/main.rs for what to say"),
    }
}
