"""Hands at a whole home: `hearth drift` finds each kind of thing that was changed, and only those."""
# ruff: noqa: E501  a table reads by its lines

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.twin.home_kit import WHOLE, Done, Home

pytestmark = pytest.mark.long

# What a hand does inside a guest, and what is told of it: kind, a part of the thing, the field.
INSIDE: dict[str, tuple[str, str, str, str, str]] = {
    "a file's content": (
        "comms", "echo '# by hand' >>/etc/haproxy/hearth/haproxy.cfg", "file", "haproxy.cfg", "content",
    ),
    "a file's mode": ("comms", "chmod 666 /etc/mosquitto/acl", "file", "/etc/mosquitto/acl", "mode"),
    "a file's owner": ("mqtt-standby", "chown nobody /etc/mosquitto/acl", "file", "/etc/mosquitto/acl", "owner"),
    "a file removed": ("data", "rm /etc/hearth/wall.nft", "wall", "/etc/hearth/wall.nft", "file"),
    "a rule in the kernel": ("database", "nft add chain inet hearth byhand", "wall", "rules of the wall", "in force"),
    "a service stopped": ("security", "systemctl stop vaultwarden.service", "service", "vaultwarden.service", "state"),
    "a service that is not at boot": (
        "tailnet", "systemctl -q disable headscale.service", "service", "headscale.service", "enabled",
    ),
    "a package removed": (
        "monitoring", "dpkg --remove --force-depends unattended-upgrades", "package", "unattended-upgrades", "package",
    ),
    "a setting of Tailscale's": (
        "home-assistant", "tailscale set --accept-routes=true", "tailnet", "settings", "accept-routes",
    ),
}  # fmt: skip


def drift(home: Home) -> tuple[Done, list[dict[str, str]]]:
    """`hearth drift --json`, which must only read."""
    done = home.run("hearth", "drift", "--json", patience=WHOLE)
    assert done.writes == []
    found: dict[str, Any] = json.loads(done.out)
    assert found["errors"] == [], found["errors"]
    return done, found["drift"]


@pytest.fixture(scope="module")
def clean(home: Home) -> Iterator[Home]:
    """The home as a deploy leaves it; mended afterwards, whatever happened."""
    home.deploy(patience=WHOLE).went_well()
    yield home
    home.deploy(patience=WHOLE).went_well()


def test_a_clean_home_is_silent(clean: Home) -> None:
    done = clean.run("hearth", "drift", patience=WHOLE)
    assert (done.code, done.out) == (0, ""), done.text


def test_every_hand_is_found_and_only_those_and_a_deploy_mends_them(clean: Home) -> None:
    for guest, command, *_ in INSIDE.values():
        clean.said(guest, command)
    path = f"/nodes/pve/lxc/{clean.fleet.guest('data').vmid}"
    clean.twin.as_root("PUT", f"{path}/config", description="by hand")
    clean.twin.as_root("DELETE", f"{path}/firewall/rules/0")
    done, found = drift(clean)
    assert done.code == 2
    told = {(each["subject"], each["kind"], each["thing"], each["field"]) for each in found}
    for name, (guest, _, kind, thing, field) in INSIDE.items():
        mine = {
            one for one in told if one[0] == guest and one[1] == kind and thing in one[2] and one[3] == field
        }
        assert mine, f"{name} was not found: {sorted(told)}"
        told -= mine
    outside = {one for one in told if one[0] == "data"}
    assert {one[1] for one in outside} == {"guest", "firewall"}
    assert told - outside == set(), "found although nobody touched it"
    clean.deploy(patience=WHOLE).went_well()
    assert drift(clean)[1] == []


def test_a_guest_that_does_not_answer_is_named_and_the_others_are_looked_at(clean: Home) -> None:
    clean.said("mqtt-standby", "systemctl --no-block stop ssh.service")
    done = clean.run("hearth", "drift", "--json", patience=WHOLE)
    clean.twin.task("POST", f"/nodes/pve/lxc/{clean.fleet.guest('mqtt-standby').vmid}/status/reboot")
    found = json.loads(done.out)
    assert done.code == 1
    assert [error["subject"] for error in found["errors"]] == ["mqtt-standby"]
    assert found["drift"] == []


def test_the_page_of_a_home_in_use(clean: Home, tmp_path: Path) -> None:
    done = clean.run("hearth", "report", "-o", str(tmp_path / "page.html"), patience=WHOLE).went_well()
    assert done.writes == []
    text = (tmp_path / "page.html").read_text()
    for guest in clean.fleet.guests:
        assert guest.name in text
    assert "all as the project says" in text
    assert "home-assistant uses database" in text
