"""The fleet loader: load a text, take its mistakes, and never look at the network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_cases import ROLES

from hearth.fleet.loader import FleetError, load_fleet
from hearth.fleet.mistakes import Mistake
from hearth.fleet.model import Fleet

Load = Callable[..., Fleet]
Spoil = Callable[..., tuple[Mistake, ...]]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the loader looked at the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.yaml"


@pytest.fixture
def load(file: Path) -> Load:
    """Load a text as a fleet file."""

    def load(text: str | bytes) -> Fleet:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_fleet(file, ROLES)

    return load


@pytest.fixture
def mistakes(load: Load) -> Spoil:
    """The mistakes of a text."""

    def mistakes(text: str | bytes) -> tuple[Mistake, ...]:
        with pytest.raises(FleetError) as caught:
            load(text)
        return caught.value.mistakes

    return mistakes
