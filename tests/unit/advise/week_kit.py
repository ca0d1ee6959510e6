"""A real Prometheus on loopback, fed with a week that promtool made blocks of."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from hearth.monitored import Place

MIB = 1024 * 1024
STEP = 300  # seconds
WAIT = 30.0


@dataclass(frozen=True)
class Life:
    """How a guest lives.

    Args:
        name: its name. days: for how long it was measured.
        memory: MiB that it has; used: MiB in use, twice as much for two hours of each night if `peaks`.
        cores: how many; busy: how many of them work.
        disk: MiB; full: MiB in use at the end; grows: MiB a day.
        kills: programs ended for want of memory in the week.
    """

    name: str
    days: float = 8
    memory: float = 1024
    used: float = 512
    peaks: bool = False
    cores: int = 2
    busy: float = 1.0
    disk: float = 16384
    full: float = 4096
    grows: float = 0
    kills: int = 0


def openmetrics(lives: Iterable[Life], end: float) -> str:
    """The week as node exporters would have told it, in OpenMetrics' text format."""
    lives = list(lives)
    lines: list[str] = []

    def metric(name: str, kind: str, value: object) -> None:
        lines.append(f"# TYPE {name.removesuffix('_total')} {kind}")
        for life in lives:
            for at in moments(life, end):
                for labels, number in value(life, at).items():  # type: ignore[operator]
                    lines.append(f'{name}{{guest="{life.name}"{labels}}} {number} {at}')

    root = ',mountpoint="/",fstype="ext4",device="/dev/sda1"'
    metric("node_memory_MemTotal_bytes", "gauge", lambda life, at: {"": life.memory * MIB})
    metric("node_memory_MemAvailable_bytes", "gauge", lambda life, at: {"": available(life, at) * MIB})
    metric("node_cpu_seconds_total", "counter", lambda life, at: cpu(life, at - end))
    metric("node_filesystem_size_bytes", "gauge", lambda life, at: {root: life.disk * MIB})
    metric(
        "node_filesystem_avail_bytes",
        "gauge",
        lambda life, at: {root: (life.disk - life.full - life.grows * (at - end) / 86400) * MIB},
    )
    metric("node_vmstat_oom_kill", "gauge", lambda life, at: {"": life.kills if at > end - 86400 * 2 else 0})
    return "\n".join([*lines, "# EOF", ""])


def moments(life: Life, end: float) -> Iterator[int]:
    last = math.floor(end)
    yield from range(last - int(life.days * 86400), last + 1, STEP)


def available(life: Life, at: int) -> float:
    peak = life.peaks and at % 86400 < 7200
    return life.memory - life.used * (2 if peak else 1)


def cpu(life: Life, since: float) -> dict[str, float]:
    seconds = since + 30 * 86400
    each = life.busy / life.cores
    found = {}
    for core in range(life.cores):
        found[f',cpu="{core}",mode="user"'] = each * seconds
        found[f',cpu="{core}",mode="idle"'] = (1 - each) * seconds
    return found


@contextmanager
def a_week(lives: Iterable[Life], host: str = "127.0.0.1") -> Iterator[Place]:
    """Prometheus with that week, at an address of loopback; ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="hearth-week-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        (place / "week.om").write_text(openmetrics(lives, time.time()))
        (place / "prometheus.yml").write_text("scrape_configs: []\n")
        make = [
            "promtool",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(place / "week.om"),
            str(place / "data"),
        ]
        subprocess.run(make, check=True, capture_output=True, timeout=120)
        with socket.socket() as free:
            free.bind((host, 0))
            port = free.getsockname()[1]
        serve = [
            "prometheus", f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
            "--storage.tsdb.retention.time=60d", f"--web.listen-address={host}:{port}",
        ]  # fmt: skip
        process = subprocess.Popen(
            serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            url = f"http://{host}:{port}"
            _until_ready(url)
            yield Place("Prometheus", url)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _until_ready(url: str) -> None:
    end = time.monotonic() + WAIT
    with httpx.Client(trust_env=False) as client:
        while True:
            with suppress(httpx.HTTPError):
                if client.get(f"{url}/-/ready").status_code == 200:
                    return
            assert time.monotonic() < end, "Prometheus did not start"
            time.sleep(0.1)
