"""One twin for the whole session, shared by all tests of this folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.twin.annex_kit import annex  # noqa: F401 - fixtures
from tests.twin.handle import TwinHandle, new_key, take_down_orphans
from tests.twin.home_kit import home, story  # noqa: F401 - fixtures
from tests.twin.tailnet_kit import phone, tailnet, tailnet_twin  # noqa: F401 - fixtures
from twin.down import down
from twin.home import PROJECT
from twin.state import Twin

collect_ignore = ["echo", "courier"]  # files of roles that tests add to copies of the project


@contextmanager
def an_empty_node(name: str, place: Path) -> Iterator[TwinHandle]:
    """A twin of the default fleet, without any guest; afterwards it is gone."""
    state = Twin.named(name)
    done = subprocess.run(
        [sys.executable, "-m", "twin", "--name", state.name, "up"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=3600,  # Go builds three programs, where that was never done
        check=False,
        env={key: value for key, value in os.environ.items() if key != "HEARTH_FLEET"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    handle = TwinHandle(state, new_key(place))
    yield handle
    handle.close()
    down(state)
    assert not state.dir.exists()


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinHandle]:
    """The session's twin; needs root."""
    take_down_orphans(Twin.named("any").home)
    with an_empty_node(f"test-{os.getpid()}", tmp_path_factory.mktemp("key")) as made:
        yield made


@pytest.fixture(scope="session")
def unwalled_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinHandle]:
    """Another one, without a home in it: its cluster's firewall is one for all, and here the tests' own."""
    with an_empty_node(f"test-{os.getpid()}-walls", tmp_path_factory.mktemp("key")) as made:
        yield made


@pytest.fixture
def guest(twin: TwinHandle) -> Iterator[Callable[..., str]]:
    """Makes containers that are destroyed after the test."""
    made: list[int] = []

    def make(vmid: int, **config: Any) -> str:
        made.append(vmid)
        return twin.container(vmid, **config)

    yield make
    twin.clear_faults()
    for vmid in made:
        twin.remove("lxc", vmid)
