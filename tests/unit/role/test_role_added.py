"""Adding a role is adding files of its name and a word in the fleet file; everything else follows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml
from role_kit import PROJECT

from hearth.fleet.loader import load_fleet
from hearth.role.acl import acl_text, mqtt_users
from hearth.role.catalogue import load_roles
from hearth.role.certificates import certificate_for
from hearth.role.order import in_order
from hearth.role.served import served

GREETER = '''
"""Greets over HTTPS, and tells the broker whom."""
from hearth.role.declaration import Need, Port, Role, Topic

role = Role(
    provides=(Port("web", 8443, tls=True),),
    needs=(Need("mosquitto", "mqtts", topics=(Topic("greeter/#", "write"),)),),
)

@role.deploy
def greeter(here):
    pass
'''
CHECK = "def test_it_greets(guest): pass\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a role touches, with the new role's files and its word in the fleet file."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.age")
    for folder in ("roles", "templates", "group_data", "inventory", "tests/verify"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=unwanted)
    (tmp_path / "roles" / "greeter.py").write_text(GREETER)
    (tmp_path / "tests" / "verify" / "test_greeter.py").write_text(CHECK)
    fleet_file = tmp_path / "inventory" / "fleet.yaml"
    fleet = yaml.safe_load(fleet_file.read_text())
    fleet["guests"]["data"].setdefault("roles", []).append("greeter")
    fleet_file.write_text(yaml.safe_dump(fleet, sort_keys=False))
    return tmp_path


def test_it_is_ordered_certified_and_given_its_topics(project: Path) -> None:
    roles = load_roles(project / "roles")
    fleet = load_fleet(project / "inventory" / "fleet.yaml", roles)
    order = in_order(roles)
    assert order.index("base") < order.index("mosquitto") < order.index("greeter")
    certificate = certificate_for(fleet.guest("data"), fleet, roles)
    assert certificate is not None
    assert IPv4Address("192.168.1.139") in certificate.addresses
    assert "user greeter-data\ntopic write greeter/#\n" in acl_text(mqtt_users(fleet, roles, {}))
    assert "data-greeter-web" in map(str, served(fleet, roles))


def test_it_is_verified(project: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HEARTH_")}
    environ["PYTHONPATH"] = str(PROJECT)  # the flows are proven with the phone of twin/
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "--rootdir", ".", "tests/verify"]
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_greeter.py::test_it_greets[data]" in done.stdout
    assert done.stdout.count("test_it_greets") == 1
    assert "test_its_certificate_holds_for_name_and_address[data-greeter-web]" in done.stdout
