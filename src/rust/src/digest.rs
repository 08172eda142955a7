//! Hashes that a protocol asks for.

use extendr_api::prelude::*;
use sha2::{Digest, Sha256};
use vodozemac::base64_encode;

use crate::{
    answer::{answer, string},
    arguments,
};

/// SHA-256 of text, in base64 with padding.
#[extendr]
fn sha256_base64(text: Robj) -> Robj {
    answer(|| {
        let text = arguments::text(&text, "text")?;
        // 32 bytes are 43 characters, and one of padding.
        Ok(string(&format!("{}=", base64_encode(Sha256::digest(text)))))
    })
}

extendr_module! {
    mod digest;
    fn sha256_base64;
}
