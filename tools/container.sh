#!/usr/bin/env bash
# The steps of inst/container/Dockerfile in chroots, for where no Docker daemon is at hand. FROM,
# COPY, RUN, ENV, USER, ENTRYPOINT and HEALTHCHECK are read from there. Needs root.
#
#   tools/container.sh base         Debian in .tools/container/base, once (tools/setup.sh container)
#   tools/container.sh build        both stages, from a source package of this directory
#   tools/container.sh run DIR [NAME=VALUE ..]     the ENTRYPOINT as its USER, with DIR/data as
#                                   /data, DIR/tmp as /tmp, DIR/secrets as /run/secrets
#   tools/container.sh health DIR   the HEALTHCHECK
#
# Not as in Docker: the network and the processes are the host's, the Rust of rust:1-bookworm is
# the host's, and downloads of apt are kept.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/.tools/container
file=$root/inst/container/Dockerfile
# shellcheck source=tools/chroot.sh
source "$root/tools/chroot.sh"
own_mounts "$@"

# The instructions, one a line.
steps() { sed -e '/^#/d' -e '/^$/d' "$file" | sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}'; }
# What the last $1 is.
setting() { steps | sed -n "s/^$1 *//p" | tail -n 1; }
# A JSON array of strings without quotes in them, as lines.
array() { sed -e 's/^\[ *"//' -e 's/" *\]$//' -e 's/" *, *"/\n/g'; }

make_base() {
  [ -e "$work/base/etc/debian_version" ] && return
  make_debian bookworm "$work/new"
  rm -rf "$work/base"
  mv "$work/new" "$work/base"
}

# The context of the build: the files of inst/container and the source package.
make_context() {
  rm -rf "$work/context" "$work/source"
  mkdir -p "$work/source/mxcrypt"
  cp -r "$root/inst/container" "$work/context"
  tar -C "$root" -c --exclude=target --exclude=./.git --exclude=./.tools \
    --exclude=node_modules . | tar -x -C "$work/source/mxcrypt"
  (cd "$work/source" && R CMD build --no-build-vignettes mxcrypt >"$work/source.log" 2>&1) ||
    die "R CMD build failed: see $work/source.log"
  mv "$work"/source/mxcrypt_*.tar.gz "$work/context"
  rm -rf "$work/source"
}

# FROM image [AS name]
begin_stage() {
  local name=final
  # FROM image AS name
  [ "${2:-}" = AS ] && name=$3
  stage=$work/$name
  inside=("PATH=$path" HOME=/root)
  rm -rf "$stage"
  cp -a "$work/base" "$stage"
  cp /etc/resolv.conf /etc/hosts "$stage/etc"
  mount_system "$stage"
  bind "$work/apt" "$stage/var/cache/apt/archives"
  if [[ $1 == rust:* ]]; then
    bind "$(rustc --print sysroot)" "$stage/opt/rust"
    bind "${CARGO_HOME:-$HOME/.cargo}/registry" "$stage/root/.cargo/registry"
    inside[0]=PATH=/opt/rust/bin:$path
  fi
}

# COPY [--from=stage] source target
copy_files() {
  local from=$work/context target=$stage${*: -1}
  if [[ $1 == --from=* ]]; then
    from=$work/${1#--from=}
    shift
  fi
  # shellcheck disable=SC2206
  local found=($from/${1#/})
  if [ -d "${found[0]}" ]; then
    mkdir -p "$target"
    cp -a "${found[0]}/." "$target"
  else
    mkdir -p "$(dirname "${target}x")"
    cp "${found[@]}" "$target"
  fi
}

build() {
  local word rest
  make_context
  while read -r word rest; do
    printf '%s %s\n' "$word" "$rest"
    # shellcheck disable=SC2086
    case $word in
      FROM) begin_stage $rest ;;
      COPY) copy_files $rest ;;
      RUN) chroot "$stage" env -i "${inside[@]}" sh -c "$rest" </dev/null ;;
      USER | WORKDIR | VOLUME | ENV | ENTRYPOINT | STOPSIGNAL | HEALTHCHECK) ;;
      *) die "unknown instruction $word" ;;
    esac
  done < <(steps)
}

# Replaces this process, so that a signal to it is one to the container.
enter() {
  local dir=$1 user inside
  shift
  user=$(setting USER)
  mount_system "$work/final"
  bind "$dir/data" "$work/final/data"
  bind "$dir/tmp" "$work/final/tmp"
  bind "$dir/secrets" "$work/final/run/secrets"
  chown -R "$(chroot "$work/final" id -u "$user")" "$dir/data" "$dir/tmp" "$dir/secrets"
  read -r -a inside <<<"$(setting ENV)"
  exec chroot --userspec="$user:$user" "$work/final" \
    env -i --chdir="$(setting WORKDIR)" "PATH=$path" "${inside[@]}" "$@"
}

case ${1:-} in
  base) make_base ;;
  build) build ;;
  run)
    mapfile -t entry < <(setting ENTRYPOINT | array)
    enter "${@:2}" "${entry[@]}"
    ;;
  health) enter "$2" sh -c "$(setting HEALTHCHECK | sed 's/^.*CMD //')" ;;
  *) die "base, build, run DIR [NAME=VALUE ..] or health DIR" ;;
esac
