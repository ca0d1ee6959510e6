"""A home that is not there, and a repository with its states: a folder here, as a remote one may be."""

from __future__ import annotations

import io
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from hearth.backup.onguest.restic import Repository
from hearth.backup.onguest.stream import Piece, Writer, receive
from hearth.secrets import SecretStore
from tests.api.run.conftest import Home, container, fleet_of

PASSWORD = "correct horse battery staple"


class Backed:
    """A home of two containers that are not there, and a repository with their states.

    Args:
        home: the home.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.folder = home.place / "elsewhere"
        self.kept = home.place / "kept" / "current" / "guests"
        password = home.place / "password"
        password.write_text(PASSWORD + "\n")
        self.repository = Repository(str(self.folder), password, cache=home.place / "cache")

    def guest(self, name: str, *pieces: str, made: datetime | None = None) -> None:
        out = io.BytesIO()
        writer = Writer(out, name)
        for piece in pieces:
            about = Piece(
                piece,
                piece.rpartition("-")[0],
                "/var/lib/x",
                "files",
                made=(made or datetime.now(UTC)).isoformat(timespec="seconds"),
            )
            writer.note(writer.add(about, io.BytesIO(f"state of {piece}".encode() * 1000)))
        writer.end()
        place = self.kept / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        receive(io.BytesIO(out.getvalue()), place)

    def store(self, ago: timedelta = timedelta(0)) -> datetime:
        self.repository.present()
        when = datetime.now(UTC) - ago
        moment = when.strftime("%Y-%m-%d %H:%M:%S")
        self.repository.run("backup", "--host=hearth", f"--time={moment}", str(self.kept.parent), "--quiet")
        return when

    def restore(self, *data: str, dry: bool = True) -> Any:
        words = [word for pair in data for word in ("--data", pair)]
        return self.home.pyinfra("inventory", "restore.py", *(["--dry"] if dry else ["-y"]), *words)


def backed_home(home: Home, **more: Any) -> Backed:
    """Two guests of ours and an appliance, none of them there, and what the first one keeps.

    Args:
        home: where it is declared.
        more: keys of the fleet file.
    """
    roles: dict[str, Any] = {"appliance": False, "roles": []}
    fleet = fleet_of(
        comms=container(135, **{**roles, "roles": ["mosquitto"]}),
        data=container(139, **{**roles, "roles": ["config_backup", "cloud_data_sync"]}),
        nas=container(150),
    )
    home.declare({**fleet, **more})
    found = Backed(home)
    overrides = home.place / "overrides.yaml"
    overrides.write_text(yaml.safe_dump({"cloud_data_sync_repository": str(found.folder)}))
    home.env |= {"HEARTH_OVERRIDES": str(overrides), "TZ": "UTC"}
    store = SecretStore(home.place / "secrets.age", home.place / "age.key", home.env)
    store.put("restic/password", PASSWORD)
    store.save()
    found.guest("comms", "mosquitto-0")
    return found
