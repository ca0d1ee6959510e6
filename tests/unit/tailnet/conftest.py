"""The stand-in of Tailscale's API and a real headscale, and clients of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from headscale_kit import Headscale, running
from tailnet_stand_in import API_KEY, CLIENT_ID, CLIENT_SECRET, Naps, Tailscale, serving

from hearth.secrets import Secret
from hearth.tailnet import Access, Api, connect
from hearth.tailnet.access import OAuthClient
from hearth.tailnet.wire import Patience
from twin import go_programs


@pytest.fixture
def tailscale() -> Iterator[Tailscale]:
    """The stand-in, fresh."""
    with serving() as known:
        yield known


@pytest.fixture
def naps() -> Naps:
    """How long the client waited between tries; it does not really wait."""
    return Naps()


@pytest.fixture
def patience(naps: Naps) -> Patience:
    """A client's patience: a short one for answers, and no waits."""
    return Patience(timeout=2.0, sleep=naps.sleep, jitter=lambda: 1.0)


@pytest.fixture
def oauth(tailscale: Tailscale) -> Access:
    """Access with an OAuth client."""
    return Access(tailscale.url, OAuthClient(CLIENT_ID, Secret(CLIENT_SECRET)))


@pytest.fixture
def api(oauth: Access, patience: Patience) -> Api:
    """A client of the stand-in, with an OAuth client."""
    return connect(oauth, patience)


@pytest.fixture
def keyed(tailscale: Tailscale, patience: Patience) -> Api:
    """A client of the stand-in, with an API key."""
    return connect(Access(tailscale.url, Secret(API_KEY)), patience)


#: The pinned headscale; and another one, to try a coming version by hand.
HEADSCALES = ["pinned", *filter(None, [os.environ.get("HEARTH_TEST_HEADSCALE")])]


@pytest.fixture(scope="session", params=HEADSCALES)
def server(request: pytest.FixtureRequest) -> Iterator[Headscale]:
    """A real headscale for all tests; built by Go the first time, which takes minutes."""
    program = go_programs.ensure("headscale") if request.param == "pinned" else Path(request.param)
    # A short path: the server's socket is below it.
    with tempfile.TemporaryDirectory(prefix="hs-") as folder, running(program, Path(folder)) as found:
        yield found


@pytest.fixture
def headscale(server: Headscale) -> Headscale:
    """The real headscale, without devices, and with the policy of the start."""
    server.clear()
    return server


@pytest.fixture
def real(headscale: Headscale) -> Api:
    """A client of the real headscale."""
    return connect(headscale.access, Patience(tries=2))
