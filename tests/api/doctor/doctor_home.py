"""A home to examine: a small fleet, and a fake node whose answers can be changed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from hearth.doctor.examine import Home, examine
from hearth.doctor.finding import Finding
from hearth.proxmox.api import connect
from twin.pve import Pve, Server

NODE: dict[str, Any] = {"address": "127.0.0.1", "storage": "local-lvm", "images": "local"}
FLEET: dict[str, Any] = {
    "nodes": {"pve": NODE},
    "networks": {"lan": {"bridge": "vmbr0", "subnet": "192.0.2.0/24", "gateway": "192.0.2.1"}},
    "images": {
        "debian": {"kind": "lxc", "url": "http://example.org/debian-12-standard_12.7-1_amd64.tar.zst"},
        "cloud": {"kind": "vm", "url": "https://example.org/debian-12-genericcloud-amd64.qcow2"},
    },
    "guests": {
        "comms": {
            "kind": "lxc",
            "address": "192.0.2.135",
            "image": "debian",
            "unprivileged": True,
            "cores": 1,
            "memory": "512 MiB",
            "disk": "8 GiB",
        },
        "database": {
            "kind": "vm",
            "address": "192.0.2.136",
            "image": "cloud",
            "cores": 1,
            "memory": "1 GiB",
            "disk": "16 GiB",
            "startup": {"order": 1},
        },
    },
}


@dataclass
class Patient:
    """What the doctor examines; tests break one thing of it."""

    project: Path
    server: Server
    environ: dict[str, str]
    fleet: dict[str, Any]
    answers: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.say("/nodes/pve/time", lambda: {"time": int(time.time()), "timezone": "Etc/UTC"})
        original = self.pve.answer

        async def answer(request: Any, *arguments: Any, **named: Any) -> Any:
            for suffix, said in self.answers.items():
                if request.path.endswith(suffix):
                    return said() if callable(said) else said
            return await original(request, *arguments, **named)

        self.pve.answer = answer  # type: ignore[method-assign]

    @property
    def pve(self) -> Pve:
        return self.server.pve

    @property
    def home(self) -> Home:
        return Home(self.project, self.environ)

    def say(self, suffix: str, data: Any) -> None:
        """Let the fake answer GETs of a path with this data (a function is called)."""
        self.answers[suffix] = data

    def make_vm(self, vmid: int, name: str) -> None:
        """A VM of this name with our tag on the node."""
        node = self.home.load_fleet().node("pve")
        api = connect(node, self.environ)
        api.task("POST", "/nodes/pve/qemu", f"make {name}", vmid=vmid, name=name, tags="hearth")
        self.server.call(self.pve.log.clear)

    def guest(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.fleet["guests"][name]
        return found

    def write_fleet(self) -> None:
        (self.project / "inventory" / "fleet.yaml").write_text(yaml.safe_dump(self.fleet, sort_keys=False))

    def examine(self) -> list[Finding]:
        """Everything the doctor says."""
        self.write_fleet()
        return examine(self.home)

    def complaints(self) -> list[Finding]:
        """What is not ok."""
        return [finding for finding in self.examine() if finding.status != "ok"]

    def complaint(self) -> Finding:
        """The one thing that is not ok; fails when there is none, or another."""
        (finding,) = self.complaints()
        return finding

    def type_on_node(self, command: str) -> None:
        """Do what `pveum` commands would do, as root of the node: `role add`, `role modify`, `acl modify`."""
        for step in command.split(";"):
            done = False
            for alternative in step.split("||"):
                if not done:
                    done = self._pveum(shlex.split(alternative))

    def _pveum(self, words: list[str]) -> bool:
        assert words[0] == "pveum", words
        access = self.pve.access
        if words[1:3] in (["role", "add"], ["role", "modify"]):
            role, options = words[3], _options(words[4:])
            if (words[2] == "add") == (access.role(role) is not None):
                return False
            privileges = frozenset(options["--privs"].split())
            assert privileges <= access.privileges, privileges - access.privileges
            self.server.call(lambda: access.custom.update({role: privileges}))
            return True
        assert words[1:3] == ["acl", "modify"], words
        path, options = words[3], _options(words[4:])
        for who in (options["--users"], options["--tokens"]):
            spread = options["--propagate"] == "1"
            self.server.call(partial(self.pve.give, path, options["--roles"], who, spread))
        return True


def _options(words: list[str]) -> Mapping[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))
