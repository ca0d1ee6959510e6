"""A real HAProxy on loopback with the files that role `front` would put on a guest, and a program behind it.

Each guest has a loopback address of its own: the door is 127.0.0.1, because that is from where this machine
speaks to 127.0.0.2, the guest behind it. Anybody else binds to 127.0.0.9.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from role_kit import FakeRun, fleet, guest

from hearth.role.declaration import Port, Role
from hearth.role.fronted import ENTRANCE

DOOR, BEHIND, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.9"
AUTHORITY = "/usr/local/share/ca-certificates/hearth.crt"
WAIT = 15.0  # seconds


def a_port() -> int:
    """A port that is free on every address of loopback, and whose entrance is."""
    while True:
        port = random.randrange(11_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in (port, port + ENTRANCE):
                stack.enter_context(socket.socket()).bind(("0.0.0.0", number))
            return port


def hub(**port: Any) -> Role:
    """A role with a web interface."""
    number, behind = a_port(), a_port()
    given = {"tls": True, "behind": behind, "audience": "lan", "health": "http", "path": "/health", **port}
    return Role(provides=(Port("web", number, **given),), name="hub")


def a_run(role: Role, *also: str) -> FakeRun:
    """A fleet with the door, and a guest `comms` with the role; `also`: further guests with it."""
    others = [
        guest(name, 140 + last, "hub", "front", address=IPv4Address(f"127.0.0.{3 + last}"))
        for last, name in enumerate(also)
    ]
    run = FakeRun(
        fleet(
            guest("hall", 134, "front_door", "front", address=IPv4Address(DOOR)),
            guest("comms", 135, "hub", "front", address=IPv4Address(BEHIND)),
            *others,
        )
    )
    run.roles["hub"] = role
    return run


class Front:
    """A running HAProxy of one guest.

    Args:
        run: the fleet it belongs to.
        name: the guest.
        data: values of group_data.
    """

    def __init__(self, run: FakeRun, name: str, **data: Any) -> None:
        self.run, self.name, self.data = run, name, data
        self.address = str(run.fleet.guest(name).address)
        self.root = Path(tempfile.mkdtemp(prefix="hearth-front-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.root / "etc/haproxy/hearth/haproxy.cfg"

    def write(self, **data: Any) -> None:
        """Put the role's files into the folder: this guest's address alone, and quicker checks."""
        from roles.front import proxy_files

        self.data |= data
        (self.root / "ca.crt").write_text(self.run.authority.ca_pem)
        moved = {
            AUTHORITY: f"{self.root}/ca.crt",
            "/run/haproxy": f"{self.root}/run",
            "bind *:80\n": f"bind {self.address}:{self.data.get('low', 80)}\n",
            "bind *:": f"bind {self.address}:",
            "inter 30s fastinter 1s downinter 2s": "inter 200ms fastinter 50ms downinter 50ms",
            "inter 5s fastinter 1s downinter 1s": "inter 200ms fastinter 50ms downinter 50ms",
            "{front}": str(self.root),
        }
        (self.root / "run").mkdir(exist_ok=True)
        here = self.run.here(self.name, "front", **{k: v for k, v in self.data.items() if k != "low"})
        for file in proxy_files(here).reloaded:
            text = file.text
            for old, new in moved.items():
                text = text.replace(old, new)
            path = Path(f"{self.root}{file.path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(text)

    def checked(self) -> subprocess.CompletedProcess[str]:
        """HAProxy's own opinion of the files."""
        command = ["haproxy", "-c", "-f", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def start(self) -> None:
        with (self.root / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["haproxy", "-W", "-f", str(self.config)], stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: (self.root / "run/admin.sock").exists() and bool(self.ask("show info")))

    def ask(self, command: str) -> str:
        """What HAProxy's own socket answers."""
        with socket.socket(socket.AF_UNIX) as channel:
            try:
                channel.connect(str(self.root / "run/admin.sock"))
            except OSError:
                return ""
            channel.sendall(f"{command}\n".encode())
            return channel.makefile().read()

    def worker(self) -> str:
        """The process that answers now."""
        return next((line for line in self.ask("show info").splitlines() if line.startswith("Pid:")), "")

    def reload(self) -> None:
        """As the unit does it; returns once another process answers."""
        before = self.worker()
        assert self.process
        self.process.send_signal(signal.SIGUSR2)
        until(lambda: self.worker() not in ("", before))

    def stop(self) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(WAIT)
        shutil.rmtree(self.root)

    def tls(self) -> ssl.SSLContext:
        """TLS that trusts the fleet's authority and nobody else."""
        return ssl.create_default_context(cadata=self.run.authority.ca_pem)

    def trusting(self, name: str = "comms") -> dict[str, Any]:
        """aiohttp's arguments for a connection whose certificate is for `name`."""
        return {"ssl": self.tls(), "server_hostname": name}


@contextlib.contextmanager
def a_front(run: FakeRun, name: str = "comms", **data: Any) -> Iterator[Front]:
    """HAProxy of a guest, within the block."""
    front = Front(run, name, **data)
    try:
        front.write()
        front.start()
        yield front
    finally:
        front.stop()


class Program:
    """What stands behind: it says back what it was asked, and echoes on WebSockets."""

    def __init__(self, port: int, says: str = "", host: str = "127.0.0.1") -> None:
        self.port, self.says, self.host = port, says, host
        self.health = 200
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/health":
            return web.Response(status=self.health)
        if request.path == "/ws":
            channel = web.WebSocketResponse()
            await channel.prepare(request)
            async for message in channel:
                await channel.send_str(f"echo {message.data}")
            return channel
        names = {name.lower(): request.headers.getall(name) for name in request.headers}
        return web.json_response({"headers": names, "says": self.says, "path": request.path})

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.host, self.port).start()

    def start(self) -> Program:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self.loop).result(WAIT)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(WAIT)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT)


@contextlib.contextmanager
def a_program(port: int, says: str = "", host: str = "127.0.0.1") -> Iterator[Program]:
    """A program, within the block."""
    program = Program(port, says, host).start()
    try:
        yield program
    finally:
        program.stop()


def fetch(url: str, source: str = ELSEWHERE, **how: Any) -> tuple[int, Any]:
    """Status and JSON (or text) of a GET from an address of ours; redirects are not followed."""

    async def get() -> tuple[int, Any]:
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        limit = aiohttp.ClientTimeout(total=WAIT)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit) as session,
            session.get(url, allow_redirects=False, **how) as answer,
        ):
            text = await answer.text()
            return answer.status, await answer.json() if answer.content_type == "application/json" else (
                dict(answer.headers),
                text,
            )

    return run(get())


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine."""
    return asyncio.run(work)


def until(holds: Callable[[], bool], within: float = WAIT) -> None:
    """Wait for something; the test fails when it does not come."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
