"""The state of a guest as a stream: whole or not there, and back as it was."""

from __future__ import annotations

import io
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hearth.backup.onguest import __main__ as program
from hearth.backup.onguest.bring import RestoreError, bring
from hearth.backup.onguest.save import save
from hearth.backup.onguest.stream import MANIFEST, Manifest, Piece, StreamError, Writer, receive


def entry(name: str, path: Path | str, **more: Any) -> dict[str, Any]:
    return {"name": name, "role": name.rpartition("-")[0], "path": str(path), **more}


def stream_of(*entries: dict[str, Any]) -> tuple[bytes, Manifest]:
    out = io.BytesIO()
    manifest = save("comms", entries, out)
    return out.getvalue(), manifest


def back(content: bytes, tmp_path: Path, *entries: dict[str, Any], roles: tuple[str, ...] = ()) -> list[str]:
    return bring(entries, io.BytesIO(content), tmp_path / "spool", lambda _: None, roles)


@pytest.fixture
def lib() -> Iterator[Path]:
    """In place of /var/lib: everybody may pass through, which pytest's own folders do not allow."""
    found = Path(tempfile.mkdtemp(prefix="hearth-backup-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


@pytest.fixture
def folder(lib: Path) -> Path:
    """A role's folder with what may be in one."""
    found = lib / "greeter"
    (found / "deep").mkdir(parents=True)
    (found / "plain").write_text("hello")
    (found / "deep" / "private").write_bytes(os.urandom(3_000_000))
    (found / "deep" / "private").chmod(0o600)
    (found / "link").symlink_to("plain")
    (found / "empty").touch()
    found.chmod(0o750)
    os.chown(found / "plain", 12345, 23456)
    return found


def seen(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Every entry below a folder: kind and mode, owner, content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_uid,
            path.lstat().st_gid,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *folder.rglob("*"))
    }


def test_files_come_back_as_they_were(folder: Path, tmp_path: Path) -> None:
    before = seen(folder)
    content, manifest = stream_of(entry("greeter-0", folder))
    assert [piece.error for piece in manifest.pieces] == [None]
    subprocess.run(["rm", "-rf", folder], check=True)
    assert back(content, tmp_path, entry("greeter-0", folder)) == ["greeter-0"]
    assert seen(folder) == before


def test_what_was_there_is_kept_aside_once(folder: Path, tmp_path: Path) -> None:
    content, _ = stream_of(entry("greeter-0", folder))
    (folder / "plain").write_text("newer")
    back(content, tmp_path, entry("greeter-0", folder))
    assert (folder / "plain").read_text() == "hello"
    aside = list(folder.parent.glob("greeter.before-*"))
    assert [(path / "plain").read_text() for path in aside] == ["newer"]
    assert {path.name for path in folder.parent.iterdir()} == {"greeter", aside[0].name}


def test_xattrs_stay(folder: Path, tmp_path: Path) -> None:
    os.setxattr(folder / "plain", "user.note", b"kept")
    content, _ = stream_of(entry("greeter-0", folder))
    back(content, tmp_path, entry("greeter-0", folder))
    assert os.getxattr(folder / "plain", "user.note") == b"kept"


def test_an_owner_is_found_by_name(folder: Path, tmp_path: Path) -> None:
    """A user's number is another one on a new guest; tar has the name too."""
    os.chown(folder / "plain", 65534, 65534)
    content, _ = stream_of(entry("greeter-0", folder))
    with tarfile.open(fileobj=io.BytesIO(content)) as outer:
        inner = b"".join(
            outer.extractfile(member).read()  # type: ignore[union-attr]
            for member in outer
            if member.name.startswith("greeter-0/")
        )
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        assert tar.getmember("./plain").uname == "nobody"


def test_an_owner_comes_back_by_name_whatever_number_he_has_there(tmp_path: Path, lib: Path) -> None:
    """The tar of another guest, where `nobody` was another number."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind in ((".", tarfile.DIRTYPE), ("./file", tarfile.REGTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.size = kind, 0o700, 0
            member.uid = member.gid = 4242
            member.uname, member.gname = "nobody", "nogroup"
            tar.addfile(member, io.BytesIO(b""))
    out = io.BytesIO()
    writer = Writer(out, "comms")
    piece = Piece("greeter-0", "greeter", "/x", "files", made="2026-11-30T00:00:00+00:00")
    writer.note(writer.add(piece, io.BytesIO(inner.getvalue())))
    writer.end()
    back(out.getvalue(), tmp_path, entry("greeter-0", lib / "greeter"))
    for path in (lib / "greeter", lib / "greeter" / "file"):
        assert (path.owner(), path.group()) == ("nobody", "nogroup")


@pytest.fixture
def written(folder: Path) -> Iterator[Path]:
    """A database that somebody writes to all the time: both tables always sum up to the same."""
    path = folder / "deep" / "history.db"
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE a (n INTEGER)")
    database.execute("CREATE TABLE b (n INTEGER)")
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            database.execute("BEGIN")
            database.execute("INSERT INTO a VALUES (1)")
            database.execute("INSERT INTO b VALUES (1)")
            database.execute("COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    while not database.execute("SELECT count(*) FROM a").fetchone()[0]:
        pass
    yield path
    ended.set()
    thread.join()
    database.close()


def test_an_open_database_is_of_one_moment(written: Path, folder: Path, tmp_path: Path) -> None:
    os.chown(written, 12345, 12345)
    for name in ("-wal", "-shm"):
        os.chown(f"{written}{name}", 12345, 12345)
    for parent in (written.parent, folder):
        os.chown(parent, 12345, 12345)
    for _ in range(3):
        content, manifest = stream_of(entry("greeter-0", folder))
        assert manifest.pieces[0].error is None
        other = tmp_path / "other"
        subprocess.run(["rm", "-rf", other], check=True)
        back(content, tmp_path, entry("greeter-0", other))
        copy = other / "deep" / "history.db"
        assert not list(other.rglob("*-wal"))
        assert copy.stat().st_uid == 12345
        with sqlite3.connect(copy) as database:
            one, two = (
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("a", "b")
            )
            assert one == two > 0
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert {path.name for path in folder.parent.iterdir()} == {"greeter"}, "no scratch is left"


def test_a_damaged_database_is_no_backup(folder: Path) -> None:
    path = folder / "broken.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE a (n TEXT)")
        database.executemany("INSERT INTO a VALUES (?)", [("x" * 500,)] * 500)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    _, manifest = stream_of(entry("greeter-0", folder), entry("other-0", folder / "deep"))
    assert "broken.db" in str(manifest.pieces[0].error)
    assert manifest.pieces[1].error is None, "one role's failure keeps no other from being saved"


def test_a_command_writes_and_reads_its_own(tmp_path: Path) -> None:
    target = tmp_path / "restored"
    one = entry(
        "store-0", "/nowhere", dump="printf 'state of the store'; echo said >&2", restore=f"cat >{target}"
    )
    content, manifest = stream_of(one)
    assert (manifest.pieces[0].how, manifest.pieces[0].said) == ("command", "said")
    back(content, tmp_path, one)
    assert target.read_text() == "state of the store"


@pytest.mark.parametrize(
    ("dump", "error"),
    [
        ("printf half; echo 'out of paper' >&2; exit 3", "out of paper"),
        ("exit 7", "exit code 7"),
        ("true", "it wrote nothing"),
        ("printf half; kill -9 $$", "exit code -9"),
    ],
)
def test_a_command_that_fails_leaves_nothing_to_restore(dump: str, error: str, tmp_path: Path) -> None:
    target = tmp_path / "restored"
    one = entry("store-0", "/nowhere", dump=dump, restore=f"cat >{target}")
    content, manifest = stream_of(one)
    assert manifest.pieces[0].error == error
    assert back(content, tmp_path, one) == []
    assert not target.exists()


def test_what_is_made_ready_before(folder: Path, tmp_path: Path) -> None:
    content, _ = stream_of(entry("greeter-0", folder, before=f"echo saved >{folder}/plain"))
    back(content, tmp_path, entry("greeter-0", tmp_path / "other"))
    assert (tmp_path / "other" / "plain").read_text() == "saved\n"
    _, manifest = stream_of(entry("greeter-0", folder, before="echo 'no radio' >&2; exit 1"))
    assert manifest.pieces[0].error == "no radio"


def test_a_guest_that_has_nothing_to_keep(folder: Path, tmp_path: Path) -> None:
    one = entry("greeter-0", folder, unless="true")
    content, manifest = stream_of(one)
    assert (manifest.pieces[0].how, manifest.pieces[0].error) == ("none", None)
    assert back(content, tmp_path, one) == []
    whole, _ = stream_of(entry("greeter-0", folder, unless="false"))
    assert back(whole, tmp_path, one) == [], "nor is anything of an earlier time put onto a replica"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    _, manifest = stream_of(entry("greeter-0", tmp_path / "gone"))
    assert manifest.pieces[0].error == f"there is no {tmp_path / 'gone'}"


def test_every_cut_is_noticed_and_nothing_touched(folder: Path, tmp_path: Path) -> None:
    content, _ = stream_of(entry("greeter-0", folder))
    (folder / "plain").write_text("as it is")
    before = seen(folder)
    whole = content.index(MANIFEST.encode()) + 512
    cuts = [0, 1, 511, 512, 513, 100_000, 1_049_000, 2_000_000, whole - 512, whole, whole + 10]
    for cut in cuts:
        with pytest.raises(StreamError):
            back(content[:cut], tmp_path, entry("greeter-0", folder))
    assert seen(folder) == before
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("where", [600, 500_000, 2_500_000])
def test_every_flipped_bit_is_noticed(folder: Path, tmp_path: Path, where: int) -> None:
    content, _ = stream_of(entry("greeter-0", folder))
    damaged = bytearray(content)
    damaged[where] ^= 1
    with pytest.raises(StreamError, match=r"manifest says|no chunk|breaks off"):
        back(bytes(damaged), tmp_path, entry("greeter-0", folder))


def other_tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "breaks off"),
        (b"sudo: a password is required\n", "breaks off, or is no stream"),
        (other_tar(), "before its manifest"),
        (other_tar(**{"../../etc/passwd": b"x"}), "no chunk"),
        (other_tar(**{"greeter-0/00000001": b"x"}), "missing"),
        (other_tar(**{MANIFEST: b"{}"}), "damaged"),
        (other_tar(**{MANIFEST: b'{"format": 2}'}), "another format"),
    ],
)
def test_what_is_no_stream(content: bytes, words: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(StreamError, match=re.escape(words)):
        receive(io.BytesIO(content), target)
    assert not (target / MANIFEST).exists()


def test_only_the_roles_that_are_named(folder: Path, tmp_path: Path) -> None:
    content, _ = stream_of(entry("greeter-0", folder), entry("other-0", folder / "deep"))
    one, two = entry("greeter-0", tmp_path / "one"), entry("other-0", tmp_path / "two")
    assert back(content, tmp_path, one, two, roles=("other",)) == ["other-0"]
    assert not (tmp_path / "one").exists()
    with pytest.raises(StreamError, match="no role nobody"):
        back(content, tmp_path, one, two, roles=("nobody",))


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that notes what it was asked, and refuses `start` where a file `refuse` is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\ncase "$1" in start) [ ! -e {tmp_path}/refuse ];; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "asked"


def test_services_rest_meanwhile(folder: Path, tmp_path: Path, systemctl: Path) -> None:
    content, _ = stream_of(entry("greeter-0", folder))
    back(content, tmp_path, entry("greeter-0", folder, units=["greeter.service"]))
    assert systemctl.read_text().splitlines() == [
        "is-active --quiet greeter.service",
        "stop greeter.service",
        "start greeter.service",
    ]


def test_a_service_that_does_not_start_gets_its_own_back(
    folder: Path, tmp_path: Path, systemctl: Path
) -> None:
    content, _ = stream_of(entry("greeter-0", folder))
    (folder / "plain").write_text("as it is")
    before = seen(folder)
    (tmp_path / "refuse").touch()
    with pytest.raises(RestoreError, match="does not start"):
        back(content, tmp_path, entry("greeter-0", folder, units=["greeter.service"]))
    assert seen(folder) == before
    assert {path.name for path in folder.parent.iterdir()} == {"greeter"}


def test_one_at_a_time(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "state.json"
    settings.write_text('{"guest": "comms", "state": []}')
    places = (settings, tmp_path / "lock", tmp_path / "spool")
    with program.alone(tmp_path / "lock"):
        assert program.main(["dump"], *places) == 1
    assert "at work" in capfd.readouterr().err
    assert program.main(["dump"], *places) == 0
    assert program.main(["dump", "greeter"], *places) == 2
    assert program.main(["destroy"], *places) == 2


def test_what_may_wait_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with program.alone(tmp_path / "lock", waits=True):
            order.append("second")

    with program.alone(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
