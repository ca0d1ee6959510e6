#!/bin/sh
# Put the databases of a dump (stdin) in place of those that are there; others stay. The replicas follow by themselves.
set -eu
. "${0%/*}/settings"
dump=$(mktemp /var/lib/postgresql/.restore.XXXXXX)
trap 'rm -f "$dump"' EXIT
cat >"$dump"
[ "$(tail -n 1 "$dump")" = '-- The end of the dump.' ] ||
  fail "restore the databases of $self" "the dump has no end" "take another one"
[ "$(sql -c 'SELECT pg_is_in_recovery()')" = f ] ||
  fail "restore the databases of $self" "it is a replica" "restore them on $primary"
chown postgres "$dump"
# Whoever is connected would keep a database from being replaced: out, and not in again until it is.
sed -n 's/^DROP DATABASE IF EXISTS "\(.*\)";$/\1/p' "$dump" | while read -r name; do
  sql -v name="$name" -o /dev/null <<'END'
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname) FROM pg_database WHERE datname = :'name' \gexec
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :'name';
END
done
sql -o /dev/null -f "$dump"
