"""What a guest tells of the tailnet, with a stand-in for Tailscale's command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from monitor_kit import alone

from roles import metrics

IN = {
    "BackendState": "Running",
    "Self": {"Online": True},
    "Peer": {
        "a": {"DNSName": "comms.tail.home.arpa.", "Online": True},
        "b": {"DNSName": "gone.tail.home.arpa.", "Online": False},
        "c": {"DNSName": "deaf.tail.home.arpa.", "Online": True},
    },
}
REPORT = {"UDP": True, "RegionLatency": {"999": 12_500_000}}
PONG = "pong from comms (100.64.0.3) via 192.168.1.135:41641 in 3ms\n"


def told(tmp_path: Path, status: Any, report: Any = REPORT, works: bool = True) -> str:
    """What the program writes, where Tailscale answers so."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "status").write_text(status if isinstance(status, str) else json.dumps(status))
    (tmp_path / "netcheck").write_text(report if isinstance(report, str) else json.dumps(report))
    (tmp_path / "pong").write_text(PONG)
    script = f"""#!/bin/sh
case "$1 $*" in
*comms*) cat {tmp_path}/pong ;;
ping*) echo 'ping "deaf" timed out'; exit 1 ;;
*) cat {tmp_path}/$1 ;;
esac
"""
    if works:
        (tmp_path / "bin/tailscale").write_text(script)
        (tmp_path / "bin/tailscale").chmod(0o755)
    (tmp_path / "texts").mkdir()
    program = tmp_path / "tailnet"
    program.write_text(metrics.tailnet_files(alone("metrics").here("localhost", "metrics"))[0].text)
    to = tmp_path / "texts/hearth_tailnet.prom"
    command = ["/usr/bin/python3", program, to]
    subprocess.run(command, check=True, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    assert [path.name for path in (tmp_path / "texts").iterdir()] == [to.name]
    text = to.read_text()
    linted = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    return text


def test_a_guest_that_is_in_tells_how_far_relays_and_peers_are(tmp_path: Path) -> None:
    text = told(tmp_path, IN)
    assert "hearth_tailnet_up 1\n" in text
    assert 'hearth_tailnet_latency_seconds{to="relay 999"} 0.0125\n' in text
    assert 'hearth_tailnet_latency_seconds{to="comms"} 0.003\n' in text
    assert "deaf" not in text
    assert "gone" not in text


@pytest.mark.parametrize(
    "status",
    [
        {"BackendState": "NeedsLogin"},
        {"BackendState": "Running", "Self": {"Online": False}},
        {"BackendState": "Running"},
        "",
        "[]",
        "failed to connect to local tailscaled",
    ],
)
def test_one_that_is_not_says_so(status: Any, tmp_path: Path) -> None:
    text = told(tmp_path, status)
    assert "hearth_tailnet_up 0\n" in text
    assert "latency" not in text


def test_without_the_program_it_is_not_in(tmp_path: Path) -> None:
    assert "hearth_tailnet_up 0\n" in told(tmp_path, IN, works=False)


@pytest.mark.parametrize("report", ["", "{}", '{"RegionLatency": null}', "no net"])
def test_a_report_without_relays_does_no_harm(report: str, tmp_path: Path) -> None:
    assert 'to="comms"' in told(tmp_path, IN, report)
