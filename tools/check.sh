#!/usr/bin/env bash
# R CMD check as CRAN runs it, on the package of tools/build.sh; and once more with
# no package but those that must be there. What needs CRAN itself (incoming checks)
# or a clock from the network is left out.
#
#   tools/check.sh [suggested|bare]   both, or one of them
set -euo pipefail
cd "$(dirname "$0")/../.tools/build"
unset NOT_CRAN
export _R_CHECK_CRAN_INCOMING_=FALSE _R_CHECK_SYSTEM_CLOCK_=FALSE
export _R_CHECK_FORCE_SUGGESTS_=false
# --as-cran asks CRAN about packages that are suggested and not installed.
export R_CRAN_WEB=file://$PWD/cran _R_CHECK_XREFS_REPOSITORIES_=file://$PWD/cran
mkdir -p cran/web/packages cran/src/contrib
touch cran/src/contrib/PACKAGES
Rscript --vanilla -e '
  known <- installed.packages(fields = "Maintainer")[, c("Package", "Maintainer")]
  saveRDS(as.data.frame(known), "cran/web/packages/packages.rds")'
check() {
  echo "== R CMD check, $1 =="
  mkdir -p "$2"
  R CMD check --as-cran --no-manual --output="$2" mxcrypt_*.tar.gz || true
  if ! grep -q '^Status: ' "$2/mxcrypt.Rcheck/00check.log" ||
    grep -E '^Status: .*(ERROR|WARNING)' "$2/mxcrypt.Rcheck/00check.log"; then
    exit 1
  fi
}
case ${1:-both} in suggested | both) check "with what is suggested" . ;; esac
case ${1:-both} in
  bare | both)
    _R_CHECK_DEPENDS_ONLY_=true check "without what is only suggested" depends-only
    ;;
esac
