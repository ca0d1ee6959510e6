"""`hearth drill`, whole, with a stand-in for the twin: what it asks of production, reads and leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.fleet.loader import load_fleet
from hearth.report import drill as page
from hearth.role.catalogue import load_roles
from tests.api.run.backed_home import PASSWORD, Backed, backed_home
from tests.api.run.conftest import PROJECT, Done, Home
from tests.twin.handle import until
from twin.pve import Pve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(os.geteuid()) or not shutil.which("restic"), reason="needs root, and restic"),
]
HEARTH = Path(sys.executable).with_name("hearth")
PARTS = ("group_data", "hearth", "inventory", "roles", "templates", "deploy.py", "restore.py", "config.py")


def record(**changes: Any) -> dict[str, Any]:
    """What restore.py leaves behind."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    events = [
        {"after": 1.0, "guest": "", "what": "backup found and proven", "role": ""},
        {"after": 20.0, "guest": "comms", "what": "guest is there", "role": ""},
        {"after": 40.0, "guest": "comms", "what": "mosquitto is done", "role": "mosquitto"},
        {"after": 60.0, "guest": "data", "what": "config_backup is done", "role": "config_backup"},
        {"after": 70.0, "guest": "", "what": "verified", "role": ""},
    ]
    piece = {"guest": "comms", "role": "mosquitto", "state": "mosquitto-0", "made": made, "bytes": 18}
    whole = {
        "source": "x",
        "events": events,
        "restored": [piece],
        "archives": [],
        "missing": [],
        "unfinished": [],
    }
    return {**whole, "verified": True, "objectives": [], **changes}


@dataclass
class Drills:
    """Drills of a home, from a project of its own.

    Args:
        backed: the home and its repository.
        project: a folder with the project's own parts and the stand-in for the twin.
    """

    backed: Backed
    project: Path

    @property
    def home(self) -> Home:
        return self.backed.home

    @property
    def state(self) -> Path:
        return self.home.place / "state"

    def plan(self, **plan: Any) -> dict[str, str]:
        given = {"log": str(self.project / "log"), "seen": str(self.project / "seen.json"), **plan}
        return {"DRILL_TEST": json.dumps(given)}

    def hold(self, *options: str, **plan: Any) -> Done:
        before = len(self.home.pve.log.requests)
        process = self.start(*options, **plan)
        out, err = process.communicate(timeout=60)
        return Done(process.returncode, out, err, tuple(self.home.pve.log.requests[before:]))

    def start(self, *options: str, **plan: Any) -> Any:
        env = {**self.home.env, **self.plan(**plan)}
        words = ("--project", str(self.project), "drill", *options)
        return self.home.start(*words, program=str(HEARTH), env=env)

    @property
    def told(self) -> list[dict[str, Any]]:
        """What the twin was told."""
        file = self.project / "log"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def verbs(self) -> list[str]:
        return [row["verb"] for row in self.told]

    @property
    def seen(self) -> dict[str, Any]:
        """What restore.py had before it in the twin."""
        return dict(json.loads((self.project / "seen.json").read_text()))

    @property
    def kept(self) -> dict[str, Any]:
        """The drill's result."""
        return dict(json.loads((self.state / "drill.json").read_text()))

    def stage(self, name: str) -> dict[str, Any]:
        return next(stage for stage in self.kept["stages"] if stage["name"] == name)

    def left(self) -> list[str]:
        """What is in the state folder but the result and locks."""
        return sorted(p.name for p in self.state.iterdir() if p.suffix not in (".json", ".lock"))


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its content."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def project_of(place: Path) -> Path:
    place.mkdir()
    for name in PARTS:
        (place / name).symlink_to(PROJECT / name)
    (place / "twin").mkdir()
    (place / "twin" / "__init__.py").touch()  # else the real one, a whole package, would win
    shutil.copy(Path(__file__).with_name("twin_stand_in.py"), place / "twin" / "__main__.py")
    return place


@pytest.fixture
def drills(home: Home) -> Drills:
    jobs = {"storage": "local", "jobs": {"daily": {"schedule": "02:00", "keep": {"daily": 7}}}}
    found = backed_home(home, backup=jobs)
    return Drills(found, project_of(home.place / "project"))


def test_it_restores_into_the_twin_and_touches_nothing_of_production(drills: Drills, pve: Pve) -> None:
    drills.backed.store(timedelta(hours=5))
    drills.backed.store()
    watched = [drills.backed.folder, drills.home.place / "secrets.age", drills.home.file]
    before = [hashes(path) if path.is_dir() else path.read_bytes() for path in watched]
    done = drills.hold(record=record()).went_well()
    assert done.requests, "it did look at production"
    assert done.writes == []
    assert [hashes(path) if path.is_dir() else path.read_bytes() for path in watched] == before
    assert drills.verbs == ["down", "up", "exec", "trust-node-key", "exec", "down"]
    assert {row["name"] for row in drills.told} == {"drill"}
    assert len(drills.seen["snapshots"]) == 1, "the newest and no other"
    assert drills.left() == []
    assert "the drill went well" in done.out
    assert "comms/mosquitto-0: of" in done.out


def test_not_even_a_lock_is_written_at_the_place_of_the_copies(drills: Drills) -> None:
    drills.backed.store()
    shutil.rmtree(drills.backed.folder / "locks")
    (drills.backed.folder / "locks").touch()  # who wanted to write one would fail
    drills.hold(record=record()).went_well()


def test_its_result_is_what_the_page_reads(drills: Drills) -> None:
    drills.backed.store()
    drills.hold(record=record()).went_well()
    found = page.read(drills.state / "drill.json")
    assert found is not None and found.good
    names = [stage.name for stage in found.stages]
    assert names == [
        *("backup found and proven", "backup copied to this machine", "twin made", "guests are there"),
        *("critical services", "all services", "verification", "restore.py", "objectives", "twin taken away"),
    ]
    assert drills.stage("critical services")["seconds"] == 20.0
    assert "the remote repository" in drills.kept["source"]
    assert drills.kept["restored"][0]["made"]
    assert {each["name"]: each["met"] for each in drills.kept["objectives"]} == {
        "critical services": True,
        "everything": True,
        "age of configuration": True,
    }


def test_the_result_as_json(drills: Drills) -> None:
    drills.backed.store()
    done = drills.hold("--json", record=record()).went_well()
    assert json.loads(done.out) == drills.kept


def test_the_twin_is_told_of_the_copy_and_of_nothing_outside(drills: Drills) -> None:
    drills.backed.store()
    drills.hold(record=record()).went_well()
    values = yaml.safe_load(drills.seen["values"])
    assert values["cloud_data_sync_repository"] == str(drills.state / "drill" / "repository")
    assert values["cloud_data_sync_secrets"] == {}
    assert values["verify_light"] is None
    restore = drills.told[4]
    assert "from=remote" in restore["rest"][-1]
    assert "archives=no" in restore["rest"][-1]
    settings = dict(word.split("=", 1) for word in restore["rest"] if word.startswith("HEARTH_"))
    assert settings["HEARTH_SECRETS"].startswith(str(drills.state / "drill")), "a copy"
    assert all("PROXMOX_VE_API_TOKEN" not in row["env"] for row in drills.told)
    assert PASSWORD not in json.dumps([drills.told, drills.kept])


def test_a_restore_that_fails(drills: Drills) -> None:
    drills.backed.store()
    done = drills.hold(record=record(verified=False), restore_fails=True).refused("the drill FAILED")
    assert "the disk is full" in drills.stage("restore.py")["note"]
    assert drills.kept["ok"] is False
    assert drills.verbs[-1] == "down"
    assert done.code == 1


def test_what_never_came_back_is_in_no_time(drills: Drills) -> None:
    drills.backed.store()
    never = [{"guest": "data", "role": "mosquitto"}]
    drills.hold(record=record(unfinished=never)).refused("MISSED: critical services", "never: data/mosquitto")


def test_an_objective_that_is_missed(drills: Drills) -> None:
    drills.backed.store()
    late = [{**event, "after": 100 * event["after"]} for event in record()["events"]]
    drills.hold(record=record(events=late)).refused("MISSED: critical services 66")
    assert drills.stage("restore.py")["ok"], "all came back"
    assert "critical services" in drills.stage("objectives")["note"]


def test_data_that_is_older_than_promised(drills: Drills) -> None:
    drills.backed.guest("comms", "mosquitto-0", made=datetime.now(UTC) - timedelta(hours=30))
    drills.backed.store()
    drills.hold(record=record()).refused("MISSED: age of configuration 30 h")


def test_a_backup_that_cannot_be_used_is_named_before_anything_is_made(drills: Drills) -> None:
    older = drills.backed.store(timedelta(hours=5))
    (drills.backed.kept / "comms" / "mosquitto-0").write_bytes(b"state of")
    drills.backed.store()
    drills.hold().refused("half-written: 8 bytes of", "is whole")
    assert drills.verbs == ["down", "down"], "no twin was made"
    assert not drills.stage("backup found and proven")["ok"]
    drills.hold("--date", older.strftime("%Y-%m-%dT%H:%M:%S"), record=record()).went_well()


def test_a_twin_that_cannot_be_made(drills: Drills) -> None:
    drills.backed.store()
    drills.hold(fails="up").refused("something is broken")
    assert drills.verbs == ["down", "up", "down"]
    assert drills.left() == []


def test_a_restore_that_leaves_no_record_is_none(drills: Drills) -> None:
    drills.backed.store()
    drills.hold().refused("it left no record")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_takes_all_away(drills: Drills, number: signal.Signals) -> None:
    drills.backed.store()
    process = drills.start(hangs=True)
    until(lambda: (drills.project / "seen.ready").exists() or None)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert drills.verbs[-1] == "down"
    assert drills.left() == []
    assert drills.stage("restore.py") | {"begins": 0, "seconds": 0} == {
        **{"name": "restore.py", "begins": 0, "seconds": 0, "ok": False, "note": "interrupted"}
    }
    assert "Traceback" not in out + err


def test_what_a_killed_one_left_is_taken_away_first(drills: Drills) -> None:
    drills.backed.store()
    (drills.state / "drill" / "repository").mkdir(parents=True)
    (drills.state / "drill" / "repository" / "config").touch()
    drills.hold(record=record()).went_well()
    assert drills.left() == []


def test_one_at_a_time(drills: Drills) -> None:
    drills.backed.store()
    first = drills.start(hangs=True)
    until(lambda: (drills.project / "seen.ready").exists() or None)
    drills.hold(record=record()).refused("another one is under way")
    assert "down" not in drills.verbs[4:], "the first one's twin is still there"
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)


def test_it_may_be_kept_to_look_at(drills: Drills) -> None:
    drills.backed.store()
    drills.hold("--keep", record=record()).went_well()
    assert drills.verbs[-1] == "exec"
    assert drills.left() == ["drill"]


def test_without_a_copy_elsewhere_there_is_nothing_to_hold(drills: Drills) -> None:
    (drills.home.place / "overrides.yaml").write_text("{}")
    drills.hold().refused("no backup leaves the home")
    assert drills.told == []


def test_production_that_does_not_answer_is_a_note(drills: Drills) -> None:
    drills.backed.store()
    drills.home.env["PROXMOX_VE_ENDPOINT"] = "https://127.0.0.1:9"
    drills.hold(record=record()).went_well()
    assert any("Proxmox was not asked" in note for note in drills.kept["notes"])


def test_proxmoxs_own_backups_are_lent_where_this_machine_reads_them(drills: Drills) -> None:
    folder = drills.home.place / "dump"
    folder.mkdir()
    for name, content in (
        ("vzdump-lxc-135-2026_11_28-02_00_00.tar", b"older"),
        ("vzdump-lxc-135-2026_11_29-02_00_00.tar", b"newest"),
        ("vzdump-lxc-4242-2026_11_29-02_00_00.tar", b"of nobody"),
    ):
        (folder / name).write_bytes(content)
    overrides = drills.home.place / "overrides.yaml"
    given = yaml.safe_load(overrides.read_text())
    overrides.write_text(yaml.safe_dump({**given, "drill_archives": str(folder)}))
    drills.backed.store()
    drills.hold(record=record()).went_well()
    lent = next(row["rest"] for row in drills.told if row["verb"] == "lend")
    assert lent == ["local", str(folder / "vzdump-lxc-135-2026_11_29-02_00_00.tar")]
    restore = [row for row in drills.told if row["verb"] == "exec"][-1]
    assert "archives=no" not in restore["rest"][-1]


def test_a_tailnet_that_is_outside_takes_no_part(home: Home) -> None:
    drills = Drills(
        backed_home(home, tailnet={"domain": "tail1234.ts.net"}), project_of(home.place / "project")
    )
    drills.backed.guest("comms", "mosquitto-0", "tailscale-0")
    drills.backed.guest("data", "tailscale-0")
    drills.backed.store()
    drills.hold(record=record()).went_well()
    assert any("the tailnet takes no part" in note for note in drills.kept["notes"])
    file = home.place / "seen.yaml"
    file.write_text(drills.seen["fleet"])
    fleet = load_fleet(file, load_roles(PROJECT / "roles"))
    assert fleet.tailnet is None
    assert all("tailscale" not in guest.roles for guest in fleet.guests)
