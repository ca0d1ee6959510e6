"""The client against the stand-in: every call of the API, what it sends and what it makes of the answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tailnet_stand_in import START, Tailscale

from hearth.tailnet import Api, Dns, PolicyChangedError, PolicyRefusedError, TailnetError, connect
from hearth.tailnet.access import Access
from hearth.tailnet.wire import Patience


def test_a_key_is_single_use_preauthorized_tagged_and_lives_minutes(api: Api, tailscale: Tailscale) -> None:
    key = api.make_key(["tag:hearth"], 600, "hearth comms")
    sent = tailscale.keys[key.id]
    assert sent["capabilities"]["devices"]["create"] == {
        "reusable": False,
        "ephemeral": False,
        "preauthorized": True,
        "tags": ["tag:hearth"],
    }
    assert (sent["expirySeconds"], sent["description"]) == (600, "hearth comms")
    assert key.secret.reveal() == f"tskey-auth-{key.id}-secret"
    assert key.expires == datetime(2026, 11, 27, 10, 10, tzinfo=UTC)
    assert key.secret.reveal() not in repr(key)


def test_a_key_is_revoked_once_or_twice(api: Api, tailscale: Tailscale) -> None:
    key = api.make_key(["tag:hearth"], 600, "hearth comms")
    api.revoke_key(key.id)
    api.revoke_key(key.id)
    assert tailscale.keys == {}


def test_devices_with_their_routes(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("tailnet", advertisedRoutes=["192.168.1.0/24"], enabledRoutes=["10.0.0.0/8"])
    tailscale.add("comms", connectedToControl=False)
    router, comms = api.devices()
    assert (router.id, router.name, router.hostname, router.domain) == (
        ident,
        "tailnet",
        "tailnet",
        "tail1234.ts.net",
    )
    assert (router.advertised, router.approved) == (("192.168.1.0/24",), ("10.0.0.0/8",))
    assert (router.online, router.last_seen, router.expires) == (True, None, None)
    assert (comms.online, comms.last_seen) == (False, datetime(2026, 11, 20, 10, tzinfo=UTC))
    assert "fields=all" in tailscale.lines[-1]


def test_where_the_server_does_not_say_online_the_last_sight_does(api: Api, tailscale: Tailscale) -> None:
    # As headscale: no `connectedToControl`, and `lastSeen` only for what is not connected.
    tailscale.add("comms")
    tailscale.add("data", connectedToControl=False)
    for device in tailscale.devices.values():
        del device["connectedToControl"]
    assert [device.online for device in api.devices()] == [True, False]


def test_a_key_that_ends(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("phone", keyExpiryDisabled=False, expires="2027-01-01T00:00:00Z")
    assert api.device(ident).expires == datetime(2027, 1, 1, tzinfo=UTC)
    api.expire(ident)
    assert api.device(ident).expires == datetime(2026, 11, 27, 10, tzinfo=UTC)


def test_a_device_is_changed(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("comms", authorized=False, tags=[])
    assert not api.device(ident).authorized
    api.authorize(ident)
    api.tag(ident, ["tag:hearth"])
    api.approve(ident, ["192.168.1.0/24"])
    device = api.device(ident)
    assert (device.authorized, device.tags, device.approved) == (True, ("tag:hearth",), ("192.168.1.0/24",))


def test_a_device_is_removed_once_or_twice(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("comms")
    api.delete(ident)
    api.delete(ident)
    assert tailscale.devices == {}


def test_a_device_that_there_is_not(api: Api) -> None:
    with pytest.raises(TailnetError) as refused:
        api.device("n9CNTRL")
    assert refused.value.status == 404
    with pytest.raises(TailnetError, match="no such device"):
        api.expire("n9CNTRL")


def test_a_policy_keeps_its_comments_and_is_replaced_by_its_tag(api: Api, tailscale: Tailscale) -> None:
    found = api.policy()
    assert (found.text, found.etag) == (START, tailscale.etag)
    text = START.replace("All may", "Everybody may")
    after = api.set_policy(text, found.etag)
    assert tailscale.policy == text
    assert (after.text, after.etag) == (text, tailscale.etag)
    sent = tailscale.asked[-1]
    assert (sent.headers["if-match"], sent.headers["content-type"]) == (found.etag, "application/hujson")


def test_a_policy_changed_meanwhile_is_not_overwritten(api: Api, tailscale: Tailscale) -> None:
    found = api.policy()
    tailscale.policy = '{"acls": []}'
    with pytest.raises(PolicyChangedError) as refused:
        api.set_policy(START, found.etag)
    assert refused.value.status == 412
    assert tailscale.policy == '{"acls": []}'


FAILING = """{
  "acls": [{"action": "accept", "src": ["*"], "dst": ["192.168.1.134:8123"]}],
  "tests": [{"src": "tag:phone", "accept": ["192.168.1.134:22"]}],
}"""


def test_a_policy_whose_test_fails_is_named_although_the_answer_is_200(api: Api) -> None:
    with pytest.raises(PolicyRefusedError, match=r"192\.168\.1\.134:22"):
        api.validate(FAILING)
    api.validate(START)


def test_a_policy_that_is_none_is_refused(api: Api, tailscale: Tailscale) -> None:
    with pytest.raises(PolicyRefusedError):
        api.validate("{")
    with pytest.raises(PolicyRefusedError) as refused:
        api.set_policy("{", api.policy().etag)
    assert refused.value.status == 400
    assert tailscale.policy == START


def test_dns_is_set_where_it_differs(api: Api, tailscale: Tailscale) -> None:
    assert api.dns() == Dns()
    wanted = Dns(True, ("192.168.1.1",), ("home.arpa",), {"home.arpa": ("192.168.1.1",)})
    api.set_dns(wanted)
    assert api.dns() == wanted
    before = len(tailscale.asked)
    api.set_dns(wanted)
    assert {asked.method for asked in tailscale.asked[before:]} == {"GET"}


def test_magic_dns_is_switched_after_its_nameservers(api: Api, tailscale: Tailscale) -> None:
    api.set_dns(Dns(magic=True, nameservers=("192.168.1.1",)))
    writes = [asked.path.rsplit("/", 1)[-1] for asked in tailscale.asked if asked.method != "GET"]
    assert writes.index("nameservers") < writes.index("preferences")


def test_a_tailnet_by_name(oauth: Access, tailscale: Tailscale, patience: Patience) -> None:
    named = Access(oauth.url, oauth.credential, tailnet="example.com")
    connect(named, patience).devices()
    assert "/tailnet/example.com/" in tailscale.lines[-1]
