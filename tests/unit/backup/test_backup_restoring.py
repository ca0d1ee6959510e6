"""What a restore is about, and how it is judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from role_kit import FakeRun, fleet, group_data, guest

from hearth.backup.onguest.stream import Manifest, Piece
from hearth.backup.proof import Proven, Snapshot
from hearth.backup.restoring import choice, chosen, remote_source, sources, wanted
from hearth.backup.source import answer
from hearth.backup.timeline import Timeline, objectives, spoken, verdicts
from hearth.errors import HearthError

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOME = fleet(
    guest("database", 136, "postgresql"),
    guest("comms", 135, "mosquitto"),
    guest("data", 139, "config_backup", "cloud_data_sync", "postgresql"),
)


def values(**changes: Any) -> dict[str, Any]:
    return vars(group_data(**changes))


def run() -> FakeRun:
    return FakeRun(HOME)


def test_all_or_those_that_are_named() -> None:
    assert [one.name for one in chosen(HOME, ())] == ["database", "comms", "data"]
    assert [one.name for one in chosen(HOME, {"comms"})] == ["comms"]
    with pytest.raises(HearthError, match="no guest nobody"):
        chosen(HOME, {"nobody", "comms"})


def test_a_replica_needs_no_state_of_its_own() -> None:
    found = wanted(HOME.guests, run().roles, HOME)
    assert found == {"database": ["postgresql-0"], "comms": ["mosquitto-0"]}


@pytest.mark.parametrize(
    ("data", "words"),
    [({"date": "soon"}, "is no date"), ({"missing": "yes"}, "missing=yes")],
)
def test_a_choice_that_means_nothing(data: dict[str, str], words: str) -> None:
    with pytest.raises(HearthError, match=words):
        choice(data, values(), NOW)


def test_the_local_repository_first_where_its_guest_runs() -> None:
    given, store = values(cloud_data_sync_repository="/somewhere"), run().secrets
    store.put("restic/password", "x")
    both = sources({}, HOME, given, store, lambda guest: lambda: None)
    assert [source.key for source in both] == ["local", "remote"]
    down = sources({}, HOME, given, store, lambda guest: None)
    assert [source.key for source in down] == ["remote"]
    for key in ("local", "remote"):
        only = sources({"from": key}, HOME, given, store, lambda guest: lambda: None)
        assert [source.key for source in only] == [key]


def test_nothing_to_restore_from() -> None:
    with pytest.raises(HearthError, match="nothing to restore from"):
        sources({}, HOME, values(), run().secrets, lambda guest: None)
    with pytest.raises(HearthError, match="from=cloud"):
        sources({"from": "cloud"}, HOME, values(), run().secrets, lambda guest: None)


def test_the_remote_one_is_read_from_here_with_nothing_but_the_secrets(tmp_path: Path) -> None:
    from hearth.backup.onguest.restic import Repository

    store = run().secrets
    store.put("restic/password", "correct horse")
    (tmp_path / "password").write_text("correct horse\n")
    Repository(str(tmp_path / "there"), tmp_path / "password").present()
    source = remote_source(values(cloud_data_sync_repository=str(tmp_path / "there")), store)
    assert source
    assert answer(source, "snapshots", "--json").strip() in (b"[]", b"null")


def proven(**made: timedelta) -> Proven:
    pieces = tuple(
        Piece(f"{role}-0", role, "/x", "files", 1, "x", made=(NOW - age).isoformat())
        for role, age in made.items()
    )
    manifest = Manifest("comms", NOW.isoformat(), NOW.isoformat(), pieces)
    return Proven(Snapshot(None, "x", NOW, "/x"), {"comms": manifest})  # type: ignore[arg-type]


def judged(timeline: Timeline, found: Proven) -> dict[str, tuple[bool, str]]:
    return {
        verdict.name: (verdict.met, verdict.detail)
        for verdict in verdicts(timeline, found, objectives(values()), NOW)
    }


def at(*events: tuple[float, str]) -> Timeline:
    moments = iter([0.0, *(after for after, _ in events)])
    timeline = Timeline(lambda: next(moments))
    for _, role in events:
        timeline.mark(f"{role} is done", "comms", role)
    return timeline


def test_times_and_ages_against_what_is_promised() -> None:
    hour, day = 3600.0, timedelta(days=1)
    good = judged(
        at((0.5 * hour, "mosquitto"), (3.9 * hour, "vaultwarden")),
        proven(mosquitto=day / 2, postgresql=day * 6),
    )
    assert {name: met for name, (met, _) in good.items()} == {
        "critical services": True,
        "everything": True,
        "age of configuration": True,
        "age of state": True,
    }
    bad = judged(
        at((1.1 * hour, "home_assistant"), (4.1 * hour, "vaultwarden")),
        proven(mosquitto=day * 2, vaultwarden=day / 2, postgresql=day * 8),
    )
    assert not any(met for met, _ in bad.values())
    assert bad["age of configuration"][1] == "comms/mosquitto-0"


def test_what_never_came_back_is_in_no_time() -> None:
    timeline = at((10.0, "mosquitto"), (20.0, "vaultwarden"))
    expected = {("comms", "mosquitto"), ("comms", "zigbee2mqtt"), ("comms", "vaultwarden")}
    found = {
        verdict.name: verdict for verdict in verdicts(timeline, proven(), objectives(values()), NOW, expected)
    }
    for name in ("critical services", "everything"):
        assert not found[name].met
        assert found[name].detail == "never: comms/zigbee2mqtt"
    none = verdicts(at(), proven(), objectives(values()), NOW, {("comms", "mosquitto")})
    assert [verdict.met for verdict in none] == [False, False]
    whole = verdicts(timeline, proven(), objectives(values()), NOW, expected - {("comms", "zigbee2mqtt")})
    assert all(verdict.met for verdict in whole)


def test_the_timeline_reads_in_order() -> None:
    lines = list(at((65.0, "mosquitto"), (70.0, "front")).lines())
    assert lines[0].startswith("00:01:05")
    assert "+   5.0 s" in lines[1]
    assert spoken(3600) == "1 h"
    assert spoken(45) == "45 s"
    assert spoken(86_400 * 7) == "7 days"


def test_doctor_says_whether_this_machine_could_read_the_copy() -> None:
    from hearth.doctor.examine import judge_way_back

    assert [found.status for found in judge_way_back(HOME, True)] == ["ok"]
    (lacking,) = judge_way_back(HOME, False)
    assert (lacking.status, lacking.remedy) == ("warn", "apt install restic")
    assert judge_way_back(fleet(guest("comms", 135, "mosquitto")), False) == []


# ------------------------------------------------------------- what is told to the roles


def test_the_fleets_files_are_kept_as_they_are_when_it_is_written(tmp_path: Path) -> None:
    from hearth.deploy.backup import fleet_files

    (tmp_path / "inventory").mkdir()
    fleet_file = tmp_path / "inventory" / "fleet.yaml"
    fleet_file.write_text("guests: {}\n")
    secrets = tmp_path / "secrets.age"
    there = SimpleNamespace(
        secrets=SimpleNamespace(path=secrets), fleet_file=fleet_file, project=tmp_path, environ={}
    )
    files = {Path(file.path).name: file for file in fleet_files(there)}  # type: ignore[arg-type]
    assert set(files) == {"secrets.age", "fleet.yaml"}
    assert files["secrets.age"].text == "", "a dry run of a fleet that has none yet"
    secrets.write_text("-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert files["secrets.age"].text.startswith("-----BEGIN AGE"), "as it is then, not as it was planned"
    assert all(file.secret and file.mode == "600" for file in files.values())
    (tmp_path / "inventory" / "phones.yaml").write_text("{}\n")
    assert len(fleet_files(there)) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("archived", "brought"),
    [
        (None, True),
        (timedelta(hours=1), False),  # Proxmox's backup is from after the state
        (timedelta(days=2), True),
    ],
)
def test_the_newer_of_proxmoxs_backup_and_a_state_is_taken(
    archived: timedelta | None, brought: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hearth.deploy import restore
    from hearth.proxmox.archives import Archive

    asked: list[str] = []
    monkeypatch.setattr(restore, "brought", lambda name, role: asked.append(role))
    found = restore.Restore(run())  # type: ignore[arg-type]
    vars(found)["proven"] = proven(mosquitto=timedelta(days=1))
    archive = Archive("local:backup/x", 135, "lxc", NOW - (archived or timedelta(0)), 1)
    vars(found)["archives"] = {"comms": archive} if archived else {}
    here = run().here("comms", "mosquitto")
    here.host.noop = lambda text: asked.append("newer")
    found.state(here)
    assert asked == (["mosquitto"] if brought else ["newer"])
