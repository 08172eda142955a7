//! The core of mxcrypt: end-to-end encryption for Matrix without R and without a network.
//!
//! * [`primitives`] wrap vodozemac and RustCrypto: account, Olm, Megolm, signatures, sealing.
//! * [`judgement`] turns JSON text of a server into typed verdicts. The server is the adversary.
//! * [`store`] is one contract over rows that are sealed before they reach a database.
//! * [`machine`] decides what to save and which requests to make: requests come out, responses go
//!   in, and every step is one transaction of the store.

#![forbid(unsafe_code)]

pub mod error;
pub mod judgement;
pub mod machine;
pub mod primitives;
pub mod store;

pub use error::{Error, Kind, Result};
