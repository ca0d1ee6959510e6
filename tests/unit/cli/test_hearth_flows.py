"""`hearth flows`: the table as an admin reads it, from a project's own files alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]

FLEET = """\
nodes:
  pve: {address: 192.0.2.1, storage: local-lvm, images: local}
networks:
  lan: {bridge: vmbr0, subnet: 192.0.2.0/24, gateway: 192.0.2.254}
images:
  debian: {kind: lxc, url: "http://example.org/debian.tar.zst"}
defaults:
  lxc: {image: debian, cores: 1, memory: 512 MiB, disk: 8 GiB}
guests:
  comms: {kind: lxc, address: 192.0.2.135, roles: [bus]}
"""
BUS = """\
from hearth.role.declaration import Port, Role
role = Role(provides=(Port("bus", 1883, audience="lan", devices=True), Port("inner", 9, audience="host")))
@role.deploy
def bus(here): pass
"""


@pytest.fixture
def home(project: Path) -> Path:
    (project / "inventory" / "fleet.yaml").write_text(FLEET)
    (project / "roles" / "bus.py").write_text(BUS)
    (project / "roles" / "base.py").write_text(BUS.replace("1883", "22").replace("def bus", "def base"))
    (project / "group_data").mkdir()
    (project / "group_data" / "all.py").write_text('firewall_iot = ["192.0.2.50"]\n')
    return project


def test_the_table(hearth: Hearth, home: Path) -> None:
    done = hearth("flows")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["comms", "1883/tcp", "bus.bus", "lan"] in rows
    assert ["comms", "1883/tcp", "bus.bus", "iot"] in rows
    assert not [row for row in rows if row[1:2] == ["9/tcp"]]
    assert "192.0.2.50" in done.stdout, "and who is meant"


def test_the_table_for_programs(hearth: Hearth, home: Path) -> None:
    rows = json.loads(hearth("flows", "--json").stdout)
    (row,) = [row for row in rows if row["port"] == 1883 and row["who"] == "lan"]
    assert row["networks"] == ["192.0.2.0/24"]
    assert row["without"] == ["192.0.2.50/32"]


def test_a_wrong_value_is_one_clear_line(hearth: Hearth, home: Path) -> None:
    (home / "group_data" / "all.py").write_text('firewall_iot = ["toaster"]\n')
    done = hearth("flows")
    assert done.returncode == 1
    assert "toaster" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_command_reads_the_projects_own_roles() -> None:
    # As typed in a shell: the project's folder is not on Python's path there.
    project = Path(__file__).parents[3]
    command = [str(Path(sys.executable).parent / "hearth"), "flows", "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["guest"] for row in json.loads(done.stdout)} >= {"comms", "home-assistant"}
