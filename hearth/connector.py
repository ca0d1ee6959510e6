"""pyinfra connectors: a guest that may not exist yet, a node, a guest that is not ours.

pyinfra connects to every host before it plans, and plans before it executes. A guest that is not there
counts as connected; its facts answer as an empty machine does, so that the plan is whole. SSH opens with
the first command that needs it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from paramiko import BadHostKeyException, MissingHostKeyPolicy, SSHException
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import StateStage
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient import SSHClient
from pyinfra.connectors.util import CommandOutput

from hearth import run as runs
from hearth.errors import HearthError
from hearth.fresh_debian import as_fresh_debian
from hearth.known_hosts import ChangedHostKeyError, KnownHosts, forget_memo
from hearth.memory import AnswerMemory
from hearth.proxmox.plan import check

if TYPE_CHECKING:
    from pyinfra.api import StringCommand

    from hearth.fleet.model import Guest, Node

DEPLOY_KEY: Final = "hearth:ssh/deploy"
RUNNING_DEADLINE: Final = 20.0  # seconds; a guest that the API calls running may still be booting
CREATED_DEADLINE: Final = 180.0  # seconds; first boot of a cloud image


class KnownClient(SSHClient):
    """pyinfra's SSH client with the project's own known hosts: it warns and writes in nobody else's file."""

    def __init__(self, known: KnownHosts) -> None:
        super().__init__()
        self._policy_of_ours = known.policy()

    def set_missing_host_key_policy(self, policy: MissingHostKeyPolicy | type[MissingHostKeyPolicy]) -> None:
        """Ours, whatever pyinfra chose."""
        super().set_missing_host_key_policy(self._policy_of_ours)


class LazySSHConnector(SSHConnector):
    """SSH that opens by the first command, reopens when the other side restarted, and remembers facts."""

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self.memory = AnswerMemory()

    def connect(self) -> None:
        """Nothing yet: see `open`."""

    def open(self, deadline: float) -> None:
        """Open SSH, trying again until the deadline.

        Args:
            deadline: seconds from now.

        Raises:
            OSError: it could not be opened in time, or the host's key is not the known one.
        """
        end = time.monotonic() + deadline
        while True:
            try:
                self._connect()
                return self._without_delay()
            except ChangedHostKeyError as error:
                raise OSError(str(error)) from error
            except (OSError, SSHException, EOFError) as error:
                if time.monotonic() > end:
                    raise OSError(self._explain(error)) from error
                time.sleep(0.2)

    def _connect(self) -> None:
        known = runs.current().known_hosts
        kwargs = self.make_paramiko_kwargs()
        address = kwargs.pop("hostname")
        if not known.path.exists():
            # pyinfra warns of a missing file, a line for each try.
            kwargs["_pyinfra_ssh_known_hosts_file"] = os.devnull
        forget_memo()
        self.client = KnownClient(known)
        try:
            self.client.connect(address, **kwargs)  # type: ignore[no-untyped-call]
        except BadHostKeyException:
            raise known.changed(address) from None

    def _without_delay(self) -> None:
        # Nagle's algorithm costs 40 ms a command: PYINFRA measured 48 ms against 4 ms.
        transport = self.client.get_transport() if self.client else None
        sock = getattr(transport, "sock", None)
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _explain(self, error: Exception) -> str:
        address = self.make_paramiko_kwargs()["hostname"]
        reason = str(error) or type(error).__name__
        return (
            f"cannot reach {self.host.name} by SSH at {address}: {reason} (is it up? does it know the key?)"
        )

    @property
    def is_open(self) -> bool:
        """True while the connection lives."""
        transport = self.client.get_transport() if self.client else None
        return bool(transport and transport.is_active())

    def close(self) -> None:
        """Forget the connection: the other side restarts, or is another machine now."""
        if self.client:
            self.client.close()
        self.client = None
        self.memory.forget()
        self.get_file_transfer_connection.cache.clear()

    def reach(self) -> None:
        """Have an open connection; raises OSError where there cannot be one."""
        if not self.is_open:
            self.close()
            self.open(RUNNING_DEADLINE)

    def disconnect(self) -> None:
        """Close at the end of the run."""
        self.close()

    def run_shell_command(
        self, command: str | StringCommand, *args: Any, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Run a command, or answer a fact from memory; opens SSH where needed."""
        self.reach()
        run = super().run_shell_command
        return self.memory.ask(command, arguments, lambda: run(command, *args, **arguments))  # type: ignore[arg-type]

    def put_file(self, *args: Any, **arguments: Any) -> bool:
        """Upload; what facts said before no longer counts."""
        self.reach()
        self.memory.forget()
        return bool(super().put_file(*args, **arguments))

    def get_file(self, *args: Any, **arguments: Any) -> bool:
        """Download."""
        self.reach()
        return bool(super().get_file(*args, **arguments))

    def prove_new_connection(self) -> bool:
        """True when a second, new connection with the run's key can log in and run a command now."""
        probe = type(self)(self.state, self.host)
        try:
            probe.open(RUNNING_DEADLINE)
            assert probe.client is not None
            _, stdout, _ = probe.client.exec_command("true", timeout=RUNNING_DEADLINE)
            return bool(stdout.channel.recv_exit_status() == 0)
        except (OSError, SSHException, EOFError):
            return False
        finally:
            if probe.client:
                probe.client.close()


class GuestConnector(LazySSHConnector):
    """`@guest/NAME`: a guest of the fleet, absent, stopped or running."""

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """The plain name, and how to reach it by SSH."""
        run = runs.current()
        guest = run.fleet.guest(name)
        yield guest.name, {**_ssh_data(run), "ssh_hostname": str(guest.address or ""), "ssh_user": "root"}, []

    @property
    def guest(self) -> Guest:
        """The guest in the fleet."""
        return runs.current().fleet.guest(self.host.name)

    def connect(self) -> None:
        """Learn whether the guest is there; where it runs, open SSH.

        Raises:
            ConnectError: this guest cannot be reached; others go on.
            HearthError: the VMID is somebody else's; the whole run stops before anything is touched.
        """
        run = runs.current()
        _lend_key(self.state, run)
        try:
            plan = run.survey.plan(self.guest)
        except HearthError as error:
            raise _unreached(self.host.name, error) from error
        if plan.state in ("foreign", "elsewhere"):
            check([plan])
        if plan.state == "running" and not (self.guest.appliance or run.options.names("destroy")):
            self._reach_running()

    def _reach_running(self) -> None:
        try:
            self.open(RUNNING_DEADLINE)
        except OSError as error:
            raise _unreached(self.host.name, error) from error

    def make_paramiko_kwargs(self) -> dict[str, Any]:
        """The run's key first; where a guest does not know it yet (taking over a home), the admin's own."""
        kwargs: dict[str, Any] = super().make_paramiko_kwargs()
        address = runs.current().address_of(self.guest)
        return {**kwargs, "hostname": address, "allow_agent": True, "look_for_keys": True}

    def wait_until_created(self) -> None:
        """Wait for the first SSH of a guest just made or started; OSError after the deadline."""
        self.close()
        self.open(CREATED_DEADLINE)

    def reach(self) -> None:
        """Have an open connection to a guest that runs."""
        state = runs.current().survey.state_of(self.guest)
        if state != "running":
            raise OSError(f"cannot run a command in {self.host.name}: the guest is {state}")
        super().reach()

    def run_shell_command(
        self, command: str | StringCommand, *args: Any, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """Run a command; while planning a guest that does not run, answer as a fresh Debian does."""
        planning = self.state.current_stage < StateStage.Execute
        if planning and runs.current().survey.state_of(self.guest) != "running":
            return as_fresh_debian(command)
        return super().run_shell_command(command, *args, **arguments)


class NodeConnector(LazySSHConnector):
    """`@node/NAME`: a Proxmox node. Its API is what counts; SSH opens only if something asks for it."""

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """The plain name, and how to reach it by SSH."""
        run = runs.current()
        node: Node = run.fleet.node(name)
        ssh = {"ssh_hostname": str(node.address), "ssh_user": node.ssh.user, "ssh_port": node.ssh.port}
        yield name, {**_ssh_data(run), **ssh}, []

    def connect(self) -> None:
        """Make sure that the node answers; raises ConnectError where it does not."""
        try:
            runs.current().survey.view(self.host.name)
        except HearthError as error:
            raise _unreached(self.host.name, error) from error


class UnmanagedConnector(BaseConnector):
    """`@unmanaged/VMID-NAME`: a guest that was seen and is not ours. It is listed and never touched."""

    handles_execution = True

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """The name as it stands."""
        yield name, {}, []

    def connect(self) -> None:
        """Refused, whoever asks."""
        raise ConnectError(f"{self.host.name} is not in the fleet file: it is seen, and never touched")

    def run_shell_command(self, *_: Any, **__: Any) -> tuple[bool, CommandOutput]:
        """Refused."""
        raise OSError(f"{self.host.name} is not in the fleet file")

    put_file = get_file = run_shell_command  # type: ignore[assignment]


def _unreached(name: str, error: Exception) -> ConnectError:
    """What ends a host's part in this run; the reason is kept for the plan's JSON."""
    runs.current().unreached[name] = str(error)
    return ConnectError(str(error))


def _ssh_data(run: runs.Run) -> dict[str, Any]:
    return {"ssh_key": DEPLOY_KEY, "ssh_known_hosts_file": str(run.known_hosts_file)}


def _lend_key(state: Any, run: runs.Run) -> None:
    # The key never touches the disk in the clear: pyinfra looks here before it opens a file of that name.
    state.private_keys.setdefault(DEPLOY_KEY, run.deploy_key)
