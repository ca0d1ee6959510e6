"""Commands that run only where needed, packages, units."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ops_kit import run

from hearth.ops import apt, shell, systemd
from hearth.ops.facts import FileStates, Unit, UnitState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


def stub(folder: Path, name: str, text: str) -> None:
    """A program of that name, found before the real one."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def sh(script: str, programs: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    path = f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"
    return subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        env={"PATH": path, **environ},
        timeout=60,
        check=False,
    )


def test_a_command_runs_until_its_test_holds(tmp_path: Path) -> None:
    flag = tmp_path / "flag"

    def ensure() -> Any:
        return run(lambda: shell.ensure(name="Flag", holds=f"[ -e {flag} ]", command=f"touch {flag}"))

    assert ensure().did_change()
    assert ensure().did_not_change()


def test_a_command_that_does_not_help_fails() -> None:
    done = run(lambda: shell.ensure(name="Vain", holds="false", command="true"))
    assert not done.did_succeed()
    assert "still it does not hold" in done.stderr


def test_missing_packages_are_known_by_their_state(tmp_path: Path) -> None:
    """Removed packages whose configuration is left are missing too."""
    stub(
        tmp_path, "dpkg-query", 'case "$3" in a) echo installed ;; b) echo config-files ;; *) exit 1 ;; esac'
    )
    out = sh(apt.Missing().command(["a", "b", "c"]).replace("dpkg-query -W -f", "dpkg-query x"), tmp_path)
    found = apt.Missing().process(out.stdout.splitlines())
    assert found == ["b", "c"]


def test_lists_are_fetched_again_until_it_works_and_believed_for_a_while(tmp_path: Path) -> None:
    log = tmp_path / "log"
    once = f"[ -e {tmp_path}/ok ] || {{ touch {tmp_path}/ok; exit 100; }}"
    stub(tmp_path / "bin", "apt-get", f'echo "$@" >> {log}; case "$*" in *update) {once} ;; esac')
    stub(tmp_path / "bin", "sleep", ":")
    script = apt.installing(["one", "two"]).replace("/run/hearth", str(tmp_path / "run"))
    for _ in range(2):
        assert sh(script, tmp_path / "bin").returncode == 0
    calls = [line.split()[-1] if "update" in line else "install" for line in log.read_text().splitlines()]
    assert calls == ["update", "update", "install", "install"]
    assert "DPkg::Lock::Timeout" in log.read_text()


def test_an_update_that_never_works_fails(tmp_path: Path) -> None:
    stub(tmp_path / "bin", "apt-get", 'case "$*" in *update) exit 100 ;; esac')
    stub(tmp_path / "bin", "sleep", ":")
    script = apt.installing(["one"]).replace("/run/hearth", str(tmp_path / "run"))
    assert sh(script, tmp_path / "bin").returncode != 0


UP = UnitState(loaded=True, active=True, enabled=True, started=NOW, told=NOW)


def changed(unit: UnitState, **paths: datetime) -> UnitState:
    return UnitState(**{**vars(unit), "changed": tuple((f"/{name}", at) for name, at in paths.items())})


@pytest.mark.parametrize(
    ("unit", "planned", "steps"),
    [
        (UP, set(), []),
        (changed(UP, conf=NOW - timedelta(days=1), acl=NOW), set(), []),
        (changed(UP, conf=LATER), set(), ["daemon-reload", "restart"]),
        (changed(UP, acl=LATER), set(), ["reload"]),
        (changed(UP, acl=LATER, conf=LATER), set(), ["daemon-reload", "restart"]),
        (changed(UnitState(**{**vars(UP), "told": LATER}), acl=LATER, conf=NOW), set(), []),
        (UP, {"/conf"}, ["daemon-reload", "restart"]),
        (UP, {"/acl"}, ["reload"]),
        (UP, {"/other"}, []),
        (UnitState(**{**vars(UP), "stale": True}), set(), ["daemon-reload"]),
        (UnitState(**{**vars(UP), "enabled": False}), set(), ["enable"]),
        (UnitState(loaded=True, enabled=True), set(), ["daemon-reload", "start"]),
        (UnitState(loaded=True, enabled=True), {"/conf"}, ["daemon-reload", "start"]),
        (UnitState(loaded=True, enabled=True, skipped=True), set(), []),
        (UnitState(), {"/conf"}, ["daemon-reload", "enable", "start"]),  # an absent guest
    ],
)
def test_a_unit_gets_the_gentlest_step_that_is_enough(
    unit: UnitState, planned: set[str], steps: list[str]
) -> None:
    assert systemd.decide(unit, {"/conf"}, {"/acl"}, planned) == steps


def test_a_units_state_is_read_from_systemctl() -> None:
    found = Unit().process(
        [
            "LoadState=loaded",
            "ActiveState=active",
            "UnitFileState=static",
            "NeedDaemonReload=yes",
            "ActiveEnterTimestamp=Mon 2026-11-23 12:00:00.000000 UTC",
            "StateChangeTimestamp=Mon 2026-11-23 12:00:05.500000 UTC",
            "ConditionResult=yes",
            "ConditionTimestamp=Mon 2026-11-23 11:59:59.000000 UTC",
            "file=1795435200.250000 /etc/a=b c",
        ]
    )
    assert found == UnitState(
        loaded=True,
        active=True,
        enabled=True,
        stale=True,
        started=NOW,
        told=LATER + timedelta(seconds=0.5),
        changed=(("/etc/a=b c", datetime.fromtimestamp(1795435200.25, UTC)),),
    )


@pytest.mark.parametrize(("result", "skipped"), [("success", True), ("exec-condition", False)])
def test_what_waits_for_its_configuration_is_started_and_what_has_no_place_here_is_not(
    result: str, skipped: bool
) -> None:
    """Systemd 252 says ConditionResult=no of both, as of prometheus.service after its package started it."""
    found = Unit().process(
        [
            "LoadState=loaded",
            "ActiveState=inactive",
            "ConditionResult=no",
            "ConditionTimestamp=Mon 2026-11-23 11:59:59.000000 UTC",
            f"Result={result}",
        ]
    )
    assert found.skipped is skipped


def test_facts_are_read_the_same_in_every_language() -> None:
    """`stat` writes 1,5 where the locale has a comma."""
    assert Unit().command("x.service", ["/etc/x"]).startswith("export LC_ALL=C;")
    assert FileStates().command(["/etc/x"]).startswith("export LC_ALL=C;")


def test_a_unit_that_was_never_started_has_no_times() -> None:
    found = Unit().process(
        ["LoadState=not-found", "ActiveState=inactive", "ActiveEnterTimestamp=", "UnitFileState="]
    )
    assert found == UnitState()


SYSTEMCTL = """
case "$*" in
  *"-p ActiveState"*) cat {0}/active ;;
  *"-p MainPID"*) cat {0}/pid; [ ! -e {0}/crashing ] || echo $(($(cat {0}/pid) + 1)) > {0}/pid ;;
  *"-p NRestarts"*) cat {0}/restarts ;;
  *"-p SubState"*) cat {0}/sub ;;
  *"-p ConditionResult"*) cat {0}/condition ;;
  *status*) echo 'the log says why' ;;
  *) echo "$@" >> {0}/calls; [ ! -e {0}/broken ] ;;
esac
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that says what files say; patience is short."""
    monkeypatch.setattr(systemd, "WITHIN", 3)
    for name, text in {
        "active": "active",
        "sub": "dead",
        "restarts": "0",
        "pid": "10",
        "condition": "yes",
    }.items():
        (tmp_path / name).write_text(text)
    stub(tmp_path / "bin", "systemctl", SYSTEMCTL.format(tmp_path))
    stub(tmp_path / "bin", "sleep", ":")
    return tmp_path


def watch(manager: Path, ports: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    return sh(systemd.script("x.service", ["restart"], ports, 1), manager / "bin")


def test_a_unit_that_stays_up_is_good(manager: Path) -> None:
    done = watch(manager)
    assert (done.returncode, done.stderr) == (0, "")
    assert "restart x.service" in (manager / "calls").read_text()


@pytest.mark.parametrize(
    ("state", "restarts", "stopped"),
    [("auto-restart", 0, True), ("running", 3, True), ("dead", 0, False), ("start", 0, False)],
)
def test_a_loop_of_restarts_is_ended_before_a_start(
    manager: Path, state: str, restarts: int, stopped: bool
) -> None:
    """Else the unit comes up as one of the loop's, and counts a restart for ever."""
    (manager / "sub").write_text(state)
    (manager / "restarts").write_text(str(restarts))
    assert sh(systemd.script("x.service", ["start"], (), 1), manager / "bin").returncode == 0
    words = [line.replace("-q ", "") for line in (manager / "calls").read_text().splitlines()]
    assert ("stop x.service" in words) is stopped
    assert words[-1] == "start x.service"


def test_what_runs_is_not_stopped_for_a_reload(manager: Path) -> None:
    (manager / "restarts").write_text("3")
    assert sh(systemd.script("x.service", ["reload"], (), 1), manager / "bin").returncode == 0
    assert "stop" not in (manager / "calls").read_text()


def test_a_unit_that_crashes_in_a_loop_fails_with_its_log(manager: Path) -> None:
    (manager / "crashing").touch()
    (manager / "restarts").write_text("7")
    done = watch(manager)
    assert done.returncode != 0
    assert "restarted 7 times" in done.stderr
    assert "the log says why" in done.stderr


@pytest.mark.parametrize("state", ["failed", "activating"])
def test_a_unit_that_does_not_come_up_fails(manager: Path, state: str) -> None:
    (manager / "active").write_text(state)
    assert watch(manager).returncode != 0


def test_a_unit_that_systemctl_cannot_start_fails(manager: Path) -> None:
    (manager / "broken").touch()
    done = watch(manager)
    assert done.returncode != 0
    assert "the log says why" in done.stderr


def test_a_unit_whose_port_stays_closed_fails(manager: Path) -> None:
    assert "port" in watch(manager, (1,)).stderr


def test_a_unit_whose_conditions_do_not_hold_is_left_alone(manager: Path) -> None:
    (manager / "active").write_text("inactive")
    (manager / "condition").write_text("no")
    assert watch(manager).returncode == 0
