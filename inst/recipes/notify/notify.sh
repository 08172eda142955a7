#!/bin/sh
# Runs a command, and posts the end of its output to a room if it fails.
# Run: MXCRYPT_ROOM='#ops:example.org' notify.sh ./backup.sh /srv
# Needs: mxcrypt in the PATH (see ?mx_cli); a login (mx_client_configure(), once).
output=$(mktemp)
trap 'rm -f "$output"' EXIT
"$@" >"$output" 2>&1
status=$?
cat "$output"
if [ "$status" -ne 0 ]; then
  { echo "$* ended with status $status:" && tail -n 30 "$output"; } |
    mxcrypt send "$MXCRYPT_ROOM" - --code >&2
fi
exit "$status"
