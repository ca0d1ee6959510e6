"""A node's own place in the tailnet, through its wrapper: the client of `tailnet ...` in node_wrapper.py."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hearth.errors import HearthError
from hearth.secrets import Secret
from hearth.tailnet.membership import UNDECIDED, Entry, Membership, differing, membership, wrong

if TYPE_CHECKING:
    from hearth.node_ssh import Runner


@dataclass(frozen=True)
class Wanted:
    """How a node should stand.

    Args:
        entry: its name, settings and server.
        authority: PEM of the authority that the server's certificate is of; empty: the system knows it.
        host: name and address of the server, where the node has to reach the fleet's own.
    """

    entry: Entry
    authority: str = ""
    host: tuple[str, str] | None = None


@dataclass(frozen=True)
class Standing:
    """How a node stands.

    Args:
        installed: Tailscale is there.
        authority: SHA-256 of the PEM that its tailscaled trusts besides the system's; empty where that is not
            as the wrapper writes it.
        hosts: our line in its /etc/hosts, "ADDRESS NAME"; empty where there is none.
        resolves: the server's name leads somewhere without that line.
        now: how it is in the tailnet.
    """

    installed: bool = False
    authority: str = ""
    hosts: str = ""
    resolves: bool = False
    now: Membership = field(default_factory=Membership)


def standing(text: str) -> Standing:
    """Read the answer of `tailnet state`.

    Raises:
        ValueError: it is none.
    """
    told, end = json.JSONDecoder().raw_decode(text.lstrip())
    if not isinstance(told, dict):
        raise ValueError("no JSON object")
    return Standing(
        bool(told["installed"]),
        str(told["authority"]),
        str(told["hosts"]),
        bool(told["resolves"]),
        membership(text.lstrip()[end:].lstrip()),
    )


def unprepared(there: Standing, wanted: Wanted) -> bool:
    """True where the node lacks what it needs before it can join, or what keeps it in."""
    trusted = there.authority == hashlib.sha256(wanted.authority.encode()).hexdigest()
    if wanted.host is None:
        known = not there.hosts
    else:
        name, address = wanted.host
        known = there.hosts == f"{address} {name}" or (not there.hosts and there.resolves)
    return not (there.installed and there.now.backend != UNDECIDED and trusted and known)


def unjoined(there: Standing, wanted: Wanted) -> bool:
    """True where the node is in no tailnet, in another one, or under another name."""
    return not there.now.joined or bool(wrong(there.now, wanted.entry))


def unsettled(there: Standing, wanted: Wanted) -> bool:
    """True where a setting is another one, or somebody has said `tailscale down`."""
    return bool(differing(there.now, wanted.entry.settings)) or there.now.backend == "Stopped"


class OnNode:
    """What the wrapper does about the tailnet.

    Args:
        node: the node's name, for errors.
        run: runs an argv on the node over SSH.
    """

    def __init__(self, node: str, run: Runner) -> None:
        self._node = node
        self._run = run

    def state(self, host: tuple[str, str] | None = None) -> Standing:
        """How the node stands; changes nothing there.

        Args:
            host: name and address of the server; see `Wanted`.

        Raises:
            HearthError: the wrapper does not answer, or not as it should.
        """
        action = f"ask node {self._node} how it stands in the tailnet"
        out = self._do(action, ["state", *(host[:1] if host else ())], remedy=_BOOTSTRAP)
        try:
            return standing(out)
        except (ValueError, KeyError) as error:
            raise HearthError(action, f"it answered {out[:80]!r}", _BOOTSTRAP) from error

    def install(self, wanted: Wanted) -> None:
        """Have Tailscale run there, able to reach its server. Raises HearthError."""
        words = ["install", *(wanted.host or ())]
        self._do(f"have Tailscale on node {self._node}", words, wanted.authority)

    def join(self, entry: Entry, key: Secret) -> str:
        """Join; why it did not work, nothing where it did. The key goes in on standard input."""
        try:
            words = ["join", entry.settings.hostname, entry.server, str(entry.within)]
            self._do(f"join node {self._node} to the tailnet", words, key.reveal())
        except HearthError as error:
            return error.reason
        return ""

    def settle(self, entry: Entry) -> None:
        """Have the settings as they should be, and it up. Raises HearthError."""
        self._do(f"keep Tailscale's settings on node {self._node}", ["set", entry.settings.hostname])

    def _do(self, action: str, words: list[str], stdin: str = "", remedy: str = "") -> str:
        code, out, err = self._run(["tailnet", *words], stdin)
        if code != 0:
            raise HearthError(action, (err or out).strip() or f"exit code {code}", remedy)
        return out


_BOOTSTRAP = "`python bootstrap.py` brings the wrapper and its key's line up to date (docs/install.md)"
