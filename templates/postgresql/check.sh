#!/bin/sh
# Prove a configuration by starting PostgreSQL with it, aside: an empty cluster of its own, no network, a few seconds.
# That reads everything a start reads: settings, pg_hba.conf, certificate and key.
#
# usage: check STAGE
#   STAGE has the candidates under their full paths. Exit 0: it ran. Otherwise PostgreSQL's own words are on stderr.
set -eu
. "${0%/*}/settings"
stage=$1
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/hearth-postgresql.XXXXXX")
clean() {
  if [ -s "$scratch/data/postmaster.pid" ]; then
    as_postgres "$bin/pg_ctl" -D "$scratch/data" -m immediate -w stop >/dev/null 2>&1 || :
  fi
  rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

cp -r "$stage$etc" "$scratch/etc"
find "$scratch/etc" -type f -name '*.conf' -exec sed -i "s#$etc#$scratch/etc#g" {} +
chown -R postgres:postgres "$scratch"
chmod -R go= "$scratch"
as_postgres "$bin/initdb" -D "$scratch/data" --no-sync --auth=peer --encoding=UTF8 --locale=C.UTF-8 \
  --no-instructions >/dev/null
if as_postgres timeout 60 "$bin/pg_ctl" -D "$scratch/data" -w -t 50 -s -l "$scratch/log" -o "-c \
  config_file=$scratch/etc/postgresql.conf -c data_directory=$scratch/data -c listen_addresses= \
  -c unix_socket_directories=$scratch -c external_pid_file= -c log_destination=stderr" start 2>/dev/null; then
  exit 0
fi
# Lines that say what is wrong, in the words and with the paths that the admin knows.
sed -n -e "s#$scratch/etc#$etc#g" -e 's/^.*\(LOG\|FATAL\|ERROR\|HINT\|DETAIL\): */\1: /p' "$scratch/log" |
  grep -Ev '^LOG: (starting PostgreSQL|listening on|database system)' >&2
exit 1
