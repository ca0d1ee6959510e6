#!/bin/sh
# Written by Hearth. check STAGE USER CONFIG COMMAND...: may the candidates below STAGE take the place of what is in
# CONFIG? COMMAND judges, as USER, two copies in memory: one with the candidates laid over it, and one as it is now.
set -eu
umask 077
stage=$1 user=$2 config=$3
shift 3
scratch=$(mktemp -d /run/hearth-home-assistant.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/new" "$scratch/now"
# Registries too: automations name devices. Neither the database nor what is large.
if [ -d "$config" ]; then
  tar -C "$config" --exclude='./home-assistant_v2.db*' --exclude='./*.log*' --exclude=./backups --exclude=./tts \
    --exclude=./www --exclude=./media --exclude=./deps --exclude=./.cloud --exclude=./image -cf - . |
    tar -C "$scratch/now" -xf -
  cp -a "$scratch/now/." "$scratch/new/"
fi
if [ -d "$stage$config" ]; then cp -R "$stage$config/." "$scratch/new/"; fi
for file in automations scripts scenes; do
  [ -e "$scratch/new/$file.yaml" ] || : >"$scratch/new/$file.yaml"
done
# The copies have the mode of what was copied.
chmod 700 "$scratch" "$scratch/new" "$scratch/now"
chown -R "$user:" "$scratch"
cd "$scratch"
"$@" "$scratch/new" "$scratch/now"
