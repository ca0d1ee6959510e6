#!/bin/sh
# Make this guest's replica the primary. It is the one way to do it: a deploy never promotes.
#
# usage: hearth-promote-database [--force]
#   --force: although the primary still answers. Both then take writes, and what the old one takes is lost: stop it.
set -eu
. /usr/local/lib/hearth/postgresql/settings
[ "$(id -u)" = 0 ] || fail "promote the database of $self" "you are not root" "sudo hearth-promote-database"
case ${1:-} in '' | --force) ;; *) fail "promote the database of $self" "unknown word $1" "use --force or nothing" ;; esac
if ! recovering=$(sql -c 'SELECT pg_is_in_recovery()'); then
  fail "promote the database of $self" "it does not run" "systemctl start $unit"
fi
if [ "$recovering" = f ]; then
  fail "promote the database of $self" "it is a primary already" "set postgresql_primary = \"$self\" and deploy"
fi
if [ "${1:-}" != --force ] && "$bin/pg_isready" -q -t 5 -d "$(conninfo "$primary")"; then
  fail "promote the database of $self" "the primary on $primary still answers" \
    "stop it first, on $primary: systemctl stop $unit; or hearth-promote-database --force"
fi
# What has arrived is all applied before PostgreSQL takes writes; that may take a while.
sql -c 'SELECT pg_promote(true, 300)' | grep -qx t ||
  fail "promote the database of $self" "it is not done after 300 s" "journalctl -u $unit"
cat <<END
The database on $self takes writes now. What is left to do:
1. Keep the old primary on $primary off until 2 is done; programs that know both guests use whichever takes writes.
2. In group_data/postgresql.py: postgresql_primary = "$self"
   Then deploy. It gives $self its replicas' slots and tells everybody; it stops the old primary and overwrites nothing.
3. To make $primary a replica, which throws away what its database holds:
   pyinfra inventory deploy.py --data postgresql_reclone=$primary
END
