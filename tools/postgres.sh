#!/usr/bin/env bash
# A PostgreSQL server of the tests' own, on loopback and a free port, from the distribution's packages.
#
#   tools/postgres.sh start DIR     makes a cluster in DIR, which must be empty, and starts it. Prints
#                                   what to set: MXCRYPT_TEST_POSTGRES (an address), PGPASSFILE, and
#                                   MXCRYPT_TEST_POOLER if PgBouncer is installed
#   tools/postgres.sh restart DIR   as after a crash: every connection breaks, nothing is written down
#   tools/postgres.sh stop DIR
#
# PostgreSQL does not run as root. As root, the servers run as the user postgres.
set -euo pipefail

action=$1
dir=$2
newest() { ls -d "$@" 2>/dev/null | sort -V | tail -n 1 || true; }
bin=$(newest /usr/lib/postgresql/*/bin /usr/pgsql-*/bin)

as_server() {
  if [ "$(id -u)" -eq 0 ]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
  else
    "$@"
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The server may not stand in a directory of somebody else.
control() { (cd / && as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w "$@" >/dev/null); }

start() {
  local port password
  port=$(free_port)
  password=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
  printf '%s' "$password" >"$dir/password"
  printf '127.0.0.1:*:*:mxcrypt:%s\n' "$password" >"$dir/pgpass"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
    -keyout "$dir/server.key" -out "$dir/server.crt" 2>/dev/null
  chmod 600 "$dir/password" "$dir/server.key"
  if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$dir"
    chown -R postgres "$dir"
  fi
  (cd / && as_server "$bin/initdb" -D "$dir/data" -U mxcrypt -A scram-sha-256 \
    --pwfile "$dir/password" -E UTF8 --no-locale >/dev/null)
  cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
ssl = on
ssl_cert_file = '$dir/server.crt'
ssl_key_file = '$dir/server.key'
CONF
  control start
  # The file with the password is for its owner alone, or libpq ignores it.
  [ "$(id -u)" -ne 0 ] || chown root "$dir/pgpass"
  chmod 600 "$dir/pgpass"
  echo "MXCRYPT_TEST_POSTGRES=postgresql://mxcrypt@127.0.0.1:$port/postgres"
  echo "PGPASSFILE=$dir/pgpass"
  ! command -v pgbouncer >/dev/null || start_pooler "$port" "$password"
}

# Each transaction gets a server of its own, as most who run a pooler have it.
start_pooler() {
  local port
  port=$(free_port)
  printf '"mxcrypt" "%s"\n' "$2" >"$dir/users.txt"
  cat >"$dir/pgbouncer.ini" <<CONF
[databases]
* = host=127.0.0.1 port=$1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $dir/users.txt
pool_mode = transaction
pidfile = $dir/pgbouncer.pid
logfile = $dir/pgbouncer.log
CONF
  [ "$(id -u)" -ne 0 ] || chown postgres "$dir/users.txt" "$dir/pgbouncer.ini"
  (cd / && as_server pgbouncer -q -d "$dir/pgbouncer.ini")
  echo "MXCRYPT_TEST_POOLER=postgresql://mxcrypt@127.0.0.1:$port/postgres"
}

case $action in
  start) start ;;
  restart) control -m immediate restart ;;
  stop)
    [ ! -f "$dir/pgbouncer.pid" ] || kill "$(cat "$dir/pgbouncer.pid")" || true
    control -m immediate stop
    ;;
  *)
    echo "postgres.sh: start, restart or stop" >&2
    exit 2
    ;;
esac
