"""In the whole home no secret can be read by anybody but the service that it is for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.twin.canary_kit import EVERYBODYS, forms, grep
from tests.twin.home_kit import Home

PUBLIC = ("/cert",)  # certificates are kept beside their keys
NO_SECRETS = ("mqtt-salt/", "postgresql-salt/", "vaultwarden/salt")


def patterns(home: Home) -> set[bytes]:
    """Every secret of the home in every form."""
    store = home.secrets
    names = [name for name in store.names() if not name.endswith(PUBLIC) and not name.startswith(NO_SECRETS)]
    assert len(names) > 20, "a whole home has more secrets"
    found = {form for name in names for form in forms(store.get(name).reveal())}
    return {form for form in found if b"\n" not in form}


@pytest.fixture(scope="module")
def searched(home: Home) -> Iterator[dict[str, list[str]]]:
    """Files that everybody in a guest may read and that hold a secret, by guest."""
    wanted = patterns(home)
    yield {guest.name: grep(home, guest.name, wanted, EVERYBODYS) for guest in home.fleet.guests}


def test_no_secret_is_in_a_file_that_everybody_in_a_guest_may_read(
    home: Home, searched: dict[str, list[str]]
) -> None:
    assert grep(home, "comms", {b"root:x:0:0:"}, EVERYBODYS), "the search finds nothing at all"
    assert searched == {guest.name: [] for guest in home.fleet.guests}
