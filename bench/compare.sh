#!/usr/bin/env bash
# Measures another revision beside this working tree, in turn; see README.md.
#
#   bench/compare.sh <revision> [w1 w3 ...]     BENCH_RUNS=7 for more runs
#
# Fails if a row costs more than 1.15 of what it did.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(git rev-parse --short=12 --verify "$1^{commit}")
shift
# As `make install` does: without it, what was built for CRAN's checks counts.
export NOT_CRAN=true
compare=.tools/compare
tree=$compare/$base
# Each in a library of its own. A revision is built once, the working tree each time.
install() { # DIRECTORY LIBRARY
  mkdir -p "$2"
  R CMD INSTALL --library="$2" --no-test-load --no-docs "$1" >"$compare/install.log" 2>&1 ||
    { cat "$compare/install.log"; exit 1; }
}
mkdir -p "$compare"
if [ ! -e "$tree/built" ]; then
  rm -rf "$tree"
  mkdir -p "$tree/source"
  git archive "$base" | tar -x -C "$tree/source"
  R_LIBS=${R_LIBS:-$PWD/.tools/library} install "$tree/source" "$PWD/$tree/library"
  touch "$tree/built"
fi
export R_LIBS=${R_LIBS:-$PWD/.tools/library}
cargo build --quiet --release --locked --manifest-path bench/raw/Cargo.toml
exec Rscript bench/compare.R "$base" "$@"
