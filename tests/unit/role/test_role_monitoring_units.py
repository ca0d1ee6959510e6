"""The units of monitoring as systemd reads them: every line understood, walls that it finds good enough."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_kit import a_home
from role_kit import FakeRun

from hearth.bootstrap.reader import SECRET, TOKEN
from hearth.ops.files import File
from roles import alerts, central_journal, dead_man, journal_upload, metrics, monitoring, ntfy
from roles.monitoring import exporters, proxmox

pytestmark = pytest.mark.slow

EXPOSED = 5.0  # as tests/verify/sandbox.py asks
DEBIANS = Path("/lib/systemd/system")


def a_run() -> FakeRun:
    run = a_home()
    run.secrets.put(SECRET, f"{TOKEN}=12345678-1234-1234-1234-1234567890ab")
    return run


def units() -> Iterator[File]:
    """Every service that runs for ever."""
    run = a_run()
    watching = run.here("monitoring", "monitoring")
    yield monitoring.unit(watching)
    for helper in (*exporters.helpers(watching), proxmox.exporter(watching)):
        yield from helper.units
    here = run.here("monitoring", "alerts")
    values = {"folder": alerts.FOLDER, "data": alerts.DATA}
    yield here.template("unit.conf.j2", f"/etc/systemd/system/{alerts.UNIT}.d/hearth.conf", values=values)
    values = {"user": alerts.RELAY_USER, "settings": alerts.SETTINGS, "program": alerts.LIBRARY}
    yield here.template("alert-relay.service.j2", "/etc/systemd/system/alert-relay.service", values=values)
    here = run.here("mqtt-standby", "dead_man")
    values = {"user": dead_man.USER, "settings": dead_man.SETTINGS, "program": dead_man.LIBRARY}
    yield here.template("dead-man.service.j2", "/etc/systemd/system/dead-man.service", values=values)
    here = run.here("mqtt-standby", "ntfy")
    values = {"user": ntfy.USER, "config": ntfy.CONFIG, "current": "/opt/hearth/ntfy/current"}
    yield here.template("ntfy.service.j2", "/etc/systemd/system/ntfy.service", values=values)
    here = run.here("comms", "metrics")
    values = {"user": metrics.USER, "folder": metrics.FOLDER, "textfiles": metrics.TEXTFILES}
    yield here.template("unit.conf.j2", f"/etc/systemd/system/{metrics.UNIT}.d/hearth.conf", values=values)
    here = run.here("monitoring", "central_journal")
    for name in ("journal-central", "journal-gate"):
        path = f"/etc/systemd/system/{name}.service"
        yield here.template(f"{name}.service.j2", path, values=central_journal.places(here))
    here = run.here("comms", "journal_upload")
    path = "/etc/systemd/system/journal-upload.service"
    yield here.template("journal-upload.service.j2", path, values=journal_upload.places(here))


def whole(file: File) -> tuple[str, str]:
    """A unit's name and its text; for a drop-in, Debian's unit with it."""
    if file.path.endswith(".service"):
        return file.path.rpartition("/")[2], file.text
    name = file.path.split("/")[-2].removesuffix(".d")
    return name, (DEBIANS / name).read_text() + "\n" + file.text


UNITS = dict(map(whole, units()))


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit in a file."""
    file = tmp_path / request.param
    # Whom it runs as, and its program, are not on this machine.
    file.write_text(UNITS[request.param])
    return file


@pytest.mark.parametrize("unit", sorted(UNITS), indirect=True)
def test_systemd_finds_its_walls_good_enough(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout)
    assert found, said.stdout + said.stderr
    assert float(found[1]) <= EXPOSED


@pytest.mark.parametrize("unit", sorted(UNITS), indirect=True)
def test_systemd_understands_every_line(unit: Path) -> None:
    said = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    wrong = [line for line in said.splitlines() if unit.name in line and re.search(r":\d+: ", line)]
    assert not wrong, wrong


def test_no_two_share_a_user_and_none_is_root() -> None:
    users = {name: re.findall(r"^User=(.*)$", text, re.M)[-1] for name, text in UNITS.items()}
    assert len(set(users.values())) == len(users), users
    assert not {"root", ""} & set(users.values())


def test_each_has_limits_and_comes_back() -> None:
    for name, text in UNITS.items():
        for setting in ("MemoryMax=", "TasksMax=", "Restart=always", "StartLimitIntervalSec=0", "UMask=0077"):
            assert setting in text, (name, setting)
