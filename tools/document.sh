#!/bin/sh
# Writes R/extendr-wrappers.R from the Rust glue, then NAMESPACE and man/ from
# the comments. For developers; what it writes is committed.
set -eu
cd "$(dirname "$0")/.."

# The glue refers to R's own library, so the program that asks it for its
# functions has to find libR.
R_HOME="$(R RHOME)"
LD_LIBRARY_PATH="$R_HOME/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export R_HOME LD_LIBRARY_PATH

cargo run --quiet --manifest-path src/rust/Cargo.toml \
  --target-dir src/rust/target/r --example document -- R/extendr-wrappers.R
Rscript -e 'suppressMessages(roxygen2::roxygenise(load_code = "source"))'
