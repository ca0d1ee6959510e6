#!/bin/sh
# Written by Hearth. Let a group ping, with the kernel's own ICMP sockets (icmp(7), ping_group_range): the prober then
# needs no capability, which Debian's file of it would lose anyway (it has an empty set of its own).
# usage: pings GROUP
set -eu
group=$(getent group "$1" | cut -d: -f3)
range=${RANGE:-/proc/sys/net/ipv4/ping_group_range}
# shellcheck disable=SC2046
set -- $(cat "$range") # `read` takes byte after byte, which files of /proc/sys do not give
low=$1 high=$2
if [ "$low" -gt "$high" ]; then # nobody may
  low=$group high=$group
fi
[ "$group" -ge "$low" ] || low=$group
[ "$group" -le "$high" ] || high=$group
echo "$low $high" >"$range"
