"""Vaultwarden: it answers over TLS, nobody signs up, and its admin page is the admin's alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import argon2
import httpx
import pytest
from sandbox import assert_confined
from under_test import TIMEOUT, UnderTest, address_of

from hearth.fleet.model import Guest

WEB, PLAIN = 8443, 18443
DATA = "/var/lib/vaultwarden"
ENVIRONMENT = "/etc/vaultwarden/environment"
TOKEN = "vaultwarden/admin-token"
LIMITED = 429  # its own limit on logins at the admin page: 3 in a row, then one in 5 minutes


@pytest.fixture
def vault(under_test: UnderTest, guest: Guest) -> Iterator[httpx.Client]:
    """Its web interface, over TLS that the fleet's authority vouches for."""
    base = f"https://{address_of(guest)}:{WEB}"
    with httpx.Client(base_url=base, verify=under_test.tls(), timeout=4 * TIMEOUT, trust_env=False) as client:
        yield client


@pytest.fixture
def kept(host: Any) -> dict[str, str]:
    """Its settings on the guest, as systemd reads them."""
    lines = host.file(ENVIRONMENT).content_string.splitlines()
    pairs = [line.partition("=")[::2] for line in lines if not line.startswith("#")]
    return {name: value[1:-1].replace("\\", "") for name, value in pairs}


def test_it_is_alive_and_says_where_it_is_found(vault: httpx.Client, under_test: UnderTest) -> None:
    assert vault.get("/alive").status_code == httpx.codes.OK
    told = vault.get("/api/config").json()["environment"]["vault"]
    parts = urlsplit(told)
    assert (parts.scheme, told[-1]) == ("https", told[-1].rstrip("/"))
    if under_test.values["vaultwarden_domain"] is None:
        assert told == str(vault.base_url).rstrip("/")


def test_nobody_can_sign_up(vault: httpx.Client) -> None:
    assert vault.get("/api/config").json()["settings"]["disableUserRegistration"] is True
    asks = {"email": "stranger@example.org", "name": "Stranger"}
    answer = vault.post("/identity/accounts/register/send-verification-email", json=asks)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "Registration not allowed" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/admin/users", "/admin/diagnostics", "/admin/organizations/overview"])
def test_the_admin_page_tells_a_stranger_nothing(vault: httpx.Client, path: str) -> None:
    assert vault.get(path).status_code == httpx.codes.UNAUTHORIZED


def test_the_admin_page_takes_its_token_and_no_other(
    vault: httpx.Client, under_test: UnderTest, kept: dict[str, str]
) -> None:
    wrong = vault.post("/admin", data={"token": "wrong"})
    assert wrong.status_code in (httpx.codes.UNAUTHORIZED, LIMITED)
    assert not wrong.cookies
    token = under_test.secret(TOKEN)
    right = vault.post("/admin", data={"token": token})
    if right.status_code != LIMITED:
        assert right.status_code == httpx.codes.OK
        assert vault.get("/admin/users").status_code == httpx.codes.OK
    # What it compares with is on the guest, whether it lets anybody try again by now or not.
    assert argon2.PasswordHasher().verify(kept["ADMIN_TOKEN"], token)


def test_its_settings_are_roots_alone_and_hold_no_token(host: Any, kept: dict[str, str]) -> None:
    file = host.file(ENVIRONMENT)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    assert kept["ADMIN_TOKEN"].startswith("$argon2id$v=19$m=65540,t=3,p=4$")
    assert kept["SIGNUPS_ALLOWED"] == "false"
    assert kept["DISABLE_ADMIN_TOKEN"] == "false"
    folder = host.file(DATA)
    assert (folder.user, folder.mode) == ("vaultwarden", 0o700)


def test_the_token_is_nowhere_on_the_guest(host: Any, under_test: UnderTest) -> None:
    token = under_test.secret(TOKEN)
    # Neither in a command's arguments, which would be a place of their own.
    encoded = base64.b64encode(token.encode()).decode()
    places = "/etc /opt/hearth/vaultwarden/[!r]* /root /home /run/hearth /tmp /usr/local /var/lib /var/log"
    found = host.run(
        f"umask 077; p=$(mktemp /run/hearth-pattern.XXXXXX); base64 -d <<<{encoded} >$p; "
        f"grep -rlFI -D skip -f $p {places} /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; "
        "rm -f $p"
    )
    assert found.stdout.split() == []


def test_only_the_front_reaches_it(guest: Guest) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{address_of(guest)}:{PLAIN}/alive", timeout=3, trust_env=False)


def test_it_runs_confined_and_has_not_crashed(host: Any, under_test: UnderTest) -> None:
    if under_test.values["vaultwarden_install"] != "unpacked":
        pytest.skip("its container confines it")
    assert_confined(host, "vaultwarden.service", "vaultwarden")


def test_a_dump_of_it_is_whole(host: Any) -> None:
    script = (
        "set -eu; umask 077; to=$(mktemp -d /var/lib/hearth-verify.XXXXXX); trap 'rm -rf $to' EXIT; "
        "sh /usr/local/lib/hearth/vaultwarden/dump | tar -x -C $to; "
        "sqlite3 $to/db.sqlite3 'pragma integrity_check; select count(*) >= 0 from users'; ls $to/rsa_key.pem"
    )
    said = host.check_output(script).split()
    assert said[:2] == ["ok", "1"]
