"""A project in a temporary directory, with its secrets file and its identity."""

from collections.abc import Callable
from pathlib import Path

import pytest
from secret_place import Place

from tests import ports


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
    """A port for a server."""
    return ports.free_port()
