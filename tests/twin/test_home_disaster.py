"""The whole home lost and back: from Proxmox's backups and states, from the copy elsewhere alone; drilled."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hearth.report import drill as page
from tests.twin.disaster_kit import ALL, CRITICAL, STORAGE, Belongings, Kept, elsewhere, kept_home
from tests.twin.doorway import doorway
from tests.twin.home_kit import WHOLE, Home, copy_project

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with the copy elsewhere in it."""
    return tmp_path_factory.mktemp("disaster")


@pytest.fixture(scope="module")
def kept(home: Home, place: Path) -> Iterator[Kept]:
    """The home with backups on; afterwards the default one again."""
    with elsewhere(home.twin, place / "remote"):
        found = kept_home(home, place)
        storage = {"storage": STORAGE, "type": "dir", "path": f"/mnt/pve/{STORAGE}", "content": "backup"}
        home.twin.as_root("POST", "/storage", **storage)
        rights = {"roles": "PVEDatastoreAdmin", "users": "hearth@pve", "tokens": "hearth@pve!deploy"}
        home.twin.as_root("PUT", "/access/acl", path=f"/storage/{STORAGE}", **rights)
        found.deploy(patience=WHOLE).went_well()
        yield found
        home.deploy(patience=WHOLE).went_well()
        home.run(sys.executable, "-m", "twin.devices.pairing").went_well()


@pytest.fixture(scope="module")
def belongings(kept: Kept) -> Iterator[Belongings]:
    """What must not be lost, backed up."""
    found = Belongings(kept)
    found.make()
    found.back_up()
    found.look()
    yield found
    found.phone.close()


def in_time(home: Kept) -> None:
    """The last restore was verified, and met what is promised."""
    found = home.timeline()
    assert found["verified"] is True
    times = {each["name"]: each["found"] for each in found["objectives"]}
    assert times["critical services"] < CRITICAL * 60
    assert times["everything"] < ALL * 60


def test_all_is_lost_and_back_from_proxmoxs_backups_and_the_states(
    kept: Kept, belongings: Belongings
) -> None:
    belongings.back_up_guests()
    lost = kept.twin.command("disaster", timeout=300).stdout
    assert all(guest.name in lost for guest in kept.fleet.guests)
    done = kept.restore().went_well()
    assert f"{STORAGE}:backup/vzdump-lxc-135-" in done.text
    assert "met: critical services" in done.text
    assert "MISSED" not in done.text
    in_time(kept)
    belongings.look()
    kept.deploy(patience=WHOLE).silent()


def test_all_is_lost_and_back_from_the_copy_elsewhere_alone(kept: Kept, belongings: Belongings) -> None:
    belongings.back_up()
    kept.twin.command("disaster", "--backups", timeout=300)
    done = kept.restore().went_well()
    assert "in the remote repository, read whole" in done.text
    assert "MISSED" not in done.text
    in_time(kept)
    belongings.look()
    kept.deploy(patience=WHOLE).silent()


def damaged(folder: Path) -> dict[Path, bytes]:
    """Flip a byte in every pack of a repository; what was there."""
    before = {}
    for pack in (folder / "data").rglob("*"):
        if pack.is_file():
            before[pack] = pack.read_bytes()
            content = bytearray(before[pack])
            content[len(content) // 3] ^= 0xFF
            pack.chmod(0o600)
            pack.write_bytes(content)
    return before


def test_a_damaged_copy_destroys_nothing(kept: Kept, belongings: Belongings, place: Path) -> None:
    there = kept.vmids()
    before = damaged(place / "remote")
    try:
        done = kept.restore("from=remote", "replace=comms", "restore=comms").refused("cannot be used")
    finally:
        for pack, content in before.items():
            pack.write_bytes(content)
    assert done.writes == []
    assert kept.vmids() == there
    belongings.look()


def drilled(kept: Kept, place: Path, *options: str) -> Any:
    """`hearth drill` on this machine, as beside production, whose API is reached through a door."""
    with doorway(kept.twin) as port:
        values = place / "drill.yaml"
        own = {"cloud_data_sync_repository": str(place / "remote"), "drill_twin": f"{kept.twin.twin.name}-d"}
        values.write_text(json.dumps(own))
        settings = {
            **kept.settings,
            "HEARTH_SECRETS": str(kept.secrets_file),
            "HEARTH_AGE_KEY_FILE": str(kept.age_key),
            "HEARTH_STATE_DIR": str(kept.state_dir),
            "HEARTH_OVERRIDES": f"{kept.settings['HEARTH_OVERRIDES']}:{values}",
            "PROXMOX_VE_ENDPOINT": f"https://127.0.0.1:{port}",
            "PROXMOX_VE_INSECURE": "1",
            "PROXMOX_VE_API_TOKEN": kept.twin.token,
        }
        return kept.outside("hearth", "drill", *options, env=settings, patience=2 * WHOLE)


def test_a_drill_restores_all_of_it_beside_production(
    kept: Kept, belongings: Belongings, place: Path
) -> None:
    belongings.back_up()
    files = {path: path.read_bytes() for path in (place / "remote").rglob("*") if path.is_file()}
    done = drilled(kept, place).went_well()
    assert done.requests, "production was looked at"
    assert done.writes == []
    assert {path: path.read_bytes() for path in (place / "remote").rglob("*") if path.is_file()} == files
    found = page.read(kept.state_dir / "drill.json")
    assert found is not None and found.good
    result = json.loads((kept.state_dir / "drill.json").read_text())
    brought = {f"{each['guest']}/{each['role']}" for each in result["restored"]}
    assert {"comms/zigbee2mqtt", "home-assistant/home_assistant", "security/vaultwarden"} <= brought
    assert not (kept.twin.twin.home / f"{kept.twin.twin.name}-d").exists()
    belongings.look()


def test_the_page_of_disaster_recovery_alone_rebuilds_the_home(
    kept: Kept, belongings: Belongings, tmp_path: Path
) -> None:
    """In a clone of the repository, with age key and copy elsewhere: what the page says, and no more."""
    belongings.back_up()
    project = copy_project(tmp_path / "clone")
    (project / ".venv").symlink_to(sys.prefix)
    kept.twin.command("disaster", "--backups", timeout=300)
    clone = Kept(kept, kept.fleet_file, kept.values_file, project)
    done = clone.run("bin/fenced", "docs/disaster-recovery.md", patience=WHOLE).went_well()
    assert "MISSED" not in done.text
    belongings.look()
    kept.deploy(patience=WHOLE).silent()
