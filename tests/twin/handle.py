"""A running twin, as tests use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import requests

from twin.control import ask, ask_api
from twin.down import down
from twin.home import PROJECT
from twin.processes import started_at
from twin.state import Twin, read_json

T = TypeVar("T")
NODE = "192.168.1.185"
ROUTER = "192.168.1.1"  # the home's: an address of the twin that no wall of the node guards
TEMPLATE = "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst"
IMAGE = "local:import/debian-12-genericcloud-amd64.qcow2"
LIMIT = 60


class TaskFailed(Exception):  # noqa: N818
    """A task ended otherwise than OK; its text is the exit status and the log."""


class TwinHandle:
    """A running twin, as tests use it.

    Args:
        twin: which.
        key: file of an SSH key that guests and node may trust.
    """

    def __init__(self, twin: Twin, key: Path) -> None:
        self.twin = twin
        self.key = key
        self.public = key.with_suffix(".pub").read_text().strip()
        # setns(2) holds for a thread: what this one runs is in the twin's network.
        self._inside = ThreadPoolExecutor(1, initializer=_enter, initargs=(twin,))

    def command(self, *argv: str, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m twin --name NAME ARGV`."""
        return subprocess.run(
            [sys.executable, "-m", "twin", "--name", self.twin.name, *argv],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=PROJECT,
            env={**os.environ, "HEARTH_TWIN_HOME": str(self.twin.home), **env},
        )

    def exec(self, *argv: str, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the twin, as `twin exec -- ARGV` does."""
        return self.command("exec", "--", *argv, timeout=timeout, **env)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function with its sockets in the twin's network."""
        return self._inside.submit(function).result()

    def log(self) -> list[dict[str, Any]]:
        """The API's request log."""
        return [json.loads(line) for line in self.command("log").stdout.splitlines()]

    def fault(self, name: str, **params: Any) -> None:
        """Apply a fault."""
        ask(self.twin, "POST", "/faults", {"name": name, "params": params})

    def clear_faults(self) -> None:
        """Undo every fault."""
        ask(self.twin, "DELETE", "/faults")

    @property
    def token(self) -> str:
        """Hearth's own token."""
        return str(read_json(self.twin.private / "tokens.json")["hearth"])

    def api(self, method: str, path: str, **form: Any) -> Any:
        """Ask the API with Hearth's own token; returns `data`. Underscores in names stand for dashes."""
        values = {key.replace("_", "-"): value for key, value in form.items()}
        answer = self.call(
            lambda: requests.request(
                method,
                f"https://{NODE}:8006/api2/json{path}",
                headers={"Authorization": f"PVEAPIToken={self.token}"},
                verify=str(self.twin.dir / "ca.pem"),
                timeout=LIMIT,
                data=values if method in ("POST", "PUT") else None,
                params=None if method in ("POST", "PUT") else values,
            )
        )
        if not answer.ok:
            raise requests.HTTPError(f"{answer.status_code} {answer.reason} {answer.text}", response=answer)
        return answer.json()["data"]

    def as_root(self, method: str, path: str, **form: str) -> Any:
        """Ask the API as root@pam, over the Unix socket."""
        return ask_api(self.twin, method, path, form or None)

    def task(self, method: str, path: str, **form: Any) -> list[str]:
        """Ask the API for a task and wait for it; returns its log. Raises TaskFailed."""
        upid = self.api(method, path, **form)
        node = f"/nodes/{upid.split(':')[1]}/tasks/{upid}"
        status = until(lambda: _stopped(self.api("GET", f"{node}/status")))
        log = [row["t"] for row in self.api("GET", f"{node}/log")]
        if status["exitstatus"] != "OK" and not status["exitstatus"].startswith("WARNINGS"):
            raise TaskFailed(f"{status['exitstatus']}: {log}")
        return log

    def images(self) -> None:
        """Have a template and a cloud image on the node."""
        there = {row["volid"] for row in self.api("GET", "/nodes/pve/storage/local/content")}
        for volid in {TEMPLATE, IMAGE} - there:
            content, _, name = volid.partition(":")[2].partition("/")
            self.task(
                *("POST", "/nodes/pve/storage/local/download-url"),
                **{"url": f"https://example.org/{name}", "filename": name, "content": content},
            )

    def container(self, vmid: int, start: bool = True, **config: Any) -> str:
        """Create a container at 192.168.1.VMID (VMID under 255) and start it; returns its address."""
        self.images()
        address = f"192.168.1.{vmid}"
        net = f"name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:{vmid:02X},ip={address}/24,gw=192.168.1.1"
        values = {
            "hostname": f"ct{vmid}",
            "memory": 256,
            "cores": 1,
            "unprivileged": 1,
            "features": "nesting=1",
            "rootfs": "local-lvm:4",
            "net0": net,
            "ssh_public_keys": self.public,
            "ostemplate": TEMPLATE,
            "storage": "local-lvm",
            "tags": "hearth",
            **config,
        }
        self.task("POST", "/nodes/pve/lxc", vmid=vmid, **values)
        if start:
            self.task("POST", f"/nodes/pve/lxc/{vmid}/status/start")
        return address

    def remove(self, kind: str, vmid: int) -> None:
        """Stop and destroy a guest, if it is there."""
        known = {row["vmid"]: row["status"] for row in self.api("GET", f"/nodes/pve/{kind}")}
        if vmid in known:
            if known[vmid] == "running":
                self.task("POST", f"/nodes/pve/{kind}/{vmid}/status/stop")
            self.task("DELETE", f"/nodes/pve/{kind}/{vmid}")

    def ssh(self, address: str, *command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command over SSH; waits until the other end answers."""

        def once() -> subprocess.CompletedProcess[str] | None:
            done = subprocess.run(
                [
                    *("nsenter", f"--net={self.twin.netns_file}", "--", "ssh", "-i", str(self.key)),
                    *("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"),
                    *("-oConnectTimeout=3", "-oBatchMode=yes", f"{user}@{address}", *command),
                ],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
            return done if done.returncode != _NO_CONNECTION else None

        return until(once)

    def said(self, address: str, *command: str) -> str:
        """What a command over SSH says; it has to end with 0."""
        done = self.ssh(address, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """Leave the twin's network."""
        self._inside.shutdown()


_NO_CONNECTION = 255
_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET, sched.h


def _stopped(status: dict[str, Any]) -> dict[str, Any] | None:
    """A task's status once it is over."""
    return status if status["status"] == "stopped" else None


def until(look: Callable[[], T | None], patience: float = LIMIT) -> T:
    """What `look` finds, as soon as it finds something; neither None nor False is anything."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _enter(twin: Twin) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with twin.netns_file.open() as namespace:
        if libc.setns(namespace.fileno(), _NETWORK_NAMESPACE) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def take_down_orphans(home: Path) -> None:
    """Twins of test sessions that were killed: their name holds the session's process id."""
    for path in home.glob("test-*/state.json"):
        owner = path.parent.name.split("-")[1]
        if not owner.isdigit() or started_at(int(owner)) is None:
            down(Twin(path.parent.name, home))


def new_key(folder: Path) -> Path:
    """A fresh SSH key in a folder."""
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key
