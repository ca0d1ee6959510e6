"""A home that is watched, and its programs on loopback with the files that a guest would have."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from role_kit import FakeRun, fleet, guest

from hearth.ops.files import File

WAIT = 30.0  # seconds
EVERYWHERE = ("wall", "metrics", "journal_upload")


def a_home(**data: Any) -> FakeRun:
    """Every role of monitoring, and what it watches."""
    return FakeRun(
        fleet(
            guest("comms", 135, *EVERYWHERE, "mosquitto", "zigbee2mqtt", "front"),
            guest("mqtt-standby", 138, *EVERYWHERE, "mosquitto", "ntfy", "dead_man", "front"),
            guest("home-assistant", 134, *EVERYWHERE, "home_assistant", "front_door", "front"),
            guest("database", 136, *EVERYWHERE, "postgresql"),
            guest("data", 139, *EVERYWHERE, "postgresql"),
            guest("monitoring", 137, *EVERYWHERE, "monitoring", "alerts", "central_journal"),
            **data,
        )
    )


def alone(*roles: str) -> FakeRun:
    """One guest named localhost at 127.0.0.1, with these roles: certificates hold for loopback."""
    return FakeRun(fleet(guest("localhost", 137, *roles, address="127.0.0.1")))


def put(root: Path, files: Iterable[File], moved: dict[str, str] | None = None) -> None:
    """Write files below a folder, in their paths, with texts replaced in them."""
    for file in files:
        text = file.text
        for old, new in (moved or {}).items():
            text = text.replace(old, new)
        path = Path(f"{root}{file.path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(int(file.mode, 8))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that other users may enter; gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="hearth-monitor-"))
    root.chmod(0o755)
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def running(
    *command: str | Path, log: Path, ends: signal.Signals = signal.SIGTERM, **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs within the block, ended by its own process."""
    with log.open("wb") as out:
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out, **more)
        try:
            yield process
        finally:
            process.send_signal(ends)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def until(holds: Callable[[], Any], within: float = WAIT, why: Callable[[], str] = lambda: "") -> Any:
    """Wait until something holds, and give what it said."""
    end = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < end, why()
        time.sleep(0.1)
    return found


def listens(port: int) -> bool:
    """Whether something accepts on loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment(authority: Path | None = None) -> dict[str, str]:
    """The process's, without proxies, and with an authority that is trusted."""
    kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    if authority:
        kept |= {"REQUESTS_CA_BUNDLE": str(authority), "SSL_CERT_FILE": str(authority)}
    return kept
