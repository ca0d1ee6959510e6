"""Tailscale: the guest is in the tailnet, under exactly its name, with our tag and its settings."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from health import handshake
from sandbox import assert_confined
from under_test import UnderTest

from hearth.fleet.model import Guest
from hearth.role.coordination import access_for
from hearth.role.tailnet import SUBNET_ROUTER, advertised, has_tun, tailnet_name
from hearth.tailnet import connect
from hearth.tailnet.members import TAG, joined, missing_routes
from hearth.tailnet.membership import PREFS, STATUS, Settings, membership

UNIT = "tailscaled.service"


@pytest.fixture
def status(host: Any) -> dict[str, Any]:
    """`tailscale status`, read."""
    return dict(json.loads(host.check_output(STATUS)))


def test_it_is_in_the_tailnet_under_exactly_its_name(
    status: dict[str, Any], guest: Guest, under_test: UnderTest
) -> None:
    assert status["BackendState"] == "Running"
    assert status["Self"]["Online"] is True
    assert status["Self"]["DNSName"] == f"{tailnet_name(guest, under_test.fleet)}."


def test_it_wears_our_tag_and_never_expires(status: dict[str, Any]) -> None:
    assert TAG in status["Self"]["Tags"]
    assert not status["Self"].get("KeyExpiry")


def test_its_settings_are_those_of_group_data(host: Any, guest: Guest, under_test: UnderTest) -> None:
    now = membership(host.check_output(f"{STATUS} && {PREFS}"))
    wanted = Settings(
        guest.name,
        bool(under_test.values["tailscale_accept_dns"]),
        bool(under_test.values["tailscale_accept_routes"]),
        advertised(guest, under_test.fleet),
    )
    assert now.settings == wanted.flags()


def test_the_kernel_carries_it_where_the_guest_has_a_tun(status: dict[str, Any], guest: Guest) -> None:
    assert status["TUN"] is has_tun(guest)


def test_it_finds_a_relay(status: dict[str, Any]) -> None:
    assert status["Self"]["Relay"]


def test_it_runs_confined_and_has_not_crashed(host: Any, guest: Guest, under_test: UnderTest) -> None:
    assert_confined(host, UNIT, "tailscale")
    rights = {"cap_net_admin"} if has_tun(guest) else set()
    rights |= {"cap_dac_override"} if under_test.values["tailscale_accept_dns"] else set()
    shown = host.check_output(f"systemctl show -p CapabilityBoundingSet --value {UNIT}")
    assert set(shown.split()) == rights


def test_its_identity_is_its_own(host: Any) -> None:
    folder = host.file("/var/lib/tailscale")
    assert (folder.user, folder.mode) == ("tailscale", 0o700)
    assert host.file("/var/lib/tailscale/tailscaled.state").mode == 0o600


def test_a_certificate_of_the_guest_holds_for_its_name_there(guest: Guest, under_test: UnderTest) -> None:
    name = tailnet_name(guest, under_test.fleet)
    assert name is not None
    for served in under_test.ports:
        if served.guest.name == guest.name and served.port.tls and served.port.audience != "host":
            handshake(under_test, served, name).close()


def test_a_subnet_router_may_carry_its_network(host: Any, guest: Guest, under_test: UnderTest) -> None:
    routes = advertised(guest, under_test.fleet)
    assert bool(routes) is (SUBNET_ROUTER in guest.roles)
    if not routes:
        return
    assert host.check_output("sysctl -n net.ipv4.ip_forward") == "1"
    # The server is asked: which peers see a route is the policy's business.
    way = access_for(under_test.fleet, under_test.roles, os.environ, under_test.secrets)
    device = joined(guest.name, connect(way).devices())
    assert device is not None
    assert missing_routes(device.approved, routes) == ()
