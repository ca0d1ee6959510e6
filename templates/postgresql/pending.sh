#!/bin/sh
# Exit 0 where no setting waits for a restart. PostgreSQL itself knows, once it has read its files again.
set -eu
. "${0%/*}/settings"
[ "$(sql -c 'SELECT count(*) FROM pg_settings WHERE pending_restart')" = 0 ]
