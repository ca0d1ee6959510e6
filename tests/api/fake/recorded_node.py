"""The node the recordings were made on, as a fake, and what happened to it between the requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from replay import Client, Recorded

from twin.pve import Pve, Server

GIB = 1024**3
PASSWORD = "Test-pw-12345"

#: What Hearth calls, or what must be right for what it calls.
_TOUCHED = re.compile(
    r"/api2/(?:json|extjs|xml|\.\.)(?:/version|/nosuch|/nodes/?|/cluster/nextid|/access/.*|/pools.*|/storage.*|/foo"
    r"|/nodes/[^/]+/(?:lxc|qemu|tasks|storage)(?:/.*)?)"
)
#: Not called by anything of Hearth's: see the table in test_replay.py.
_UNTOUCHED = re.compile(
    r"/firewall|/vzdump|/rrddata|/feature|/prunebackups|/upload|/domains|/cloudinit|/lxc/121/|content/\w+:backup"
    r"|/agent/(?!ping|network|bogus)"
)
#: Lines whose answer follows from what was left out, or from time passing.
_LEFT_OUT = {
    **dict.fromkeys((493, 502, 506, 507, 508, 512, 1022), "backups, restore and clone of one"),
    873: "an upload",
    901: "a running backup",
    **dict.fromkeys((963, 968, 969), "cluster options and HA"),
    1138: "a create that still runs: test_guests.py",
}


def selected(one: Recorded) -> bool:
    """Whether a recorded request is part of the replay."""
    if one.index in _LEFT_OUT or _UNTOUCHED.search(one.path):
        return False
    return bool(_TOUCHED.fullmatch(one.path))


def recorded_server(certificates: Path) -> tuple[Server, Client]:
    """A fake of the recorded node, not started yet, and the client that replays to it."""
    pve = Pve(version="8.4.21")
    pve.nodes = {"pve1": {"online": True}}
    pve.password = PASSWORD
    pve.storages = {
        "local": {
            "type": "dir",
            "path": "/var/lib/vz",
            "content": "rootdir,images,snippets,backup,iso,vztmpl",
            "prune-backups": "keep-all=1",
            "active": 1,
            "files": set(),
            "volumes": {},
            "avail": 75 * GIB,
        }
    }
    pve.store_file("local", "debian-12-standard_12.0-1_amd64.tar.zst", 66789094, "vztmpl")
    server = Server(pve, certificates)
    tokens = {"root@pam!iac": pve.add_token("root@pam!iac", privsep=False)}
    return server, Client(server, tokens, PASSWORD)


def before(one: Recorded, server: Server) -> None:
    """Do to the fake what was done to the real node between two recorded requests."""
    happened = _BETWEEN.get(one.index)
    if happened is not None:
        server.call(lambda: happened(server.pve))


def _start(vmid: int) -> Callable[[Pve], None]:
    def happened(pve: Pve) -> None:
        guest = pve.guest(vmid)
        guest.status = "running"
        guest.started_at, guest.pid = 1, 302

    return happened


def _restored(pve: Pve) -> None:
    config = {
        "arch": "amd64",
        "features": "nesting=1,keyctl=1,fuse=1",
        "hostname": "ct111",
        "memory": 512,
        "ostype": "debian",
        "rootfs": "local:120/vm-120-disk-1.raw,size=1G",
        "swap": 512,
        "unprivileged": 1,
    }
    pve.add_ct(120, node="pve1", config=config, defaults=False, lock="backup")


def _both_pending(pve: Pve) -> None:
    """Line 451: a new mp2 and its deletion were both pending, and the new one won; fakepve has no both."""
    pve.ct(112).pending["mp2"] = "local:1,mp=/extra"


def _second_node(pve: Pve) -> None:
    pve.add_node("pve2", online=False)
    pve.add_ct(300, node="pve2")


def _without_acpi(pve: Pve) -> None:
    pve.vm(211).acpi = False


def _agent(pve: Pve) -> None:
    pve.vm(201).agent = {}


def _hold(pve: Pve) -> None:
    pve.ct(140).lock_holder = "scenario"


#: line of the recordings -> what had happened just before it.
_BETWEEN: dict[int, Callable[[Pve], None]] = {
    64: _start(100),
    453: _both_pending,
    523: _restored,
    535: lambda pve: pve.unlock(120),
    684: _without_acpi,
    902: lambda pve: pve.snapshot_lock(140, "backup"),
    907: lambda pve: pve.unlock(140),
    909: _hold,
    910: lambda pve: pve.release(pve.ct(140), "scenario"),
    990: _second_node,
    1044: _agent,
}
