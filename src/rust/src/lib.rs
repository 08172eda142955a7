//! Glue between R and the core: it turns R values into Rust values and back, and decides nothing.
//!
//! No function here lets an error or a panic reach extendr, which would hand the message to R as a
//! format string. Each returns a value: what was asked for, or a failure that the R twin raises.

// What extendr's macros generate is neither documented nor called from Rust.
#![allow(missing_docs, unreachable_pub)]

use extendr_api::prelude::*;

mod account;
mod answer;
mod archive;
mod archive_decryption;
mod arguments;
mod attachment;
mod authentication;
mod canonical_json;
mod clock;
mod dehydrated_device;
mod demo;
mod devices;
mod digest;
mod events;
mod fork;
mod handle;
mod heartbeats;
mod identity;
mod inbox;
mod interrupt;
mod json;
mod judgement;
mod key_backup;
mod key_bundles;
mod key_export;
mod listener;
mod machine;
mod megolm;
mod monotonic;
mod olm;
mod outbox;
mod own_account;
mod private_file;
mod pump;
mod qr;
mod rooms;
mod secret_storage;
mod shared_secret;
mod signing;
mod store_import;
mod stores;
mod termination;
mod verification;

/// Lets batches use at most `threads` threads.
#[extendr]
fn core_limit_threads(threads: Robj) -> Robj {
    answer::answer(|| {
        let threads = arguments::whole(&threads, "threads")?;
        mxcrypt_core::primitives::parallel::limit_threads(threads.try_into().unwrap_or(1));
        Ok(())
    })
}

/// The versions of what is compiled in.
#[extendr]
fn core_versions() -> Robj {
    answer::answer(|| {
        Ok(answer::record([
            ("core", answer::string(env!("CARGO_PKG_VERSION"))),
            ("vodozemac", answer::string(mxcrypt_core::primitives::vodozemac_version())),
            ("sqlite", answer::string(mxcrypt_core::store::inspection::sqlite_version())),
        ]))
    })
}

extendr_module! {
    mod mxcrypt;
    use account;
    use archive;
    use archive_decryption;
    use attachment;
    use authentication;
    use canonical_json;
    use dehydrated_device;
    use demo;
    use devices;
    use digest;
    use events;
    use handle;
    use heartbeats;
    use identity;
    use inbox;
    use json;
    use key_backup;
    use key_bundles;
    use judgement;
    use key_export;
    use listener;
    use machine;
    use megolm;
    use monotonic;
    use olm;
    use outbox;
    use own_account;
    use private_file;
    use pump;
    use qr;
    use rooms;
    use secret_storage;
    use shared_secret;
    use signing;
    use store_import;
    use stores;
    use termination;
    use verification;
    fn core_limit_threads;
    fn core_versions;
}
