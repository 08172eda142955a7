use std::path::Path;

use extendr_api::prelude::*;
use mxcrypt_core::{Kind, error::OrFail, store::private_file};

use crate::{answer::answer, arguments};

/// Writes a file that only its owner may read, whole or not at all.
#[extendr]
fn private_file_write(path: Robj, text: Robj) -> Robj {
    answer(|| {
        let path = arguments::text(&path, "path")?;
        let text = arguments::text(&text, "text")?;
        private_file::replace(Path::new(&path), text.as_bytes())
            .or_fail(Kind::Store, &format!("{path} cannot be written"))
    })
}

/// Makes a directory that only its owner may enter, unless it is there.
#[extendr]
fn private_directory_create(path: Robj) -> Robj {
    answer(|| {
        let path = arguments::text(&path, "path")?;
        private_file::create_dir(Path::new(&path))
            .or_fail(Kind::Store, &format!("{path} cannot be made"))
    })
}

extendr_module! {
    mod private_file;
    fn private_file_write;
    fn private_directory_create;
}
