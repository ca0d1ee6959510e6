"""`hearth tailnet`, whole, against the stand-in: what is printed, what is changed, and the exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tailnet_stand_in import API_KEY, START, Tailscale

from hearth.cli import main

FLEET = """\
nodes:
  pve: {address: 192.0.2.1, storage: local-lvm, images: local}
networks:
  lan: {bridge: vmbr0, subnet: 192.0.2.0/24, gateway: 192.0.2.254}
images:
  debian: {kind: lxc, url: "http://example.org/debian.tar.zst"}
guests:
  comms:
    {kind: lxc, address: 192.0.2.135, image: debian, cores: 1, memory: 512 MiB, disk: 8 GiB,
     roles: [tailscale]}
"""
ROLE = """\
from hearth.role.declaration import Role

role = Role()


@role.deploy
def deploy(here):
    pass
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one guest that should be in the tailnet."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").write_text(FLEET)
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "tailscale.py").write_text(ROLE)
    (tmp_path / "roles" / "base.py").write_text(ROLE)
    return tmp_path


@pytest.fixture
def run(
    project: Path, tailscale: Tailscale, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `hearth tailnet ARGUMENTS` in this process."""
    for name in [name for name in os.environ if name.startswith(("HEARTH_", "TAILSCALE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(project)
    monkeypatch.setenv("HEARTH_AGE_KEY_FILE", str(project / "age.key"))
    monkeypatch.setenv("TAILSCALE_BASE_URL", tailscale.url)
    monkeypatch.setenv("TAILSCALE_API_KEY", API_KEY)

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        code = main(["tailnet", *arguments])
        return Done(code, *capsys.readouterr())

    return run


def test_all_is_well(run: Run, tailscale: Tailscale) -> None:
    tailscale.add("comms", addresses=["100.64.0.7"])
    tailscale.add("phone", tags=[])
    done = run("status")
    assert (done.code, done.err) == (0, "")
    assert "comms" in done.out and "100.64.0.7" in done.out and "all is well" in done.out
    assert "phone" not in done.out


def test_what_is_wrong_is_told_and_ends_with_1(run: Run, tailscale: Tailscale) -> None:
    tailscale.add("security", connectedToControl=False)
    done = run("status")
    assert done.code == 1
    assert "comms: is not in the tailnet" in done.out
    assert "security: wears our tag" in done.out
    assert "all is well" not in done.out
    assert {asked.method for asked in tailscale.asked} == {"GET"}


def test_status_as_json(run: Run, tailscale: Tailscale) -> None:
    tailscale.add("comms", advertisedRoutes=["192.0.2.0/24"])
    done = run("status", "--json")
    said = json.loads(done.out)
    assert (done.code, said["well"]) == (1, False)
    (row,) = said["devices"]
    assert row["guest"] == row["device"]["name"] == "comms"
    assert row["device"]["routes"] == {"advertised": ["192.0.2.0/24"], "approved": []}
    assert len(row["wrong"]) == 1


def test_a_node_that_asks_belongs_there_and_one_that_does_not_is_told(
    run: Run, project: Path, tailscale: Tailscale
) -> None:
    tailscale.add("comms")
    file = project / "inventory" / "fleet.yaml"
    asks = FLEET.replace("images: local}", "images: local, tailnet: true}") + "tailnet: {domain: x.ts.net}\n"
    file.write_text(asks)
    missing = run("status")
    assert (missing.code, "pve: is not in the tailnet" in missing.out) == (1, True)
    ident = tailscale.add("pve", connectedToControl=False)
    assert run("prune", "--yes").out == "nothing to remove\n"
    tailscale.devices[ident].update(connectedToControl=True)
    assert "all is well" in run("status").out
    file.write_text(asks.replace("tailnet: true", "tailnet: false"))
    left = run("status")
    assert (left.code, "pve: wears our tag" in left.out) == (1, True)
    assert "stays: pve is online" in run("prune", "--yes").out
    tailscale.devices[ident].update(connectedToControl=False)
    assert "goes: pve" in run("prune", "--yes").out
    assert ident not in tailscale.devices


def test_a_server_that_refuses_is_told_in_one_line(run: Run, tailscale: Tailscale) -> None:
    tailscale.api_keys.clear()
    done = run("status")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "not accepted" in done.err and API_KEY not in done.err


def test_prune_names_removes_and_leaves_what_is_not_ours(run: Run, tailscale: Tailscale) -> None:
    tailscale.add("comms", connectedToControl=False)
    gone = tailscale.add("security", connectedToControl=False)
    tailscale.add("cameras")
    tailscale.add("laptop", tags=[], connectedToControl=False)
    kept = set(tailscale.devices) - {gone}
    done = run("prune", "--yes")
    assert done.code == 0
    assert "goes: security" in done.out and "stays: cameras" in done.out
    assert set(tailscale.devices) == kept


def test_prune_asks(run: Run, tailscale: Tailscale, monkeypatch: pytest.MonkeyPatch) -> None:
    tailscale.add("security", connectedToControl=False)
    monkeypatch.setattr("click.confirm", lambda *_: False)
    assert run("prune").code == 1
    assert len(tailscale.devices) == 1


def test_prune_of_a_name_that_is_online_or_not_ours(run: Run, tailscale: Tailscale) -> None:
    tailscale.add("cameras")
    tailscale.add("laptop", tags=[])
    tailscale.add("comms")
    for name in ("laptop", "comms", "nobody"):
        assert run("prune", "--yes", name).code == 1
    assert len(tailscale.devices) == 3
    assert run("prune", "--yes", "cameras").code == 0
    assert [device["hostname"] for device in tailscale.devices.values()] == ["laptop", "comms"]


def test_prune_of_nothing(run: Run, tailscale: Tailscale) -> None:
    tailscale.add("comms")
    done = run("prune")
    assert (done.code, len(tailscale.devices)) == (0, 1)


MINE = '{\n  // Mine.\n  "acls": [],\n}\n'


def test_the_policy_is_compared_then_applied(run: Run, project: Path, tailscale: Tailscale) -> None:
    (project / "inventory" / "policy.hujson").write_text(MINE)
    before = run("policy")
    assert (before.code, tailscale.policy) == (1, START)
    assert "valid" in before.out
    assert run("policy", "--apply").code == 0
    assert tailscale.policy == MINE
    assert run("policy").code == 0
    assert run("policy", "--show").out == MINE


def test_drift_is_named_and_not_overwritten(run: Run, project: Path, tailscale: Tailscale) -> None:
    (project / "inventory" / "policy.hujson").write_text(MINE)
    run("policy", "--apply")
    theirs = MINE.replace("[]", '[{"action": "accept", "src": ["*"], "dst": ["*:22"]}]')
    tailscale.policy = theirs
    done = run("policy")
    assert done.code == 1 and "changed elsewhere" in done.out
    refused = run("policy", "--apply")
    assert (refused.code, tailscale.policy) == (1, theirs)
    over = refused.err.rsplit("--over ", 1)[1].split("`")[0]
    assert run("policy", "--apply", "--over", over).code == 0
    assert tailscale.policy == MINE


def test_a_policy_whose_test_fails(run: Run, project: Path, tailscale: Tailscale) -> None:
    failing = '{"acls": [], "tests": [{"src": "tag:x", "accept": ["192.0.2.1:22"]}]}'
    (project / "inventory" / "policy.hujson").write_text(failing)
    for arguments in (["policy"], ["policy", "--apply"]):
        done = run(*arguments)
        assert done.code == 1 and "192.0.2.1:22" in done.err
    assert tailscale.policy == START


def test_no_policy_file(run: Run) -> None:
    done = run("policy")
    assert (done.code, done.err.count("\n")) == (1, 1)
