"""Proxmox's backups that a restore would use: read whole on their node before anything is destroyed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from role_kit import fleet, guest

from hearth.backup import whole
from hearth.backup.proof import Choice
from hearth.backup.whole import chosen
from hearth.errors import HearthError
from hearth.fleet.model import Backup, BackupJob
from hearth.proxmox.archives import Archive

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
CHOICE = Choice(None, timedelta(days=7), NOW)


class Node:
    """What the node says of its backups: volume ID -> why it is no good; an exception where it cannot say."""

    def __init__(self, said: dict[str, str | Exception]) -> None:
        self.said = said
        self.asked: list[str] = []

    def why_not_whole(self, volid: str) -> str:
        self.asked.append(volid)
        found = self.said.get(volid, "")
        if isinstance(found, Exception):
            raise found
        return found


def archive(day: int, **facts: Any) -> Archive:
    return Archive(
        f"local:backup/vzdump-lxc-135-2026_11_{day}-02_00_00.tar.zst",
        **{"vmid": 135, "kind": "lxc", "time": datetime(2026, 11, day, 2, tzinfo=UTC), "size": 1, **facts},
    )


NEWEST, OLDER = archive(30), archive(29)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run that would make `comms` from what there is: what it chooses."""
    monkeypatch.setattr(whole, "why_not", lambda *_: "")

    def choose(node: Node, action: str = "create", there: tuple[Archive, ...] = (NEWEST, OLDER)) -> Any:
        monkeypatch.setattr(whole, "listed", lambda *_: list(there))
        home = fleet(guest("comms", 135)).model_copy(
            update={"backup": Backup(jobs=(BackupJob.model_construct(storage="local"),))}
        )
        survey = SimpleNamespace(
            plan=lambda _: SimpleNamespace(action=action), node_of=lambda _: "pve", api=lambda _: None
        )
        run: Any = SimpleNamespace(
            fleet=home,
            survey=survey,
            options=SimpleNamespace(data={}),
            convergence=SimpleNamespace(on_node=lambda _: node),
        )
        found = chosen(run, home.guests, CHOICE)
        return found["comms"].volid if found else None

    return choose


def test_one_that_is_whole_is_taken(made: Any) -> None:
    node = Node({})
    assert made(node) == NEWEST.volid
    assert node.asked == [NEWEST.volid], "and no other is read"


@pytest.mark.parametrize("action", ["create", "replace"])
def test_a_damaged_one_is_named_and_the_older_one_offered(made: Any, action: str) -> None:
    node = Node({NEWEST.volid: "premature end"})
    with pytest.raises(HearthError, match="premature end") as refused:
        made(node, action)
    assert NEWEST.volid in str(refused.value)
    assert "--data date=2026-11-29T02:00:00" in str(refused.value)


def test_where_all_are_damaged_it_says_how_to_go_on_without(made: Any) -> None:
    with pytest.raises(HearthError, match="archives=no") as refused:
        made(Node({NEWEST.volid: "premature end", OLDER.volid: "wrong sum"}))
    assert "wrong sum" in str(refused.value)


def test_a_guest_that_is_there_is_not_destroyed_for_what_nobody_has_read(made: Any) -> None:
    silent = Node({NEWEST.volid: HearthError("reach node pve", "connection refused")})
    with pytest.raises(HearthError, match=r"nobody can say whether it is whole.*connection refused"):
        made(silent, "replace")


def test_one_that_is_gone_is_made_from_it_all_the_same(made: Any) -> None:
    """Nothing is lost by trying."""
    silent = Node({NEWEST.volid: HearthError("reach node pve", "connection refused")})
    assert made(silent, "create") == NEWEST.volid


def test_what_a_backup_server_has_verified_is_not_read_again(made: Any) -> None:
    node = Node({})
    verified = archive(30, verified=True)
    assert made(node, "replace", (verified,)) == verified.volid
    assert node.asked == []


def test_a_guest_that_stays_is_not_asked_about(made: Any) -> None:
    node = Node({})
    assert made(node, "none") is None
    assert node.asked == []
