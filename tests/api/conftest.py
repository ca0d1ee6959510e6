"""Fixtures of the API tests: a corrected fake Proxmox VE on loopback, new for every test.

`@pytest.mark.pve(version="8.4.21", time_scale=0.01, images=False)` changes what a test gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from twin.pve import Pve, Server, furnish
from twin.pve.furnish import Tokens

OPTIONS = {"version": "9.2.11", "time_scale": 0.0, "images": True}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pve(version=, time_scale=, images=): options of the `pve` fixture")


@pytest.fixture(scope="session")
def pve_certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the one certificate that every fake of this session serves."""
    return tmp_path_factory.mktemp("pve-certificates")


@pytest.fixture
def pve_tokens(request: pytest.FixtureRequest) -> Iterator[tuple[Pve, Tokens]]:
    """A furnished fake that does not listen yet, and its tokens."""
    marker = request.node.get_closest_marker("pve")
    options = dict(OPTIONS, **(marker.kwargs if marker else {}))
    unknown = set(options) - set(OPTIONS)
    if unknown:
        raise pytest.UsageError(f"the pve marker does not know {sorted(unknown)}")
    pve = Pve(version=str(options["version"]))
    pve.time_scale = options["time_scale"]
    yield pve, furnish(pve, images=bool(options["images"]))


@pytest.fixture
def pve_server(pve_tokens: tuple[Pve, Tokens], pve_certificates: Path) -> Iterator[Server]:
    """The started server of this test's fake: url, ca_file, call(function)."""
    with Server(pve_tokens[0], pve_certificates) as server:
        yield server


@pytest.fixture
def pve(pve_server: Server) -> Pve:
    """The started fake of this test: set state, faults and read its log here."""
    return pve_server.pve


@pytest.fixture
def hearth_token(pve_tokens: tuple[Pve, Tokens]) -> str:
    """`hearth@pve!deploy=SECRET`, with the privileges Hearth needs and no more."""
    return pve_tokens[1].hearth


@pytest.fixture
def root_token(pve_tokens: tuple[Pve, Tokens]) -> str:
    """`root@pam!admin=SECRET`, without privilege separation. Still not root@pam itself."""
    return pve_tokens[1].root


@pytest.fixture
def pve_env(pve_server: Server, hearth_token: str) -> dict[str, str]:
    """The environment that points Hearth at this test's fake with Hearth's own token."""
    return {
        "PROXMOX_VE_ENDPOINT": pve_server.url,
        "PROXMOX_VE_API_TOKEN": hearth_token,
        "PROXMOX_VE_CA_BUNDLE": str(pve_server.ca_file),
    }
