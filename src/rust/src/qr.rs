//! QR codes, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    primitives::{
        keys::{self, encode_base64},
        qr::{Mode, QrCode},
        qr_symbol,
    },
};
use zeroize::Zeroizing;

use crate::{
    answer::{answer, raw, record, string},
    arguments,
};

fn mode(value: &Robj) -> Result<Mode> {
    let name = arguments::text(value, "mode")?;
    let known = Mode::ALL.into_iter().find(|mode| mode.as_str() == name);
    known.ok_or_else(|| Error::new(Kind::Argument, "There is no such mode of a QR code."))
}

fn key(value: &Robj, name: &str) -> Result<[u8; 32]> {
    keys::ed25519(&arguments::text(value, name)?).map(|key| *key.as_bytes())
}

#[extendr]
fn qr_encode(mode_name: Robj, flow_id: Robj, first: Robj, second: Robj, secret: Robj) -> Robj {
    answer(|| {
        let mut code = QrCode::new(
            mode(&mode_name)?,
            arguments::text(&flow_id, "flow_id")?,
            key(&first, "first_key")?,
            key(&second, "second_key")?,
        )?;
        if !secret.is_null() {
            code.secret = Zeroizing::new(arguments::bytes(&secret, "secret")?.to_vec());
        }
        code.encode().map(|bytes| raw(&bytes))
    })
}

#[extendr]
fn qr_decode(bytes: Robj) -> Robj {
    answer(|| {
        let code = QrCode::decode(arguments::bytes(&bytes, "bytes")?)?;
        Ok(record([
            ("mode", string(code.mode.as_str())),
            ("flow_id", string(&code.flow_id)),
            ("first_key", string(&encode_base64(&code.first_key))),
            ("second_key", string(&encode_base64(&code.second_key))),
            ("secret", raw(&code.secret)),
        ]))
    })
}

/// Whether each module is dark, row by row.
#[extendr]
fn qr_modules(bytes: Robj) -> Robj {
    answer(|| qr_symbol::symbol(arguments::bytes(&bytes, "bytes")?).map(|symbol| symbol.dark))
}

/// What the symbols in an image hold; `grey` has a byte a pixel, row by row.
#[extendr]
fn qr_scan(grey: Robj, width: Robj) -> Robj {
    answer(|| {
        let width = usize::try_from(arguments::whole(&width, "width")?).unwrap_or(0);
        let found = qr_symbol::scan(width, arguments::bytes(&grey, "grey")?)?;
        Ok(List::from_values(found.iter().map(|bytes| raw(bytes))))
    })
}

extendr_module! {
    mod qr;
    fn qr_encode;
    fn qr_decode;
    fn qr_modules;
    fn qr_scan;
}
