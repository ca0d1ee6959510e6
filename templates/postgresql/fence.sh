#!/bin/sh
# Before each start, as systemd's ExecCondition: an old primary that comes back (a power cut, a mended disk) stays down
# while another guest's database takes writes. Two of them would drift apart, and what one took would be lost.
set -eu
. "${0%/*}/settings"
[ ! -e "$data/standby.signal" ] || exit 0
for other in $others; do
  if answers "$other" read-write >/dev/null; then
    echo "$other is the primary now: this old one stays down (a deploy with postgresql_primary = \"$other\" goes on)"
    exit 1
  fi
done
