#!/usr/bin/env bash
# Builds the site of the documents in .tools/site, with the package in R_LIBS, and checks its
# links. Without a network.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools
Rscript tools/site.R build >.tools/site.log 2>&1 || {
  tail -n 40 .tools/site.log
  exit 1
}
Rscript tools/site.R check
