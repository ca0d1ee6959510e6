"""SSH to a node, for the forced command that does what the API cannot, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from paramiko import BadHostKeyException, PKey, SSHClient, SSHException

from hearth.errors import HearthError

if TYPE_CHECKING:
    from hearth.fleet.model import Node
    from hearth.known_hosts import KnownHosts

CONNECT_TIMEOUT = 10.0  # seconds
COMMAND_TIMEOUT = 60.0  # seconds of silence while it answers; `pct set` waits up to 10 s for a lock
Answer = tuple[int, str, str]


class Runner(Protocol):
    """Runs an argv on a node with this on its standard input; gives exit code, stdout and stderr."""

    def __call__(self, argv: Sequence[str], stdin: str = "") -> Answer:
        """Run it, and wait for its end."""


def node_runner(node: Node, key: PKey, known: KnownHosts) -> Runner:
    """A function that runs an argv on a node.

    Each call is a connection of its own: there are few, minutes apart.

    Args:
        node: where, as the fleet file has it.
        key: `ssh/node` of the secrets.
        known: the project's known hosts.

    Raises (from the function):
        HearthError: the node cannot be reached, or refuses the key.
    """

    def run(argv: Sequence[str], stdin: str = "") -> Answer:
        with SSHClient() as client:
            client.set_missing_host_key_policy(known.policy())
            if known.path.exists():
                client.load_host_keys(str(known.path))
            _connect(client, node, key, known)
            into, out, err = client.exec_command(shlex.join(argv), timeout=COMMAND_TIMEOUT)
            with suppress(OSError):  # it may have refused already
                into.write(stdin)
                into.channel.shutdown_write()
            code = out.channel.recv_exit_status()
            return code, out.read().decode(errors="replace"), err.read().decode(errors="replace")

    return run


def _connect(client: SSHClient, node: Node, key: PKey, known: KnownHosts) -> None:
    address = str(node.address)
    try:
        client.connect(
            address,
            port=node.ssh.port,
            username=node.ssh.user,
            pkey=key,
            timeout=CONNECT_TIMEOUT,
            allow_agent=False,
            look_for_keys=False,
        )
    except BadHostKeyException:
        raise known.changed(address, node.ssh.port) from None
    except (OSError, SSHException, EOFError) as error:
        raise HearthError(
            f"reach node {node.name} by SSH at {address}:{node.ssh.port}",
            str(error) or type(error).__name__,
            "what no API token may do goes this way; `hearth doctor` says how to install the key",
        ) from error
