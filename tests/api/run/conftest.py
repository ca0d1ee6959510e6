"""The whole command, `pyinfra inventory deploy.py`, in a process of its own against the fake on loopback.

The guests are appliances: they are created, changed and destroyed for real in the fake, and nothing inside
them is touched, so no SSH is opened. Addresses of the fleet file are only ever data here.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from twin.pve import Pve, Server
from twin.pve.furnish import DEBIAN_IMAGE, DEBIAN_TEMPLATE
from twin.pve.request_log import Request

PROJECT = Path(__file__).parents[3]
PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
PATIENCE = 60  # seconds that one command may take; most take two
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")


def container(number: int = 135, **fields: Any) -> dict[str, Any]:
    """A container of the fleet file, as an admin would write it."""
    known: dict[str, Any] = {
        "kind": "lxc",
        "network": "lan",
        "address": f"192.168.1.{number}",
        "appliance": True,
        "image": "debian",
        "unprivileged": True,
        "features": {"nesting": True},
        "cores": 1,
        "memory": "512 MiB",
        "disk": "8 GiB",
    }
    return known | fields


def machine(number: int = 136, **fields: Any) -> dict[str, Any]:
    """A VM of the fleet file."""
    known: dict[str, Any] = {
        "kind": "vm",
        "network": "lan",
        "address": f"192.168.1.{number}",
        "appliance": True,
        "image": "cloud",
        "cores": 2,
        "memory": "2 GiB",
        "disk": "16 GiB",
    }
    return known | fields


def fleet_of(nodes: tuple[str, ...] = ("pve",), **guests: dict[str, Any]) -> dict[str, Any]:
    """A fleet file's content. Its nodes are closed ports of loopback: PROXMOX_VE_ENDPOINT wins over them."""
    return {
        "nodes": {
            name: {
                "address": f"127.0.0.{1 + place}",
                "endpoint": "https://127.0.0.1:9",
                "ssh": {"port": 9},
                "storage": "local-lvm",
                "images": "local",
            }
            for place, name in enumerate(nodes)
        },
        "networks": {"lan": {"bridge": "vmbr0", "subnet": "192.168.1.0/24", "gateway": "192.168.1.1"}},
        "images": {
            "debian": {"kind": "lxc", "url": f"http://images.example/{DEBIAN_TEMPLATE.rpartition('/')[2]}"},
            "cloud": {"kind": "vm", "url": f"http://images.example/{DEBIAN_IMAGE.rpartition('/')[2]}"},
        },
        "guests": {name.replace("_", "-"): guest for name, guest in guests.items()},
    }


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it asked of the API."""

    code: int
    out: str
    err: str
    requests: tuple[Request, ...]

    @property
    def writes(self) -> list[str]:
        """`METHOD PATH` of all but GETs."""
        return [f"{asked.method} {asked.path}" for asked in self.requests if asked.method != "GET"]

    @property
    def paths(self) -> list[str]:
        """`METHOD PATH` of everything."""
        return [f"{asked.method} {asked.path}" for asked in self.requests]

    @property
    def text(self) -> str:
        """What the admin saw, both streams."""
        return self.err + self.out

    def went_well(self) -> Done:
        """Itself; fails the test where the command did not end 0."""
        assert self.code == 0, self.text
        return self

    def refused(self, *words: str) -> Done:
        """Itself; fails unless it ended non-zero, with these words, without a traceback."""
        assert self.code != 0, f"exit 0\n{self.text}"
        assert "Traceback" not in self.text, self.text
        for word in words:
            assert word in self.text, f"{word!r} is not said:\n{self.text}"
        return self


@dataclass
class Home:
    """A fleet file, the fake, and the command that joins them."""

    pve: Pve
    server: Server
    place: Path
    env: dict[str, str]
    fleet: dict[str, Any] = field(default_factory=dict)

    def declare(self, fleet: dict[str, Any] | None = None, **guests: dict[str, Any]) -> None:
        """Write the fleet file: a whole one, or one of these guests."""
        self.fleet = copy.deepcopy(fleet) if fleet else fleet_of(**guests)
        self.file.write_text(yaml.safe_dump(self.fleet, sort_keys=False), encoding="utf-8")

    def change(self, guest: str, **fields: Any) -> None:
        """Change keys of a guest in the fleet file; None removes one."""
        entry = self.fleet["guests"][guest]
        entry.update(fields)
        self.fleet["guests"][guest] = {key: value for key, value in entry.items() if value is not None}
        self.declare(self.fleet)

    @property
    def file(self) -> Path:
        """The fleet file."""
        return self.place / "fleet.yaml"

    def start(self, *arguments: str, program: str = PYINFRA, **popen: Any) -> subprocess.Popen[str]:
        """Start a command in the project's folder."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.env, "text": True}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([program, *arguments], cwd=PROJECT, **(options | popen))

    def pyinfra(self, *arguments: str, env: dict[str, str] | None = None, patience: float = PATIENCE) -> Done:
        """Run `pyinfra ...` as an admin types it; bounded in time."""
        before = len(self.pve.log.requests)
        process = self.start(*arguments, env={**self.env, **(env or {})})
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"pyinfra {' '.join(arguments)} took more than {patience} s\n{err}{out}")
        return Done(process.returncode, out, err, tuple(self.pve.log.requests[before:]))

    def deploy(self, *arguments: str, **options: Any) -> Done:
        """`pyinfra inventory deploy.py -y`."""
        return self.pyinfra("inventory", "deploy.py", "-y", *arguments, **options)

    def dry(self, *arguments: str, **options: Any) -> Done:
        """`pyinfra inventory deploy.py --dry`."""
        return self.pyinfra("inventory", "deploy.py", "--dry", *arguments, **options)

    def plan(self, *arguments: str) -> dict[str, Any]:
        """The guests' part of `--dry --json`, which must end well and ask with GETs only."""
        done = self.dry("--json", *arguments).went_well()
        assert done.writes == []
        return dict(json.loads(done.out)["guests"])

    def config(self, vmid: int) -> dict[str, Any]:
        """A guest's configuration in the fake."""
        return dict(self.pve.guest(vmid).config)

    def status(self, vmid: int) -> str:
        """`running`, `stopped`, or `absent`."""
        guest = self.pve.guest(vmid)
        return str(guest.status) if guest else "absent"

    def volumes(self) -> set[str]:
        """Every disk there is, whoever's it is."""
        return {
            f"{storage}:{name}"
            for storage, store in self.pve.storages.items()
            for name, volume in store.get("volumes", {}).items()
            if volume.get("content") in ("images", "rootdir")
        }

    def state(self) -> dict[str, Any]:
        """All that must be the same after any run, without what is drawn by lot."""
        drawn = ("digest", "vmgenid", "smbios1", "meta")
        guests = {
            guest.vmid: {
                "config": {key: value for key, value in guest.config.items() if key not in drawn},
                "pending": dict(guest.pending),
                "status": guest.status,
                "lock": guest.lock,
            }
            for guest in (*self.pve.cts, *self.pve.vms)
        }
        pools = {name: sorted(members) for name, members in self.pve.pools.items()}
        return {"guests": guests, "volumes": sorted(self.volumes()), "pools": pools}


def home_of(server: Server, env: dict[str, str], place: Path) -> Home:
    """A home without a fleet file yet, and an environment that knows nothing of this machine's own."""
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    own = {
        "HEARTH_FLEET": str(place / "fleet.yaml"),
        "HEARTH_SECRETS": str(place / "secrets.age"),
        "HEARTH_AGE_KEY_FILE": str(place / "age.key"),
        "HEARTH_STATE_DIR": str(place / "state"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Home(server.pve, server, place, {**kept, **env, **own})


@pytest.fixture
def home(pve_server: Server, pve_env: dict[str, str], tmp_path: Path) -> Home:
    """The fake of this test, and no fleet file yet."""
    return home_of(pve_server, pve_env, tmp_path)


@pytest.fixture
def small(home: Home) -> Home:
    """A home of one container and one VM, nothing of it there yet."""
    home.declare(comms=container(tags=["mqtt"]), database=machine())
    return home


@pytest.fixture
def deployed(small: Home) -> Home:
    """The small home, deployed."""
    small.deploy().went_well()
    return small
