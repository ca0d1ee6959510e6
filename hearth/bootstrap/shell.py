"""A shell on a node as root, with the admin's own key or root's password, to install what Hearth needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paramiko import (
    AuthenticationException,
    BadHostKeyException,
    MissingHostKeyPolicy,
    PKey,
    SSHClient,
    SSHException,
)

from hearth.bootstrap.node import LOOK_KEYS, LOOK_MODE, LOOK_WRAPPER, NodeSeen, NodeStep, is_sound
from hearth.errors import HearthError

if TYPE_CHECKING:
    from hearth.fleet.model import Node
    from hearth.known_hosts import KnownHosts

CONNECT_TIMEOUT = 10.0  # seconds
COMMAND_TIMEOUT = 30.0  # seconds
Run = Callable[[str, str], tuple[int, str, str]]


@dataclass(frozen=True)
class RootShell:
    """A node's shell.

    Args:
        node: its name.
        run: runs a command with this on its stdin; gives exit code, stdout and stderr.
        remember: notes the node's host key; called before anything is changed.
    """

    node: str
    run: Run
    remember: Callable[[], None] = lambda: None

    def look(self) -> NodeSeen:
        """What is installed."""
        code, wrapper, _ = self.run(LOOK_WRAPPER, "")
        _, mode, _ = self.run(LOOK_MODE, "")
        readable, keys, _ = self.run(LOOK_KEYS, "")
        return NodeSeen(wrapper if code == 0 else None, is_sound(mode), keys if readable == 0 else "")

    def carry_out(self, step: NodeStep) -> None:
        """Do one step.

        Raises:
            HearthError: the node's shell says why not.
        """
        code, out, err = self.run(step.command, step.stdin)
        if code != 0:
            raise HearthError(f"{step.text} on {self.node}", (err or out).strip() or f"exit code {code}")


@contextmanager
def root_shell(
    node: Node, known: KnownHosts, key_file: Path | None = None, password: str | None = None
) -> Iterator[RootShell]:
    """Log in at a node.

    Args:
        node: where and as whom, as the fleet file has it.
        known: the project's known hosts.
        key_file: an SSH key; None: those of the agent and of ~/.ssh.
        password: root's, tried after the keys.

    Raises:
        HearthError: it cannot be reached, does not let us in, or is another machine than it was.
    """
    with SSHClient() as client:
        client.set_missing_host_key_policy(_NotYet())
        if known.path.exists():
            client.load_host_keys(str(known.path))
        _connect(client, node, known, key_file, password)
        transport = client.get_transport()
        if transport is None:
            raise HearthError(f"reach node {node.name} by SSH", "the connection broke", "run again")
        host_key = transport.get_remote_server_key()

        def run(command: str, stdin: str) -> tuple[int, str, str]:
            try:
                into, out, err = client.exec_command(command, timeout=COMMAND_TIMEOUT)
                into.write(stdin)
                into.channel.shutdown_write()
                told = out.read().decode(errors="replace"), err.read().decode(errors="replace")
                return out.channel.recv_exit_status(), *told
            except (OSError, SSHException, EOFError) as error:
                reason = str(error) or type(error).__name__
                raise HearthError(f"run a command on node {node.name}", reason, "run again") from error

        yield RootShell(node.name, run, lambda: known.remember(str(node.address), host_key, node.ssh.port))


def _connect(
    client: SSHClient, node: Node, known: KnownHosts, key_file: Path | None, password: str | None
) -> None:
    where = f"reach node {node.name} by SSH as {node.ssh.user} at {node.address}:{node.ssh.port}"
    try:
        client.connect(
            str(node.address),
            port=node.ssh.port,
            username=node.ssh.user,
            password=password,
            key_filename=str(key_file) if key_file else None,
            allow_agent=key_file is None,
            look_for_keys=key_file is None,
            timeout=CONNECT_TIMEOUT,
            banner_timeout=CONNECT_TIMEOUT,
            auth_timeout=CONNECT_TIMEOUT,
        )
    except BadHostKeyException:
        raise known.changed(str(node.address), node.ssh.port) from None
    except AuthenticationException as error:
        remedy = f"ssh-copy-id {node.ssh.user}@{node.address}, or name a key with --ssh-key"
        raise HearthError(where, "it accepts none of the keys at hand", remedy) from error
    except (OSError, SSHException, EOFError) as error:
        raise HearthError(where, str(error) or type(error).__name__, "is sshd running there?") from error


class _NotYet(MissingHostKeyPolicy):
    """Accepts an unknown key without noting it: a dry run changes nothing here."""

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Called by paramiko."""
