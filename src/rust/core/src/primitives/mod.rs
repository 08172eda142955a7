//! Cryptographic building blocks, each usable on its own.

pub mod account;
mod aes_hmac;
pub mod attachment;
pub mod canonical_json;
pub mod cross_signing;
pub mod dehydrated_device;
mod kept_key;
pub mod key_backup;
pub mod key_export;
pub mod keys;
pub mod megolm;
pub mod olm;
pub mod parallel;
pub mod passphrase;
pub mod qr;
pub mod qr_symbol;
pub mod recovery_key;
pub mod sas;
pub mod seal;
pub mod secret_storage;
pub mod shared_secret;
pub mod signing;
pub mod store_key;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Kind, Result};

/// The version of vodozemac that is compiled in.
pub fn vodozemac_version() -> &'static str {
    vodozemac::VERSION
}

/// Does `work` on bytes a stranger chose. Should a library panic over them, that is an error about
/// these bytes, and not the end of the sync they came in, again and again.
fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::new(Kind::Internal, "A library failed over these bytes.")))
}
