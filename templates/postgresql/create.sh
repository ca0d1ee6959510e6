#!/bin/sh
# Create the primary's database cluster, empty. What a killed run left half done is thrown away: only a whole cluster
# gets its name.
#
# usage: create [fresh]
#   fresh: although another guest still has the databases.
set -eu
. "${0%/*}/settings"
half=$data.hearth-half

if [ -e "$data/standby.signal" ]; then
  fail "make $self the primary database" "it is a replica" "on $self: hearth-promote-database"
fi
if [ -s "$data/PG_VERSION" ]; then
  for other in $others; do
    if answers "$other" read-write >/dev/null; then
      fail "make $self the primary database" "$other takes writes" \
        "postgresql_primary = \"$other\" in group_data/postgresql.py"
    fi
  done
  exit 0
fi
if [ -e "$data" ] && [ -n "$(ls -A "$data")" ]; then
  fail "create a database cluster on $self" "$data holds something else" "look at it, and move it away"
fi
there=$(sed -n "s/^data_directory *= *'\(.*\)'.*/\1/p" "$etc/postgresql.conf" 2>/dev/null || :)
if [ -n "$there" ] && [ "$there" != "$data" ]; then
  fail "create a database cluster on $self" "there is one in $there" "move it to $data"
fi
for other in $others; do
  if [ "${1:-}" != fresh ] && answers "$other" >/dev/null; then
    fail "create an empty database cluster on $self" "$other still has the databases" \
      "on $other: hearth-promote-database; or throw them away: --data postgresql_reclone=$self"
  fi
done

rm -rf "$half"
install -d -o postgres -g postgres -m 755 "${data%/*}"
as_postgres "$bin/initdb" -D "$half" --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
  --auth-local=peer --auth-host=scram-sha-256 --no-instructions >/dev/null
# The configuration is in /etc, as Debian has it.
rm -f "$half/postgresql.conf" "$half/pg_hba.conf" "$half/pg_ident.conf"
if [ -e "$data" ]; then rmdir "$data"; fi
sync -f "$half"
mv -T "$half" "$data"
sync -f "$data"
