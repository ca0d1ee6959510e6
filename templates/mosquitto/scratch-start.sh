#!/bin/sh
# Prove a Mosquitto configuration by starting a broker with it, aside: copies in a folder of its own, loopback ports,
# its own user, a few seconds. Mosquitto 2.0 has no test of its configuration, and 2.1's empties the persistence file.
#
# usage: scratch-start.sh STAGE
#   STAGE/etc/mosquitto has the candidates. Exit 0: the broker ran. Otherwise its own messages are on stderr.
set -eu
stage=$1
scratch= broker=
clean() {
  if [ -n "$broker" ]; then kill -KILL "$broker" 2>/dev/null || :; wait "$broker" 2>/dev/null || :; fi
  if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
}
trap clean EXIT
trap 'exit 1' HUP INT TERM
scratch=$(mktemp -d "${TMPDIR:-/run}/hearth-mosquitto.XXXXXX")

# Put the candidates into the scratch folder, with listeners from the given port on.
prepare() {
  rm -rf "$scratch/etc" "$scratch/db"
  cp -r "$stage/etc/mosquitto" "$scratch/etc"
  mkdir "$scratch/db"
  find "$scratch/etc" -name '*.conf' | while read -r file; do
    sed -e "s#/etc/mosquitto/#$scratch/etc/#g" \
      -e "s#^persistence_location.*#persistence_location $scratch/db/#" \
      -e '/^pid_file/d' -e 's#^log_dest.*#log_dest stderr#' "$file" |
      awk -v port="$1" '$1 == "listener" && $2 ~ /^[0-9]+$/ && $2 > 0 && $2 < 65536 {
        $0 = "listener " port++ " 127.0.0.1" } { print }' >"$file.new"
    mv "$file.new" "$file"
  done
  echo 'log_type all' >>"$scratch/etc/mosquitto.conf"
  chown -R mosquitto:mosquitto "$scratch"
}

tell() { sed -e "s#$scratch/etc/#/etc/mosquitto/#g" "$scratch/log" >&2; }

port=$((20000 + $$ % 20000))
for attempt in 1 2 3 4 5; do
  prepare "$port"
  : >"$scratch/log"
  # setpriv and exec: the broker itself is the child, so that it is surely ended.
  (cd / && exec setpriv --reuid=mosquitto --regid=mosquitto --clear-groups \
    mosquitto -c "$scratch/etc/mosquitto.conf" >"$scratch/log" 2>&1) &
  broker=$!
  waited=0
  while kill -0 "$broker" 2>/dev/null && ! grep -q ' running$' "$scratch/log" && [ "$waited" -lt 50 ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  grep -q 'Address already in use' "$scratch/log" || break
  wait "$broker" 2>/dev/null || :
  broker=
  port=$((port + 97))
done

if grep -q 'Error' "$scratch/log" || ! kill -0 "$broker" 2>/dev/null || ! grep -q ' running$' "$scratch/log"; then
  tell
  exit 1
fi
