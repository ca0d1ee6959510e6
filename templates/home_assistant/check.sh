#!/bin/sh
# Written by Hearth. check STAGE USER CONFIG COMMAND...: may the candidates below STAGE take the place of what is in
# CONFIG? They are laid over a copy of it, in memory, and COMMAND judges that copy as USER.
set -eu
umask 077
stage=$1 user=$2 config=$3
shift 3
scratch=$(mktemp -d /run/hearth-home-assistant.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
# Registries too: automations name devices. Neither the database nor what is large.
if [ -d "$config" ]; then
  tar -C "$config" --exclude='./home-assistant_v2.db*' --exclude='./*.log*' --exclude=./backups --exclude=./tts \
    --exclude=./www --exclude=./media --exclude=./deps --exclude=./.cloud --exclude=./image -cf - . |
    tar -C "$scratch" -xf -
fi
if [ -d "$stage$config" ]; then cp -R "$stage$config/." "$scratch/"; fi
for file in automations scripts scenes; do
  [ -e "$scratch/$file.yaml" ] || : >"$scratch/$file.yaml"
done
# The copy has the mode of what was copied.
chmod 700 "$scratch"
chown -R "$user:" "$scratch"
cd "$scratch"
"$@" "$scratch"
