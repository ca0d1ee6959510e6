"""The service as it is served: a process of its own, a real broker, stand-ins for what answers by HTTP."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ai_kit import SOURCE, Home, Mosquitto, Standing, make_venv
from ai_peers import Peer, chat_peer

sys.path.insert(0, str(SOURCE))  # its pure parts are tested in this process


@pytest.fixture(scope="session")
def python(pytestconfig: pytest.Config) -> Path:
    """A Python with exactly what requirements.lock names; kept for the next session."""
    assert pytestconfig.cache is not None
    python = make_venv(pytestconfig.cache.mkdir("ai_automation"))
    # What the project itself does not need (jsonschema) comes from there, for tests of the pure parts.
    sys.path.append(str(next(python.parents[1].glob("lib/python3*/site-packages"))))
    return python


@pytest.fixture(autouse=True)
def _libraries(python: Path) -> None:
    """Every test here may import the service."""


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


@pytest.fixture
def assistant() -> Iterator[Peer]:
    """A stand-in for Home Assistant's REST API."""
    with Peer() as peer:
        yield peer


@pytest.fixture
def hub() -> Iterator[Peer]:
    """A stand-in for the MCP hub's REST API."""
    with Peer() as peer:
        yield peer


@pytest.fixture
def chat() -> Iterator[Peer]:
    """A stand-in for a model behind the chat completions API."""
    with chat_peer() as peer:
        yield peer


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Iterator[Standing]:
    """One service for a module's tests that need no other rules: calls of a light, of a tool."""
    with Peer() as assistant, Peer() as hub:
        home = Home(tmp_path_factory.mktemp("standing"), python, assistant, hub)
        home.config["limits"]["streams"] = 4
        try:
            yield Standing(home, assistant, hub)
        finally:
            home.end()


@pytest.fixture
def home(tmp_path: Path, python: Path, assistant: Peer, hub: Peer) -> Iterator[Home]:
    """The service's files, not yet started; ended after the test whatever happened."""
    home = Home(tmp_path, python, assistant, hub)
    yield home
    home.end()
