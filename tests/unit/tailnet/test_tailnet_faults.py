"""What goes wrong on the way and at the server: tried again where that is safe, else told in clear words."""

from __future__ import annotations

import logging
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from tailnet_stand_in import API_KEY, CLIENT_ID, CLIENT_SECRET, START, Answer, Fault, Naps, Tailscale, serving

from hearth.secrets import Secret
from hearth.tailnet import Access, Api, NotServedError, TailnetError, connect
from hearth.tailnet.access import OAuthClient
from hearth.tailnet.wire import Patience

READS: list[Callable[[Api], object]] = [
    lambda api: api.devices(),
    lambda api: api.policy(),
    lambda api: api.dns(),
]


def count(tailscale: Tailscale, start: str) -> int:
    return sum(line.startswith(start) for line in tailscale.lines)


# ------------------------------------------------------------------------------ tried again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 0], ids=str)
def test_a_reading_is_tried_again(api: Api, tailscale: Tailscale, naps: Naps, status: int) -> None:
    tailscale.add("comms")
    tailscale.faults = [Fault("GET .*devices", status, times=3)]
    assert [device.name for device in api.devices()] == ["comms"]
    assert naps.slept == [0.5, 1.0, 2.0]


def test_the_waits_have_jitter(oauth: Access, tailscale: Tailscale, naps: Naps) -> None:
    tailscale.faults = [Fault("GET .*devices", 500, times=2)]
    connect(oauth, Patience(sleep=naps.sleep, jitter=lambda: 0.25)).devices()
    assert naps.slept == [0.125, 0.25]


def test_it_waits_as_long_as_the_server_asks(api: Api, tailscale: Tailscale, naps: Naps) -> None:
    tailscale.faults = [Fault("GET .*devices", 429, headers={"Retry-After": "17"})]
    api.devices()
    assert naps.slept == [17.0]


def test_it_waits_until_the_moment_that_the_server_names(api: Api, tailscale: Tailscale, naps: Naps) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    tailscale.faults = [Fault("GET .*devices", 503, headers={"Retry-After": at})]
    api.devices()
    (slept,) = naps.slept
    assert 10 < slept <= 40


def test_it_does_not_wait_for_hours(api: Api, tailscale: Tailscale, naps: Naps) -> None:
    tailscale.faults = [Fault("GET .*devices", 429, headers={"Retry-After": "7200"})]
    with pytest.raises(TailnetError) as refused:
        api.devices()
    assert (refused.value.status, naps.slept) == (429, [])


def test_a_change_that_is_the_same_twice_is_tried_again(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("tailnet")
    tailscale.faults = [Fault("POST .*routes", 500, after=True), Fault("POST .*routes", 0, after=True)]
    api.approve(ident, ["192.168.1.0/24"])
    assert api.device(ident).approved == ("192.168.1.0/24",)
    assert count(tailscale, "POST /api/v2/device") == 3


def test_a_removal_whose_answer_was_lost_is_one(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("comms")
    tailscale.faults = [Fault("DELETE", 0, after=True)]
    api.delete(ident)
    assert tailscale.devices == {}


@pytest.mark.parametrize("status", [500, 0, -1], ids=str)
def test_a_key_is_not_asked_for_twice(oauth: Access, tailscale: Tailscale, naps: Naps, status: int) -> None:
    tailscale.faults = [Fault("POST .*keys", status, times=9, after=True)]
    with pytest.raises(TailnetError):
        connect(oauth, Patience(timeout=0.5, sleep=naps.sleep)).make_key(["tag:hearth"], 600, "hearth comms")
    assert (len(tailscale.keys), naps.slept) == (1, [])


def test_a_key_is_asked_for_again_when_it_was_one_too_many(api: Api, tailscale: Tailscale) -> None:
    tailscale.faults = [Fault("POST .*keys", 429)]
    api.make_key(["tag:hearth"], 600, "hearth comms")
    assert len(tailscale.keys) == 1


def test_a_policy_whose_answer_was_lost_is_not_sent_again(api: Api, tailscale: Tailscale) -> None:
    found = api.policy()
    tailscale.faults = [Fault("POST .*acl$", 0, after=True)]
    with pytest.raises(TailnetError, match="whether it was done is not known"):
        api.set_policy(START.replace("All may", "Everybody may"), found.etag)
    assert count(tailscale, "POST /api/v2/tailnet/-/acl") == 1


# ------------------------------------------------------------------------------ told


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("status", "remedy"), [(429, "wait"), (500, "fault"), (503, "fault")], ids=["429", "500", "503"]
)
def test_what_does_not_end_is_told(
    api: Api, tailscale: Tailscale, read: Callable[[Api], object], status: int, remedy: str
) -> None:
    tailscale.faults = [Fault("GET", status, times=99)]
    with pytest.raises(TailnetError) as refused:
        read(api)
    assert refused.value.status == status
    assert f"HTTP {status}" in str(refused.value) and remedy in refused.value.remedy
    assert count(tailscale, "GET /api") == 5


def test_nothing_is_answered(oauth: Access, tailscale: Tailscale, naps: Naps) -> None:
    tailscale.faults = [Fault("GET .*devices", -1, times=99)]
    with pytest.raises(TailnetError, match="did not answer within") as refused:
        connect(oauth, Patience(timeout=0.2, tries=3, sleep=naps.sleep)).devices()
    assert (refused.value.status, len(naps.slept)) == (0, 2)


def test_nobody_is_there(patience: Patience, naps: Naps) -> None:
    with serving() as known:
        gone = Access(known.url, Secret(API_KEY))
    with pytest.raises(TailnetError, match="is not reached"):
        connect(gone, patience).devices()
    assert len(naps.slept) == 4


def test_an_api_key_that_expired(tailscale: Tailscale, keyed: Api) -> None:
    tailscale.api_keys.clear()
    with pytest.raises(TailnetError, match="not accepted") as refused:
        keyed.devices()
    assert refused.value.status == 401
    assert "expired" in refused.value.remedy
    assert count(tailscale, "GET /api") == 1


def test_a_credential_without_the_scope(api: Api, tailscale: Tailscale) -> None:
    tailscale.scopes_missing = ("POST .*keys",)
    with pytest.raises(TailnetError, match="may not") as refused:
        api.make_key(["tag:hearth"], 600, "hearth comms")
    assert refused.value.status == 403
    assert "scopes" in refused.value.remedy
    assert api.devices() == []


def test_what_is_no_server_of_the_api(
    tailscale: Tailscale, keyed: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailscale, "answer", lambda _: Answer(body="<html>Router login</html>"))
    with pytest.raises(TailnetError, match="not the API's") as refused:
        keyed.devices()
    assert "TAILSCALE_BASE_URL" in refused.value.remedy


def test_what_headscale_lacks_is_said_to_be_lacking(tailscale: Tailscale, api: Api) -> None:
    ident = tailscale.add("comms")
    tailscale.faults = [Fault("dns|validate|expire", 404, times=99)]
    for ask in (api.dns, lambda: api.validate(START), lambda: api.expire(ident)):
        with pytest.raises(NotServedError):
            ask()


# ------------------------------------------------------------------------------ tokens


def test_a_token_is_fetched_once_and_kept(api: Api, tailscale: Tailscale) -> None:
    for _ in range(3):
        api.devices()
    assert count(tailscale, "POST /api/v2/oauth/token") == 1


def test_a_token_near_its_end_is_fetched_anew(api: Api, tailscale: Tailscale) -> None:
    tailscale.token_lives = 30
    api.devices()
    api.devices()
    assert count(tailscale, "POST /api/v2/oauth/token") == 2


def test_a_token_that_is_refused_is_fetched_anew_once(api: Api, tailscale: Tailscale) -> None:
    api.devices()
    tailscale.tokens.clear()
    assert api.devices() == []
    assert count(tailscale, "POST /api/v2/oauth/token") == 2
    key = api.make_key(["tag:hearth"], 600, "hearth comms")
    tailscale.tokens.clear()
    api.revoke_key(key.id)  # not only readings: a refused request was not carried out
    assert tailscale.keys == {}


def test_tokens_that_are_always_refused_end(api: Api, tailscale: Tailscale) -> None:
    tailscale.faults = [Fault("GET .*devices", 401, times=99)]
    with pytest.raises(TailnetError) as refused:
        api.devices()
    assert refused.value.status == 401
    assert count(tailscale, "POST /api/v2/oauth/token") == 2


@pytest.mark.parametrize("fetched", [False, True], ids=["at once", "while a token lived"])
def test_a_revoked_client(api: Api, tailscale: Tailscale, fetched: bool) -> None:
    if fetched:
        api.devices()
    tailscale.clients.clear()
    tailscale.tokens.clear()
    with pytest.raises(TailnetError, match="OAuth client is refused: API client is not valid") as refused:
        api.devices()
    assert "revoked" in refused.value.remedy


def test_the_token_is_tried_for_again(api: Api, tailscale: Tailscale) -> None:
    tailscale.faults = [Fault("oauth/token", 503, times=2), Fault("oauth/token", 0)]
    assert api.devices() == []


def test_a_server_without_oauth(api: Api, tailscale: Tailscale) -> None:
    tailscale.faults = [Fault("oauth/token", 404)]
    with pytest.raises(TailnetError, match="no OAuth clients") as refused:
        api.devices()
    assert "TAILSCALE_API_KEY" in refused.value.remedy


def test_secrets_are_in_no_log_error_or_repr(
    tailscale: Tailscale, patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    access = Access(tailscale.url, OAuthClient(CLIENT_ID, Secret(CLIENT_SECRET)))
    api = connect(access, patience)
    key = api.make_key(["tag:hearth"], 600, "hearth comms")
    told = [repr(access), repr(key)]
    for fault in (Fault("keys", 500, 99), Fault("oauth", 401, 99), Fault("oauth", 0, 99)):
        tailscale.faults = [fault]
        tailscale.tokens.clear()
        with pytest.raises(TailnetError) as refused:
            api.make_key(["tag:hearth"], 600, "hearth comms")
        told.append(f"{refused.value!r} {refused.value}")
    shown = " ".join([*told, caplog.text])
    for secret in (CLIENT_SECRET, key.secret.reveal(), "tskey-api-token"):
        assert secret not in shown


# ------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, its key below it in the file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-days",
        "2",
        *ec,
        *names,
        "-keyout",
        file,
        "-out",
        f"{file}.crt",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return file


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    """What the stand-in shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", certificate)
    return context


def test_a_certificate_of_nobody_we_know(server_tls: ssl.SSLContext, patience: Patience, naps: Naps) -> None:
    with serving(server_tls) as known, pytest.raises(TailnetError, match="not trusted") as refused:
        connect(Access(known.url, Secret(API_KEY)), patience)
    assert "TAILSCALE_CA_BUNDLE" in refused.value.remedy
    assert (naps.slept, known.asked) == ([], [])


def test_an_authority_of_ones_own(server_tls: ssl.SSLContext, certificate: Path, patience: Patience) -> None:
    own = Path(f"{certificate}.crt")
    with serving(server_tls) as known:
        by_file = Access(known.url, Secret(API_KEY), ca_file=str(own))
        by_fleet = Access(known.url, Secret(API_KEY), ca_pem=own.read_text())
        assert connect(by_file, patience).devices() == connect(by_fleet, patience).devices() == []
