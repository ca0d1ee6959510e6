"""A project in a temporary directory, with its secrets file and its identity."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from secret_place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def saved(place: Place) -> Place:
    """A place with one secret saved: mqtt/kitchen = canary-kitchen."""
    store = place.open()
    store.put("mqtt/kitchen", "canary-kitchen")
    store.save()
    return place


@pytest.fixture
def once() -> Callable[[str], Callable[[], str]]:
    """Make a generator that may be called once only."""

    def make(value: str) -> Callable[[], str]:
        values = [value]
        return values.pop

    return make


@pytest.fixture
def free_port() -> int:
    """A TCP port of loopback that nobody used a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
