"""Upgrades on guests: one that fails ends with the old version and its data, a good one keeps its state."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import WHOLE, Home, copy_project
from tests.twin.test_home_vaultwarden import DATA, PLAIN, Vault
from tests.twin.test_home_zigbee2mqtt import Zigbee

pytestmark = pytest.mark.long
BACK = 120  # seconds
USER = "somebody@example.org"
ZIGBEE = "/var/lib/zigbee2mqtt"


@pytest.fixture(scope="module")
def vault(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """The vault with somebody in it, of the usual version; emptied at the end."""
    found = Vault(home, tmp_path_factory.mktemp("upgrade"))
    found.deploy("--data", "downgrade=vaultwarden").went_well()
    added = f"insert into users values ('1', '1', '{USER}')"
    found.said(f'runuser -u vaultwarden -- sqlite3 {DATA}/db.sqlite3 "{added}"')
    yield found
    found.deploy("--data", "downgrade=vaultwarden").went_well()
    found.said(f"sqlite3 {DATA}/db.sqlite3 'delete from users'")


def migrations(vault: Vault, folder: str = DATA) -> list[str]:
    """The versions that have had a vault's database in their hands."""
    command = (
        f"sqlite3 -readonly {folder}/db.sqlite3 'select version from __diesel_schema_migrations order by 1'"
    )
    return vault.said(command).split()


def is_broken(vault: Vault) -> bool:
    """Whether the version answers that always fails."""
    return vault.home.ends(vault.guest, f"curl -s --noproxy '*' {PLAIN}/alive | grep -q broken") == 0


def test_one_that_converts_the_vault_and_fails_ends_with_the_old_one_and_its_data(vault: Vault) -> None:
    before = migrations(vault)
    pin = {"vaultwarden_image": vault.image("sick"), "vaultwarden_starts_within": 15}
    dry = vault.home.dry("--limit", vault.guest, env=vault.tuned(**pin))
    assert "upgrade 1 -> sick" in dry.text
    assert "its data are kept first" in dry.text

    done = vault.deploy(**pin)
    done.refused(
        "this version is broken", "not healthy within 15 seconds", "went back to 1-", "it is healthy"
    )
    done.refused("what sick-", f"{DATA}.upgrade/failed", "the files and data it had")
    assert vault.version == "1"
    assert vault.users() == [USER]
    assert migrations(vault) == before
    assert vault.said(f"curl -s -o /dev/null -w '%{{http_code}}' --noproxy '*' {PLAIN}/alive") == "200"
    # What the other one had done, and would have left behind.
    assert "4" in migrations(vault, f"{DATA}.upgrade/failed")
    assert (
        vault.said(f"sqlite3 -readonly {DATA}.upgrade/failed/db.sqlite3 'select email from accounts'") == USER
    )

    again = vault.home.dry("--limit", vault.guest, env=vault.tuned(**pin))
    assert "and is tried again" in again.text
    vault.deploy().went_well()
    assert vault.users() == [USER], "the old pin again: nothing but the old version"
    vault.deploy().silent()


@contextmanager
def killed_at_the_sick_one(vault: Vault, starts_within: int) -> Iterator[None]:
    """A deploy of the version that fails, killed after the block: by then that version has the data."""
    pin = {"vaultwarden_image": vault.image("sick"), "vaultwarden_starts_within": starts_within}
    command = ("pyinfra", "inventory", "deploy.py", "-y", "--limit", vault.guest)
    run = vault.home.start(*command, env=vault.tuned(**pin), stderr=subprocess.STDOUT)
    try:
        until(lambda: is_broken(vault), 240)
        yield
    finally:
        run.kill()
        run.communicate()


def test_a_deploy_that_is_killed_meanwhile_is_ended_by_the_guest(vault: Vault) -> None:
    with killed_at_the_sick_one(vault, starts_within=30):
        pass
    until(lambda: vault.home.ends(vault.guest, f"curl -sf --noproxy '*' {PLAIN}/alive") == 0, BACK)
    assert vault.version == "1"
    assert vault.users() == [USER]
    vault.deploy().went_well()
    assert vault.users() == [USER]


def test_a_guest_that_loses_its_power_meanwhile_is_mended_by_the_next_deploy(vault: Vault) -> None:
    """The next deploy finds the other version with the data in its hands, and what was kept."""
    with killed_at_the_sick_one(vault, starts_within=60):
        vault.home.task("POST", vault.guest, "/status/stop")
    vault.home.task("POST", vault.guest, "/status/start")
    until(lambda: is_broken(vault), BACK)
    vault.deploy().went_well()
    assert vault.version == "1"
    assert vault.users() == [USER]


def test_a_good_one_keeps_its_state_and_the_way_back_takes_a_word(vault: Vault) -> None:
    pin = {"vaultwarden_image": vault.image("2")}
    dry = vault.home.dry("--limit", vault.guest, env=vault.tuned(**pin))
    assert "upgrade 1 -> 2, its data are kept first" in dry.text
    vault.deploy(**pin).went_well()
    assert vault.version == "2"
    assert vault.users() == [USER]
    assert vault.said(f"ls {DATA}.upgrade") == "before"
    assert "2" not in migrations(vault, f"{DATA}.upgrade/before")
    assert vault.said(f"stat -c '%U %a' {DATA}.upgrade") == "root 700"
    vault.deploy(**pin).silent()

    process = vault.process
    vault.deploy().refused(
        "cannot downgrade vaultwarden on security from 2 to 1", "--data downgrade=vaultwarden"
    )
    assert (vault.process, vault.version) == (process, "2")
    vault.deploy("--data", "downgrade=vaultwarden").went_well()
    assert vault.version == "1"
    assert vault.users() == [USER]


# ------------------------------------------------------------------------- Zigbee2MQTT

BROKEN = """cat >node_modules/zigbee2mqtt/index.js <<'END'
require("fs").appendFileSync(process.env.ZIGBEE2MQTT_DATA + "/database.db", "of another kind\\n");
console.error("this build is broken");
process.exit(1);
END
"""


@pytest.fixture(scope="module")
def zigbee(home: Home) -> Zigbee:
    """Zigbee2MQTT, with the sensor in its network."""
    found = Zigbee(home)
    with found.client() as client:
        found.joined(client, "sensor")
    return found


def rebuilt(home: Home, place: Path, line: str) -> Home:
    """The home with another build of Zigbee2MQTT."""
    project = copy_project(place / "project")
    script = project / "templates/zigbee2mqtt/build.sh.j2"
    script.write_text(script.read_text() + line)
    return Home(home.twin, home.place, project, home.fleet_file)


def test_a_zigbee2mqtt_that_damages_its_data_and_ends_is_taken_back(zigbee: Zigbee, tmp_path: Path) -> None:
    devices = zigbee.said(f"grep -c ieeeAddr {ZIGBEE}/database.db")
    other = rebuilt(zigbee.home, tmp_path, BROKEN)
    done = other.deploy("--limit", zigbee.guest, patience=WHOLE)
    done.refused("this build is broken", "went back to", "it is healthy", f"{ZIGBEE}.upgrade/failed")
    assert zigbee.said(f"grep -c ieeeAddr {ZIGBEE}/database.db") == devices
    assert zigbee.home.ends(zigbee.guest, f"grep -q 'of another kind' {ZIGBEE}/database.db") != 0
    assert (
        zigbee.home.ends(zigbee.guest, f"grep -q 'of another kind' {ZIGBEE}.upgrade/failed/database.db") == 0
    )
    zigbee.hears_the_sensor(23.25)
    zigbee.deploy().went_well()
    zigbee.hears_the_sensor(23.5)


def test_another_build_of_zigbee2mqtt_keeps_devices_and_network(zigbee: Zigbee, tmp_path: Path) -> None:
    other = rebuilt(zigbee.home, tmp_path, "# another one\n")
    dry = other.dry("--limit", zigbee.guest)
    assert "another build of" in dry.text
    other.deploy("--limit", zigbee.guest, patience=WHOLE).went_well()
    zigbee.hears_the_sensor(23.75)
    zigbee.deploy().went_well()
    zigbee.hears_the_sensor(24.0)
