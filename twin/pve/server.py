"""A fake Proxmox VE in a thread of its own, so that synchronous tests and programs can use it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fakepve.certs import make_cert

if TYPE_CHECKING:
    from types import TracebackType

    from twin.pve.pve import Pve

T = TypeVar("T")

#: Seconds to wait for the loop to do what was asked of it.
PATIENCE = 30


class Server:
    """Serves a `Pve` over HTTPS from a private event loop.

    Args:
        pve: the fake to serve; its host and port are used (port 0: chosen by the system).
        directory: where `pve.crt` (its own CA) and `pve.key` are, or are written on start.
    """

    def __init__(self, pve: Pve, directory: Path) -> None:
        self.pve = pve
        self.directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="twin-pve", daemon=True)

    @property
    def url(self) -> str:
        """`https://host:port`; the real port once started."""
        return str(self.pve.url)

    @property
    def ca_file(self) -> Path:
        """PEM file that verifies the server's certificate."""
        return self.directory / "pve.crt"

    def start(self) -> Server:
        """Listen. Returns the server itself. Raises OSError where the address is taken."""
        key = self.directory / "pve.key"
        if not (self.ca_file.exists() and key.exists()):
            self.directory.mkdir(parents=True, exist_ok=True)
            make_cert(str(self.directory), name="pve", hosts=(self.pve.host,))
        self._thread.start()
        try:
            self.run(self.pve.start(str(self.ca_file), str(key)))
        except BaseException:
            self._halt()
            raise
        return self

    def stop(self) -> None:
        """Stop listening and end the thread; running tasks of the fake end with it."""
        try:
            self.run(self.pve.stop())
        finally:
            self._halt()

    def call(self, function: Callable[[], T]) -> T:
        """Run a plain function inside the server's loop, between requests; returns its result."""

        async def inside() -> T:
            return function()

        return self.run(inside())

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine inside the server's loop; returns its result, raises what it raises."""

        async def wrapped() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(PATIENCE)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _halt(self) -> None:
        async def cancel_all() -> None:
            mine = asyncio.current_task()
            for task in asyncio.all_tasks():
                if task is not mine:
                    task.cancel()

        self.run(cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._loop.close()
