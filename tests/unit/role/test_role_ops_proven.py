"""Files that a guest takes back unless a new login proves them: every step, and every place to be cut off."""

from __future__ import annotations

import getpass
import grp
import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from ops_kit import preparing
from pyinfra.api.command import FileUploadCommand, FunctionCommand

from hearth.ops import proven, ssh
from hearth.ops.files import File


class Guest:
    """A guest's folders below a temporary one, with programs that write down what is asked of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place / "etc/drop-in"
        self.calls = place / "calls"
        (place / "bin").mkdir()
        (place / "run").mkdir()
        self.file.parent.mkdir()
        group = grp.getgrgid(os.getegid()).gr_name
        self.owner = (getpass.getuser(), group, "600")
        self.program("systemctl", f'echo systemctl "$@" >> {self.calls}')
        self.program(
            "systemd-run", f'echo systemd-run "$@" >> {self.calls}; cat {self.file} >> {self.calls} || :'
        )

    def program(self, name: str, text: str) -> None:
        """A program found before the real one."""
        (self.place / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.place / "bin" / name).chmod(0o755)

    def risky(self, content: str) -> proven.Risky:
        return proven.Risky(
            name="thing",
            what="settings",
            file=File(str(self.file), content, *self.owner),
            check="! grep -q bad {file}",
            apply=f"echo apply $(cat {{file}} 2>/dev/null) >> {self.calls}; ! grep -q unfit {{file}}",
            save="echo live > {kept}/live",
            restore=f"echo restore $(cat {{kept}}/live) >> {self.calls}",
        )

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script as the guest would."""
        path = f"{self.place}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, env={"PATH": path}, timeout=60, check=False
        )
        assert "not found" not in done.stderr
        return done

    def tries(self, content: str) -> subprocess.CompletedProcess[str]:
        """Try a content, which was uploaded."""
        risky = self.risky(content)
        Path(risky.candidate).write_text(content)
        return self.sh(proven.trying(risky, 60))

    def undo(self) -> None:
        """What timer, restart and a failed proof all do."""
        kept = self.risky("").kept
        if Path(f"{kept}/undo").exists():
            assert self.sh(f"sh {kept}/undo").returncode == 0

    def keep(self) -> subprocess.CompletedProcess[str]:
        return self.sh(proven.keeping(self.risky("")))

    @property
    def told(self) -> list[str]:
        """What was asked of programs."""
        return self.calls.read_text().splitlines()


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    monkeypatch.setattr(proven, "PLACE", str(tmp_path / "kept"))
    monkeypatch.setattr(proven, "STAGE", str(tmp_path / "run"))
    monkeypatch.setattr(proven, "BOOT", str(tmp_path / "units/rollback.service"))
    found = Guest(tmp_path)
    found.file.write_text("old\n")
    return found


def test_the_way_back_is_armed_before_the_new_file_holds(guest: Guest) -> None:
    assert guest.tries("new").returncode == 0
    timer = next(line for line in guest.told if line.startswith("systemd-run"))
    assert "--on-active=60" in timer
    assert guest.told[guest.told.index(timer) + 1] == "old"  # what the file was when it was armed
    assert guest.told[-1] == "apply new"
    assert (guest.place / "units/rollback.service").read_text() == proven.BOOT_UNIT
    assert "systemctl -q enable hearth-rollback.service" in guest.told
    guest.undo()
    assert guest.file.read_text() == "old\n"
    assert "restore live" in guest.told


def test_a_way_back_to_nothing_removes_the_file(guest: Guest) -> None:
    guest.file.unlink()
    assert guest.tries("new").returncode == 0
    guest.undo()
    assert not guest.file.exists()


@pytest.mark.parametrize("content", ["bad", "unfit"])
def test_what_is_refused_or_cannot_be_applied_is_taken_back_at_once(guest: Guest, content: str) -> None:
    done = guest.tries(content)
    assert done.returncode != 0
    assert f"{guest.file} was refused" in done.stderr
    assert guest.file.read_text() == "old\n"
    assert ("apply bad" in guest.told) is False
    assert guest.told[-1] == "systemctl stop hearth-thing-rollback.timer"


def test_what_is_unproven_is_never_kept_as_the_old_one(guest: Guest) -> None:
    guest.tries("locks us out")
    guest.tries("locks us out too")
    guest.undo()
    assert guest.file.read_text() == "old\n"


def test_what_was_proven_is_not_taken_back(guest: Guest) -> None:
    guest.tries("new")
    undo = (guest.place / "kept/thing/undo").read_text()
    assert guest.keep().returncode == 0
    assert guest.told[-1] == "systemctl stop hearth-thing-rollback.timer"
    assert guest.sh(undo).returncode == 0  # the timer, a moment too late
    assert guest.file.read_text() == "new"
    assert list((guest.place / "kept").iterdir()) == []


def test_keeping_fails_when_the_way_back_was_faster(guest: Guest) -> None:
    guest.tries("new")
    guest.undo()
    done = guest.keep()
    assert done.returncode != 0
    assert "the old settings are back" in done.stderr


def test_a_way_back_that_was_cut_off_is_finished_before_anything_new(guest: Guest) -> None:
    guest.tries("new")
    kept = guest.place / "kept/thing"
    (kept / "unproven").rename(kept / "undoing")  # and then the power went
    guest.tries("newer")
    assert guest.told.index("restore live") < guest.told.index("apply newer")
    guest.undo()
    assert guest.file.read_text() == "old\n"


def test_after_a_restart_everything_unproven_is_taken_back(guest: Guest) -> None:
    """The unit's own command, as systemd would read it."""
    guest.tries("new")
    line = next(line for line in proven.BOOT_UNIT.splitlines() if line.startswith("ExecStart="))
    command = (
        line.removeprefix("ExecStart=").replace("$$", "$").replace("/var/lib/hearth", f"{guest.place}/kept")
    )
    done = guest.sh(" ".join(map(shlex.quote, shlex.split(command))))
    assert (done.returncode, done.stderr) == (0, "")
    assert guest.file.read_text() == "old\n"


def test_systemd_accepts_the_unit_for_restarts(tmp_path: Path) -> None:
    unit = tmp_path / "hearth-rollback.service"
    unit.write_text(proven.BOOT_UNIT)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(unit) in line]) == (0, [])


def test_ssh_settings_are_judged_by_sshd_and_nothing_waits_for_it_at_boot() -> None:
    risky = ssh.risky(File("/etc/ssh/sshd_config.d/00-hearth.conf", "x"))
    assert "/usr/sbin/sshd -t" in risky.check
    assert "--no-block" in proven.undoing(risky)


class Line:
    """A host whose connector can or cannot log in anew."""

    def __init__(self, proves: bool | None) -> None:
        self.ran: list[str] = []
        self.connector = SimpleNamespace()
        if proves is not None:
            self.connector.prove_new_connection = lambda: proves

    def run_shell_command(self, command: object) -> None:
        self.ran.append(str(command))
        raise OSError("gone")

    def log(self, *_: object, **__: object) -> None: ...

    log_styled = log


@pytest.mark.parametrize("proves", [True, False, None])
def test_only_a_new_login_proves(guest: Guest, proves: bool | None) -> None:
    host = Line(proves)
    assert proven._prove(None, host, guest.risky("new")) is (proves is True)
    assert host.ran == ([] if proves else ["systemctl start hearth-thing-rollback.service"])


def carried_out(guest: Guest, content: str) -> int:
    """Do what the operation yields; how many steps it were."""
    with preparing():
        steps = list(proven.change(guest.risky(content), 60))
    for step in steps:
        if isinstance(step, FileUploadCommand):
            Path(step.dest).write_text(step.src.getvalue())
        elif isinstance(step, FunctionCommand):
            assert step.function(None, Line(True), *step.args)
        else:
            assert guest.sh(step.get_raw_value()).returncode == 0
    return len(steps)


def test_what_a_login_proves_stays_and_a_second_run_is_silent(guest: Guest) -> None:
    assert carried_out(guest, "new\n") > 0
    assert "systemctl stop hearth-thing-rollback.timer" in guest.told
    guest.undo()
    assert guest.file.read_text() == "new\n"
    assert carried_out(guest, "new\n") == 0
