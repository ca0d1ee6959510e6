"""`down` leaves nothing, whatever was killed before; without root there is one clear sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.twin.handle import TwinHandle, new_key, until
from twin import cgroups, namespace, sysctls
from twin.down import down
from twin.home import PROJECT
from twin.processes import started_at
from twin.state import Twin, read_json


def slow(*values: str) -> list[Any]:
    """Further cases of a kind that another case shows already."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def machine() -> dict[str, set[str]]:
    """What of the machine a twin could leave behind; other twins, which may come and go, left out."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    groups = {str(path) for top in cgroups.trees() for path in top.glob("hearth-twin/*")}
    spaces = {path.name for path in Path("/run/netns").glob("*")}
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    tables = subprocess.run(
        ["nft", "list", "tables"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {
        "mounts": mounts,
        "links": links,
        "groups": groups,
        "namespaces": spaces,
        "routes": set(routes),
        "tables": set(tables),
        "loops": {Path(f).read_text().strip() for f in Path("/sys/block").glob("loop*/loop/backing_file")},
    }


def of(twin: Twin, found: dict[str, set[str]]) -> set[str]:
    """Those of the machine's things that are this twin's."""
    marks = (str(twin.dir), twin.netns, twin.cgroup, namespace.veth(twin), f"hearth-twin-{twin.name}")
    return {item for items in found.values() for item in items if any(mark in item for mark in marks)}


def command(twin: Twin, *argv: str) -> list[str]:
    """The command line of a twin's command."""
    return [sys.executable, "-m", "twin", "--name", twin.name, *argv]


@pytest.fixture
def other(twin: TwinHandle) -> Iterator[Twin]:
    """A second twin beside the session's, not up yet."""
    state = Twin(f"test-{os.getpid()}-down", twin.twin.home)
    yield state
    down(state)


def bring_up(twin: Twin) -> None:
    """Bring a twin up."""
    subprocess.run(command(twin, "up"), check=True, capture_output=True, cwd=PROJECT, timeout=300)


def gone(twin: Twin, people: dict[int, int]) -> None:
    """Assert that a twin has left nothing: none of its processes, none of its things."""
    assert of(twin, machine()) == set()
    assert not twin.dir.exists()
    assert [pid for pid, start in people.items() if started_at(pid) == start] == []


def everyone(twin: Twin) -> dict[int, int]:
    """The twin's processes and when they started."""
    found = {pid: started_at(pid) for pid in cgroups.members(twin.cgroup)}
    return {pid: start for pid, start in found.items() if start is not None}


def test_up_and_down_leave_the_machine_as_it_was(other: Twin, tmp_path: Path) -> None:
    limits = {name: (sysctls.SYSTEM / name).read_text() for name in sysctls.NEEDED}
    before = machine()
    bring_up(other)
    up = machine()
    assert of(other, up)
    handle = TwinHandle(other, new_key(tmp_path))
    handle.said(handle.container(250), "true")
    people = everyone(other)
    assert len(people) > 8
    handle.close()
    down(other)
    gone(other, people)
    after = machine()
    assert after["routes"] == before["routes"]
    assert {name: (sysctls.SYSTEM / name).read_text() for name in sysctls.NEEDED} == limits


@pytest.mark.parametrize(
    "victim",
    ["monitor", "all", *slow("api", "proxy-outside", "proxy-inside", "node-ssh", "init")],
)
def test_down_after_a_kill_leaves_nothing(other: Twin, tmp_path: Path, victim: str) -> None:
    bring_up(other)
    handle = TwinHandle(other, new_key(tmp_path))
    handle.container(251)
    handle.close()
    people = everyone(other)
    if victim == "all":
        chosen = set(people)
    elif victim == "monitor":
        chosen = cgroups.members(f"{other.cgroup}/251/monitor")
    elif victim == "init":
        chosen = {min(cgroups.members(f"{other.cgroup}/251/payload"))}
    else:
        chosen = {read_json(other.private / "processes.json")[victim]["pid"]}
    assert chosen
    for pid in chosen:
        with suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)
    down(other)
    gone(other, people)


@pytest.mark.parametrize(
    "mark", ["mounts-ready", *slow("state.json", "proxy-outside.conf", "private/pve.crt")]
)
def test_up_that_was_killed_is_finished_by_up_and_removed_by_down(other: Twin, mark: str) -> None:
    process = subprocess.Popen(command(other, "up"), stdout=subprocess.DEVNULL, cwd=PROJECT)
    until(lambda: (other.dir / mark).exists() or process.poll() is not None or None)
    process.kill()
    process.wait()
    bring_up(other)
    subprocess.run(command(other, "status"), check=True, capture_output=True, cwd=PROJECT)
    people = everyone(other)
    down(other)
    gone(other, people)


@pytest.mark.parametrize("role", ["proxy-inside", *slow("proxy-outside")])
def test_what_a_killed_up_started_and_could_not_remember_is_ended_by_the_next(other: Twin, role: str) -> None:
    """It holds the port that its successor needs."""
    bring_up(other)
    memory = other.private / "processes.json"
    known = read_json(memory)
    forgotten = known.pop(role)
    memory.write_text(json.dumps(known))
    bring_up(other)
    subprocess.run(command(other, "status"), check=True, capture_output=True, cwd=PROJECT)
    assert started_at(forgotten["pid"]) != forgotten["started"]
    down(other)


def test_down_of_a_half_made_twin_leaves_nothing(other: Twin) -> None:
    process = subprocess.Popen(command(other, "up"), stdout=subprocess.DEVNULL, cwd=PROJECT)
    until(lambda: (other.dir / "mounts-ready").exists() or None)
    process.kill()
    process.wait()
    people = everyone(other)
    down(other)
    gone(other, people)


def test_down_twice_and_of_what_never_was_is_no_error(other: Twin) -> None:
    down(other)
    down(other)
    assert of(other, machine()) == set()


def test_down_ends_what_exec_started(other: Twin) -> None:
    bring_up(other)
    process = subprocess.Popen(command(other, "exec", "--", "sleep", "600"), cwd=PROJECT)
    until(lambda: process.pid in cgroups.members(other.cgroup) or None)
    down(other)
    deadline = time.monotonic() + 5
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.returncode == -signal.SIGKILL


def test_another_twin_is_not_touched(twin: TwinHandle, other: Twin) -> None:
    bring_up(other)
    down(other)
    assert twin.command("status").returncode == 0


@pytest.mark.parametrize("argv", [["up"], ["down"], ["exec", "--", "true"], ["log"], ["fault", "list"]])
def test_without_root_one_sentence_says_so(argv: list[str]) -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "twin", *argv],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
        check=False,
    )
    if "No module named" in done.stderr or "Permission denied" in done.stderr.partition("\n")[0]:
        pytest.fail(f"nobody cannot read this Python or this project: {done.stderr}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "root" in done.stderr


def test_limits_are_raised_once_and_restored_by_the_last_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, high = tmp_path / "limit", tmp_path / "high"
    limit.write_text("128\n")
    high.write_text("9999\n")
    monkeypatch.setattr(sysctls, "SYSTEM", tmp_path)
    monkeypatch.setattr(sysctls, "NEEDED", {"limit": 1024, "high": 1024})
    first, second = Twin("first", tmp_path / "home"), Twin("second", tmp_path / "home")
    for twin in (first, second):
        twin.make_directories()
        twin.save(link=0)
        sysctls.raise_limits(twin)
        assert limit.read_text().strip() == "1024"
    first.forget()
    sysctls.restore(first)
    assert limit.read_text().strip() == "1024"
    second.forget()
    sysctls.restore(second)
    assert limit.read_text().strip() == "128"
    assert high.read_text().strip() == "9999"
