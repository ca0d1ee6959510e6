"""The steps of rotate.py that are about the API token: made and removed with root's rights, for this once."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.proxmox import renewal
from hearth.proxmox.access import TOKEN, Access, access
from hearth.proxmox.api import Api
from hearth.secrets import Secret, SecretStore
from hearth.secrets.rotation import Rotation, decode, encode, entry_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hearth.fleet.model import Node
    from hearth.run import Run

NAME = "proxmox/token"

_lock = threading.Lock()


def make() -> None:
    """Make the next token, where the API token is rotated."""
    if entry_of(NAME) in runs.current().secrets.names():
        made(name="Make the next API token")


def remove() -> None:
    """Remove the old token, where the API token is rotated."""
    if entry_of(NAME) in runs.current().secrets.names():
        removed(name="Remove the old API token")


@operation()
def made() -> Generator[FunctionCommand, None, None]:
    """Make it, with the rights of the present one, and keep it on disk at once."""
    yield FunctionCommand(_make, (), {})


@operation()
def removed() -> Generator[FunctionCommand, None, None]:
    """Remove it."""
    yield FunctionCommand(_remove, (), {})


@told
def _make(state: Any, host: Any) -> None:
    run = runs.current()
    with _lock:
        make_next(run.secrets, run.fleet.nodes[0], run.environ)


@told
def _remove(state: Any, host: Any) -> None:
    run = runs.current()
    with _lock:
        remove_old(run.secrets, run.fleet.nodes[0], run.environ)


def privileged(run: Run) -> bool:
    """Whether the environment holds a token other than the one that is kept: root's, for this once."""
    given = run.environ.get(TOKEN)
    if not given or NAME not in run.secrets.names():
        return False
    kept = run.secrets.stored(NAME).reveal()
    return given.partition("=")[0] not in (kept.partition("=")[0], _other_id(kept))


def make_next(store: SecretStore, node: Node, environ: Mapping[str, str]) -> None:
    """Make the next token and keep it; nothing where that is done. Raises HearthError."""
    rotation = _rotation(store)
    if rotation is None or rotation.phase != "offered":
        return
    other = rotation.other.get(NAME)
    if other and renewal.opens(_way(node, environ, other)):
        return
    present = _way(node, environ, store.stored(NAME))
    made = renewal.make(_root(node, environ), present)
    store.put(entry_of(NAME), encode(Rotation(NAME, "offered", {NAME: Secret(made)})))
    store.save()


def remove_old(store: SecretStore, node: Node, environ: Mapping[str, str]) -> None:
    """Remove the token that was in use before, once the new one is proven to open. Raises HearthError."""
    rotation = _rotation(store)
    old = rotation.other.get(NAME) if rotation and rotation.phase == "withdrawn" else None
    if old is None:
        return
    new = _way(node, environ, store.stored(NAME))
    if not renewal.opens(new):
        raise HearthError("remove the old API token", "the new one does not open", "python bootstrap.py")
    before = _way(node, environ, old)
    renewal.remove(_root(node, environ), before.user, before.token_name)


def _rotation(store: SecretStore) -> Rotation | None:
    kept = store.find(entry_of(NAME))
    return decode(NAME, kept) if kept else None


def _root(node: Node, environ: Mapping[str, str]) -> Api:
    if not environ.get(TOKEN):
        raise HearthError(
            "rotate the API token", "Hearth's own token may not make another", f"set {TOKEN} to one of root's"
        )
    return Api(access(node, environ))


def _way(node: Node, environ: Mapping[str, str], token: Secret) -> Access:
    return access(node, {**environ, TOKEN: token.reveal()})


def _other_id(token: str) -> str:
    user, _, name = token.partition("=")[0].partition("!")
    return f"{user}!{renewal.other_name(name)}"
