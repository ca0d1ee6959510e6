#!/usr/bin/python3
# Written by Hearth.
"""What the tailnet is like from this guest, for the node exporter: whether it is in, and how far its relays
and peers are.

`tailnet FILE`: `tailscale status` and `tailscale netcheck` (tailscale.com/docs/reference/tailscale-cli) say
it. Peers are what the tailnet's policy lets this guest see.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WITHIN = 30  # seconds for one answer
PONG = re.compile(r" in ([0-9.]+)(µs|us|ms|s)\b")
UNITS = {"µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0}
MOST = 50  # peers that are asked


def asked(*words: str) -> str:
    """What `tailscale` answers; nothing where it does not."""
    try:
        done = subprocess.run(
            ["tailscale", *words], capture_output=True, text=True, timeout=WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def read(text: str) -> dict[str, Any]:
    """JSON, or an empty mapping."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def latencies(status: dict[str, Any]) -> dict[str, float]:
    """Seconds to each relay and each peer that is there."""
    report = read(asked("netcheck", "--format=json"))
    found = {f"relay {region}": ns / 1e9 for region, ns in (report.get("RegionLatency") or {}).items()}
    peers = [peer for peer in (status.get("Peer") or {}).values() if peer.get("Online")]
    for peer in peers[:MOST]:
        name = str(peer.get("DNSName") or peer.get("HostName") or "").partition(".")[0]
        pong = (
            PONG.search(asked("ping", "--c=1", "--timeout=5s", "--until-direct=false", name))
            if name
            else None
        )
        if pong:
            found[name] = float(pong[1]) * UNITS[pong[2]]
    return found


def text() -> str:
    """For the node exporter."""
    status = read(asked("status", "--json"))
    up = status.get("BackendState") == "Running" and bool((status.get("Self") or {}).get("Online"))
    lines = [
        "# HELP hearth_tailnet_up Whether this guest is in the tailnet, and its server knows.",
        "# TYPE hearth_tailnet_up gauge",
        f"hearth_tailnet_up {int(up)}",
    ]
    found = latencies(status) if up else {}
    if found:
        lines += [
            "# HELP hearth_tailnet_latency_seconds How far relays and peers are.",
            "# TYPE hearth_tailnet_latency_seconds gauge",
            *(
                f"hearth_tailnet_latency_seconds{{to={json.dumps(to)}}} {value!r}"
                for to, value in found.items()
            ),
        ]
    return "\n".join(lines) + "\n"


def main(path: str) -> None:
    """Write the file, whole or not at all."""
    content = text()
    target = Path(path)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".tailnet", delete=False) as new:
        new.write(content)
    Path(new.name).chmod(0o644)
    Path(new.name).replace(target)


if __name__ == "__main__":
    main(sys.argv[1])
