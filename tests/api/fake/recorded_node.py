"""The node the recordings were made on, as a fake, and what happened to it between the requests."""

from __future__ import annotations

import re
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
    r"/firewall|/vzdump|/rrddata|/feature|/prunebackups|/upload|/domains|/password|extractconfig"
)


def selected(one: Recorded) -> bool:
    """Whether a recorded request is part of the replay."""
    return bool(_TOUCHED.fullmatch(one.path)) and not _UNTOUCHED.search(one.path)


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
