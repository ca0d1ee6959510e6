"""The scratch start accepts what Mosquitto would run, refuses the rest, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broker_kit import PROJECT, a_run, broker_files

SCRIPT = PROJECT / "templates" / "mosquitto" / "scratch-start.sh"
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="it starts the broker as the user mosquitto: root only"
)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The candidates, as files.present uploads them."""
    for file in broker_files(a_run()):
        path = Path(f"{tmp_path}/stage{file.path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    return tmp_path / "stage"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where scratch folders are made; the broker's user has to get through, so it is not below tmp_path."""
    with tempfile.TemporaryDirectory(prefix="hearth-scratch-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def start(stage: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TMPDIR": str(scratch)}
    return subprocess.run(
        ["sh", str(SCRIPT), str(stage)], capture_output=True, text=True, env=environ, timeout=30, check=False
    )


def nothing_left(scratch: Path) -> bool:
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return not list(scratch.iterdir()) and str(scratch) not in running


def test_the_roles_own_files_are_accepted_quietly(stage: Path, scratch: Path) -> None:
    done = start(stage, scratch)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert nothing_left(scratch)


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write(text)

    return change


def empty(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text("")

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (append("mosquitto.conf", "no_such_setting 1\n"), "no_such_setting"),
        (append("mosquitto.conf", "listener not-a-port\n"), "port"),
        (append("mosquitto.conf", "listener 99999\n"), "port"),
        (append("hearth.d/settings.conf", "max_packet_size 5\n"), "max_packet_size"),
        (append("acl", "topic write a/#/b\n"), "a/#/b"),
        (append("acl", "nonsense\n"), "acl"),
        (append("passwords", "user:$7$broken\n"), ""),
        (empty("tls/server.key"), "key"),
        (empty("tls/server.crt"), "certificate"),
        (lambda folder: (folder / "acl").unlink(), "acl"),
    ],
)
def test_what_mosquitto_would_not_run_is_refused_with_its_words(
    stage: Path, scratch: Path, change: Callable[[Path], None], said: str
) -> None:
    change(stage / "etc" / "mosquitto")
    done = start(stage, scratch)
    assert done.returncode != 0
    assert "Error" in done.stderr
    assert said in done.stderr
    assert str(scratch) not in done.stderr, "the admin reads the real paths"
    assert nothing_left(scratch)


def test_the_live_persistence_and_ports_are_not_touched(stage: Path, scratch: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "mosquitto.db").write_text("precious")
    conf = stage / "etc" / "mosquitto" / "mosquitto.conf"
    conf.write_text(conf.read_text().replace("/var/lib/mosquitto/", f"{live}/"))
    assert start(stage, scratch).returncode == 0
    assert [(file.name, file.read_text()) for file in live.iterdir()] == [("mosquitto.db", "precious")]


def test_it_cleans_up_when_it_is_ended(stage: Path, scratch: Path) -> None:
    process = subprocess.Popen(["sh", str(SCRIPT), str(stage)], env={**os.environ, "TMPDIR": str(scratch)})
    while not list(scratch.iterdir()):
        assert process.poll() is None
    process.terminate()
    assert process.wait(10) != 0
    assert nothing_left(scratch)
