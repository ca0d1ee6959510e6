#!/bin/sh
# Let the release's own start-up code judge the settings, on copies: as Zigbee2MQTT's user, without a network.
#
# usage: check.sh STAGE RELEASE DATA
#   STAGE has the candidates under their whole paths. Exit 0: accepted. Otherwise Zigbee2MQTT's own words are shown.
set -eu
stage=$1 release=$2 data=$3
scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
scratch=$(mktemp -d /run/hearth-zigbee2mqtt.XXXXXX)

mkdir "$scratch/now"
for file in "$data"/*.yaml "$data"/*.yml "$data"/state.json "$data"/database.db "$data"/coordinator_backup.json; do
  if [ -f "$file" ]; then cp "$file" "$scratch/now/"; fi
done
cp -r "$scratch/now" "$scratch/data"
cp "$stage$data/secret.yaml" "$scratch/data/"
cp "$stage/etc/zigbee2mqtt/managed.json" "$stage/usr/local/lib/hearth/zigbee2mqtt/check.cjs" "$scratch/"
chown -R zigbee2mqtt:zigbee2mqtt "$scratch"
cp "$stage/etc/zigbee2mqtt/environment" "$scratch/environment"

systemd-run --quiet --collect --pipe --wait \
  -p User=zigbee2mqtt -p Group=zigbee2mqtt -p UMask=0077 -p RuntimeMaxSec=120 -p NoNewPrivileges=yes \
  -p PrivateNetwork=yes -p ProtectSystem=strict -p ProtectHome=yes -p "ReadWritePaths=$scratch" \
  -p "WorkingDirectory=$scratch" -p "EnvironmentFile=$scratch/environment" \
  -E "ZIGBEE2MQTT_DATA=$scratch/data" -E Z2M_ONBOARD_NO_SERVER=1 \
  "$release/node" "$scratch/check.cjs" "$release" "$scratch" >"$scratch/said" 2>&1 ||
  { sed -e '/^$/d' -e '/^!!!/d' -e "s#$scratch/data/#$data/#g" "$scratch/said" >&2; exit 1; }
