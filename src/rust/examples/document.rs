//! Writes the R wrappers of the glue functions to the file named by the first argument
//! (`tools/document.sh` does so with `R/extendr-wrappers.R`).

use std::{env, error::Error, fs};

const HEADER: &str = "\
# Written by tools/document.sh from src/rust/src. Do not edit by hand.
# nolint start
";

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: document FILE")?;
    let wrappers = mxcrypt::get_mxcrypt_metadata().make_r_wrappers(true, "mxcrypt")?;
    // Plain comments: what people call are the R twins, so the glue has no help pages.
    let wrappers = wrappers.replace("#'", "#");
    fs::write(path, format!("{HEADER}\n{}\n\n# nolint end\n", wrappers.trim()))?;
    Ok(())
}
