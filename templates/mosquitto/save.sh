#!/bin/sh
# Have the running broker write what it keeps in memory to its file: SIGUSR1, mosquitto(8). It renames a whole file
# into place, so a new file is a whole one. A broker that does not run wrote its file when it ended.
set -eu
unit=${1:-mosquitto.service}
file=${2:-/var/lib/mosquitto/mosquitto.db}
process=${3:-$(systemctl show -p MainPID --value "$unit")}
[ "$process" != 0 ] || exit 0
before=$(stat -c '%i %z' "$file" 2>/dev/null || echo none)
kill -USR1 "$process"
tries=0
until [ "$(stat -c '%i %z' "$file" 2>/dev/null || echo none)" != "$before" ]; do
  tries=$((tries + 1))
  [ "$tries" -le 150 ] || { echo 'the broker has not saved what it keeps within 30 seconds' >&2; exit 1; }
  kill -0 "$process" 2>/dev/null || { echo 'the broker ended meanwhile' >&2; exit 1; }
  sleep 0.2
done
