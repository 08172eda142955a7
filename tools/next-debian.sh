#!/usr/bin/env bash
# R CMD check with the newest R and Rust that Debian carries (its unstable release), in a chroot
# without network. Needs root.
#
#   tools/next-debian.sh base    Debian with R, Rust and the packages of DESCRIPTION that it has,
#                                in .tools/next-debian/base, once (tools/setup.sh next-debian)
#   tools/next-debian.sh check [suggested|bare]   tools/check.sh there, on the package of
#                                tools/build.sh; the results come to .tools/build/next-debian
#
# NEXT_DEBIAN=forky names another release. Its Rust must be as new as DESCRIPTION says.
# NEXT_LANG=en_US.iso885915 checks in the locale of one of CRAN's machines.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/.tools/next-debian
base=$work/base
# shellcheck source=tools/chroot.sh
source "$root/tools/chroot.sh"
own_mounts "$@"

# What R CMD check and the tests need beside R; fonts for figures, and ip for the loopback.
tools=(
  r-base-dev r-cran-codetools cargo rustc devscripts pandoc qpdf tidy xz-utils locales
  fonts-dejavu-core iproute2
)

inside() { chroot "$base" env -i PATH="$path" HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }

# The packages that DESCRIPTION names, as Debian names them.
wanted() {
  Rscript --vanilla -e 'x <- read.dcf("DESCRIPTION", c("Imports", "Suggests"))' \
    -e 'x <- trimws(sub("[(].*", "", unlist(strsplit(x, ","))))' \
    -e 'writeLines(paste0("r-cran-", tolower(x)))'
}

make_base() {
  [ -e "$base/etc/debian_version" ] && return
  local known
  make_debian "${NEXT_DEBIAN:-sid}" "$work/new"
  base=$work/new
  cp /etc/resolv.conf "$base/etc"
  mount_system "$base"
  # No daemon is started, and a mirror that is a few weeks old will do.
  printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d"
  chmod +x "$base/usr/sbin/policy-rc.d"
  echo 'Acquire::Check-Valid-Until "false";' >"$base/etc/apt/apt.conf.d/valid"
  inside apt-get update
  known=$(inside apt-cache pkgnames r-cran-)
  mapfile -t found < <(cd "$root" && wanted | grep -Fxf - <(printf '%s\n' "$known"))
  inside apt-get install -y --no-install-recommends "${tools[@]}" "${found[@]}"
  inside apt-get clean
  inside localedef -i en_US -f ISO-8859-15 en_US.iso885915
  # CRAN's machines do not check as root.
  inside useradd --create-home checker
  umount --recursive "$base/proc" "$base/dev"
  base=$work/base
  rm -rf "$base"
  mv "$work/new" "$base"
}

check() {
  local at=$base/home/checker/mxcrypt results=$root/.tools/build/next-debian
  [ -e "$base/etc/debian_version" ] || die "run tools/setup.sh next-debian first"
  compgen -G "$root/.tools/build/mxcrypt_*.tar.gz" >/dev/null || die "run make build first"
  rm -rf "$at" "$results"
  mkdir -p "$at/tools" "$at/.tools/build" "$results"
  cp "$root/tools/check.sh" "$at/tools"
  cp "$root"/.tools/build/mxcrypt_*.tar.gz "$at/.tools/build"
  inside chown -R checker: /home/checker/mxcrypt
  mount_system "$base"
  # In a network of its own, with nothing but the loopback, which tests listen on.
  unshare --net chroot "$base" \
    env -i PATH="$path" HOME=/home/checker LANG="${NEXT_LANG:-C.UTF-8}" sh -euc '
    ip link set lo up
    [ -z "$(ip route)" ]
    cargo --version
    R --version | head -n 1
    exec setpriv --reuid=checker --regid=checker --init-groups \
      /home/checker/mxcrypt/tools/check.sh "$@"' sh "$@" || failed=1
  cp -r "$at/.tools/build/." "$results"
  return "${failed:-0}"
}

case ${1:-} in
  base) make_base ;;
  check) check "${@:2}" ;;
  *) die "base or check" ;;
esac
