"""Real machines join a real headscale; run in a network of its own, where nothing leads out.

Usage: join_alone.py HEADSCALE TAILSCALED TAILSCALE. Prints what it saw as a JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headscale_kit import Headscale, running

from hearth.tailnet import Device, TailnetError, connect, joining

HEADSCALE, TAILSCALED, TAILSCALE = (Path(argument) for argument in sys.argv[1:4])
LAN = "192.168.1.0/24"
BRIEFLY = joining.Waiting(within=5.0)


class Machine:
    """A tailscaled without a tunnel of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._socket = f"--socket={folder / 'socket'}"
        command = [TAILSCALED, "--tun=userspace-networking", f"--statedir={folder}", self._socket, "--port=0"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--no-logs-no-support"], stdout=log, stderr=subprocess.STDOUT, env=environ
            )
        deadline = time.monotonic() + 30
        while not (folder / "socket").exists() and time.monotonic() < deadline:
            time.sleep(0.1)

    def join(self, server: Headscale, key: str, hostname: str, *more: str) -> str:
        """What `tailscale up` says; nothing where it worked."""
        file = self._folder / "key"
        file.write_text(key)
        given = [f"--login-server={server.url}", f"--auth-key=file:{file}", f"--hostname={hostname}", *more]
        command = [TAILSCALE, self._socket, "up", "--timeout=60s", *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"

    def stop(self) -> None:
        """As if it were switched off."""
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def machines(folder: Path) -> Iterator[list[Machine]]:
    """Five of them; all are ended."""
    found: list[Machine] = []
    try:
        for number in range(5):
            found.append(Machine(folder / str(number)))
        yield found
    finally:
        for machine in found:
            machine.stop()


def refused(attempt: Any) -> str:
    """The words of a refusal; nothing where there is none."""
    try:
        attempt()
    except TailnetError as error:
        return str(error)
    return ""


def seen(device: Device) -> dict[str, Any]:
    """What matters of a device."""
    return {
        "name": device.name,
        "tags": device.tags,
        "online": device.online,
        "advertised": device.advertised,
    }


def story(server: Headscale, there: list[Machine]) -> dict[str, Any]:
    """A guest joins; its key is tried again; it is made anew, at last without forgetting the old one."""
    api = connect(server.access)
    found: dict[str, Any] = {}

    def key() -> str:
        return joining.join_key(api, "comms").secret.reveal()

    first = key()
    found["joins"] = there[0].join(server, first, "comms", f"--advertise-routes={LAN}")
    found["device"] = seen(joining.assert_named(api, "comms"))
    found["same key again"] = there[1].join(server, first, "other")
    joining.approve_routes(api, "comms", [LAN])
    found["approved"] = [device.approved for device in api.devices()]
    found["forget it while it runs"] = refused(lambda: joining.forget_old(api, "comms", waiting=BRIEFLY))
    there[0].stop()
    found["forgotten"] = [device.name for device in joining.forget_old(api, "comms")]
    found["made anew"] = there[2].join(server, key(), "comms")
    found["device anew"] = seen(joining.assert_named(api, "comms"))
    there[2].stop()
    found["not forgotten"] = there[3].join(server, key(), "comms")
    found["its name"] = refused(lambda: joining.assert_named(api, "comms", waiting=BRIEFLY))
    expired = api.make_key(["tag:hearth"], 1, "expired")
    time.sleep(2)
    found["expired key"] = there[4].join(server, expired.secret.reveal(), "late")
    found["all"] = sorted(device.name for device in api.devices())
    return found


with tempfile.TemporaryDirectory(prefix="join-") as place:
    home = Path(place)
    (home / "server").mkdir()
    with running(HEADSCALE, home / "server") as headscale, machines(home) as five:
        headscale.clear()
        print(json.dumps(story(headscale, five)))
