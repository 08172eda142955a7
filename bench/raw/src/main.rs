//! The benchmark's other side: the workloads over bare vodozemac, without a store and on one core.
//!
//! ```text
//! raw devices DIR SIZE                              what W3 and W7 read
//! raw peer DIR USER ED25519 CURVE25519 OTK SESSIONS what W2 and W5 read, written for one device
//! raw crowd DIR USER ED25519 CURVE25519 KEY SIZE... what W4 reads, the same
//! raw run WORKLOAD DIR                              runs it, prints one line of JSON
//! ```
//!
//! Whatever fails panics: nobody relies on a benchmark that went half-way.

mod attachment;
mod crowd;
mod devices;
mod keys;
mod meter;
mod peer;
mod wire;
mod workloads;

use std::{env, path::Path};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["devices", dir, size] => {
            devices::write(Path::new(dir), size.parse().expect("a number"));
        }
        ["peer", dir, user_id, ed25519, curve25519, one_time_key, sessions] => {
            let receiver = peer::Receiver { user_id, ed25519, curve25519, one_time_key };
            peer::write(Path::new(dir), &receiver, sessions.parse().expect("a number"));
        }
        ["crowd", dir, user_id, ed25519, curve25519, one_time_key, ref sizes @ ..] => {
            let receiver = peer::Receiver { user_id, ed25519, curve25519, one_time_key };
            for size in sizes {
                crowd::write(Path::new(dir), &receiver, size.parse().expect("a number"));
            }
        }
        ["run", workload, dir] => workloads::run(workload, Path::new(dir)),
        _ => panic!("see the beginning of src/main.rs for what to say"),
    }
}
