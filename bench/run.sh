#!/usr/bin/env bash
# Measures the package beside bare vodozemac; see README.md.
#
#   bench/run.sh            everything, three times
#   bench/run.sh w1 w3      only these workloads
#   BENCH_RUNS=5 bench/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export R_LIBS=${R_LIBS:-$PWD/.tools/library}
cargo build --quiet --release --locked --manifest-path bench/raw/Cargo.toml
exec Rscript bench/run.R "$@"
