#!/bin/sh
# The steps of the Dockerfile, in a file of their own so that a test can run them in a
# chroot (make container). Debian 12 or later, as root.
#
#   install.sh run-packages        what a bot needs to run
#   install.sh build-packages      what the package needs to be built, beside Rust
#   install.sh package FILE        builds and installs mxcrypt from its source package
#   install.sh user                the user `bot`, and /data, which belongs to it
set -eu

apt_install() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/*
}

run_packages="ca-certificates r-base-core r-cran-cli r-cran-commonmark r-cran-curl
  r-cran-httr2 r-cran-jsonlite r-cran-later r-cran-mime r-cran-promises r-cran-rlang"

case ${1:-} in
  # shellcheck disable=SC2086
  run-packages) apt_install $run_packages ;;
  # shellcheck disable=SC2086
  build-packages) apt_install $run_packages gcc libc6-dev make xz-utils ;;
  package) R CMD INSTALL --no-docs --no-test-load --library=/usr/local/lib/R/site-library "$2" ;;
  user)
    useradd --uid 1000 --user-group --home-dir /data --shell /usr/sbin/nologin bot
    install -d -m 700 -o bot -g bot /data
    ;;
  *)
    echo "install.sh run-packages | build-packages | package FILE | user" >&2
    exit 2
    ;;
esac
