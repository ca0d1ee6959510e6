"""The guest that keeps backups: real restic, real ssh to guests on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_kit import Home, a_home, damage, state
from role_kit import FakeRun, fleet

from hearth.backup.onguest import keeper as program
from hearth.backup.onguest.collect import kept_manifest, mend
from hearth.backup.remote import VALUES, remote
from hearth.deploy.rotation import advance, finish
from hearth.rotation import Known, Makers, begun
from hearth.secrets import Secret, SecretStore
from hearth.secrets.rotation import PHASES, accepted_beside, encode, entry_of, refused_now
from hearth.secrets.staged import StagedSecrets

pytestmark = pytest.mark.slow

KNOWN = Known(("restic/password",), frozenset(), frozenset(), frozenset())
TEXT = "a text that nobody elsewhere may read"


@pytest.fixture
def home() -> Iterator[Home]:
    with a_home("comms", "data") as found:
        for guest in found.guests.values():
            guest.keeps(state(guest.root / "greeter", f"{TEXT} of {guest.name}"))
        yield found


def restored(home: Home, path: str, repository: Any = None) -> str:
    """A file of the newest snapshot."""
    found = repository or home.keeper().local
    return str(found.run("dump", "latest", f"{home.folder}/{path}"))


def piece(home: Home, guest: str, name: str) -> Path:
    return home.folder / "kept" / "current" / "guests" / guest / name


def test_everything_is_saved_with_its_metrics(home: Home) -> None:
    began = time.time()
    keeper = home.keeper()
    assert keeper.collect() == []
    for name in ("comms", "data"):
        manifest = json.loads(restored(home, f"kept/current/guests/{name}/manifest.json"))
        assert [one["name"] for one in manifest["pieces"]] == ["greeter-0"]
        tar = keeper.local.run("dump", "latest", str(piece(home, name, "greeter-0")))
        assert f"{TEXT} of {name}" in tar
    assert "AGE ENCRYPTED" in restored(home, "fleet/secrets.age")
    found = home.metrics("hearth_backup.prom")
    assert found['hearth_backup_ok{job="collect"}'] == 1
    assert found['hearth_backup_guest_ok{guest="comms"}'] == 1
    labels = 'guest="data",role="greeter",state="greeter-0"'
    assert found[f"hearth_backup_state_bytes{{{labels}}}"] == piece(home, "data", "greeter-0").stat().st_size
    assert began - 2 <= found[f"hearth_backup_state_timestamp_seconds{{{labels}}}"] <= time.time()
    assert found['hearth_backup_snapshots{repository="local"}'] == 1
    assert found['hearth_backup_repository_bytes{repository="local"}'] > 0
    assert found['hearth_backup_success_timestamp_seconds{job="collect"}'] >= began


def test_one_guest_that_is_down_keeps_no_other_from_being_saved(home: Home) -> None:
    assert home.keeper().collect() == []
    last = home.metrics("hearth_backup.prom")['hearth_backup_success_timestamp_seconds{job="collect"}']
    home.guests["comms"].stop()
    home.guests["data"].keeps(state(home.guests["data"].root / "greeter", "newer"))
    (problem,) = home.keeper().collect()
    assert problem.startswith("comms: ")
    assert "refused" in problem
    assert "newer" in home.keeper().local.run("dump", "latest", str(piece(home, "data", "greeter-0")))
    assert TEXT in home.keeper().local.run("dump", "latest", str(piece(home, "comms", "greeter-0")))
    found = home.metrics("hearth_backup.prom")
    assert found['hearth_backup_ok{job="collect"}'] == 0
    assert found['hearth_backup_guest_ok{guest="comms"}'] == 0
    assert found['hearth_backup_guest_ok{guest="data"}'] == 1
    assert found['hearth_backup_success_timestamp_seconds{job="collect"}'] == last


def test_a_piece_that_fails_keeps_its_older_one_with_its_date(home: Home) -> None:
    guest = home.guests["comms"]
    one, two = state(guest.root / "one", "one"), state(guest.root / "two", "two")
    guest.keeps(one, two)
    assert home.keeper().collect() == []
    older = kept_manifest(piece(home, "comms", ""))
    time.sleep(1.1)
    (guest.root / "one" / "file").write_text("newer one")
    guest.keeps(one, {**two, "before": "echo 'no radio' >&2; exit 1"})
    assert home.keeper().collect() == ["comms: two-0: no radio"]
    newer = kept_manifest(piece(home, "comms", ""))
    assert older and newer
    assert newer.piece("two-0") == older.piece("two-0")
    assert newer.piece("one-0") != older.piece("one-0")
    assert b"newer one" in piece(home, "comms", "one-0").read_bytes()
    assert b"two" in piece(home, "comms", "two-0").read_bytes()


@pytest.mark.slow
def test_a_stream_that_breaks_off_leaves_what_was_there(home: Home) -> None:
    assert home.keeper().collect() == []
    before = piece(home, "comms", "greeter-0").read_bytes()
    script = home.guests["comms"].root / "dump.py"
    script.write_text("import sys\nsys.stdout.buffer.write(b'x' * 5000)\n")
    (problem,) = home.keeper().collect()
    assert "breaks off" in problem
    assert piece(home, "comms", "greeter-0").read_bytes() == before
    assert not list(piece(home, "comms", "").parent.glob(".*"))


def test_a_guest_that_takes_too_long(home: Home) -> None:
    guest = home.guests["comms"]
    guest.keeps(state(guest.root / "greeter", "x") | {"dump": "echo begun; sleep 300"})
    began = time.monotonic()
    (problem,) = home.keeper(seconds=8).collect()  # time for the others' logins on a busy machine
    assert "longer than 8 seconds" in problem
    assert time.monotonic() - began < 240


@pytest.mark.slow
def test_a_guest_with_another_host_key_gets_and_gives_nothing(home: Home) -> None:
    (home.folder / "known_hosts").write_text(home.guests["data"].known)
    (problem,) = home.keeper().collect()
    assert "Host key verification failed" in problem


def test_the_key_opens_the_dump_and_nothing_else(home: Home) -> None:
    guest = home.guests["comms"]
    ssh = [
        *("ssh", "-F", "/dev/null", "-i", home.folder / "key", "-o", "StrictHostKeyChecking=yes"),
        *("-o", f"UserKnownHostsFile={home.folder}/known_hosts", "-p", str(guest.port)),
    ]
    (home.folder / "known_hosts").write_text(guest.known)
    asked = subprocess.run(
        [*ssh, "root@127.0.0.1", f"touch {home.folder}/broken-in; cat /etc/shadow"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert not (home.folder / "broken-in").exists()
    assert b"root:" not in asked.stdout
    assert b"manifest.json" in asked.stdout, "whatever is asked for, the dump is what runs"
    tunnel = subprocess.run(
        [*ssh, "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "root@127.0.0.1"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert tunnel.returncode != 0
    sftp = subprocess.run(
        ["sftp", *map(str, ssh[1:-2]), "-P", str(guest.port), "root@127.0.0.1"],
        input=b"get /etc/shadow /tmp/never\n",
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert sftp.returncode != 0


@pytest.mark.slow
def test_what_a_killed_run_left_is_mended(home: Home) -> None:
    assert home.keeper().collect() == []
    guests = home.folder / "kept" / "current" / "guests"
    (guests / "comms").rename(guests / ".comms.old")
    (guests / ".comms.new").mkdir()
    mend(guests)
    assert {path.name for path in guests.iterdir()} == {"comms", "data"}
    assert kept_manifest(guests / "comms")


@pytest.mark.slow
def test_a_guest_that_left_the_fleet_is_in_older_snapshots_only(home: Home) -> None:
    assert home.keeper().collect() == []
    gone = [row for row in home.settings()["guests"] if row["name"] == "data"]
    assert home.keeper(guests=gone).collect() == []
    assert {path.name for path in piece(home, "comms", "").parent.iterdir()} == {"data"}
    keeper = home.keeper()
    first, second = (str(snapshot["id"]) for snapshot in keeper.local.snapshots())
    assert "comms" in keeper.local.run("ls", first)
    assert "/comms/" not in keeper.local.run("ls", second)


@pytest.mark.slow
def test_retention(home: Home) -> None:
    for _ in range(4):
        assert home.keeper(retention={"last": 2}).collect() == []
    assert len(home.keeper().local.snapshots()) == 2


# ---------------------------------------------------------------------- elsewhere


def elsewhere(home: Home, **more: Any) -> dict[str, Any]:
    return {
        "repository": str(home.folder / "elsewhere"),
        "environment": {},
        "options": [],
        "retention": {"last": 3},
        "check_percent": 100,
        **more,
    }


def test_the_copy_has_all_and_nobody_there_can_read_it(home: Home) -> None:
    assert home.keeper().collect() == []
    keeper = home.keeper(elsewhere(home))
    assert keeper.copy() == []
    assert keeper.copy() == [], "a second time copies nothing"
    (snapshot,) = keeper.remote.snapshots()
    assert snapshot["time"] == keeper.local.snapshots()[0]["time"]
    assert TEXT in keeper.remote.run("dump", "latest", str(piece(home, "comms", "greeter-0")))
    stored = b"".join(path.read_bytes() for path in (home.folder / "elsewhere").rglob("*") if path.is_file())
    for word in (TEXT, "comms", "manifest.json", "greeter", "correct horse"):
        assert word.encode() not in stored
    found = home.metrics("hearth_backup_copy.prom")
    assert found['hearth_backup_ok{job="copy"}'] == 1
    assert found['hearth_backup_snapshots{repository="remote"}'] == 1
    assert keeper.check() == []
    assert home.metrics("hearth_backup_check.prom")['hearth_backup_ok{job="check"}'] == 1


@pytest.mark.slow
def test_over_sftp_with_the_key_and_host_key_that_were_given(home: Home) -> None:
    assert home.keeper().collect() == []
    guest = home.guests["comms"]
    public = (home.folder / "key.pub").read_text().strip()
    (guest.root / "keys").write_text(f"{public}\n")
    secrets = {"restic/sftp": Secret((home.folder / "key").read_text())}
    given = dict.fromkeys(VALUES[:3]) | {"environment": {}, "secrets": {}, "rclone": None}
    given |= {
        "repository": f"sftp://root@127.0.0.1:{guest.port}/{home.folder}/elsewhere",
        "sftp": {"key": "restic/sftp", "known_hosts": guest.known},
        "limit_upload": 50_000,
        "limit_download": 0,
    }
    folder = home.folder / "remote"
    folder.mkdir()
    found = remote(given, secrets.__getitem__, str(folder))
    assert found
    for name, content in found.files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    settings = elsewhere(home, repository=found.repository, options=list(found.options))
    assert home.keeper(settings).copy() == []
    assert (home.folder / "elsewhere" / "config").exists()
    (folder / "sftp-known-hosts").write_text(home.guests["data"].known)
    (problem,) = home.keeper(settings).copy()
    assert "remote repository" in problem


@pytest.mark.slow
def test_a_copy_that_is_damaged_is_noticed(home: Home) -> None:
    (home.folder / "fleet" / "large").write_bytes(os.urandom(2 << 20))
    assert home.keeper().collect() == []
    keeper = home.keeper(elsewhere(home))
    assert keeper.copy() == []
    packs = [path for path in (home.folder / "elsewhere" / "data").rglob("*") if path.is_file()]
    damage(max(packs, key=lambda pack: pack.stat().st_size))
    keeper.remote.run("check")  # finds nothing: without a word it reads no data
    (problem,) = keeper.check()
    assert "damaged" in problem
    assert home.metrics("hearth_backup_check.prom")['hearth_backup_ok{job="check"}'] == 0


@pytest.mark.slow
def test_a_place_that_cannot_be_reached_or_has_another_key(home: Home) -> None:
    assert home.keeper().collect() == []
    (home.folder / "file").touch()
    (problem,) = home.keeper(elsewhere(home, repository=f"{home.folder}/file/below")).copy()
    assert "neither" in problem or "cannot be opened" in problem
    keeper = home.keeper(elsewhere(home))
    (home.folder / "other").write_text("another")
    theirs = keeper.remote.variables(home.folder / "other")
    subprocess.run(["restic", "init", "-q"], env=theirs, check=True)
    before = sorted(path.name for path in (home.folder / "elsewhere" / "keys").iterdir())
    (problem,) = keeper.copy()
    assert "wrong password" in problem
    assert sorted(path.name for path in (home.folder / "elsewhere" / "keys").iterdir()) == before


# ------------------------------------------------------------------------- keys


@pytest.mark.slow
def test_a_password_is_rotated_and_every_step_may_be_repeated(home: Home) -> None:
    keeper = home.keeper()
    local = keeper.local
    other, admins = home.folder / "new", home.folder / "admins"
    other.write_text("battery staple\n")
    admins.write_text("on paper\n")
    assert program.keys(keeper, "local") == []
    local.run("key", "add", f"--new-password-file={admins}")
    for _ in range(2):
        assert program.keys(keeper, "local", other) == []
        assert local.opens()
        assert local.opens(other)
        assert len(json.loads(local.run("key", "list", "--json"))) == 3
    local.run("key", "add", f"--new-password-file={other}")  # a run that was killed has added it twice
    old = home.folder / "old"
    (home.folder / "password").rename(old)
    other.rename(home.folder / "password")
    local = home.keeper().local
    for _ in range(2):
        assert program.keys(keeper, "local", None, old) == []
        assert local.opens()
        assert not local.opens(old)
        assert local.opens(admins), "a key of the admin's own stays"
    assert program.keys(keeper, "local", None, home.folder / "password") != [], "never the key that is used"
    assert local.opens()


@pytest.mark.slow
def test_a_local_repository_that_was_lost_is_cut_as_its_copy_is(home: Home) -> None:
    assert home.keeper().collect() == []
    keeper = home.keeper(elsewhere(home))
    assert keeper.copy() == []
    shutil.rmtree(home.folder / "kept" / "repository")
    assert keeper.collect() == []

    def cut(repository: Any) -> str:
        return str(json.loads(repository.run("cat", "config"))["chunker_polynomial"])

    assert cut(keeper.local) == cut(keeper.remote)
    assert keeper.copy() == []
    assert len(keeper.remote.snapshots()) == 2


@pytest.mark.parametrize("name", [pytest.param("local", marks=pytest.mark.slow), "remote"])
def test_a_rotation_that_is_cut_off_anywhere_is_completed(home: Home, name: str) -> None:
    """The phases as rotate.py goes through them, each step twice, with an ordinary deploy in between."""
    store = FakeRun(fleet()).secrets
    store.save = lambda: True  # type: ignore[method-assign]
    store.put("restic/password", "correct horse")
    keeper = home.keeper(elsewhere(home))

    def deploy(secrets: SecretStore) -> None:
        (home.folder / "password").write_text(secrets.get("restic/password").reveal() + "\n")
        files = {}
        beside = accepted_beside(secrets.find, "restic/password").get("restic/password")
        for word, value in (("accept", beside), ("refuse", refused_now(secrets.find, "restic/password"))):
            files[word] = None
            if value:
                files[word] = home.folder / word
                files[word].write_text(value.reveal() + "\n")
        assert program.keys(keeper, name, files["accept"], files["refuse"]) == []

    deploy(store)
    begins = begun("restic/password", KNOWN, store.find, Makers(lambda: "battery staple", lambda _: ("", "")))
    store.put(entry_of("restic/password"), encode(begins))
    for phase in PHASES:
        deploy(StagedSecrets(store, phase))  # killed before it is noted: once more, after a deploy
        advance(store, phase)
        deploy(store)
    assert store.get("restic/password").reveal() == "battery staple"
    finish(store)
    deploy(store)
    repository = keeper.repository(name)
    assert repository.opens()
    (home.folder / "old").write_text("correct horse\n")
    assert not repository.opens(home.folder / "old")
    assert len(json.loads(repository.run("key", "list", "--json"))) == 1
