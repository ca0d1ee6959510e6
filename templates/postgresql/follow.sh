#!/bin/sh
# Wait until this replica streams from the primary; when it does not, say why and what to do.
#
# usage: follow        wait, and fail with PostgreSQL's own reason
#        follow test   exit 0 where there is nothing to do: it streams, or the primary is away and it waits for it
set -eu
. "${0%/*}/settings"
streams() { [ "$(sql -c "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'")" = 1 ]; }
# PostgreSQL's last words since it was started, of those that end an attempt to follow.
reason() {
  journalctl -q -o cat -u "$unit" "_SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value "$unit")" |
    sed -n 's/.*FATAL: *//p' | tail -n 1
}

if [ "${1:-}" = test ]; then
  streams || ! answers "$primary" >/dev/null
  exit
fi
tries=0
while ! streams; do
  tries=$((tries + 1))
  why=$(reason)
  case $why in
  *"has already been removed"* | *"can no longer"* | *"system identifier differs"* | *"not in this server's history"* | \
    *"cannot read from"* | *"ahead of the WAL flush position"*)
    if [ "$tries" -gt 10 ]; then
      fail "follow $primary from $self" "$why" "take its data anew: --data postgresql_reclone=$self"
    fi
    ;;
  esac
  if [ "$tries" -gt 60 ]; then
    answers "$primary" || :
    fail "follow $primary from $self" "${why:-it does not stream after 30 s}" "journalctl -u $unit"
  fi
  sleep 0.5
done
