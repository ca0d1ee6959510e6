"""Everything is rotated while a client publishes and one reads: nothing is lost, no old credential holds.

Two guests: a broker with a database; a second broker, bridged to it, with a courier that publishes and reads
without a pause. Besides them two devices, whose credentials stay, and who must not notice at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.secrets import mqtt_logins
from tests.twin.annex_kit import fleet_of
from tests.twin.handle import TwinHandle, until
from tests.twin.home_kit import PATIENCE, WHOLE, Home, copy_project

pytestmark = pytest.mark.long

COURIER = Path(__file__).parent / "courier"
PROGRAM = COURIER / "templates/courier/courier.py"
GUESTS: dict[str, dict[str, Any]] = {
    "rota": {
        "kind": "lxc",
        "address": "192.168.1.156",
        "memory": "1 GiB",
        "disk": "4 GiB",
        "roles": ["mosquitto", "postgresql"],
    },
    "post": {
        "kind": "lxc",
        "address": "192.168.1.157",
        "memory": "512 MiB",
        "disk": "4 GiB",
        "roles": ["mosquitto", "courier"],
    },
}
DEVICES = (
    "mosquitto_devices: dict[str, dict[str, list[str]]] = {}",
    'mosquitto_devices = {"garden": {"publish": ["garden/#"], "subscribe": ["garden/#"]}}',
)
ROTATED = {
    "mqtt/courier-post",
    "mqtt/hearth-verify",
    "mqtt/mosquitto-post",
    "postgresql/courier",
    "postgresql/replication",
    "tls/post/cert",
    "tls/rota/cert",
}


@dataclass(frozen=True)
class Old:
    """The credentials before a rotation, each as a test would try it."""

    mqtt: tuple[tuple[str, str], ...]
    database: str
    certificates: dict[str, str]


class Rota:
    """The small home of these tests."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def rotate(self, *options: str) -> str:
        """`pyinfra inventory rotate.py`, which has to end well; what it said."""
        done = self.home.run("pyinfra", "inventory", "rotate.py", "-y", *options, patience=WHOLE)
        return done.went_well().text

    def current(self) -> Old:
        """The credentials as they are now."""
        store = self.home.secrets
        users = ("courier-post", "mosquitto-post", "hearth-verify")
        logins = tuple(
            (one.name, one.password.reveal()) for user in users for one in mqtt_logins(store, user)
        )
        served = {name: self.certificate(name) for name in GUESTS}
        return Old(logins, store.get("postgresql/courier").reveal(), served)

    def certificate(self, guest: str) -> str:
        """The serial number that a broker shows."""
        return self.home.said(
            guest,
            "openssl s_client -connect 127.0.0.1:8883 </dev/null 2>/dev/null | openssl x509 -noout -serial",
        )

    def mqtt_opens(self, name: str, password: str) -> bool:
        """Whether the first broker lets somebody in."""
        script = (
            "import sys, paho.mqtt.client as m; c = m.Client(); a, b = sys.stdin.read().split(); "
            "c.username_pw_set(a, b); r = []; c.on_connect = lambda *x: (r.append(x[3]), c.disconnect()); "
            f"c.connect('{GUESTS['rota']['address']}', 1883); c.loop_forever(); sys.exit(r[0] and 7)"
        )
        command = self.home.ssh("post", f'python3 -c "{script}"')
        done = subprocess.run(
            command, input=f"{name} {password}", text=True, capture_output=True, timeout=60, check=False
        )
        assert done.returncode in (0, 7), done.stderr
        return done.returncode == 0

    def database_opens(self, password: str) -> bool:
        """Whether the database lets the courier in."""
        address = GUESTS["rota"]["address"]
        # From the courier's guest; psql is on the database's: a tunnel would change the address.
        script = (
            "command -v psql >/dev/null || apt-get -qq install -y postgresql-client >/dev/null 2>&1; "
            "export PGPASSWORD=$(cat); "
            f'psql "host={address} user=courier dbname=courier sslmode=require" -c "select 1"'
        )
        done = subprocess.run(
            self.home.ssh("post", script),
            input=password,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 or "authentication failed" in done.stderr, done.stderr
        return done.returncode == 0

    def holds(self, now: Old, before: Old) -> None:
        """What is current opens, and nothing of what was."""
        for name, password in now.mqtt:
            assert self.mqtt_opens(name, password), f"the new login {name} does not open"
        for name, password in before.mqtt:
            assert not self.mqtt_opens(name, password), f"the old login {name} still opens"
        assert self.database_opens(now.database)
        assert not self.database_opens(before.database)
        for guest in GUESTS:
            assert now.certificates[guest] != before.certificates[guest]

    def numbers(self, what: str) -> set[int]:
        """What the courier has published, or read."""
        return {int(line) for line in self.home.said("post", f"cat /var/lib/courier/{what}").split()}

    def goes_on(self) -> None:
        """The courier publishes and reads what it publishes, now."""
        last = max(self.numbers("publish"))
        until(lambda: max(self.numbers("read")) > last + 5, PATIENCE)

    def lost_nothing(self) -> None:
        """Whatever was acknowledged has been read."""
        published = self.numbers("publish")
        until(lambda: published <= self.numbers("read"), PATIENCE)
        assert published == set(range(1, max(published) + 1))

    def kill_when(self, phase: str, *options: str) -> None:
        """Start rotate.py, and end it with SIGKILL a moment after a phase has begun on disk."""
        log = self.home.place / f"killed-{phase}.log"
        with log.open("w") as out:
            run = self.home.start(
                *("pyinfra", "inventory", "rotate.py", "-y", *options), stdout=out, stderr=subprocess.STDOUT
            )
            try:
                until(lambda: self.phases() == {phase} or self._ended(run, log), WHOLE)
                time.sleep(2)  # somewhere within the phase
            finally:
                run.kill()
                run.wait()
        assert self.phases() == {phase}, log.read_text()

    def _ended(self, run: subprocess.Popen[str], log: Path) -> None:
        assert run.poll() is None, f"it ended before it could be killed\n{log.read_text()}"

    def phases(self) -> set[str]:
        """How far the rotations are that have not ended."""
        store = self.home.secrets
        kept = [store.get(name).reveal() for name in store.names() if name.startswith("rotating/")]
        return {found.group(1) for text in kept if (found := re.search('"phase": "([a-z]+)"', text))}


def project(place: Path, admin: str) -> Path:
    """A copy of the project with the courier's role and a fleet of two guests."""
    copy = copy_project(place / "project")
    shutil.copytree(COURIER, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    content = fleet_of(**GUESTS)
    content["admin"]["keys"] = [admin]
    (copy / "inventory/fleet.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    devices = copy / "group_data/mosquitto.py"
    assert DEVICES[0] in devices.read_text()
    devices.write_text(devices.read_text().replace(*DEVICES))
    return copy


@pytest.fixture(scope="module")
def rota(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rota]:
    """The small home, deployed; the courier works."""
    place = tmp_path_factory.mktemp("rota")
    folder = project(place, twin.public)
    home = Home(twin, place, folder, folder / "inventory/fleet.yaml", own_secrets=True)
    home.vault.mkdir(mode=0o700)
    vmids = [int(guest["address"].rpartition(".")[2]) for guest in GUESTS.values()]
    for vmid in vmids:
        twin.remove("lxc", vmid)
    home.deploy(patience=WHOLE).went_well()
    found = Rota(home)
    until(lambda: home.ends("post", "test -s /var/lib/courier/read") == 0, PATIENCE)
    found.goes_on()
    yield found
    for vmid in vmids:
        twin.remove("lxc", vmid)


@pytest.fixture
def devices(rota: Rota, tmp_path: Path) -> Iterator[Path]:
    """Two devices that publish and read meanwhile, outside of all guests; the folder of their notes."""
    store = rota.home.secrets
    authority = tmp_path / "ca.crt"
    authority.write_text(store.get("ca/cert").reveal())
    login = {"MQTT_USER": "garden", "MQTT_PASSWORD": store.get("mqtt/garden").reveal()}
    env = {**os.environ, **login, "MQTT_CA": str(authority)}
    address = GUESTS["rota"]["address"]
    processes = [
        rota.home.start(
            *(sys.executable, str(PROGRAM), what, address, "garden/number", str(tmp_path / what)),
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for what in ("read", "publish")
    ]
    try:
        read = tmp_path / "read"
        until(lambda: read.exists() and read.stat().st_size > 0, PATIENCE)
        yield tmp_path
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_everything_is_rotated_and_nobody_misses_a_message(rota: Rota, devices: Path) -> None:
    before = rota.current()
    said = rota.rotate("--data", "rotate=all")
    names = re.search(r"Rotating: (.*)", said)
    assert names and set(names.group(1).split(", ")) == ROTATED
    rota.holds(rota.current(), before)
    rota.goes_on()
    rota.lost_nothing()
    rota.home.deploy(patience=WHOLE).silent()
    for password in (*(password for _, password in before.mqtt), before.database):
        assert password not in said
    published = {*(devices / "publish").read_text().split()}
    assert len(published) > 50
    until(lambda: not published - {*(devices / "read").read_text().split()}, PATIENCE)
    assert not (devices / "publish.gone").exists(), "a device was disconnected"
    assert not (devices / "read.gone").exists(), "a device was disconnected"


@pytest.mark.parametrize("phase", ["offered", "switched", "withdrawn"])
def test_killed_in_a_phase_it_is_completed_by_the_next_run(rota: Rota, phase: str) -> None:
    before = rota.current()
    rota.kill_when(phase, "--data", "rotate=all")
    # An ordinary deploy in between breaks nothing, and takes nothing back.
    rota.home.deploy(patience=WHOLE).went_well()
    assert rota.phases() == {phase}
    rota.goes_on()
    rota.rotate()
    assert rota.phases() == set()
    rota.holds(rota.current(), before)
    rota.goes_on()
    rota.lost_nothing()


def test_a_device_is_rotated_by_name_only(rota: Rota) -> None:
    old = rota.home.secret("mqtt/garden")
    rota.rotate("--data", "rotate=mqtt/garden")
    assert not rota.mqtt_opens("garden", old)
    assert rota.mqtt_opens("garden", rota.home.secret("mqtt/garden"))
