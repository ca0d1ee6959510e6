"""Where the server is and which credential counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hearth.errors import HearthError
from hearth.secrets import Secret, SecretStore
from hearth.tailnet import access
from hearth.tailnet.access import OAuthClient

OAUTH = {"TAILSCALE_OAUTH_CLIENT_ID": "kEnv", "TAILSCALE_OAUTH_CLIENT_SECRET": "env-secret"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A folder for a secrets file."""
    return tmp_path


def store(folder: Path, environ: dict[str, str], **kept: str) -> SecretStore:
    """A store with these secrets in its file (`-` written as `_`, below tailscale/)."""
    found = SecretStore(folder / "secrets.age", folder / "age.key", environ, notify=lambda _: None)
    for name, value in kept.items():
        found.put(f"tailscale/{name.replace('_', '-')}", value)
    return found


def test_an_oauth_client_comes_before_a_key(file: Path) -> None:
    found = access({}, store(file, {}, oauth_client_id="k1", oauth_client_secret="s1", api_key="key"))
    assert found.credential == OAuthClient("k1", Secret("s1"))
    assert (found.url, found.path, found.own_server) == (
        "https://api.tailscale.com",
        "/api/v2/tailnet/-",
        False,
    )


def test_the_environment_wins(file: Path) -> None:
    found = access(OAUTH, store(file, OAUTH, oauth_client_id="k1", oauth_client_secret="s1"))
    assert found.credential == OAuthClient("kEnv", Secret("env-secret"))


def test_a_key_is_enough(file: Path) -> None:
    assert access({}, store(file, {}, api_key="key\n")).credential == Secret("key")
    env = {"TAILSCALE_API_KEY": "key2"}
    assert access(env, store(file, env, api_key="key")).credential == Secret("key2")


def test_half_a_client_with_a_key_is_the_key(file: Path) -> None:
    assert access({}, store(file, {}, oauth_client_id="k1", api_key="key")).credential == Secret("key")


@pytest.mark.parametrize(
    ("kept", "told"), [({}, "no credential"), ({"oauth_client_id": "k1"}, "half of an OAuth client")]
)
def test_no_credential(file: Path, kept: dict[str, str], told: str) -> None:
    with pytest.raises(HearthError, match=told) as refused:
        access({}, store(file, {}, **kept))
    assert "TAILSCALE_OAUTH_CLIENT_ID" in refused.value.remedy


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://headscale.home.arpa/", "https://headscale.home.arpa"),
        ("https://192.168.1.141:8443", "https://192.168.1.141:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_server_of_ones_own(file: Path, given: str, url: str) -> None:
    env = {"TAILSCALE_BASE_URL": given, "TAILSCALE_TAILNET": "example.com"}
    found = access(env, store(file, env, api_key="key"))
    assert (found.url, found.path, found.own_server) == (url, "/api/v2/tailnet/example.com", True)


@pytest.mark.parametrize(
    "given",
    ["http://192.168.1.141:8080", "http://127.0.0.1.example.com", "headscale", "https://h/api/v2", "ftp://h"],
)
def test_a_server_that_is_refused(file: Path, given: str) -> None:
    env = {"TAILSCALE_BASE_URL": given}
    with pytest.raises(HearthError, match="TAILSCALE_BASE_URL"):
        access(env, store(file, env, api_key="key"))


def test_a_password_in_the_address_is_refused_and_not_repeated(file: Path) -> None:
    env = {"TAILSCALE_BASE_URL": "https://me:hidden@headscale"}
    with pytest.raises(HearthError) as refused:
        access(env, store(file, env, api_key="key"))
    assert "hidden" not in str(refused.value)


def test_a_ca_file(file: Path) -> None:
    env = {"TAILSCALE_CA_BUNDLE": str(file / "ca.pem")}
    with pytest.raises(HearthError, match="no such file"):
        access(env, store(file, env, api_key="key"))
    (file / "ca.pem").write_text("nothing")
    found = access(env, store(file, env, api_key="key"))
    with pytest.raises(HearthError, match="no certificates"):
        found.trust()


def test_the_fleets_own_authority_is_trusted_with_a_server_of_ones_own_only(file: Path) -> None:
    from hearth.pki import Authority

    secrets = store(file, {}, api_key="key")
    Authority(secrets).ca_pem  # noqa: B018 - makes it
    own = access({"TAILSCALE_BASE_URL": "https://headscale"}, secrets).trust()
    theirs = access({}, secrets).trust()
    assert len(own.get_ca_certs()) == len(theirs.get_ca_certs()) + 1
