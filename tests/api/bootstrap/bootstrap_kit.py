"""A node to bootstrap: the fake's API without any trace of Hearth, and an SSH server with root's shell.

The shell is a real one, on a folder that stands for the node's /usr/local/sbin and root's home. A key that
the node's authorized_keys binds to the wrapper gets the wrapper as it was installed, as sshd(8) does it.
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import select
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import paramiko
import yaml
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from hearth.cli import main as hearth_command
from hearth.cli.bootstrap import main as bootstrap_command
from hearth.secrets import SecretStore
from tests.api.run.conftest import PROJECT, Done, Home
from twin.pve import Pve

PATIENCE = 60.0
PASSWORD = "correct-horse"  # of root, at the API and over SSH
ROOTS = ("PROXMOX_VE_PASSWORD", "PROXMOX_VE_API_TOKEN")
SBIN = "/usr/local/sbin"


class NodeSsh:
    """The node's SSH server; `commands` is what root's shell was told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sbin, self.home = root / "sbin", root / "home"
        self.sbin.mkdir(parents=True)
        self.home.mkdir()
        (root / "dev/net").mkdir(parents=True)
        (root / "dev/net/tun").symlink_to("/dev/null")  # any character device
        self.password = PASSWORD
        self.commands: list[str] = []
        self.options: list[str] = []  # what the line of the key that logged in gives the wrapper
        self.host_key = paramiko.ECDSAKey.generate()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    @property
    def wrapper(self) -> Path:
        return self.sbin / "hearth-node"

    @property
    def keys(self) -> Path:
        return self.home / ".ssh" / "authorized_keys"

    def state(self) -> dict[str, str]:
        """What is installed."""
        wrapper = self.wrapper.read_text() if self.wrapper.exists() else ""
        mode = oct(self.wrapper.stat().st_mode & 0o777) if self.wrapper.exists() else ""
        keys = self.keys.read_text() if self.keys.exists() else ""
        left = sorted(p.name for p in (*self.sbin.iterdir(), *self.home.glob(".ssh/*")))
        return {"wrapper": wrapper, "mode": mode, "keys": keys, "files": " ".join(left)}

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)

    def line_of(self, key: paramiko.PKey) -> str | None:
        """The line of authorized_keys with this key."""
        lines = self.keys.read_text().splitlines() if self.keys.exists() else []
        return next((line for line in lines if key.get_base64() in line), None)

    def run(self, command: str, stdin: bytes, forced: bool) -> subprocess.CompletedProcess[bytes]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "SSH_ORIGINAL_COMMAND": command}
        if forced:
            argv = [sys.executable, "-I", str(self.wrapper), "--root", str(self.root), *self.options]
        else:
            self.commands.append(command)
            argv = ["sh", "-c", command.replace(SBIN, str(self.sbin))]
        return subprocess.run(
            argv, env=env, input=stdin, capture_output=True, check=False, timeout=PATIENCE, cwd=self.home
        )

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            try:
                transport.start_server(server=_Session(self))
            except (paramiko.SSHException, EOFError, OSError):
                continue


class _Session(paramiko.ServerInterface):
    def __init__(self, node: NodeSsh) -> None:
        self.node = node
        self.forced = False

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        line = self.node.line_of(key)
        self.forced = line is not None and f'command="{SBIN}/hearth-node' in line
        self.node.options = ["--tailnet"] if line and '/hearth-node --tailnet"' in line else []
        return int(AUTH_SUCCESSFUL if line and username == "root" else AUTH_FAILED)

    def check_auth_password(self, username: str, password: str) -> int:
        good = username == "root" and password == self.node.password
        return int(AUTH_SUCCESSFUL if good else AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            stdin = b""
            if not self.forced:
                while data := channel.recv(65536):
                    stdin += data
            done = self.node.run(command.decode(), stdin, self.forced)
            channel.sendall(done.stdout)
            channel.sendall_stderr(done.stderr)
            channel.send_exit_status(done.returncode)
            channel.close()

        # paramiko confirms the request only after this returns; an answer before that closes the channel.
        threading.Timer(0.05, answer).start()
        return True


@dataclass
class Site:
    """A fleet file, the fake, the node's SSH, and `python bootstrap.py`."""

    home: Home
    node: NodeSsh
    root: dict[str, str] = field(default_factory=lambda: {"PROXMOX_VE_PASSWORD": PASSWORD})

    @property
    def pve(self) -> Pve:
        return self.home.pve

    def declare(self, fleet: dict[str, Any]) -> None:
        """Write the fleet file; its node's SSH is ours."""
        fleet["nodes"]["pve"]["ssh"] = {"port": self.node.port}
        self.home.declare(fleet)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Without any token of Hearth's, and with root's credentials."""
        kept = {name: value for name, value in self.home.env.items() if name != "PROXMOX_VE_API_TOKEN"}
        return {**kept, "HOME": str(self.home.place), **self.root, **(more or {})}

    def bootstrap(self, *arguments: str, yes: bool = True, **more: str) -> Done:
        """`python bootstrap.py --yes ARGUMENTS`."""
        return self._here(bootstrap_command, [*(["--yes"] if yes else []), *arguments], self.env(more))

    def hearth(self, *arguments: str) -> Done:
        """`hearth ARGUMENTS`, with what the secrets hold and nothing else."""
        env = {name: value for name, value in self.env().items() if name not in ROOTS}
        return self._here(hearth_command, list(arguments), env)

    def _here(self, command: Callable[[list[str]], int], arguments: list[str], env: dict[str, str]) -> Done:
        """In this process, which spares its start: what it prints and returns is what an admin sees."""
        before = len(self.pve.log.requests)
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, env, clear=True),
            contextlib.chdir(PROJECT),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = command(arguments)
        return Done(code, out.getvalue(), err.getvalue(), tuple(self.pve.log.requests[before:]))

    def process(self, *arguments: str) -> Done:
        """`python bootstrap.py --yes ARGUMENTS`, as it is typed."""
        process = self.home.start("bootstrap.py", "--yes", *arguments, program=sys.executable, env=self.env())
        out, err = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out, err, ())

    def at_a_terminal(self, answers: Mapping[str, str], *arguments: str) -> tuple[int, str]:
        """`python bootstrap.py ARGUMENTS` with somebody who answers; gives exit code and what was shown."""
        master, slave = pty.openpty()
        argv = ["bootstrap.py", *arguments]
        ends = {"stdin": slave, "stdout": slave, "stderr": slave}
        process = self.home.start(
            *argv, program=sys.executable, env=self.env(), **ends, start_new_session=True
        )
        os.close(slave)
        shown, waiting = "", dict(answers)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    shown += os.read(master, 65536).decode()
                except OSError:  # its end of the terminal is closed
                    break
            for question in [question for question in waiting if question in shown]:
                os.write(master, waiting.pop(question).encode() + b"\n")
        code = process.wait(PATIENCE)
        os.close(master)
        return code, shown

    @property
    def store(self) -> SecretStore:
        return SecretStore(self.home.place / "secrets.age", self.home.place / "age.key")

    def rights(self) -> dict[str, Any]:
        """Everything about rights, and what is on the node; without what is drawn by lot."""
        access = self.pve.access
        return {
            "roles": {name: sorted(privileges) for name, privileges in sorted(access.custom.items())},
            "users": {
                name: {token: dict(vars(value)) for token, value in user.tokens.items()}
                for name, user in sorted(access.users.items())
            },
            "acl": sorted((e.path, e.kind, e.ugid, e.role, spread) for e, spread in access.acl.items()),
            "pools": sorted(self.pve.pools),
            "files": self.node.state()["files"],
        }

    def token(self) -> str:
        """The token in the secrets."""
        return self.store.get("proxmox/token").reveal()


def words_of(line: str) -> list[str]:
    """A line of authorized_keys in its parts: options, type, key, comment."""
    return shlex.split(line, posix=False)


def written(site: Site) -> dict[str, Any]:
    """The fleet file as it stands."""
    found: dict[str, Any] = yaml.safe_load(site.home.file.read_text())
    return found
