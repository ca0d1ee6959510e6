"""What answers over a new connection: an established one passes any firewall (connection tracking)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from hearth.errors import HearthError
from hearth.proxmox.api import Api

TIMEOUT = 4.0  # seconds for one try
TRIES = 2
PAUSE = 1.0  # seconds between them
WORKERS = 16
GREETING = b"SSH-"  # RFC 4253, 4.2


@dataclass(frozen=True)
class Target:
    """Something that must go on answering.

    Args:
        name: in the admin's words, e.g. "SSH of comms".
        answers: one try: True where it answered.
    """

    name: str
    answers: Callable[[], bool]


def ssh(name: str, address: str, port: int = 22) -> Target:
    """An SSH server: it greets whoever connects."""

    def answers() -> bool:
        with suppress(OSError), socket.create_connection((address, port), TIMEOUT) as line:
            line.settimeout(TIMEOUT)
            return line.recv(len(GREETING)) == GREETING
        return False

    return Target(name, answers)


def api(name: str, connect: Callable[[float], Api]) -> Target:
    """A node's API: `connect` gives a new connection with a patience in seconds."""

    def answers() -> bool:
        with suppress(HearthError, OSError):
            return bool(connect(TIMEOUT).get("/version"))
        return False

    return Target(name, answers)


def answering(targets: Iterable[Target]) -> frozenset[str]:
    """The names of those that answer; each is tried twice, all at once."""
    wanted = tuple(targets)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        found = pool.map(_patient, wanted)
        return frozenset(target.name for target, answers in zip(wanted, found, strict=True) if answers)


def _patient(target: Target) -> bool:
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        if target.answers():
            return True
    return False
