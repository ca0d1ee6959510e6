"""Where a twin keeps its things, and what it remembers between commands."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hearth.errors import HearthError

DEFAULT_HOME = "/var/lib/hearth-twin"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")


@dataclass(frozen=True)
class Twin:
    """One twin's name and places.

    Args:
        name: letters, digits and dashes, 20 at most; several twins live side by side.
        home: the folder of all twins (HEARTH_TWIN_HOME).
    """

    name: str
    home: Path

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise HearthError(
                f"use the twin {self.name!r}",
                "that is no name for one",
                "small letters, digits and dashes, at most 20",
            )

    @classmethod
    def named(cls, name: str) -> Twin:
        """The twin of this name under HEARTH_TWIN_HOME."""
        return cls(name, Path(os.environ.get("HEARTH_TWIN_HOME", DEFAULT_HOME)))

    @property
    def dir(self) -> Path:
        """The state directory."""
        return self.home / self.name

    @property
    def netns(self) -> str:
        """The network namespace's name."""
        return f"hearth-{self.name}"

    @property
    def netns_file(self) -> Path:
        """The network namespace, as `ip netns` keeps it."""
        return Path("/run/netns") / self.netns

    @property
    def ns_dir(self) -> Path:
        """A private mount of its own, on which the mount namespace is pinned."""
        return self.dir / "ns"

    @property
    def mount_ns(self) -> Path:
        """The pinned mount namespace."""
        return self.ns_dir / "mnt"

    @property
    def guests(self) -> Path:
        """A folder for each guest, named by its VMID."""
        return self.dir / "guests"

    @property
    def socket(self) -> Path:
        """The API process's root-only Unix socket."""
        return self.private / "api.sock"

    @property
    def control(self) -> Path:
        """The API process's other root-only Unix socket: the twin's own requests."""
        return self.private / "control.sock"

    @property
    def private(self) -> Path:
        """Root-only: keys, tokens, the API's memory."""
        return self.dir / "private"

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.dir / "log"

    @property
    def node_keys(self) -> Path:
        """authorized_keys of the node's SSH server; may be appended to."""
        return self.dir / "node_authorized_keys"

    @property
    def cgroup(self) -> str:
        """The cgroup of everything that belongs to this twin, below the root."""
        return f"hearth-twin/{self.name}"

    def exists(self) -> bool:
        """Whether `up` has begun and `down` has not ended."""
        return (self.dir / "state.json").exists()

    def make_directories(self) -> None:
        """Make the folders. The mapped root of unprivileged guests has to get through to the rootfs."""
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        for path in (self.dir, self.guests):
            path.mkdir(mode=0o711, exist_ok=True)
        for path in (self.private, self.logs, self.private / "hearth"):
            path.mkdir(mode=0o700, exist_ok=True)

    def load(self) -> dict[str, Any]:
        """What `save` kept; empty where there is nothing."""
        return read_json(self.dir / "state.json")

    def save(self, **values: Any) -> dict[str, Any]:
        """Remember these values beside what is remembered already; returns all."""
        state = {**self.load(), **values}
        write_json(self.dir / "state.json", state)
        return state

    def forget(self) -> None:
        """Remove the state directory."""
        shutil.rmtree(self.dir, ignore_errors=False)

    @contextmanager
    def locked(self, what: str = "twin") -> Iterator[None]:
        """Hold a lock of the twin (or, with "home", of all twins) against other commands."""
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        name = ".lock" if what == "home" else f".{self.name}.lock"
        with (self.home / name).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def others(twin: Twin) -> list[Twin]:
    """The other twins of the same home that are up, or half so."""
    found = sorted(twin.home.glob("*/state.json"))
    return [Twin(path.parent.name, twin.home) for path in found if path.parent.name != twin.name]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON object so that a crash leaves the old file or the new one."""
    write_atomically(path, json.dumps(data, indent=1, sort_keys=True).encode())


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write bytes so that a crash leaves the old file or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    fresh.replace(path)
