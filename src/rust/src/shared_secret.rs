use extendr_api::prelude::*;
use mxcrypt_core::primitives::shared_secret;

use crate::{
    answer::{answer, string},
    arguments,
};

/// HMAC-SHA-256 of raw bytes, in hexadecimal digits.
#[extendr]
fn hmac_sha256(key: Robj, message: Robj) -> Robj {
    answer(|| {
        let key = arguments::bytes(&key, "key")?;
        let mac = shared_secret::hmac_sha256(key, arguments::bytes(&message, "message")?)?;
        let digits: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(string(&digits))
    })
}

#[extendr]
fn equal_in_constant_time(one: Robj, other: Robj) -> Robj {
    answer(|| {
        let one = arguments::bytes(&one, "one")?;
        Ok(shared_secret::equal_in_constant_time(one, arguments::bytes(&other, "other")?))
    })
}

extendr_module! {
    mod shared_secret;
    fn hmac_sha256;
    fn equal_in_constant_time;
}
