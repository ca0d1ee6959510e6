"""Asks one node all that the judges need: GETs, and questions to its SSH wrapper."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, TypeVar
from urllib.parse import quote

from paramiko import BadHostKeyException, Ed25519Key, MissingHostKeyPolicy, PKey, SSHClient, SSHException

from hearth.errors import HearthError
from hearth.fleet.model import Image, Node
from hearth.known_hosts import KnownHosts
from hearth.node_ssh import Runner
from hearth.proxmox import observe
from hearth.proxmox.api import Api, ApiError
from hearth.proxmox.privileges import Privilege
from hearth.proxmox.wrapper import Device, NodeShell
from hearth.secrets import Secret
from hearth.tailnet.on_node import OnNode, Standing

FORBIDDEN = 403
SSH_TIMEOUT = 10.0  # seconds
Told = TypeVar("Told")


@dataclass
class Answers:
    """Collects what could not be asked: refusals for want of a privilege are told by the rights' judge."""

    errors: list[ApiError] = field(default_factory=list)

    def of(self, question: Callable[[], Any], default: Any) -> Any:
        """The answer, or the default where Proxmox refused."""
        try:
            return question()
        except ApiError as error:
            if error.status != FORBIDDEN:
                self.errors.append(error)
            return default


def rights(
    api: Api, needed: Sequence[Privilege]
) -> tuple[dict[str, dict[str, bool]], dict[str, dict[str, bool]]]:
    """What the token may do: on each needed path, and on every path that Proxmox knows of.

    Proxmox says 1 where a privilege holds below the path too, 0 where it does not: GET /access/permissions.
    """
    paths = sorted({privilege.path for privilege in needed})
    held = {path: _held(api.get(f"/access/permissions?path={quote(path, safe='')}"), path) for path in paths}
    whole = api.get("/access/permissions") or {}
    return held, {path: _held(whole, path) for path in whole}


def _held(answer: Mapping[str, Mapping[str, Any]] | None, path: str) -> dict[str, bool]:
    return {name: bool(int(below)) for name, below in ((answer or {}).get(path) or {}).items()}


def clock(api: Api, node: Node) -> tuple[float, float]:
    """The node's Unix time, and ours at that moment."""
    before = time.time()
    theirs = float(api.get(f"/nodes/{node.name}/time")["time"])
    return theirs, (before + time.time()) / 2


def volumes(api: Api, node: Node) -> frozenset[str]:
    """The volume IDs on the node's image storage."""
    rows = api.get(f"/nodes/{node.name}/storage/{node.images}/content") or []
    return frozenset(str(row.get("volid")) for row in rows)


def view(api: Api, node: Node) -> observe.NodeView:
    """The guests of the node."""
    return observe.observe(api, node.name)


def unreachable(api: Api, node: Node, images: Sequence[Image]) -> dict[str, str]:
    """Which URLs the node cannot fetch, and why: the node asks them itself (GET query-url-metadata)."""
    found = {}
    for image in images:
        try:
            api.get(f"/nodes/{node.name}/query-url-metadata", url=image.url)
        except ApiError as error:
            if error.status != FORBIDDEN:
                found[image.url] = error.reason
    return found


def devices(node: Node, known: KnownHosts, key: Secret | None) -> tuple[Device, ...] | HearthError:
    """The node's devices as its wrapper lists them, or why it does not."""
    return _asked(node, known, key, lambda run: NodeShell(run).devices())


def tailnet(node: Node, known: KnownHosts, key: Secret | None) -> Standing | HearthError:
    """How the node stands in the tailnet as its wrapper says it, or why it does not."""
    return _asked(node, known, key, lambda run: OnNode(node.name, run).state())


def _asked(
    node: Node, known: KnownHosts, key: Secret | None, question: Callable[[Runner], Told]
) -> Told | HearthError:
    action = f"ask the SSH wrapper of {node.name}"
    if key is None:
        return HearthError(
            action, "there is no key for it yet", "hearth node-key makes it, and says what to install"
        )

    def run(argv: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
        return _over_ssh(node, known, key, argv)

    try:
        return question(run)
    except BadHostKeyException:
        return known.changed(str(node.address), node.ssh.port)
    except HearthError as error:
        return error
    except (OSError, SSHException, EOFError) as error:
        return HearthError(action, str(error) or type(error).__name__)


class _Lookers(MissingHostKeyPolicy):
    """Accepts an unknown key without noting it: the doctor changes nothing."""

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Called by paramiko."""


def _over_ssh(node: Node, known: KnownHosts, key: Secret, argv: Sequence[str]) -> tuple[int, str, str]:
    client = SSHClient()
    client.set_missing_host_key_policy(_Lookers())
    if known.path.exists():
        client.load_host_keys(str(known.path))
    try:
        client.connect(
            str(node.address),
            node.ssh.port,
            node.ssh.user,
            pkey=Ed25519Key.from_private_key(StringIO(key.reveal())),
            allow_agent=False,
            look_for_keys=False,
            timeout=SSH_TIMEOUT,
            banner_timeout=SSH_TIMEOUT,
            auth_timeout=SSH_TIMEOUT,
        )
        _, out, err = client.exec_command(shlex.join(argv), timeout=SSH_TIMEOUT)
        text, told = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        return out.channel.recv_exit_status(), text, told
    finally:
        client.close()
