#!/bin/sh
# Make users, databases and slots as logins.sql has them; "test": exit 0 where they are so.
set -eu
. "${0%/*}/settings"
if [ "${1:-}" = test ]; then
  [ "$(sql -v test=1 -f "$etc/logins.sql")" = 0 ]
else
  sql -o /dev/null -f "$etc/logins.sql"
fi
