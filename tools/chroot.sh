# Sourced by tools/container.sh and tools/next-debian.sh: Debian in a directory, and mounts.
# shellcheck shell=bash

mirror=http://deb.debian.org/debian
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

die() {
  printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
  exit 1
}

# Runs this script, whose arguments are "$@", again where its mounts are seen by nobody else, and
# end with it.
own_mounts() {
  [ "$(id -u)" -eq 0 ] || die "chroots and mounts need root"
  if [ -z "${MXCRYPT_MOUNTS:-}" ]; then
    MXCRYPT_MOUNTS=own exec unshare --mount --propagation private -- "$0" "$@"
  fi
}

bind() { mkdir -p "$1" "$2" && mount --bind "$1" "$2"; }

mount_system() {
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
}

# Debian's release $1 in the directory $2, which is not there yet.
make_debian() {
  rm -rf "$2"
  mkdir -p "$(dirname "$2")"
  debootstrap --variant=minbase --include=ca-certificates "$1" "$2" "$mirror" ||
    die "debootstrap failed: see $2/debootstrap/debootstrap.log"
}
