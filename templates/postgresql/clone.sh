#!/bin/sh
# Take the primary's data, as a replica. A copy gets its name only when it is whole: what a killed run left is thrown
# away, and no half of a cluster is ever started. Data that is there already is overwritten only when asked for.
#
# usage: clone [again]
#   again: throw away what this guest's database holds.
set -eu
. "${0%/*}/settings"
half=$data.hearth-half new=$data.hearth-new old=$data.hearth-old
again=${1:-}

# Cut off between two renames: the new copy was whole.
if [ -e "$new" ] && [ ! -e "$data" ]; then mv -T "$new" "$data"; fi
rm -rf "$half" "$new"
if [ -e "$data" ]; then rm -rf "$old"; fi

if [ -z "$again" ] && [ -s "$data/PG_VERSION" ]; then
  [ ! -e "$data/standby.signal" ] || exit 0
  if ! answers "$primary" read-write >/dev/null; then
    fail "make $self a replica of $primary" "it has a database of its own, and $primary takes no writes" \
      "was $self promoted? postgresql_primary = \"$self\" in group_data/postgresql.py"
  fi
  # Two that take writes would drift apart: the primary really is one, so this one has to stop.
  systemctl disable -q --now "$unit"
  fail "make $self a replica of $primary" "it has a database of its own, which was a primary or is somebody else's" \
    "to throw that away: --data postgresql_reclone=$self"
fi
if [ -z "$again" ] && [ -e "$data" ] && [ -n "$(ls -A "$data")" ]; then
  fail "make $self a replica of $primary" "$data holds something else" \
    "look at it; to throw it away: --data postgresql_reclone=$self"
fi
if ! said=$(answers "$primary" read-write); then
  fail "take the data of $primary" "$(echo "$said" | tail -n 1)" "mend $primary first"
fi

if [ -n "$again" ]; then systemctl stop "$unit"; fi
install -d -o postgres -g postgres -m 755 "${data%/*}"
as_postgres "$bin/pg_basebackup" -D "$half" -d "$(conninfo "$primary")" --no-password \
  --wal-method=stream --slot="$slot" --checkpoint=fast
as_postgres touch "$half/standby.signal"
sync -f "$half"
mv -T "$half" "$new"
if [ -e "$data" ]; then mv -T "$data" "$old"; fi
mv -T "$new" "$data"
sync -f "$data"
rm -rf "$old"
