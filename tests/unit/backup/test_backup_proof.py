"""A backup is found and proven before anything is touched: real repositories, damaged in every way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_kit import damage

from hearth.backup.onguest.restic import Repository
from hearth.backup.onguest.stream import MANIFEST, Manifest, Writer, receive
from hearth.backup.proof import Choice, find, read_date, shown
from hearth.backup.source import HereSource
from hearth.errors import HearthError

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SLOW = pytest.mark.slow
WANTED = {"comms": ["greeter-0"], "data": ["greeter-0"]}


class Kept:
    """Repositories with backups as `hearth-backup collect` makes them.

    Args:
        folder: everything of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password = folder / "password"
        self.password.write_text("correct horse\n")

    def repository(self, name: str) -> Repository:
        return Repository(str(self.folder / name), self.password, cache=self.folder / "cache")

    def source(self, name: str) -> HereSource:
        return HereSource(f"the {name} repository", name, self.repository(name))

    def guest(self, name: str, text: str, made: datetime, piece: str = "greeter-0") -> Path:
        """A guest's folder, with one piece."""
        import io

        from hearth.backup.onguest.stream import Piece

        out = io.BytesIO()
        writer = Writer(out, name)
        about = Piece(piece, piece.rpartition("-")[0], "/var/lib/greeter", "files", made=made.isoformat())
        writer.note(writer.add(about, io.BytesIO(text.encode())))
        writer.end()
        place = self.folder / "kept" / "current" / "guests" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        receive(io.BytesIO(out.getvalue()), place)
        return place

    def both(self, made: datetime, text: str = "state") -> None:
        for name in WANTED:
            self.guest(name, f"{text} of {name}", made)

    def store(self, name: str, when: datetime) -> None:
        """A snapshot of that time."""
        repository = self.repository(name)
        repository.present()
        moment = when.strftime("%Y-%m-%d %H:%M:%S")
        repository.run(
            "backup", "--host=hearth", f"--time={moment}", str(self.folder / "kept" / "current"), "--quiet"
        )


@pytest.fixture
def kept() -> Iterator[Kept]:
    folder = Path(tempfile.mkdtemp(prefix="hearth-proof-"))
    yield Kept(folder)
    shutil.rmtree(folder)


def choice(**more: Any) -> Choice:
    return Choice(**{"date": None, "oldest": timedelta(days=7), "now": NOW, **more})


def refused(kept: Kept, *sources: str, wanted: Any = WANTED, **more: Any) -> HearthError:
    with pytest.raises(HearthError) as caught:
        find([kept.source(name) for name in sources or ("local",)], wanted, choice(**more))
    return caught.value


@pytest.fixture
def three(kept: Kept) -> Kept:
    """Backups of three days, each with its own text."""
    for days in (2, 1, 0):
        when = NOW - timedelta(days=days, hours=1)
        kept.both(when, f"state of {days} days ago")
        kept.store("local", when)
    return kept


def text_of(kept: Kept, proven: Any) -> str:
    piece = proven.manifests["comms"].piece("greeter-0")
    with proven.snapshot.source.read("dump", proven.snapshot.ident, proven.path("comms", piece)) as content:
        return str(content.read().decode())


def test_the_newest_or_that_of_a_date(three: Kept) -> None:
    newest = find([three.source("local")], WANTED, choice())
    assert text_of(three, newest) == "state of 0 days ago of comms"
    earlier = find([three.source("local")], WANTED, choice(date=read_date("2026-11-29")))
    assert text_of(three, earlier) == "state of 1 days ago of comms"
    exact = find([three.source("local")], WANTED, choice(date=read_date(shown(newest.snapshot.time))))
    assert exact.snapshot.ident == newest.snapshot.ident
    assert "has no backup from before" in str(refused(three, date=read_date("2026-11-01")))


@pytest.mark.slow
def test_a_damaged_repository_offers_the_one_elsewhere(three: Kept) -> None:
    three.repository("remote").present()
    three.repository("remote").run(
        "copy",
        more={
            "RESTIC_FROM_REPOSITORY": str(three.folder / "local"),
            "RESTIC_FROM_PASSWORD_FILE": str(three.password),
        },
    )
    damage(three.folder / "local")
    error = refused(three, "local", "remote")
    assert "the local repository cannot be used" in error.reason
    assert "verification failed" in error.reason
    assert "the remote repository, is whole" in error.remedy
    assert "--data date=2026-11-30T11:00:00 --data from=remote" in error.remedy
    taken = find([three.source("remote")], WANTED, choice(date=read_date("2026-11-30T11:00:00")))
    assert text_of(three, taken) == "state of 0 days ago of comms"


def test_a_damaged_piece_is_named_and_the_next_older_backup_offered(three: Kept) -> None:
    """Only the newest backup's own bytes are hurt: those of a larger piece that no other has."""
    when = NOW - timedelta(minutes=10)
    before = {path.name for path in (three.folder / "local" / "data").rglob("*") if path.is_file()}
    three.guest("comms", "".join(str(number) for number in range(200_000)), when)
    three.store("local", when)
    for pack in (three.folder / "local" / "data").rglob("*"):
        if pack.is_file() and pack.name not in before and pack.stat().st_size > 50_000:
            pack.chmod(0o600)
            content = bytearray(pack.read_bytes())
            content[1000] ^= 0xFF
            pack.write_bytes(content)
    error = refused(three)
    assert "comms/greeter-0 is damaged" in error.reason
    assert "2026-11-30T11:50" in error.reason
    assert "--data date=2026-11-30T11:00:00 --data from=local" in error.remedy
    offered = error.remedy.partition("date=")[2].partition(" ")[0]
    taken = find([three.source("local")], WANTED, choice(date=read_date(offered)))
    assert text_of(three, taken) == "state of 0 days ago of comms"


def hurt(name: str, how: Any, words: str, *marks: Any) -> Any:
    return pytest.param(how, words, id=name, marks=marks)


def flip(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


@pytest.mark.parametrize(
    ("damaging", "words"),
    [
        hurt("cut", lambda place: (place / "greeter-0").write_bytes(b"sta"), "half-written: 3 bytes of"),
        hurt("manifest gone", lambda place: (place / MANIFEST).unlink(), "it has no manifest"),
        hurt("piece gone", lambda place: (place / "greeter-0").unlink(), "is missing, although", SLOW),
        hurt("manifest cut", lambda place: (place / MANIFEST).write_text("{"), "manifest is damaged", SLOW),
        hurt("other bytes", lambda place: flip(place / "greeter-0"), "is not what its manifest says", SLOW),
    ],
)
def test_half_written(kept: Kept, damaging: Any, words: str) -> None:
    kept.both(NOW - timedelta(hours=5))
    kept.store("local", NOW - timedelta(hours=5))
    damaging(kept.guest("comms", "newer", NOW - timedelta(hours=1)))
    kept.store("local", NOW - timedelta(hours=1))
    error = refused(kept)
    assert words in error.reason
    assert "date=2026-11-30T07:00:00" in error.remedy


@pytest.mark.slow
def test_missing(kept: Kept) -> None:
    assert "cannot be read" in refused(kept).reason
    kept.repository("local").present()
    assert "has no backup" in refused(kept).reason


def test_wrongly_keyed(three: Kept) -> None:
    three.password.write_text("another\n")
    error = refused(three)
    assert "wrong password" in error.reason


def test_too_old_unless_it_is_named(kept: Kept) -> None:
    when = NOW - timedelta(days=9)
    kept.both(when)
    kept.store("local", when)
    error = refused(kept)
    assert "too old, more than 7 days" in error.reason
    assert "comms/greeter-0" in error.reason
    assert "date=2026-11-21T12:00:00" in error.remedy
    found = find([kept.source("local")], WANTED, choice(date=read_date("2026-11-21T12:00:00")))
    assert isinstance(found.manifests["comms"], Manifest)


@pytest.mark.slow
def test_a_new_snapshot_of_old_data_is_old(kept: Kept) -> None:
    """A guest that could not be collected for long: the snapshot is new, its piece is not."""
    kept.both(NOW)
    kept.guest("data", "long ago", NOW - timedelta(days=8))
    kept.store("local", NOW)
    error = refused(kept)
    assert "data/greeter-0" in error.reason
    assert "comms/greeter-0" not in error.reason


@pytest.mark.slow
def test_a_state_that_no_backup_has(kept: Kept) -> None:
    kept.both(NOW)
    kept.store("local", NOW)
    wanted = {**WANTED, "comms": ["greeter-0", "other-0"], "new": ["greeter-0"]}
    error = refused(kept, wanted=wanted)
    assert "comms/other-0, new/greeter-0" in error.reason
    assert "missing=accept" in error.remedy
    found = find([kept.source("local")], wanted, choice(accept_missing=True))
    assert found.missing == ("comms/other-0", "new/greeter-0")


@pytest.mark.slow
def test_a_newer_one_elsewhere_is_taken(three: Kept) -> None:
    three.both(NOW, "newest")
    three.store("remote", NOW)
    found = find([three.source("local"), three.source("remote")], WANTED, choice())
    assert found.snapshot.source.name == "the remote repository"


@pytest.mark.slow
def test_proving_changes_nothing(three: Kept) -> None:
    folder = three.folder / "local"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    find([three.source("local")], WANTED, choice())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("wrong", ["yesterday", "2026-13-01", "30.11.2026", ""])
def test_what_is_no_date(wrong: str) -> None:
    with pytest.raises(HearthError, match="is no date"):
        read_date(wrong)


def test_a_day_means_its_end() -> None:
    assert read_date("2026-11-30") > datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert read_date("2026-11-30T03:10:00+01:00") < datetime(2026, 11, 30, 2, 10, 1, tzinfo=UTC)
