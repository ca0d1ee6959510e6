"""`pyinfra inventory rotate.py`, whole, against the fake: the API token, and what is refused.

The guests are appliances, so there is nothing inside them to switch.
"""

from __future__ import annotations

import contextlib

import pytest

from hearth.deploy.node_token import make_next, remove_old
from hearth.deploy.rotation import advance, finish
from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Node
from hearth.proxmox import api as api_module
from hearth.secrets import SecretStore
from hearth.secrets.rotation import Rotation, encode, entry_of
from tests.api.run.conftest import Home, container
from twin.pve import Pve

TOKEN = "proxmox/token"
OLD, NEW = "hearth@pve!deploy", "hearth@pve!deploy-b"


@pytest.fixture
def kept(home: Home, hearth_token: str, root_token: str) -> Home:
    """A home whose own token is in its secrets; the environment has root's."""
    home.declare(comms=container())
    home.deploy().went_well()
    store = opened(home)
    store.put(TOKEN, hearth_token)
    store.save()
    home.env["PROXMOX_VE_API_TOKEN"] = root_token
    return home


def opened(home: Home) -> SecretStore:
    return SecretStore(home.place / "secrets.age", home.place / "age.key", home.env)


def rights(pve: Pve, token: str) -> set[tuple[str, str, bool]]:
    acl = pve.access.acl.items()
    return {(entry.path, entry.role, below) for entry, below in acl if entry.ugid == token}


def test_the_token_is_replaced_with_its_rights(kept: Home, pve: Pve, hearth_token: str) -> None:
    before = rights(pve, OLD)
    assert before
    done = kept.pyinfra("inventory", "rotate.py", "-y", "--data", "rotate=all").went_well()
    new = opened(kept).stored(TOKEN).reveal()
    assert new.startswith(f"{NEW}=")
    assert rights(pve, NEW) == before
    assert set(pve.access.users["hearth@pve"].tokens) == {"deploy-b"}
    assert new.partition("=")[2] not in done.text
    own = {"PROXMOX_VE_API_TOKEN": ""}
    assert kept.pyinfra("inventory", "deploy.py", "--dry", env=own).went_well()
    kept.pyinfra("inventory", "deploy.py", "--dry", env={"PROXMOX_VE_API_TOKEN": hearth_token}).refused(
        "Authentication failed"
    )
    kept.pyinfra("inventory", "rotate.py", "-y", "--data", f"rotate={TOKEN}").went_well()
    assert opened(kept).stored(TOKEN).reveal().startswith(f"{OLD}="), "the names take turns"
    assert set(pve.access.users["hearth@pve"].tokens) == {"deploy"}


def test_a_dry_run_changes_nothing(kept: Home, pve: Pve) -> None:
    before = (kept.place / "secrets.age").read_bytes()
    done = kept.pyinfra("inventory", "rotate.py", "--dry", "--data", "rotate=all").went_well()
    assert done.writes == []
    assert (kept.place / "secrets.age").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "rotate=all"),
        (["--data", "rotate=mqtt/nobody"], "no such secret"),
        (["--data", "rotate=ssh/node"], "no run can switch"),
        (["--data", "rotate=all", "--limit", "comms"], "--limit"),
        (["--data", "rotate=all", "--no-wait"], "--no-wait"),
        (["--data", "rotate=all", "--serial"], "--serial"),
    ],
)
def test_refused(kept: Home, options: list[str], words: str) -> None:
    store = opened(kept)
    store.ensure("ssh/node", lambda: "x")
    store.save()
    before = (kept.place / "secrets.age").read_bytes()
    assert kept.pyinfra("inventory", "rotate.py", "-y", *options).refused(words).writes == []
    assert (kept.place / "secrets.age").read_bytes() == before


def test_without_roots_rights_it_is_refused_by_name(kept: Home, hearth_token: str) -> None:
    env = {"PROXMOX_VE_API_TOKEN": hearth_token}
    kept.pyinfra("inventory", "rotate.py", "-y", "--data", f"rotate={TOKEN}", env=env).refused("root")


# ------------------------------------------------------- killed between any two calls


class KilledError(Exception):
    """The process ends here."""


def begun(home: Home) -> tuple[SecretStore, Node]:
    store = opened(home)
    store.put(entry_of(TOKEN), encode(Rotation(TOKEN, "offered", {TOKEN: None})))
    store.save()
    return store, load_fleet(home.file, {}).nodes[0]


@pytest.mark.slow
@pytest.mark.parametrize("writes", range(1, 4))
@pytest.mark.parametrize("answered", [True, False])
def test_killed_while_it_is_made(
    kept: Home, pve: Pve, monkeypatch: pytest.MonkeyPatch, writes: int, answered: bool
) -> None:
    before = rights(pve, OLD)
    store, node = begun(kept)
    real, left = api_module.Api._write, [writes]

    def write(self: api_module.Api, method: str, path: str, params: object) -> object:
        left[0] -= 1
        if left[0] == 0 and not answered:
            raise KilledError
        answer = real(self, method, path, params)  # type: ignore[arg-type]
        if left[0] == 0:
            raise KilledError
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(api_module.Api, "_write", write)
        with contextlib.suppress(KilledError):
            make_next(store, node, kept.env)
    complete(kept, pve, before)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["made", "switched", "withdrawn", "removed"])
def test_killed_after(kept: Home, pve: Pve, step: str) -> None:
    before = rights(pve, OLD)
    store, node = begun(kept)
    make_next(store, node, kept.env)
    if step != "made":
        advance(store, "switched")
    if step in ("withdrawn", "removed"):
        advance(store, "withdrawn")
    if step == "removed":
        remove_old(store, node, kept.env)
    complete(kept, pve, before)


def complete(home: Home, pve: Pve, rights_before: set[tuple[str, str, bool]]) -> None:
    own = {"PROXMOX_VE_API_TOKEN": ""}
    home.pyinfra("inventory", "deploy.py", "--dry", env=own).went_well()
    home.pyinfra("inventory", "rotate.py", "-y").went_well()
    assert opened(home).stored(TOKEN).reveal().startswith(f"{NEW}=")
    assert rights(pve, NEW) == rights_before
    assert set(pve.access.users["hearth@pve"].tokens) == {"deploy-b"}
    home.pyinfra("inventory", "deploy.py", "--dry", env=own).went_well()
    assert not [name for name in opened(home).names() if name.startswith("rotating/")]


def test_the_old_one_stays_where_the_new_one_does_not_open(kept: Home, pve: Pve) -> None:
    store, node = begun(kept)
    make_next(store, node, kept.env)
    advance(store, "withdrawn")
    del pve.apitokens[NEW]
    with pytest.raises(Exception, match="does not open"):
        remove_old(store, node, kept.env)
    assert OLD in pve.apitokens
    finish(store)
