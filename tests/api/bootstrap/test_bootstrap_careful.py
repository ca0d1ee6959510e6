"""What bootstrap.py leaves alone, makes anew, refuses, and finishes after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest
from bootstrap_kit import PATIENCE, Site

from hearth.bootstrap import rights
from hearth.bootstrap.node import NodeSeen, plan_installed, plan_removed
from hearth.bootstrap.shell import RootShell
from hearth.known_hosts import KnownHosts
from hearth.proxmox.api import Api
from hearth.secrets import SecretStore
from tests.api.run.conftest import container, fleet_of
from twin.pve.access import Entry, User

# ------------------------------------------------------------------ what is not ours


def test_what_is_not_ours_is_left_alone_and_named_where_it_matters(site: Site) -> None:
    access, pve = site.pve.access, site.pve
    access.custom.update({"Homelab": frozenset({"VM.Audit"}), "HearthlessRole": frozenset({"VM.Console"})})
    pve.add_token("ann@pve!laptop")
    pve.add_token("hearth@pve!other")
    pve.pools["theirs"] = {100}
    for who in ("ann@pve", "ann@pve!laptop", "hearth@pve", "hearth@pve!other"):
        pve.give("/vms/100", "Homelab", who)
    pve.give("/", "PVEAuditor", "hearth@pve")
    before = site.rights()
    done = site.bootstrap().went_well()
    after = site.rights()
    assert set(before["acl"]) <= set(after["acl"])
    assert {name: after["roles"][name] for name in before["roles"]} == before["roles"]
    assert after["users"]["ann@pve"] == before["users"]["ann@pve"]
    assert "other" in after["users"]["hearth@pve"]
    assert set(before["pools"]) <= set(after["pools"])
    assert "hearth@pve also has the role PVEAuditor on /" in done.err
    assert "ann@pve" not in done.err
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    assert set(before["acl"]) <= set(site.rights()["acl"])


def test_a_role_of_ours_that_others_use_stays_when_we_no_longer_need_it(site: Site) -> None:
    site.bootstrap().went_well()
    site.pve.add_token("ann@pve!laptop")
    site.pve.give("/pool/home", "HearthPool-home", "ann@pve")
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    assert Entry("/pool/home", "user", "ann@pve", "HearthPool-home") in site.pve.access.acl
    assert not [e for e in site.pve.access.acl if e.path == "/pool/home" and e.ugid.startswith("hearth@pve")]


def test_other_lines_of_authorized_keys_stay_as_they_are(site: Site) -> None:
    lines = '# mine\n\nfrom="10.0.0.1" ssh-ed25519 AAAAadmin admin@laptop\nssh-rsa AAAAother other\n'
    site.node.keys.parent.mkdir()
    site.node.keys.write_text(lines)
    site.bootstrap().went_well()
    assert site.node.keys.read_text().startswith(lines)
    site.declare(fleet_of(comms=container()))
    site.bootstrap().went_well()
    assert site.node.keys.read_text() == lines


def test_the_file_that_authorized_keys_links_to_is_written_and_the_link_stays(site: Site) -> None:
    """On Proxmox it is /etc/pve/priv/authorized_keys, for all nodes of the cluster."""
    target = site.node.root / "priv" / "authorized_keys"
    target.parent.mkdir()
    target.write_text("ssh-ed25519 AAAAadmin admin\n")
    site.node.keys.parent.mkdir()
    site.node.keys.symlink_to(target)
    site.bootstrap().went_well()
    assert site.node.keys.is_symlink()
    assert "hearth-node" in target.read_text()
    assert [path.name for path in target.parent.iterdir()] == ["authorized_keys"]


# ------------------------------------------------------------------ what is made anew


def test_a_token_whose_value_is_lost_is_made_anew_and_that_is_said(site: Site) -> None:
    site.bootstrap().went_well()
    exact, old = site.rights(), site.token()
    store = site.store
    store.remove("proxmox/token")
    store.save()
    done = site.bootstrap().went_well()
    assert "remove token hearth@pve!deploy" in done.out
    assert site.token() != old
    assert site.rights() == exact


@pytest.mark.parametrize(
    "kept",
    [
        "hearth@pve!deploy=00000000-dead-beef-0000-000000000000",
        "keeper@pve!doctor=00000000-dead-beef-0000-000000000000",
        "not a token",
    ],
)
def test_a_value_that_proxmox_does_not_accept_is_replaced(site: Site, kept: str) -> None:
    site.bootstrap().went_well()
    exact = site.rights()
    store = site.store
    store.put("proxmox/token", kept)
    store.save()
    site.bootstrap().went_well()
    assert site.token().startswith("hearth@pve!deploy=") and "dead-beef" not in site.token()
    assert site.rights() == exact


def test_a_token_and_a_user_that_were_weakened_are_mended(site: Site) -> None:
    site.bootstrap().went_well()
    exact, user = site.rights(), site.pve.access.users["hearth@pve"]
    user.tokens["deploy"].privsep = False
    user.enable = False
    done = site.bootstrap().went_well()
    assert "enable user hearth@pve again" in done.out
    assert user.enable
    assert site.rights() == exact


@pytest.mark.parametrize("options", ["", 'command="/bin/sh" ', "restrict "])
def test_a_line_that_lets_our_key_do_more_is_replaced(site: Site, options: str) -> None:
    site.bootstrap().went_well()
    good = site.node.keys.read_text()
    key = good.split(maxsplit=1)[1]
    site.node.keys.write_text(f"ssh-ed25519 AAAAadmin admin\n{options}{key}")
    done = site.bootstrap().went_well()
    assert "until now its line says otherwise" in done.out
    assert site.node.keys.read_text() == f"ssh-ed25519 AAAAadmin admin\n{good}"


@pytest.mark.parametrize("harm", ["text", "mode"])
def test_a_wrapper_that_was_changed_is_replaced(site: Site, harm: str) -> None:
    site.bootstrap().went_well()
    good = site.node.state()
    if harm == "text":
        site.node.wrapper.write_text("#!/bin/sh\nexec sh\n")
    else:
        site.node.wrapper.chmod(0o777)
    site.bootstrap().went_well()
    assert site.node.state() == good


# ------------------------------------------------------------------ refusals


def test_a_wrong_password_is_refused_in_words(site: Site) -> None:
    site.root = {"PROXMOX_VE_PASSWORD": "guess"}
    before = site.rights()
    done = site.bootstrap().refused("log in as root@pam", "the password is not accepted")
    assert "guess" not in done.text
    assert site.rights() == before


def test_without_a_terminal_and_without_credentials_it_says_what_to_set(site: Site) -> None:
    site.root = {}
    site.bootstrap().refused("PROXMOX_VE_PASSWORD", "PROXMOX_VE_API_TOKEN")


def test_without_a_terminal_it_does_nothing_unasked(site: Site) -> None:
    before = site.rights()
    site.bootstrap(yes=False).refused("--yes")
    assert site.rights() == before


def test_a_token_that_may_not_give_rights_is_refused_before_anything_is_done(site: Site) -> None:
    weak = site.pve.add_token("ann@pve!weak")
    site.pve.give("/", "PVEAuditor", "ann@pve")
    site.root = {"PROXMOX_VE_API_TOKEN": weak}
    before = site.rights()
    done = site.bootstrap().refused("ann@pve!weak", "User.Modify on /access")
    assert done.writes == []
    assert site.rights() == before


def test_hearths_own_token_is_not_taken_for_roots(site: Site) -> None:
    site.bootstrap().went_well()
    own = site.token()
    site.bootstrap(PROXMOX_VE_API_TOKEN=own).went_well()
    site.root = {"PROXMOX_VE_API_TOKEN": own}
    site.bootstrap().refused("PROXMOX_VE_PASSWORD")


def test_nobody_at_the_endpoint(site: Site) -> None:
    done = site.bootstrap("--endpoint", "https://127.0.0.1:9").refused("nobody answers", "pveproxy")
    assert done.requests == ()


def test_a_certificate_that_is_not_trusted_gets_no_password(site: Site) -> None:
    del site.home.env["PROXMOX_VE_CA_BUNDLE"]
    done = site.bootstrap().refused("certificate", "pve-root-ca.pem")
    assert done.requests == ()


def test_a_second_factor_is_told_with_what_to_do_instead(site: Site) -> None:
    site.pve.tfa = True
    site.bootstrap().refused("second factor", "pveum user token add root@pam")


def test_a_node_whose_ssh_does_not_let_us_in_stops_it_before_anything_is_done(site: Site) -> None:
    site.node.password = "another"
    before = site.rights()
    done = site.bootstrap().refused("reach node pve by SSH as root", "ssh-copy-id")
    assert done.writes == ["POST /access/ticket"]
    assert site.rights() == before


def test_a_node_with_another_host_key_is_not_given_the_password(site: Site) -> None:
    known = KnownHosts(site.home.place / "state" / "known_hosts")
    known.remember("127.0.0.1", paramiko.ECDSAKey.generate(), site.node.port)
    site.bootstrap().refused("its key is not the one in", "ssh-keygen -R")
    assert site.node.commands == []


def test_a_fleet_with_mistakes_is_refused_first(site: Site) -> None:
    site.home.file.write_text("guests: {comms: {kind: lxc}}\n")
    done = site.bootstrap().refused("fleet.yaml")
    assert done.requests == ()


def test_half_a_file_is_never_put_in_place(site: Site) -> None:
    """A connection that breaks ends the node's `cat` as if all had come."""
    site.bootstrap().went_well()
    good = site.node.state()
    seen = NodeSeen(wrapper=None, sound=False, keys="ssh-ed25519 AAAAadmin admin\n")
    line = good["keys"].strip()
    steps = [*plan_installed(seen, good["wrapper"], line), *plan_removed(NodeSeen(None, False, line), line)]
    for step in steps:
        cut = step.stdin.encode()[:-7] if step.stdin else b"x"
        assert site.node.run(step.command, cut, forced=False).returncode != 0
        now = site.node.state()
        assert (now["wrapper"], now["keys"]) == (good["wrapper"], good["keys"])


# ------------------------------------------------------------------ killed


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


@contextmanager
def killed_after(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Die right after the n-th change, before its answer is seen: at the API, in a file, on the node."""
    count = [0]

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            answer = original(*arguments, **named)
            count[0] += answer is not False  # a save with nothing to write
            if count[0] == number:
                raise Killed
            return answer

        return call

    with monkeypatch.context() as patch:
        for verb in ("post", "put", "delete"):
            patch.setattr(Api, verb, dying(getattr(Api, verb)))
        patch.setattr(SecretStore, "save", dying(SecretStore.save))
        patch.setattr(RootShell, "carry_out", dying(RootShell.carry_out))
        yield count


def survive_every_kill(site: Site, monkeypatch: pytest.MonkeyPatch, restart: Callable[[], None]) -> int:
    """Kill after each change in turn, run again, and be where an undisturbed run is."""
    restart()
    site.bootstrap().went_well()
    wanted, number = site.rights(), 0
    while True:
        number += 1
        restart()
        with killed_after(number, monkeypatch):
            try:
                site.bootstrap()
                return number - 1
            except Killed:
                pass
        site.bootstrap().went_well()
        assert site.rights() == wanted, f"killed after change {number}"
        assert site.bootstrap().went_well().writes == ["POST /access/ticket"]
        assert rights.TOKEN in site.token()


def forget_all(site: Site) -> None:
    """Everything as before the first run."""

    def forget() -> None:
        access = site.pve.access
        site.pve.apitokens = {k: v for k, v in site.pve.apitokens.items() if not k.startswith("hearth@")}
        access.users = {"root@pam": access.users.get("root@pam", User())}
        access.custom.clear()
        access.acl.clear()
        site.pve.pools.clear()

    site.home.server.call(forget)
    for path in (site.node.keys, site.node.wrapper, site.store.path):
        path.unlink(missing_ok=True)


@pytest.mark.slow
def test_the_first_run_killed_after_any_change_is_finished_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = survive_every_kill(site, monkeypatch, lambda: forget_all(site))
    assert changes >= 20


@pytest.mark.slow
def test_a_run_that_takes_rights_away_killed_after_any_change_is_finished_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = site.home.fleet

    def restart() -> None:
        forget_all(site)
        site.declare(large)
        site.bootstrap().went_well()
        store = site.store
        store.remove("proxmox/token")  # so that the token is made anew too
        store.save()
        site.declare(fleet_of(comms=container()))

    assert survive_every_kill(site, monkeypatch, restart) >= 10


@pytest.mark.parametrize("number", [10, 11, 12])
def test_killed_between_the_token_and_its_keeping_it_is_made_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The one moment that matters: Proxmox shows the value only once."""
    with killed_after(number, monkeypatch), pytest.raises(Killed):
        site.bootstrap()
    assert "hearth@pve" in site.pve.access.users
    site.bootstrap().went_well()
    assert site.token().partition("=")[2] == site.pve.apitokens["hearth@pve!deploy"]


def test_the_process_itself_killed_in_a_request_is_finished_by_the_next(site: Site) -> None:
    process: list[subprocess.Popen[str]] = []
    original = site.pve.log.add

    def add(request: Any, status: int) -> None:
        original(request, status)
        if process and "/token/" in request.path:
            os.kill(process.pop().pid, signal.SIGKILL)

    site.home.server.call(lambda: setattr(site.pve.log, "add", add))
    started = site.home.start("bootstrap.py", "--yes", program=sys.executable, env=site.env())
    process.append(started)
    started.communicate(timeout=PATIENCE)
    assert started.returncode == -signal.SIGKILL
    site.process().went_well()
    assert site.token().partition("=")[2] == site.pve.apitokens["hearth@pve!deploy"]
    assert Path(site.node.wrapper).exists()
