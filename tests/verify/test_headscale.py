"""headscale: it answers over TLS, its API is Hearth's alone, and its state is its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.ops.headscale import KEY

UNIT, DATA, BEHIND = "headscale.service", "/var/lib/headscale", 18480
CONFIG = "/etc/headscale/config.yaml"


@pytest.fixture
def server(under_test: UnderTest, guest: Guest) -> Iterator[httpx.Client]:
    """Its web interface, over TLS that the fleet's authority vouches for."""
    base = f"https://{address_of(guest)}"
    with httpx.Client(base_url=base, verify=under_test.tls(), timeout=TIMEOUT, trust_env=False) as client:
        yield client


def test_it_is_healthy_and_its_database_too(server: httpx.Client) -> None:
    assert server.get("/health").json()["status"] == "pass"


def test_its_api_takes_our_key_and_no_other(server: httpx.Client, under_test: UnderTest) -> None:
    def nodes(key: str) -> int:
        return server.get("/api/v1/node", headers={"Authorization": f"Bearer {key}"}).status_code

    ours = under_test.secret(KEY)
    assert nodes(ours) == httpx.codes.OK
    assert nodes(ours[:-1] + ("A" if ours[-1] != "A" else "B")) != httpx.codes.OK
    assert server.get("/api/v1/node").status_code == httpx.codes.UNAUTHORIZED


def test_only_the_front_reaches_it(guest: Guest) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{address_of(guest)}:{BEHIND}/health", timeout=3, trust_env=False)


def test_its_own_test_accepts_its_configuration(host: Any) -> None:
    assert host.run(f"sh /usr/local/lib/hearth/headscale/try {CONFIG}").rc == 0


def test_its_state_and_settings_are_its_own(host: Any) -> None:
    folder = host.file(DATA)
    assert (folder.user, folder.mode) == ("headscale", 0o700)
    for key in ("noise_private.key", "derp_server_private.key"):
        assert host.file(f"{DATA}/{key}").mode == 0o600
    assert (host.file(CONFIG).group, host.file(CONFIG).mode) == ("headscale", 0o640)


def test_it_runs_confined_and_has_not_crashed(host: Any) -> None:
    assert_confined(host, UNIT, "headscale")


def test_a_dump_of_it_is_whole(host: Any) -> None:
    script = (
        "set -eu; umask 077; to=$(mktemp -d /var/lib/hearth-verify.XXXXXX); trap 'rm -rf $to' EXIT; "
        "sh /usr/local/lib/hearth/headscale/dump | tar -x -C $to; "
        "sqlite3 $to/db.sqlite 'pragma integrity_check; select count(*) >= 0 from nodes'; "
        "ls $to/noise_private.key"
    )
    assert host.check_output(script).split()[:2] == ["ok", "1"]
