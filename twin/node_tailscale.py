"""Tailscale on the twin's node, where the fleet's node asks for the tailnet.

A real tailscaled in the node's network and mounts, in user space: installed already, so to speak, since the
vendor's repository is out of reach. The node has no systemd, so a loop keeps it, with the environment that
Hearth's wrapper writes beside its unit; `systemctl` there is a stand-in for what the wrapper asks of it.
"""

from __future__ import annotations

import time
from pathlib import Path

from hearth.errors import HearthError
from twin import go_programs, processes
from twin.home import Home
from twin.namespace import enter
from twin.node_ssh import install
from twin.state import Twin

ROLE = "node-tailscale"
PATIENCE = 20  # seconds

_LIFE = """trap 'kill "$child"; wait "$child"; exit' TERM
while :; do
  own=$(cat /etc/systemd/system/tailscaled.service.d/*.conf 2>/dev/null | sed -n 's/^Environment=//p')
  env $own "$2" --tun=userspace-networking --state="$1/state" --statedir="$1" --socket="$1/socket" &
  child=$!
  echo "$child" >"$1/pid"
  wait "$child"
  sleep 0.1
done
"""

_SYSTEMCTL = """#!/bin/sh
# The twin's node has no systemd. This answers what Hearth's wrapper asks about tailscaled, and nothing else.
case "$*" in
  daemon-reload | "enable --now tailscaled") ;;
  "restart tailscaled")
    old=$(cat "{place}/pid")
    kill "$old" || exit 1
    for _ in $(seq 100); do
      sleep 0.1
      [ "$(cat "{place}/pid")" != "$old" ] && tailscale status --json >/dev/null 2>&1 && exit 0
    done
    echo "tailscaled does not come back" >&2
    exit 1
    ;;
  *)
    echo "the twin's node has no systemd" >&2
    exit 1
    ;;
esac
"""


def running(home: Home) -> list[str]:
    """Which of its processes this home has."""
    return [ROLE] if home.node_tailnet else []


def start(twin: Twin, home: Home) -> None:
    """Have it run where the home's node asks for it, and nowhere else."""
    if not running(home):
        processes.stop(twin, ROLE)
        return
    place = twin.private / "tailscale"
    place.mkdir(mode=0o700, exist_ok=True)
    program, daemon = go_programs.ensure("tailscale"), go_programs.ensure("tailscaled")
    install(twin, "/usr/sbin/tailscale", f'#!/bin/sh\nexec "{program}" --socket="{place}/socket" "$@"\n')
    install(twin, "/usr/sbin/systemctl", _SYSTEMCTL.replace("{place}", str(place)))
    if processes.alive(twin, ROLE) is None:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TS_NO_LOGS_NO_SUPPORT": "true"}
        (place / "socket").unlink(missing_ok=True)
        argv = enter(twin, "sh", "-c", _LIFE, "sh", str(place), str(daemon))
        processes.start(twin, ROLE, argv, env)
        _await(twin, place)


def _await(twin: Twin, place: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (place / "socket").exists():
        processes.must_live(twin, ROLE)
        if time.monotonic() > deadline:
            raise HearthError("start the node's Tailscale", processes.last_words(twin, ROLE))
        time.sleep(0.05)
