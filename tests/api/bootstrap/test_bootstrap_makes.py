"""`python bootstrap.py` on a node that knows nothing of Hearth: what it makes, and that it makes no more."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from bootstrap_kit import PASSWORD, Site

from hearth.fleet.loader import load_fleet
from hearth.proxmox.privileges import grants, needed
from hearth.role.catalogue import load_roles
from hearth.secrets import Secret, ssh_public_key
from hearth.secrets.generators import ssh_key
from tests.api.run.conftest import PROJECT, container, fleet_of
from twin.pve import Pve

OURS = ("hearth@pve", "hearth@pve!deploy")
VERSIONS = [
    pytest.param(marks=pytest.mark.pve(version=version), id=version) for version in ("8.4.21", "9.2.11")
]


def wanted(site: Site) -> set[tuple[str, str, frozenset[str], bool]]:
    fleet = load_fleet(site.home.file, load_roles(PROJECT / "roles"))
    return {(g.path, g.role, g.privileges, g.below) for g in grants(needed(fleet))}


def given(pve: Pve, who: str) -> set[tuple[str, str, frozenset[str], bool]]:
    entries = {entry: spread for entry, spread in pve.access.acl.items() if entry.ugid == who}
    return {(e.path, e.role, pve.access.custom[e.role], spread) for e, spread in entries.items()}


@pytest.mark.parametrize((), VERSIONS)
def test_it_makes_exactly_what_the_fleet_needs(site: Site) -> None:
    done = site.bootstrap().went_well()
    access = site.pve.access
    assert set(access.users) == {"root@pam", "hearth@pve"}
    assert set(access.users["hearth@pve"].tokens) == {"deploy"}
    assert access.users["hearth@pve"].tokens["deploy"].privsep
    assert "hearth@pve" not in site.pve.users, "the user has no password"
    for who in OURS:
        assert given(site.pve, who) == wanted(site)
    assert {entry.ugid for entry in access.acl} == set(OURS)
    assert set(access.custom) == {role for _, role, _, _ in wanted(site)}
    assert set(site.pve.pools) == {"home"}
    assert site.token().startswith("hearth@pve!deploy=")
    assert site.token().partition("=")[2] not in done.text


@pytest.mark.parametrize((), VERSIONS)
def test_with_it_the_doctor_has_nothing_to_say_of_token_wrapper_and_device(site: Site) -> None:
    site.bootstrap().went_well()
    said = site.hearth("doctor").out
    for line in (
        "ok   token: hearth@pve!deploy may do what the fleet needs, and nothing else",
        "ok   wrapper: the SSH wrapper of pve answers",
        "ok   device: /dev/net/tun of comms is there",
    ):
        assert line in said, said


def test_the_key_may_run_the_wrapper_and_nothing_else(site: Site) -> None:
    site.node.keys.parent.mkdir()
    site.node.keys.write_text("# mine\nssh-ed25519 AAAAadmin admin@laptop\n")
    site.bootstrap().went_well()
    public = ssh_public_key(site.store.get("ssh/node"), "hearth-node")
    ours = f'restrict,command="/usr/local/sbin/hearth-node" {public}'
    assert site.node.keys.read_text() == f"# mine\nssh-ed25519 AAAAadmin admin@laptop\n{ours}\n"
    assert site.node.wrapper.read_text() == (files("hearth.proxmox") / "node_wrapper.py").read_text()
    assert site.node.state()["mode"] == "0o755"


def test_the_key_may_bring_a_node_that_asks_into_the_tailnet_and_only_as_long_as_it_asks(site: Site) -> None:
    admin = "ssh-ed25519 AAAAadmin admin@laptop"
    site.node.keys.parent.mkdir()
    site.node.keys.write_text(f"{admin}\n")
    asking = {**fleet_of(comms=container()), "tailnet": {"domain": "tail.example.ts.net"}}
    asking["nodes"]["pve"]["tailnet"] = True
    site.declare(asking)
    assert "which may bring the node into the tailnet" in site.bootstrap().went_well().out
    public = ssh_public_key(site.store.get("ssh/node"), "hearth-node")
    line = f'restrict,command="/usr/local/sbin/hearth-node --tailnet" {public}'
    assert site.node.keys.read_text() == f"{admin}\n{line}\n"
    assert "nothing to do" in site.bootstrap().went_well().out
    assert "ok   wrapper: the SSH wrapper of pve may bring it into the tailnet" in site.hearth("doctor").out
    site.declare(fleet_of(comms=container(tun=True)))
    assert "until now its line says otherwise" in site.bootstrap().went_well().out
    assert site.node.keys.read_text() == f"{admin}\n{line.replace(' --tailnet', '')}\n"
    site.declare(asking)
    site.bootstrap().went_well()
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    assert site.node.keys.read_text() == f"{admin}\n", "nobody needs it: nobody else's key goes with it"
    assert not site.node.wrapper.exists()


def test_a_second_run_changes_nothing(site: Site) -> None:
    site.bootstrap().went_well()
    before, token, keys = site.rights(), site.token(), site.store.path.read_bytes()
    again = site.bootstrap().went_well()
    assert again.writes == ["POST /access/ticket"]
    assert "nothing to do" in again.out
    assert (site.rights(), site.token(), site.store.path.read_bytes()) == (before, token, keys)


def test_dry_shows_the_same_plan_and_changes_nothing_anywhere(site: Site) -> None:
    before = site.rights()
    dry = site.bootstrap("--dry").went_well()
    assert dry.writes == ["POST /access/ticket"]
    assert site.rights() == before
    assert sorted(path.name for path in site.home.place.iterdir()) == ["fleet.yaml"]
    planned = [line for line in dry.out.splitlines() if line.startswith("+")]
    real = site.bootstrap().went_well()
    assert [line for line in real.out.splitlines() if line.startswith("+")] == planned
    for word in ("make user hearth@pve", "make token", "make pool home", "HearthVms on /vms and below"):
        assert word in dry.out


def test_a_token_of_roots_does_as_well_as_the_password(site: Site, root_token: str) -> None:
    site.root = {"PROXMOX_VE_API_TOKEN": root_token}
    key = site.home.place / "root_key"
    _admin_key(site, key)
    done = site.bootstrap("--ssh-key", str(key)).went_well()
    assert "POST /access/ticket" not in done.writes
    assert "PROXMOX_VE_API_TOKEN is set here and wins" in done.err
    assert given(site.pve, "hearth@pve!deploy") == wanted(site)
    assert site.token().startswith("hearth@pve!deploy=")


def _admin_key(site: Site, file: Path) -> None:
    """A key of the admin's own, with which root's shell is his."""
    text = ssh_key()
    file.touch(mode=0o600)
    file.write_text(text)
    site.node.keys.parent.mkdir(exist_ok=True)
    site.node.keys.write_text(ssh_public_key(Secret(text), "admin") + "\n")


def test_at_a_terminal_the_password_is_asked_for_unseen_and_then_whether_to_do_it(site: Site) -> None:
    site.root = {}
    code, shown = site.at_a_terminal({"Password of root@pam": PASSWORD, "Do it?": "n"})
    assert code == 130
    assert PASSWORD not in shown
    assert "hearth@pve" not in site.pve.access.users
    code, shown = site.at_a_terminal({"Password of root@pam": PASSWORD, "Do it?": "y"})
    assert code == 0, shown
    assert PASSWORD not in shown
    assert given(site.pve, "hearth@pve!deploy") == wanted(site)


def test_a_fleet_without_root_only_keys_needs_no_ssh(site: Site) -> None:
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    assert site.node.commands == []
    assert site.node.state()["files"] == ""
    assert "ssh/node" not in site.store.names()


# ------------------------------------------------------------------ the fleet changes


def test_what_a_smaller_fleet_no_longer_needs_is_taken_away(site: Site) -> None:
    site.bootstrap().went_well()
    fleet = fleet_of(comms=container())
    fleet["networks"]["lan"]["bridge"] = "vmbr1"
    site.declare(fleet)
    done = site.bootstrap().went_well()
    assert "-VM.Config.HWType" in done.out
    for who in OURS:
        assert given(site.pve, who) == wanted(site)
    assert set(site.pve.access.custom) == {role for _, role, _, _ in wanted(site)}
    assert "HearthSdn-vmbr0" not in site.pve.access.custom
    assert "HearthRoot" not in site.pve.access.custom
    assert site.node.state() == {"wrapper": "", "mode": "", "keys": "", "files": "authorized_keys"}
    assert set(site.pve.pools) == {"home"}, "a pool may hold guests: it stays"
    assert site.bootstrap().went_well().writes == ["POST /access/ticket"]
    said = site.hearth("doctor").out
    assert "token: hearth@pve!deploy may do what the fleet needs, and nothing else" in said, said


def test_a_larger_fleet_gets_more_with_the_same_token(site: Site) -> None:
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    token = site.token()
    site.declare(fleet_of(comms=container(pool="garden", unprivileged=False, features={})))
    site.bootstrap().went_well()
    assert site.token() == token
    assert given(site.pve, "hearth@pve!deploy") == wanted(site)
    assert "garden" in site.pve.pools


def test_where_hearth_keeps_the_firewall_it_gets_the_rights_and_loses_them_again(
    site: Site,
) -> None:
    site.declare({**fleet_of(comms=container()), "firewall": True})
    site.bootstrap().went_well()
    access = site.pve.access
    assert access.permissions("hearth@pve!deploy", "/nodes/pve").keys() >= {"Sys.Modify"}
    assert access.permissions("hearth@pve!deploy", "/").keys() >= {"Sys.Audit", "Sys.Modify"}
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    assert given(site.pve, "hearth@pve!deploy") == wanted(site)


def test_a_right_too_wide_or_too_many_in_our_own_roles_is_mended(site: Site) -> None:
    site.bootstrap().went_well()
    access = site.pve.access
    exact = site.rights()
    access.custom["HearthVms"] |= {"VM.Console"}
    for entry in list(access.acl):
        if entry.path == "/nodes/pve":
            access.acl[entry] = True
    done = site.bootstrap().went_well()
    assert "-VM.Console" in done.out
    assert site.rights() == exact
