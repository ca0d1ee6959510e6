"""Debug level for a time: who is loud and until when, and the way back that the guest itself takes."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from monitor_kit import a_home, folder
from ops_kit import Absent, preparing
from role_kit import FakeRun, fleet, group_data, guest

from hearth import run as runs
from hearth.deploy.roles import ends_debugging
from hearth.errors import HearthError
from hearth.ops import calm, systemd
from hearth.ops.files import File
from hearth.role.here import Here
from hearth.role.loud import loud_until

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SOON = (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%d %H:%M")
LOUD = ("mosquitto", "zigbee2mqtt", "ntfy")


@pytest.mark.parametrize(
    ("value", "until"),
    [
        ({}, None),
        ({"other": "2026-11-30 20:00"}, None),
        ({"mosquitto": "2026-11-30 20:00"}, datetime(2026, 11, 30, 19, 0, tzinfo=UTC)),
        ({"mosquitto@comms": "2026-11-30 20:00"}, datetime(2026, 11, 30, 19, 0, tzinfo=UTC)),
        ({"mosquitto@data": "2026-11-30 20:00"}, None),
        ({"mosquitto": "2026-11-30 12:59"}, None),
        ({"mosquitto": "2026-11-30 13:01"}, datetime(2026, 11, 30, 12, 1, tzinfo=UTC)),
        ({"mosquitto": "2026-11-30T20:00:00+00:00"}, datetime(2026, 11, 30, 20, 0, tzinfo=UTC)),
        (
            {"mosquitto": "2026-11-30 15:00", "mosquitto@comms": "2026-11-30 16:00"},
            datetime(2026, 11, 30, 15, 0, tzinfo=UTC),
        ),
    ],
)
def test_a_role_is_loud_until_its_time_in_the_homes_zone(value: Any, until: datetime | None) -> None:
    assert loud_until(value, "mosquitto", "comms", "Europe/Zurich", NOW) == until


@pytest.mark.parametrize(
    "value",
    [[], "mosquitto", {"mosquitto": "tomorrow"}, {"mosquitto": None}, {"mosquitto": True},
     {"mosquitto": "2026-12-31"}],
)  # fmt: skip
def test_what_is_no_time_or_too_far_away_is_refused(value: Any) -> None:
    with pytest.raises(HearthError, match="log_debug"):
        loud_until(value, "mosquitto", "comms", "Etc/UTC", NOW)


def test_a_role_that_could_not_come_back_is_refused() -> None:
    here = a_home().here("comms", "wall", log_debug={"wall": SOON})
    with pytest.raises(HearthError, match="wall"):
        here.value("log_level")
    assert a_home().here("comms", "wall", log_debug={"mosquitto": SOON}).value("log_level") == "nolog"


@pytest.mark.parametrize("name", LOUD)
def test_its_files_differ_in_the_level_and_the_usual_ones_are_the_quiet_ones(name: str) -> None:
    run = a_home()
    for part, value in (("network-key", str([7] * 16)), ("pan-id", "4660"), ("ext-pan-id", str([7] * 8))):
        run.secrets.put(f"zigbee2mqtt/{part}", value)
    where = "mqtt-standby" if name == "ntfy" else "comms"
    logging = run.roles[name].logging
    assert logging is not None
    adapter = {"zigbee2mqtt_adapter": "tcp://192.168.1.2:6638", "zigbee2mqtt_adapter_type": "zstack"}
    here = run.here(where, name, log_debug={name: SOON}, **adapter)
    loud, usual = list(logging.files(here)), list(logging.files(here.calmly()))
    quiet = list(logging.files(run.here(where, name, **adapter)))
    assert [file.path for file in loud] == [file.path for file in usual]
    assert [file.text for file in usual] == [file.text for file in quiet]
    assert "".join(file.text for file in loud) != "".join(file.text for file in usual)
    assert "debug" in "".join(file.text for file in loud)


def test_every_role_with_a_level_but_the_wall_has_a_way_back() -> None:
    run = FakeRun(fleet(guest("x", 150)))
    data = vars(group_data())
    with_level = {name for name in run.roles if f"{name}_log_level" in data}
    assert {name for name in with_level if run.roles[name].logging is None} == {"wall"}


# ----------------------------------------------------------------------- the way back


def parts(root: Path, usual: list[File]) -> dict[str, File]:
    until = NOW + timedelta(hours=1)
    return {file.path: file for file in calm.parts("mosquitto", "mosquitto.service", usual, until, "reload")}


def test_the_timer_is_for_that_moment_and_catches_up() -> None:
    found = parts(Path("/"), [File("/etc/x", "quiet")])
    timer = found["/etc/systemd/system/hearth-calm-mosquitto.timer"].text
    assert "OnCalendar=2026-11-30 13:00:00 UTC\n" in timer
    assert "Persistent=true" in timer


def test_what_is_kept_for_it_only_root_reads() -> None:
    found = parts(Path("/"), [File("/etc/x", "quiet", secret=True)])
    assert all(
        (file.user, file.mode) in (("root", "600"), ("root", "700"))
        for path, file in found.items()
        if path.startswith(calm.ROOT)
    )


def test_the_script_puts_the_usual_files_back_has_them_read_and_ends_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in for systemctl writes down how it is called; everything else is real."""
    with folder() as root:
        monkeypatch.setattr(calm, "ROOT", f"{root}/kept")
        monkeypatch.setattr(calm, "UNITS", f"{root}/units")
        target = root / "etc/settings with blanks.conf"
        target.parent.mkdir()
        target.write_text("level debug\n")
        usual = File(str(target), "level notice\n", mode="640")
        for file in parts(root, [usual]).values():
            path = Path(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
        (root / "bin").mkdir()
        calls = root / "calls"
        (root / "bin/systemctl").write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
        (root / "bin/systemctl").chmod(0o755)
        script = f"{root}/kept/mosquitto/back"
        subprocess.run(["sh", script], check=True, env={"PATH": f"{root}/bin:/usr/bin:/bin"})
        assert target.read_text() == "level notice\n"
        assert target.stat().st_mode & 0o777 == 0o640
        assert not (root / "kept/mosquitto").exists()
        assert list((root / "units").iterdir()) == []
        said = calls.read_text().splitlines()
        assert "reload mosquitto.service" in said
        assert said.index("reload mosquitto.service") < said.index("daemon-reload")


def planned(run: FakeRun, monkeypatch: pytest.MonkeyPatch, **data: Any) -> list[bool]:
    """Whether the operations change something that are planned for Mosquitto on a guest that is absent."""
    monkeypatch.setattr(runs, "current", lambda: run)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(**data)
        ends_debugging(Here(run, run.fleet.guest("comms"), host, run.roles["mosquitto"]))
        return [data.operation_meta.will_change for data in host.state.ops[host].values()]


def test_a_loud_role_gets_its_timer_and_a_quiet_one_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_home()
    assert planned(run, monkeypatch, log_debug={"mosquitto": SOON}) == [True]
    assert planned(run, monkeypatch) == [False], "an absent guest has none"


@pytest.mark.parametrize(("there", "removes"), [([], False), (["hearth-calm-mosquitto.timer"], True)])
def test_what_is_left_of_a_time_that_is_over_is_removed(
    there: list[str], removes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calm, "host", SimpleNamespace(get_fact=lambda _: there, noop=lambda _: None))
    commands = list(calm.back._inner("mosquitto", "mosquitto.service", (), None, "reload"))
    assert bool(commands) is removes
    assert all("hearth-calm-mosquitto.timer" in str(command) for command in commands)


@pytest.mark.parametrize(
    ("there", "removes"),
    [([], False), (["other.service"], False), (["x.service"], True), (["x.service.d"], True)],
)
def test_a_unit_is_removed_where_it_is(
    there: list[str], removes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "host", SimpleNamespace(get_fact=lambda _: there, noop=lambda _: None))
    commands = list(systemd.gone._inner("x.service", ["/etc/x"]))
    assert bool(commands) is removes
    assert all("/etc/x" in str(command) for command in commands)


def test_a_role_without_levels_has_no_such_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_home()
    monkeypatch.setattr(runs, "current", lambda: run)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data()
        ends_debugging(Here(run, run.fleet.guest("comms"), host, run.roles["metrics"]))
        assert not host.state.ops[host]
