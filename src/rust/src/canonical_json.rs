use extendr_api::prelude::*;
use mxcrypt_core::primitives::canonical_json::{Json, Numbers};

use crate::{
    answer::{answer, string},
    arguments,
};

#[extendr]
fn canonical_json(text: Robj) -> Robj {
    answer(|| {
        let json = Json::parse(&arguments::text(&text, "json")?)?;
        Ok(string(&json.canonical(Numbers::Normalised)?))
    })
}

extendr_module! {
    mod canonical_json;
    fn canonical_json;
}
