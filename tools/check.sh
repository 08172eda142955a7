#!/usr/bin/env bash
# R CMD check as CRAN runs it, on the package of tools/build.sh. What needs
# CRAN itself (incoming checks) or a clock from the network is left out.
set -euo pipefail
cd "$(dirname "$0")/../.tools/build"
unset NOT_CRAN
_R_CHECK_CRAN_INCOMING_=FALSE _R_CHECK_SYSTEM_CLOCK_=FALSE \
  _R_CHECK_FORCE_SUGGESTS_=false \
  R CMD check --as-cran --no-manual mxcrypt_*.tar.gz
if grep -E '^Status: .*(ERROR|WARNING)' mxcrypt.Rcheck/00check.log; then
  exit 1
fi
