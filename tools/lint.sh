#!/usr/bin/env bash
# Formats and lints of both languages. Prints what is wrong; changes nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
step() {
  printf '== %s\n' "$1"
  shift
  "$@" || failed=1
}

for workspace in src/rust tests/rust bench/raw; do
  [ -e "$workspace/Cargo.toml" ] || continue
  manifest=$workspace/Cargo.toml
  step "cargo fmt: $workspace" \
    cargo fmt --manifest-path "$manifest" --all --check
  step "cargo clippy: $workspace" \
    cargo clippy --quiet --manifest-path "$manifest" --workspace --all-targets \
    -- -D warnings
done
step 'cargo clippy: src/rust, with PostgreSQL' \
  cargo clippy --quiet --manifest-path src/rust/Cargo.toml --workspace --all-targets \
  --features postgres -- -D warnings
# Only formatted: to check the SDK takes minutes, and `make bench` builds it.
step 'cargo fmt: bench/sdk' cargo fmt --manifest-path bench/sdk/Cargo.toml --check
step 'layers of the machine' Rscript --vanilla tools/layers.R
step 'air format' .tools/venv/bin/air format --check .
step 'lintr' Rscript tools/lint.R
step 'spelling' Rscript tools/spelling.R
step 'help pages and wrappers are those of the source' tools/document.sh --check
exit $failed
