#!/usr/bin/env bash
# Writes R/extendr-wrappers.R from the Rust glue, then NAMESPACE and man/ from
# the comments. For developers; what it writes is committed. With --check it
# only says whether what is committed is what it would write.
set -euo pipefail
cd "$(dirname "$0")/.."

# The glue refers to R's own library, so the program that asks it for its
# functions has to find libR.
R_HOME="$(R RHOME)"
LD_LIBRARY_PATH="$R_HOME/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export R_HOME LD_LIBRARY_PATH

# README.md is not compared: its keys and times differ in each run.
written=(R/extendr-wrappers.R NAMESPACE man)
if [ "${1:-}" = --check ]; then
  before=$(mktemp -d)
  trap 'rm -rf "$before"' EXIT
  cp -r "${written[@]}" "$before"
fi

cargo run --quiet --manifest-path src/rust/Cargo.toml \
  --target-dir src/rust/target/r --example document -- R/extendr-wrappers.R
Rscript -e 'suppressMessages(roxygen2::roxygenise(load_code = "source"))' \
  >/dev/null

if [ "${1:-}" = --check ]; then
  for path in "${written[@]}"; do
    diff -r "$before/$(basename "$path")" "$path"
  done
fi
