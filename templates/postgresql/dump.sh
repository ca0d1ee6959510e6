#!/bin/sh
# Write every database to stdout as SQL, each whole and of one moment. Users are not in it: a deploy makes them.
set -eu
. "${0%/*}/settings"
echo "-- Hearth's dump of the databases on $self; for restore only."
sql -c "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' ORDER BY 1" |
  while read -r name; do
    as_postgres "$bin/pg_dump" --create --clean --if-exists --quote-all-identifiers --dbname="$name"
  done
echo '-- The end of the dump.'
