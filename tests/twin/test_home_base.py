"""The role `base` on real guests: the admin gets in, and no SSH setting can lock us out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.twin.annex_kit import Annex
from tests.twin.handle import until
from tests.twin.home_kit import Home

DROP_IN = "/etc/ssh/sshd_config.d/00-hearth.conf"
BREAKS = "PermitRootLogin no"


def test_the_admin_logs_in_with_their_key_and_becomes_root(annex: Annex) -> None:
    address = annex.home.address("annex")
    done = annex.home.twin.ssh(address, "sudo -n id -u", user="admin")
    assert (done.returncode, done.stdout.strip()) == (0, "0")


def test_nobody_gets_in_with_a_password(annex: Annex) -> None:
    done = annex.home.run(
        *("ssh", "-oPreferredAuthentications=password,keyboard-interactive", "-oStrictHostKeyChecking=no"),
        *("-oUserKnownHostsFile=/dev/null", "-oBatchMode=yes", f"root@{annex.home.address('annex')}", "true"),
    )
    assert "Permission denied (publickey)" in done.text


@pytest.fixture
def locked_out(annex: Annex) -> Iterator[Annex]:
    """The project with an SSH setting that refuses our own login; mended afterwards."""
    template = annex.home.project / "templates/base/sshd.conf.j2"
    good = template.read_text()
    template.write_text(good.replace("PermitRootLogin prohibit-password", BREAKS))
    assert BREAKS in template.read_text()
    yield annex
    template.write_text(good)


def test_a_setting_that_breaks_our_login_is_taken_back_and_said(locked_out: Annex) -> None:
    home = locked_out.home
    before = home.said("annex", f"cat {DROP_IN}")
    done = home.deploy("--limit", "annex")
    done.refused("a new SSH login failed: the old settings of sshd come back")
    assert home.said("annex", f"cat {DROP_IN}") == before
    assert "permitrootlogin without-password" in home.said("annex", "sshd -T")
    assert home.ends("annex", "systemctl is-active hearth-sshd-rollback.timer") != 0


def refusal(home: Home) -> str:
    """What a new login is answered."""
    once = subprocess.run(home.ssh("annex", "true"), capture_output=True, text=True, check=False)
    return once.stderr


@pytest.mark.slow
def test_the_guest_takes_it_back_itself_where_the_run_is_killed(locked_out: Annex) -> None:
    home = locked_out.home
    # A session from before goes on while sshd lets nobody new in.
    script = (
        f"until grep -q '{BREAKS}' {DROP_IN} && systemctl is-active -q hearth-sshd-rollback.timer; "
        "do sleep 0.05; done; echo broken; "
        f"while grep -q '{BREAKS}' {DROP_IN}; do sleep 0.1; done; echo restored"
    )
    argv = home.ssh("annex", script)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        run = home.start(
            *("pyinfra", "inventory", "deploy.py", "-y", "--limit", "annex"),
            *("--data", "base_ssh_rollback_after=10"),
        )
        try:
            assert session.stdout.readline() == "broken\n"
        finally:
            run.kill()
            run.communicate()
        until(lambda: "Permission denied" in refusal(home) or None, 5)
        assert session.stdout.readline() == "restored\n"
    assert home.said("annex", "true") == ""
    until(lambda: home.ends("annex", "systemctl is-active hearth-sshd-rollback.timer") or None)


def test_the_next_run_converges(annex: Annex) -> None:
    annex.home.deploy().went_well()
    annex.home.deploy().silent()
