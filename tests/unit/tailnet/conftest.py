"""The stand-in of Tailscale's API, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tailnet_stand_in import API_KEY, CLIENT_ID, CLIENT_SECRET, Naps, Tailscale, serving

from hearth.secrets import Secret
from hearth.tailnet import Access, Api, connect
from hearth.tailnet.access import OAuthClient
from hearth.tailnet.wire import Patience


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
