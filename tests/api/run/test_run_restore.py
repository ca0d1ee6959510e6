"""`pyinfra inventory restore.py`, whole, against the fake: the backup is proven before anything is asked for.

The repository is a folder of this machine, as a remote one may be: what a restore has when all else is gone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hearth.backup.onguest.stream import MANIFEST
from hearth.secrets import SecretStore
from tests.api.run.backed_home import PASSWORD, Backed, backed_home
from tests.api.run.conftest import Home, container, fleet_of
from twin.pve import Pve

pytestmark = pytest.mark.slow


@pytest.fixture
def backed(home: Home) -> Backed:
    return backed_home(home)


def operations(done: Any) -> list[str]:
    """The lines of a plan, in order."""
    return [line.strip() for line in done.text.splitlines()]


def test_from_nothing_but_the_copy_elsewhere_the_whole_home_is_planned(backed: Backed, pve: Pve) -> None:
    backed.store()
    done = backed.restore().went_well()
    assert "in the remote repository, read whole" in done.text
    assert done.writes == []
    lines = operations(done)
    back = next(index for index, line in enumerate(lines) if "Bring back the state of mosquitto" in line)
    run = next(index for index, line in enumerate(lines) if "Run Mosquitto" in line)
    assert back < run
    assert any("Verify what was restored" in line for line in lines)
    assert any("Keep the fleet's own files among the backups" in line for line in lines)
    assert sum("create:" in line for line in lines) == 3


@pytest.mark.slow
def test_only_those_that_are_named(backed: Backed) -> None:
    backed.store()
    backed.guest("comms", "mosquitto-0")
    done = backed.restore("restore=data").went_well()
    assert "Bring back the state of mosquitto" not in done.text
    assert "Run Mosquitto" not in done.text
    backed.restore("restore=nobody").refused("the fleet has no guest nobody")


def refused(backed: Backed, *words: str, data: tuple[str, ...] = ()) -> Any:
    """Refused as a real run: nothing was asked of Proxmox but what is there."""
    done = backed.restore(*data, dry=False).refused(*words)
    assert done.writes == []
    return done


@pytest.mark.slow
def test_damaged(backed: Backed) -> None:
    backed.store()
    for pack in (backed.folder / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            content = bytearray(pack.read_bytes())
            content[len(content) // 3] ^= 0xFF
            pack.write_bytes(content)
    refused(backed, "cannot be used")


def test_half_written_and_the_older_one_offered_and_taken(backed: Backed) -> None:
    older = backed.store(timedelta(hours=20))
    (backed.kept / "comms" / "mosquitto-0").write_bytes(b"state of")
    backed.store()
    done = refused(backed, "half-written: 8 bytes of", "is whole", "--data from=remote")
    offered = done.text.partition("--data date=")[2].split()[0]
    assert offered == older.strftime("%Y-%m-%dT%H:%M:%S")
    backed.restore(f"date={offered}", "from=remote").went_well()


@pytest.mark.slow
def test_wrongly_keyed(backed: Backed) -> None:
    backed.store()
    store = SecretStore(backed.home.place / "secrets.age", backed.home.place / "age.key", backed.home.env)
    store.put("restic/password", "another")
    store.save()
    refused(backed, "wrong password")


def test_missing(backed: Backed) -> None:
    refused(backed, "cannot be read")
    backed.repository.present()
    refused(backed, "has no backup")


@pytest.mark.slow
def test_too_old(backed: Backed) -> None:
    backed.guest("comms", "mosquitto-0", made=datetime.now(UTC) - timedelta(days=9))
    backed.store()
    done = refused(backed, "too old, more than 7 days", "comms/mosquitto-0")
    backed.restore(f"date={done.text.partition('--data date=')[2].split()[0]}").went_well()


@pytest.mark.slow
def test_a_state_that_is_in_no_backup(backed: Backed) -> None:
    (backed.kept / "comms" / MANIFEST).unlink()
    (backed.kept / "comms" / "mosquitto-0").unlink()
    (backed.kept / "other").mkdir()
    backed.store()
    refused(backed, "has nothing of comms/mosquitto-0", "missing=accept")
    backed.restore("missing=accept").went_well()


@pytest.mark.slow
def test_without_any_repository(backed: Backed) -> None:
    (backed.home.place / "overrides.yaml").write_text("{}")
    refused(backed, "nothing to restore from")


def test_appliances_are_made_and_verified_without_any_backup(home: Home, pve: Pve) -> None:
    home.declare(comms=container())
    done = home.pyinfra("inventory", "restore.py", "-y").went_well()
    assert home.status(135) == "running"
    assert "guest is there" in done.text


@pytest.mark.slow
def test_nothing_secret_is_printed_or_left(backed: Backed) -> None:
    backed.store()
    scratch = backed.home.place / "scratch"
    scratch.mkdir()
    backed.home.env["TMPDIR"] = str(scratch)
    done = backed.restore().went_well()
    assert PASSWORD not in done.text
    assert list(scratch.glob("hearth-restore-*")) == []


# ------------------------------------------------------------- Proxmox's own backups

NOW = 1_796_000_000  # about the time of the backups below


@pytest.fixture
def archived(home: Home, pve: Pve, root_token: str) -> Home:
    """A deployed home of a container and a VM, backed up by Proxmox twice, and then lost."""
    from tests.api.run.conftest import machine

    home.env["PROXMOX_VE_API_TOKEN"] = root_token
    fleet = fleet_of(comms=container(memory="600 MiB"), database=machine())
    fleet["backup"] = {"storage": "local", "jobs": {"daily": {"schedule": "02:00", "keep": {"daily": 7}}}}
    home.declare(fleet)
    home.deploy().went_well()
    for vmid in (135, 136):
        pve.add_archive(vmid, "2026_11_28-02_00_00", NOW - 2 * 86_400)
        pve.add_archive(vmid, "2026_11_30-02_00_00", NOW)
    home.pyinfra("inventory", "teardown.py", "-y", "--data", "destroy=comms,database").went_well()
    assert home.status(135) == home.status(136) == "absent"
    return home


def restored(home: Home, *data: str) -> Any:
    words = [word for pair in data for word in ("--data", pair)]
    return home.pyinfra("inventory", "restore.py", "-y", *words)


def created(done: Any) -> list[dict[str, Any]]:
    return [request for request in done.writes if request in ("POST /nodes/pve/lxc", "POST /nodes/pve/qemu")]


def test_guests_come_from_proxmoxs_newest_backups(archived: Home, pve: Pve) -> None:
    plan = archived.pyinfra("inventory", "restore.py", "--dry").went_well()
    assert "vzdump-lxc-135-2026_11_30-02_00_00.tar.zst" in plan.text
    assert plan.writes == []
    done = restored(archived).went_well()
    assert len(created(done)) == 2
    assert archived.status(135) == archived.status(136) == "running"
    assert archived.config(135)["memory"] in (600, "600")
    assert "download-url" not in str(done.writes), "no image is needed"
    again = archived.deploy().went_well()
    assert again.writes == [], "what was restored is what the fleet file says"


@pytest.mark.slow
def test_what_the_fleet_file_says_now_wins_over_what_the_backup_had(archived: Home) -> None:
    archived.change("comms", memory="700 MiB")
    restored(archived).went_well()
    assert archived.config(135)["memory"] in (700, "700")


@pytest.mark.slow
def test_a_backup_of_a_date(archived: Home) -> None:
    done = restored(archived, "date=2026-11-29").went_well()
    assert "comms from Proxmox's backup of 2026-11-2" in done.text


def test_one_that_is_empty_is_refused_and_the_older_one_offered(archived: Home, pve: Pve) -> None:
    volumes = pve.storages["local"]["volumes"]
    volumes["backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst"]["size"] = 0
    done = restored(archived).refused("2026_11_30-02_00_00.tar.zst: it is empty", "--data date=")
    assert done.writes == []
    assert archived.status(135) == "absent"
    offered = done.text.partition("--data date=")[2].split(";")[0]
    restored(archived, f"date={offered}").went_well()
    assert archived.status(135) == "running"


@pytest.mark.slow
def test_one_that_cannot_be_read_or_is_somebody_elses(archived: Home, pve: Pve) -> None:
    for when in ("2026_11_28", "2026_11_30"):
        del pve.archives[f"local:backup/vzdump-lxc-135-{when}-02_00_00.tar.zst"]
    refused_text = restored(archived).refused("none of Proxmox's backups", "archives=no")
    assert refused_text.writes == []
    pve.archives["local:backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst"] = {"hostname": "stranger"}
    restored(archived).refused("it is of another guest, stranger")
    done = restored(archived, "archives=no").went_well()
    assert archived.status(135) == "running"
    assert "restore" not in str(created(done))


@pytest.mark.slow
def test_a_guest_that_is_there_is_not_made_from_a_backup(archived: Home) -> None:
    restored(archived).went_well()
    again = restored(archived).went_well()
    assert created(again) == []
    # No node's SSH answers here: nobody has read the backup whole.
    refused_text = restored(archived, "restore=comms", "replace=comms").refused("nobody can say whether")
    assert refused_text.writes == []
    assert archived.status(135) == "running"
    replaced = restored(archived, "restore=comms", "replace=comms", "archives=no").went_well()
    assert created(replaced) == ["POST /nodes/pve/lxc"]


@pytest.mark.pve(images=False)
def test_for_those_that_are_not_named_nothing_is_fetched_or_made(home: Home, pve: Pve) -> None:
    """The VM's image cannot be fetched here; who does not restore the VM does not need it."""
    from tests.api.run.conftest import machine
    from twin.pve.furnish import DEBIAN_TEMPLATE

    template = DEBIAN_TEMPLATE.rpartition("/")[2]
    home.server.call(lambda: pve.store_file("local", template, 1 << 20, "vztmpl"))
    home.declare(comms=container(), database=machine())
    home.pyinfra("inventory", "restore.py", "-y", "--data", "restore=comms").went_well()
    assert (home.status(135), home.status(136)) == ("running", "absent")
