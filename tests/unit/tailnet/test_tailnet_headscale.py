"""The client and what joining needs of it against a real headscale, on loopback."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from headscale_kit import START, Headscale, running

from hearth.secrets import Secret
from hearth.tailnet import (
    Access,
    Api,
    NotServedError,
    PolicyChangedError,
    PolicyRefusedError,
    TailnetError,
    connect,
    joining,
)
from hearth.tailnet.access import OAuthClient
from hearth.tailnet.headscale_v1 import HeadscaleV1
from hearth.tailnet.wire import Patience

LAN = "192.168.1.0/24"
FAILING = START.replace('"dst": ["*:*"]', '"dst": ["tag:hearth:22"]').replace(
    "\n}", '\n\t"tests": [{"src": "tag:phone", "accept": ["tag:hearth:23"]}],\n}'
)


def test_a_key_that_lives_minutes(real: Api, headscale: Headscale) -> None:
    key = joining.join_key(real, "comms")
    assert key.expires is not None
    assert abs(key.expires - datetime.now(UTC) - timedelta(seconds=joining.KEY_LIFE)) < timedelta(seconds=60)
    (there,) = [
        one for one in headscale.ask("GET", "/api/v1/preauthkey")["preAuthKeys"] if str(one["id"]) == key.id
    ]
    assert (there["reusable"], there["ephemeral"], there["aclTags"]) == (False, False, ["tag:hearth"])
    real.revoke_key(key.id)


def test_devices_by_name_tag_and_address(real: Api, headscale: Headscale) -> None:
    first, second = headscale.add("comms"), headscale.add("comms")
    laptop = headscale.add("laptop", tag=None)
    found = {device.id: device for device in real.devices()}
    assert [found[ident].name for ident in (first, second, laptop)] == ["comms", "comms-1", "laptop"]
    assert [found[ident].hostname for ident in (first, second)] == ["comms", "comms"]
    assert [found[ident].tags for ident in (first, laptop)] == [("tag:hearth",), ()]
    assert found[laptop].user == "home"
    device = found[first]
    assert device.addresses[0].startswith("100.64.")
    assert (device.online, device.expires, device.authorized) == (False, None, True)
    assert real.device(first) == device or real.device(first).user == ""  # 0.29 leaves the user out there


def test_the_device_of_a_guest_that_was_is_forgotten(real: Api, headscale: Headscale) -> None:
    headscale.add("comms")
    other, foreign = headscale.add("data"), headscale.add("laptop", tag=None)
    assert [device.name for device in joining.forget_old(real, "comms")] == ["comms"]
    assert {device.id for device in real.devices()} == {other, foreign}
    headscale.add("comms")
    assert {device.name for device in real.devices()} == {"comms", "data", "laptop"}


def test_a_name_that_is_somebody_elses(real: Api, headscale: Headscale) -> None:
    headscale.add("comms", tag=None)
    with pytest.raises(TailnetError, match="taken by a device that is not ours"):
        joining.forget_old(real, "comms")
    assert len(real.devices()) == 1


def test_routes_are_approved_once(real: Api, headscale: Headscale) -> None:
    ident = headscale.add("tailnet")
    assert joining.approve_routes(real, "tailnet", [LAN])
    assert not joining.approve_routes(real, "tailnet", [LAN])
    assert joining.approve_routes(real, "tailnet", ["10.9.0.0/16"])
    assert set(real.device(ident).approved) == {LAN, "10.9.0.0/16"}


def test_a_device_leaves(real: Api, headscale: Headscale) -> None:
    ident = headscale.add("data")
    joining.leave(real, "data")
    real.delete(ident)
    with pytest.raises(TailnetError) as refused:
        real.device(ident)
    assert refused.value.status == 404


def test_tags(real: Api, headscale: Headscale) -> None:
    ident = headscale.add("phone")
    real.tag(ident, ["tag:phone"])
    real.authorize(ident)
    assert real.device(ident).tags == ("tag:phone",)
    with pytest.raises(TailnetError, match="tag:nobody"):
        real.tag(ident, ["tag:nobody"])


def test_a_policy_is_replaced_by_its_tag(real: Api, headscale: Headscale) -> None:
    found = real.policy()
    assert found.text == START
    text = START.replace("The home", "Our home")
    after = real.set_policy(text, found.etag)
    assert real.policy() == after
    if isinstance(real, HeadscaleV1):  # what was to become 0.30 blanked them, in July 2026
        assert after.text == text
    with pytest.raises(PolicyChangedError):
        real.set_policy(START, found.etag)
    assert real.policy() == after


@pytest.mark.parametrize("text", ["{", FAILING], ids=["no HuJSON", "its own test fails"])
def test_a_policy_that_headscale_refuses(real: Api, text: str) -> None:
    with pytest.raises(PolicyRefusedError):
        real.set_policy(text, real.policy().etag)
    assert real.policy().text == START


def test_a_policy_that_headscale_has_in_a_file(server: Headscale, tmp_path: Path) -> None:
    (tmp_path / "policy.hujson").write_text(START)
    own = {"mode": "file", "path": str(tmp_path / "policy.hujson")}
    with (
        tempfile.TemporaryDirectory(prefix="hs-") as folder,
        running(server.program, Path(folder), own) as other,
    ):
        api = connect(other.access, Patience(tries=2))
        found = api.policy()
        assert found.text == START
        with pytest.raises(TailnetError, match="disabled") as refused:
            api.set_policy(START.replace("The home", "Our home"), found.etag)
    assert "policy.mode" in refused.value.remedy


def test_a_policy_is_judged_before_it_is_applied(real: Api) -> None:
    try:
        real.validate(START)
    except NotServedError:  # 0.30 has none in its v2 API
        return
    with pytest.raises(PolicyRefusedError, match=r"test\(s\) failed"):
        real.validate(FAILING)


def test_dns_is_headscales_own_configuration(real: Api) -> None:
    with pytest.raises(NotServedError, match="configuration file"):
        real.dns()


def test_a_key_that_is_not_known(headscale: Headscale) -> None:
    stranger = Access(headscale.url, Secret(headscale.api_key[:-4] + "aaaa"))
    with pytest.raises(TailnetError, match="not accepted") as refused:
        connect(stranger, Patience(tries=2)).devices()
    assert refused.value.status == 401


def test_a_key_that_expired(headscale: Headscale) -> None:
    key = headscale.command("apikeys", "create").splitlines()[-1]
    api = connect(Access(headscale.url, Secret(key)), Patience(tries=2))
    assert api.devices() == []
    prefix = key.removeprefix("hskey-api-")[:12]
    headscale.command("apikeys", "expire", "--prefix", prefix)
    with pytest.raises(TailnetError) as refused:
        api.devices()
    assert refused.value.status == 401


def oauth_client(headscale: Headscale) -> dict[str, str]:
    """A client as `headscale` makes one: its id and, as `key`, its secret."""
    scopes = ["auth_keys", "devices:core", "devices:routes", "policy_file"]
    body = {"keyType": "client", "scopes": scopes, "tags": ["tag:hearth"]}
    made: dict[str, str] = headscale.ask("POST", "/api/v2/tailnet/-/keys", json=body)
    return made


def test_an_oauth_client(real: Api, headscale: Headscale) -> None:
    if isinstance(real, HeadscaleV1):
        old = Access(headscale.url, OAuthClient("k1", Secret("secret")))
        with pytest.raises(TailnetError, match="knows no OAuth clients"):
            connect(old, Patience(tries=2))
        return
    made = oauth_client(headscale)
    access = Access(headscale.url, OAuthClient(made["id"], Secret(made["key"])))
    api = connect(access, Patience(tries=2))
    assert joining.join_key(api, "comms").secret.reveal()
    api.set_policy(START, api.policy().etag)
    with pytest.raises(TailnetError, match="tag:phone") as refused:
        joining.join_key(api, "comms", ["tag:phone"])
    assert refused.value.status == 403
    headscale.ask("DELETE", f"/api/v2/tailnet/-/keys/{made['id']}")
    with pytest.raises(TailnetError, match="OAuth client is refused"):
        connect(access, Patience(tries=2)).devices()
