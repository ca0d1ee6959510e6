"""Real tailscaled join a real headscale with our keys; as root, in a network of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twin import go_programs

HERE = Path(__file__).parent
#: Only loopback, and a cable that leads nowhere: without one tailscaled takes the network to be down.
ALONE = """
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 up
ip address add 198.18.0.2/24 dev v0
ip link set v0 up
ip route add default via 198.18.0.1
exec "$@"
"""


@pytest.mark.slow
def test_a_guest_joins_once_and_keeps_its_name_when_it_is_made_anew() -> None:
    programs = [str(go_programs.ensure(name)) for name in ("headscale", "tailscaled", "tailscale")]
    command = [
        "unshare",
        "-n",
        "sh",
        "-euc",
        ALONE,
        "sh",
        sys.executable,
        str(HERE / "join_alone.py"),
        *programs,
    ]
    environ = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parents[2]}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert saw["joins"] == saw["made anew"] == saw["not forgotten"] == ""
    lan = ["192.168.1.0/24"]
    assert saw["device"] == {"name": "comms", "tags": ["tag:hearth"], "online": True, "advertised": lan}
    assert "already used" in saw["same key again"]
    assert saw["approved"] == [lan]
    assert "is online" in saw["forget it while it runs"]
    assert saw["forgotten"] == ["comms"]
    assert saw["device anew"]["name"] == "comms"
    assert "is there as comms-1" in saw["its name"]
    assert "expired" in saw["expired key"]
    assert saw["all"] == ["comms", "comms-1"]
