#!/usr/bin/env bash
# Measures the package beside bare vodozemac and the SDK; see README.md.
#
#   bench/run.sh            everything, three times
#   bench/run.sh w1 w3      only these workloads
#   BENCH_QUICK=1 bench/run.sh    without the large sizes, once
#   BENCH_SDK=0 bench/run.sh      without the SDK, which takes minutes to build
set -euo pipefail
cd "$(dirname "$0")/.."
export R_LIBS=${R_LIBS:-$PWD/.tools/library}
cargo build --quiet --release --locked --manifest-path bench/raw/Cargo.toml
if [ "${BENCH_SDK:-1}" != 0 ]; then
  cargo build --quiet --release --locked --manifest-path bench/sdk/Cargo.toml
fi
exec Rscript bench/run.R "$@"
