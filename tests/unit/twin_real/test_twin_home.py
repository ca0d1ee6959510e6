"""What a twin takes from the fleet file for backups: the storages that its jobs name, and nothing else."""

from __future__ import annotations

from pathlib import Path

import yaml

from hearth.fleet.loader import load_fleet
from hearth.role.catalogue import load_roles
from twin.home import PROJECT, home_of


def storages(place: Path, **backup: object) -> list[str]:
    content = yaml.safe_load((PROJECT / "inventory/fleet.yaml").read_text())
    content.pop("backup", None)
    file = place / "fleet.yaml"
    file.write_text(yaml.safe_dump({**content, **backup}))
    return home_of(load_fleet(file, load_roles(PROJECT / "roles")), str(file)).backups


def test_the_storages_of_the_backup_jobs_are_the_nodes(tmp_path: Path) -> None:
    jobs = {
        "all": {"schedule": "02:00", "keep": {"last": 1}},
        "weekly": {"schedule": "sun 05:00", "keep": {"last": 1}, "storage": "nas"},
    }
    assert storages(tmp_path, backup={"storage": "elsewhere", "jobs": jobs}) == ["elsewhere", "nas"]
    assert storages(tmp_path) == []
