"""A phone on a real guest: let in from outside, kept to its own, and shut out at once.

A small home beside the default one: one guest with the broker and a web interface of its own behind HAProxy.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.phones.bundle import opened
from hearth.secrets import Secret
from tests.twin.annex_kit import fleet_of
from tests.twin.handle import ROUTER, TwinHandle
from tests.twin.home_kit import Home, copy_project
from tests.verify.mqtt_client import Mqtt, RefusedError

pytestmark = pytest.mark.long

VMID, ADDRESS = 153, "192.168.1.153"
AT_HOME, AWAY = ROUTER, "100.64.0.7"  # AWAY: an address of the tailnet
NOBODY = "firewall_outside: list[str] = []"
DEPLOYS = 900.0  # seconds
LOBBY: dict[str, Any] = {"kind": "lxc", "address": ADDRESS, "roles": ["mosquitto", "greeter"]}
GREETER = '''
from hearth.ops import files, systemd
from hearth.ops.files import File
from hearth.role.declaration import Port, Role

role = Role(provides=(Port("web", 3000, tls=True, behind=13000, audience="lan", door=True, health="http"),))
UNIT = """[Service]
ExecStart=/usr/bin/python3 -m http.server 13000 --bind 127.0.0.1
WorkingDirectory=/usr/share/doc
"""


@role.deploy
def greeter(here):
    unit = File("/etc/systemd/system/greeter.service", UNIT)
    files.present(name="Write its unit", files=[unit])
    systemd.service(name="Greet", unit="greeter.service", restart_on=[unit], ports=[13000])
'''


@dataclass
class Phone:
    """A phone with the files of its bundle.

    Args:
        home: where it was made.
        folder: the bundle's files.
    """

    home: Home
    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        """What its app reads."""
        found: dict[str, Any] = json.loads((self.folder / "phone.json").read_text())
        return found

    def tls(self, certificate: bool = True) -> ssl.SSLContext:
        """It trusts the bundle's CA alone, and shows its certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if certificate:
            context.load_cert_chain(self.folder / "client.pem")
        return context

    def connected(self, source: str, certificate: bool = True) -> ssl.SSLSocket:
        """An HTTPS connection from an address of the twin's."""

        def connect() -> ssl.SSLSocket:
            raw = socket.create_connection((ADDRESS, 3000), 10, source_address=(source, 0))
            return self.tls(certificate).wrap_socket(raw, server_hostname=ADDRESS)

        return self.home.twin.call(connect)

    def status(self, source: str, certificate: bool = True) -> bytes:
        """The first line that it is answered."""
        with self.connected(source, certificate) as channel:
            channel.sendall(b"GET / HTTP/1.1\r\nHost: lobby\r\nConnection: close\r\n\r\n")
            return channel.makefile("rb").readline()

    @property
    def proxy(self) -> str:
        """HAProxy's main process: a reload keeps it, a restart does not."""
        return self.home.said("lobby", "systemctl show -p MainPID --value haproxy.service")

    def mqtt(self) -> Mqtt:
        """Logged in at the broker."""
        own = self.config["mqtt"]
        return self.home.twin.call(
            lambda: Mqtt(own["hosts"][0], own["port"], own["username"], own["password"], self.tls())
        )


@pytest.fixture(scope="module")
def phone(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """The small home, deployed, and a phone that is let in."""
    place = tmp_path_factory.mktemp("phones")
    project = copy_project(place / "project")
    (project / "roles/greeter.py").write_text(GREETER)
    values = project / "group_data/all.py"
    assert NOBODY in values.read_text()
    values.write_text(values.read_text().replace(NOBODY, f'firewall_outside = ["{AWAY}"]'))
    fleet_file = project / "inventory/fleet.yaml"
    fleet_file.write_text(yaml.safe_dump(fleet_of(lobby=LOBBY), sort_keys=False))
    home = Home(twin, place, project, fleet_file, own_secrets=True)
    home.vault.mkdir(mode=0o700)
    twin.remove("lxc", VMID)
    twin.exec("ip", "address", "add", f"{AWAY}/32", "dev", "lo")
    try:
        home.run("hearth", "android", "add", "anna").went_well()
        home.deploy(patience=DEPLOYS).went_well()
        yield Phone(home, unpacked(home, place / "bundle"))
    finally:
        twin.exec("ip", "address", "del", f"{AWAY}/32", "dev", "lo")
        twin.remove("lxc", VMID)


def unpacked(home: Home, folder: Path) -> Path:
    """The bundle opened with what the page shows, and the PKCS#12 file taken apart by openssl."""
    written = home.state_dir / "phones"
    passphrase = re.search(r'class="text big">([^<]+)<', (written / "anna.html").read_text())
    assert passphrase
    folder.mkdir()
    for name, content in opened((written / "anna.age").read_bytes(), Secret(passphrase[1])).items():
        (folder / name).write_bytes(content)
    own = json.loads((folder / "phone.json").read_text())["client_certificate"]
    opening = ["openssl", "pkcs12", "-in", own["file"], "-passin", f"pass:{own['passphrase']}", "-nodes"]
    subprocess.run([*opening, "-clcerts", "-out", "client.pem"], cwd=folder, check=True)
    return folder


def test_a_certificate_is_asked_for_from_outside_alone(phone: Phone) -> None:
    assert b" 200 " in phone.status(AT_HOME, certificate=False)
    assert b" 403 " in phone.status(AWAY, certificate=False)
    assert b" 200 " in phone.status(AWAY)


def test_it_publishes_to_its_own_topics_only(phone: Phone) -> None:
    with phone.mqtt() as client:
        client.publish("phones/anna/battery", "80", 1)
        with pytest.raises(RefusedError):
            client.publish("phones/berta/battery", "80", 1)


def test_another_phone_takes_a_reload(phone: Phone) -> None:
    before = phone.proxy
    phone.home.run("hearth", "android", "add", "berta").went_well()
    phone.home.deploy(patience=DEPLOYS).went_well()
    assert phone.proxy == before
    assert b" 200 " in phone.status(AWAY)
    phone.home.run("hearth", "android", "add", "anna").went_well()
    phone.home.deploy(patience=DEPLOYS).silent()


def test_revoked_it_is_refused_everywhere_and_what_it_held_open_has_ended(phone: Phone) -> None:
    before = phone.proxy
    with phone.mqtt() as client:
        phone.home.run("hearth", "android", "revoke", "anna", "--now", patience=DEPLOYS).went_well()
        assert client.gone.wait(30)
    assert phone.proxy != before, "a reload would have left its connections to the old process"
    assert b" 403 " in phone.status(AWAY)
    assert b" 200 " in phone.status(AT_HOME), "at home nobody is asked"
    with pytest.raises(RefusedError):
        phone.mqtt()
    rights = phone.home.said("lobby", "cat /etc/mosquitto/acl /etc/mosquitto/passwords")
    assert ("phone-anna" in rights, "phone-berta" in rights) == (False, True)
    phone.home.deploy(patience=DEPLOYS).silent()
