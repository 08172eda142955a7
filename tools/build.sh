#!/usr/bin/env bash
# Builds the source package in .tools/build. R CMD build copies the whole
# directory before it leaves anything out, so it gets a copy without the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
out=.tools/build
rm -rf "$out"
mkdir -p "$out/mxcrypt"
tar -c --exclude=target --exclude=./.git --exclude=./.tools \
  --exclude=node_modules . | tar -x -C "$out/mxcrypt"
cd "$out"
R CMD build mxcrypt
ls -l mxcrypt_*.tar.gz
