"""Checks of whatever fleet is described: `pytest tests/verify`, or `twin exec -- pytest tests/verify`.

A role's own checks are tests/verify/test_<role>.py, and run on every guest that has the role. Every port that
any role provides is checked by test_ports.py, so a role without a file of its own is verified too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from under_test import UnderTest

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.role.served import Served

PORTS: dict[str, Callable[[Served], bool]] = {
    "port": lambda served: True,
    "open_port": lambda served: served.port.audience != "host",
    "web_port": lambda served: served.port.audience != "host" and served.health == "http" and served.port.tls,
    "tls_port": lambda served: served.port.audience != "host" and served.port.tls,
}
_fleet: list[UnderTest] = []


def _under_test() -> UnderTest:
    if not _fleet:
        _fleet.append(UnderTest())
    return _fleet[0]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The checks of a role that no guest has are not there, instead of being skipped."""
    try:
        under_test = _under_test()
    except HearthError:
        return None  # said where the tests are made
    role = collection_path.stem.removeprefix("test_")
    return (role in under_test.roles and not under_test.guests_for(collection_path.stem)) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`guest`: one test a guest that the file is about; `port` and its like: one a provided port."""
    try:
        under_test = _under_test()
        if "guest" in metafunc.fixturenames:
            guests = under_test.guests_for(metafunc.module.__name__)
            metafunc.parametrize("guest", guests, ids=lambda guest: guest.name, scope="session")
        for name, wanted in PORTS.items():
            if name in metafunc.fixturenames:
                ports = [port for port in under_test.ports if wanted(port)]
                metafunc.parametrize(name, ports, ids=str, scope="session")
    except HearthError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def under_test() -> UnderTest:
    """The fleet."""
    return _under_test()


@pytest.fixture
def host(under_test: UnderTest, guest: Guest) -> Any:
    """The guest, over SSH."""
    return under_test.host(guest)
