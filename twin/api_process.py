"""The API process: the fake Proxmox with real guests.

It listens on the node's addresses, and on two root-only Unix sockets.

Started by `up` inside the twin's namespaces: python -m twin.api_process NAME
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from twin.control import control_app
from twin.home import Home
from twin.pve import furnish
from twin.real.cluster_files import ClusterFiles
from twin.real.persist import Memory
from twin.real.pve import RealPve
from twin.state import Twin, write_json
from twin.wall.keeper import Keeper

PORT = 8006
SAVE_EVERY = 0.5


class TwinPve(RealPve):
    """Adds what only the twin's own process does: root over the Unix socket, memory and wall kept."""

    memory: Memory
    files: ClusterFiles
    wall: Keeper

    def _authenticate(self, request: Any) -> Any:
        if isinstance(request.transport.get_extra_info("sockname"), str):
            return "root@pam"  # only root can open the socket
        return super()._authenticate(request)

    async def _answer(self, request: Any, handler: Any, generic: Any, path_node: Any) -> Any:
        response = await super()._answer(request, handler, generic, path_node)
        if request.method == "GET":
            self.files.write(self.everyone())  # who hears that a task has ended finds what it made
        else:
            self.keep()
        return response

    def keep(self) -> None:
        """Write down what changed, and enforce it."""
        self.wall.sync()
        self.memory.save()
        self.files.write(self.everyone())


async def serve(twin: Twin) -> None:
    """Serve until told to stop."""
    state = twin.load()
    home = Home(**state["home"])
    pve = TwinPve(twin, home, Path(state["base"]))
    pve.memory = Memory(pve, twin.private / "pve.pickle")
    if not pve.memory.load():
        _furnish(pve, twin, home)
    for name in home.backups:
        _storage_for_backups(pve, name)
    pve.adopt_reality()
    pve.files = ClusterFiles()
    pve.wall = Keeper(pve, home)
    pve.keep()
    pve.log.file = twin.logs / "requests.jsonl"
    await pve.start(str(twin.private / "pve.crt"), str(twin.private / "pve.key"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(twin.private / "pve.crt", twin.private / "pve.key")
    for node in home.nodes[1:]:
        await web.TCPSite(pve.runner, node.address, PORT, ssl_context=tls).start()
    control = web.AppRunner(control_app(pve))
    await control.setup()
    for runner, path in ((pve.runner, twin.socket), (control, twin.control)):
        path.unlink(missing_ok=True)
        await web.UnixSite(runner, str(path)).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    chores = [asyncio.create_task(pve.watch()), asyncio.create_task(_save(pve))]
    await stop.wait()
    for chore in chores:
        chore.cancel()
    pve.memory.save()


async def _save(pve: TwinPve) -> None:
    """Tasks change the state long after their request was answered, and time runs out."""
    while True:
        await asyncio.sleep(SAVE_EVERY)
        pve.keep()


def _furnish(pve: TwinPve, twin: Twin, home: Home) -> None:
    """Make the node that the fleet speaks of: names, storages, Hearth's user and token."""
    tokens = furnish(pve, node=home.nodes[0].name, images=False)
    pve.nodes = {node.name: {"online": True} for node in home.nodes}
    for node in home.nodes:
        pve.storages.setdefault(node.storage, dict(pve.storages["local-lvm"], volumes={}, files=set()))
        pve.storages.setdefault(node.images, dict(pve.storages["local"], volumes={}, files=set()))
    write_json(twin.private / "tokens.json", {"hearth": tokens.hearth, "root": tokens.root})


def _storage_for_backups(pve: TwinPve, name: str) -> None:
    """Have a storage that the backup jobs name; Hearth may do there what bootstrap.py would let it."""
    keeps = {"path": f"/mnt/pve/{name}", "content": "backup", "volumes": {}, "files": set()}
    pve.storages.setdefault(name, {**pve.storages["local"], **keeps})
    for who in ("hearth@pve", "hearth@pve!deploy"):
        pve.give(f"/storage/{name}", "PVEDatastoreAdmin", who)


def main() -> None:
    """Serve the twin named on the command line."""
    os.umask(0o022)  # what it writes is the files of guests
    asyncio.run(serve(Twin.named(sys.argv[1])))


if __name__ == "__main__":
    main()
