"""A new release that fails gives the data back as the old one left them; the real scripts and programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from switch_kit import KEEPER, PYTHON, Machine, machine

from hearth.backup.onguest import upgrade as keeping
from tests.twin.handle import until


@pytest.fixture
def place(tmp_path: Path) -> Machine:
    """A machine with releases `one`, `two`, `sick`, where `one` has proved itself and has data."""
    found = machine(tmp_path)
    found.keeps()
    done = found.switch("one")
    assert (done.returncode, done.stderr) == (0, "")
    assert found.converted == ["one"]
    return found


def beside(place: Machine) -> dict[str, Path]:
    """What is kept beside the data, by name."""
    folder = place.root / "lib/data.upgrade"
    return {path.name: path for path in folder.iterdir()} if folder.exists() else {}


# ------------------------------------------------------------------------ the two ends


def test_a_good_one_keeps_its_state_and_the_copy_from_before_stays_for_a_time(place: Machine) -> None:
    done = place.switch("two")
    assert done.returncode == 0, done.stderr
    assert place.now.is_at("two")
    assert place.converted == ["one", "two"]
    assert (place.data / "deep/file").read_text() == "precious"
    copy = beside(place)
    assert list(copy) == ["before"]
    assert (copy["before"] / "converted").read_text() == "one\n"
    assert (place.root / "lib/data.upgrade").stat().st_mode & 0o777 == 0o700
    assert place.now.kept_days == 0
    about = keeping.Kept(**json.loads((place.root / "upgrades/app.json").read_text()))
    assert (about.old, about.new) == ("one", "two"), "the copy says whose it is"


def test_one_that_fails_ends_with_the_old_one_and_its_data_and_says_so(place: Machine) -> None:
    place.conf.write_text("well, for sick")
    done = place.switch("sick")
    assert done.returncode != 0
    assert place.now.is_at("one")
    assert place.ran[-1] == "one well"
    assert place.converted == ["one", "one"], "what `sick` wrote is not in them"
    assert (place.data / "deep/file").read_text() == "precious"
    failed = beside(place)["failed"]
    assert (failed / "converted").read_text() == "one\nsick\n"
    said = done.stderr
    for words in ("it feels sick", "the log says why", "sick failed", "went back to one", "it is healthy"):
        assert words in said
    assert str(failed) in said, "where the other data are"
    assert place.now.failed.startswith("sick ")


def test_what_the_old_one_wrote_until_it_was_stopped_is_not_lost(place: Machine) -> None:
    """The copy is made at rest: a dump before the stop would lose this line."""
    stops = f"echo last >>{place.data}/converted; rm -f {place.root}/active"
    text = (
        (place.root / "bin/systemctl")
        .read_text()
        .replace(f"stop*) rm -f {place.root}/active", f"stop*) {stops}")
    )
    place.program("systemctl", text)
    assert place.switch("sick").returncode != 0
    assert place.converted[:2] == ["one", "last"]


def test_owners_modes_links_and_attributes_come_back(place: Machine) -> None:
    file = place.data / "deep/file"
    file.chmod(0o640)
    os.setxattr(file, "user.note", b"kept")
    (place.data / "link").symlink_to("deep/file")
    os.link(file, place.data / "hard")
    place.data.chmod(0o750)
    if os.geteuid() == 0:
        os.chown(file, 12345, 23456)
        os.chown(place.data, 12345, 23456)
    before = {path: path.lstat() for path in (place.data, *place.data.rglob("*")) if path.name != "converted"}
    assert place.switch("sick").returncode != 0
    for path, was in before.items():
        now = path.lstat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid), path
    assert os.getxattr(file, "user.note") == b"kept"
    assert (place.data / "hard").stat().st_nlink == 2


def test_each_release_rests_before_another_one_gets_the_data(place: Machine) -> None:
    """Once the link leads to the old one, systemd may start it at any moment."""
    place.switch("sick")
    assert (place.root / "stopped").read_text().splitlines() == ["one", "sick"]


def test_one_that_fails_and_cannot_be_stopped_keeps_what_it_has(place: Machine) -> None:
    text = (place.root / "bin/systemctl").read_text()
    place.program(
        "systemctl",
        text.replace(
            "  stop*) ", "  stop*) [ ! -e {0}/stopped ] || exit 1; ".replace("{0}", str(place.root))
        ),
    )
    done = place.switch("sick")
    assert done.returncode != 0
    assert "cannot be stopped" in done.stderr
    assert place.now.unfinished
    assert place.converted == ["one", "sick"]
    place.program("systemctl", text)
    assert place.switch("one").returncode == 0
    assert place.converted == ["one", "one"]


def test_an_upgrade_after_one_that_failed_begins_with_the_old_data(place: Machine) -> None:
    place.switch("sick")
    assert place.switch("two").returncode == 0
    assert place.converted == ["one", "one", "two"]
    assert list(beside(place)) == ["before"], "what failed is gone"
    assert place.now.failed == ""


def test_the_same_pin_is_tried_again_and_ends_as_before(place: Machine) -> None:
    for _ in range(2):
        assert place.switch("sick").returncode != 0
        assert place.now.is_at("one")
        assert set(place.converted) == {"one"}
        assert (place.data / "deep/file").read_text() == "precious"


def test_the_old_pin_again_has_nothing_to_do_with_the_data(place: Machine) -> None:
    place.switch("sick")
    assert place.switch("one").returncode == 0
    assert "failed" in beside(place)
    assert set(place.converted) == {"one"}


def test_files_alone_that_make_it_sick_do_not_touch_the_data(place: Machine) -> None:
    place.conf.write_text("sick")
    done = place.switch("one", "restart")
    assert done.returncode != 0
    assert "and data" not in done.stderr
    assert "it with these files failed" in done.stderr
    assert beside(place) == {}
    assert place.converted == ["one", "one", "one"]


def test_a_role_without_data_is_only_switched(tmp_path: Path) -> None:
    found = machine(tmp_path)
    found.switch("one")
    done = found.switch("sick")
    assert "went back to one and the files it had" in done.stderr
    assert found.now.is_at("one")
    assert found.now.kept_days is None


def test_what_a_guest_says_is_not_its_own_is_left_alone(tmp_path: Path) -> None:
    found = machine(tmp_path)
    found.keeps(unless="true")
    found.switch("one")
    assert found.switch("two").returncode == 0
    assert not (tmp_path / "lib/data.upgrade").exists()


def test_what_stays_apart_is_neither_copied_nor_lost(tmp_path: Path) -> None:
    found = machine(tmp_path)
    found.keeps(apart=["backups"])
    (found.data / "backups").mkdir()
    (found.data / "backups/large").write_text("large")
    (found.data / "deep/backups").mkdir()
    found.switch("one")
    inode = (found.data / "backups/large").stat().st_ino
    assert found.switch("two").returncode == 0
    assert not (tmp_path / "lib/data.upgrade/before/backups").exists()
    assert (tmp_path / "lib/data.upgrade/before/deep/backups").exists(), "only the one at the top is meant"
    assert found.switch("sick").returncode != 0
    assert (found.data / "backups/large").stat().st_ino == inode
    assert found.converted == ["one", "two", "two"]


# ------------------------------------------------------------------------ not tried at all


def test_without_room_for_a_copy_nothing_is_tried(place: Machine) -> None:
    text = KEEPER.format(place.root, python=PYTHON).replace(
        "upgrade.PLACE", "upgrade.SPARE = 1 << 60; upgrade.PLACE"
    )
    place.program("hearth-state", text)
    place.conf.write_text("well, for two")
    done = place.switch("two")
    assert done.returncode != 0
    assert "are free (make room)" in done.stderr
    assert "two was not tried; one runs, with the files it had" in done.stderr
    assert place.now.is_at("one")
    assert place.conf.read_text() == "well"
    assert set(place.converted) == {"one"}
    assert beside(place) == {}


def test_a_folder_that_is_a_disk_of_its_own_is_refused_before_anything_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PLACE", tmp_path)
    monkeypatch.setattr(keeping, "_stop", lambda _: pytest.fail("it was stopped"))
    with pytest.raises(keeping.UpgradeError, match="a disk of its own"):
        keeping.keep(keeping.Change("app", "app.service", "one", "two"), [{"path": "/proc"}])


def test_a_note_that_is_damaged_stops_before_anything_is_done(place: Machine) -> None:
    place.switch("two")
    (place.root / "upgrades/app.json").write_text('{"app": ')
    done = place.switch("sick")
    assert done.returncode != 0
    assert "is damaged" in done.stderr
    assert place.now.is_at("two")
    assert (beside(place)["before"] / "converted").read_text() == "one\n"


def test_a_service_that_cannot_be_stopped_is_not_upgraded(place: Machine) -> None:
    text = (
        (place.root / "bin/systemctl")
        .read_text()
        .replace(f"stop*) rm -f {place.root}/active", "stop*) false")
    )
    place.program("systemctl", text)
    done = place.switch("two")
    assert done.returncode != 0
    assert "app.service cannot be stopped" in done.stderr
    assert place.now.is_at("one")
    assert beside(place) == {}


def test_a_copy_that_cannot_be_made_is_no_upgrade(place: Machine) -> None:
    place.program(
        "tar",
        '#!/bin/sh\ncase "$*" in *--create*) echo "disk on fire" >&2; exit 2;; esac\nexec /bin/tar "$@"\n',
    )
    done = place.switch("two")
    assert done.returncode != 0
    assert "disk on fire" in done.stderr
    assert place.now.is_at("one")
    assert place.ran[-1] == "one well", "it runs again"
    assert beside(place) == {}


# --------------------------------------------------------------------------- cut off

CUTS = ["stop", "daemon-reload", "show"]  # before the copy; after it; once the new one has converted the data


@pytest.mark.parametrize("at", CUTS)
@pytest.mark.parametrize("then", ["two", "sick", "one", "three"])
def test_a_run_that_was_killed_is_ended_by_the_next_one(place: Machine, at: str, then: str) -> None:
    """Whatever the next run wants: the same release again, one that fails, the old one, or a third."""
    place.made("three")
    first = "two" if then != "sick" else "sick"
    place.killed(at)
    assert place.switch(first).returncode == -9
    # What a power cut does afterwards: systemd starts what the link names.
    place.program("boot", f"#!/bin/sh\nexec {place.root}/bin/systemctl start app.service\n")
    subprocess.run([place.root / "bin/boot"], check=True, env={"PATH": f"{place.root}/bin:/usr/bin:/bin"})

    done = place.switch(then)
    assert (done.returncode == 0) is (then != "sick"), done.stderr
    wanted = "one" if then == "sick" else then
    assert place.now.is_at(wanted)
    assert place.converted[0] == "one"
    assert (place.data / "deep/file").read_text() == "precious"
    strangers = set(place.converted) - {"one", wanted}
    assert not strangers, "no release that never proved itself has left its mark"


@pytest.mark.parametrize("then", ["two", "sick", "one", "sick, mended"])
def test_a_way_back_that_was_killed_is_ended_by_the_next_one(place: Machine, then: str) -> None:
    keeper = (place.root / "bin/hearth-state").read_text()
    hook = """import os, signal
rename, done = Path.rename, []
def killed(one, to):
    done.append(to)
    if len(done) > 1:
        os.killpg(0, signal.SIGKILL)
    rename(one, to)
Path.rename = killed
"""
    place.program("hearth-state", keeper.replace("root = Path", f"exec({hook!r})\nroot = Path"))
    assert place.switch("sick").returncode == -9
    assert not place.data.exists(), "killed between the renames"
    assert json.loads((place.root / "upgrades/app.json").read_text())["undoing"]
    place.program("hearth-state", keeper)
    if "mended" in then:
        (place.root / "mended").touch()
    done = place.switch(then.partition(",")[0])
    assert (done.returncode == 0) is (then != "sick"), done.stderr
    assert place.converted == ["one", "one" if then == "sick" else then.partition(",")[0]]
    assert (place.data / "deep/file").read_text() == "precious"


def test_what_a_release_has_written_since_it_was_cut_off_stays_where_it_proves_itself(place: Machine) -> None:
    place.killed("show")
    assert place.switch("two").returncode == -9
    (place.data / "since").write_text("written while nobody looked")
    assert place.switch("two").returncode == 0
    assert (place.data / "since").exists()
    assert not (beside(place)["before"] / "since").exists(), "the copy is still the old one's"


def test_data_that_cannot_be_put_back_are_given_to_nobody(place: Machine) -> None:
    keeper = (place.root / "bin/hearth-state").read_text()
    fault = "def refuse(*_):\n raise OSError('disk on fire')\nupgrade._exchanged = refuse\n"
    place.program("hearth-state", keeper.replace("root = Path", f"exec({fault!r})\nroot = Path"))
    done = place.switch("sick")
    assert done.returncode != 0
    assert "disk on fire" in done.stderr
    assert "stays stopped" in done.stderr
    assert str(place.root / "lib/data.upgrade") in done.stderr, "where they are"
    assert not (place.root / "active").exists()
    assert place.now.unfinished
    for pin in ("one", "two"):
        again = place.switch(pin)
        assert again.returncode != 0
        assert "one must not get the data as they are" in again.stderr
        assert not (place.root / "active").exists()
    place.program("hearth-state", keeper)
    assert place.switch("one").returncode == 0
    assert place.converted == ["one", "one"]


@pytest.mark.parametrize("trouble", ["cannot be stopped", "is damaged", "not found"])
def test_after_a_cut_the_old_one_never_gets_the_data_of_another(place: Machine, trouble: str) -> None:
    place.killed("show")
    assert place.switch("two").returncode == -9
    text, about = (place.root / "bin/systemctl").read_text(), (place.root / "upgrades/app.json").read_text()
    keeper = (place.root / "bin/hearth-state").read_text()
    if trouble == "not found":
        place.program("hearth-state", "#!/bin/sh\nexec no-such-program\n")
    elif trouble == "is damaged":
        (place.root / "upgrades/app.json").write_text("{")
    else:
        place.program("systemctl", text.replace(f"stop*) rm -f {place.root}/active", "stop*) false"))
    done = place.switch("one")
    assert done.returncode != 0
    assert trouble in done.stderr
    assert "one must not get the data as they are" in done.stderr
    assert place.converted == ["one", "two"]
    place.program("systemctl", text)
    place.program("hearth-state", keeper)
    (place.root / "upgrades/app.json").write_text(about)
    assert place.switch("one").returncode == 0
    assert place.converted == ["one", "one"]


@pytest.mark.parametrize("ident", ["two", "sick"])
def test_it_goes_on_when_nobody_listens_any_more(place: Machine, ident: str) -> None:
    """The connection of the run is lost: what is said goes nowhere, and a signal may say so too."""
    process = place.start(ident)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    until((place.root / "app/trying").exists, 20)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == (0 if ident == "two" else 1)
    assert place.now.is_at("one" if ident == "sick" else "two")
    assert place.converted == ["one", "one" if ident == "sick" else "two"]


def test_nobody_listens_while_data_cannot_be_put_back(place: Machine) -> None:
    """What went wrong is known by more than words: the old release must not get them."""
    fault = "def refuse(*_):\n raise OSError('disk on fire')\nupgrade._exchanged = refuse\n"
    keeper = (place.root / "bin/hearth-state").read_text()
    place.program("hearth-state", keeper.replace("root = Path", f"exec({fault!r})\nroot = Path"))
    place.switch("sick")
    process = place.start("one")
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 1
    assert not (place.root / "active").exists()


def test_two_runs_at_once_come_one_after_the_other(place: Machine) -> None:
    lock = subprocess.Popen(["flock", place.root / "app/switch.lock", "sleep", "1"])
    time.sleep(0.2)
    began = time.monotonic()
    assert place.switch("two").returncode == 0
    assert time.monotonic() - began > 0.5
    lock.wait()


# ------------------------------------------------------------------------- by hand


def test_the_data_from_before_can_be_taken_by_hand(place: Machine) -> None:
    """The three commands of docs/upgrades.md, then the old pin."""
    place.switch("two")
    data = place.data
    by_hand = f"systemctl stop app.service && mv {data} {data}.newer && mv {data}.upgrade/before {data}"
    path = {"PATH": f"{place.root}/bin:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", by_hand], check=True, env=path)
    done = place.switch("one")
    assert done.returncode == 0, done.stderr
    assert place.converted == ["one", "one"]
    newer = place.data.with_name("data.newer")
    assert (newer / "converted").read_text() == "one\ntwo\n"
    assert (beside(place)["before"] / "converted").read_text() == "one\n"


def test_what_is_kept_goes_whole(place: Machine) -> None:
    place.switch("two")
    keeper = str(place.root / "bin/hearth-state")
    subprocess.run([keeper, "forget", "app"], check=True)
    assert beside(place) == {}
    assert place.now.kept_days is None
    subprocess.run([keeper, "forget", "app"], check=True)


@pytest.mark.parametrize(
    "words", [[], ["keep"], ["undo", "app"], ["forget"], ["keep", *"abcdefg"], ["dump", "x"]]
)
def test_a_command_that_is_none_changes_nothing(place: Machine, words: list[str]) -> None:
    done = subprocess.run(
        [place.root / "bin/hearth-state", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage" in done.stderr
    assert beside(place) == {}
