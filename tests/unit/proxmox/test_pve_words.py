"""Property strings, sizes, tokens, endpoints, errors, placement, and what a create sends. No I/O."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxmoxer.core import ResourceException  # type: ignore[import-untyped]
from pve_kit import fleet, guest, seen

from hearth.errors import HearthError
from hearth.proxmox import faults, properties
from hearth.proxmox.access import access
from hearth.proxmox.desired import Intent, creation
from hearth.proxmox.observe import NodeView, parse_pending
from hearth.proxmox.place import place, place_all

TOKEN = "hearth@pve!deploy=11111111-2222-3333-4444-555555555555"
RECORDINGS = Path(__file__).parents[2] / "recordings" / "pve-8.4.21.jsonl"


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("8G", 8192),
        ("8192M", 8192),
        ("1T", 1024**2),
        ("1536K", 2),
        ("4194304", 4),
        ("0.5G", 512),
        ("abc", None),
    ],
)
def test_sizes(text: str, mib: int | None) -> None:
    assert properties.mebibytes(text) == mib


@given(st.integers(min_value=1, max_value=2**31))
def test_an_allocation_is_exactly_what_was_asked_for(mib: int) -> None:
    assert int(float(properties.gibibytes(mib)) * 1024) == mib
    assert properties.mebibytes(properties.size(mib)) == mib


keys = st.text("abcdefgh0123", min_size=1, max_size=6)


@given(st.dictionaries(keys, st.text("abcXYZ0123:/.;-", min_size=1, max_size=9), max_size=6))
def test_property_strings_come_back_whole_and_in_order(parts: dict[str, str]) -> None:
    assert list(properties.parse(properties.show(parts)).items()) == list(parts.items())


@pytest.mark.parametrize(
    ("text", "default", "parts"),
    [
        ("local:100/vm.raw,size=1G", "volume", {"volume": "local:100/vm.raw", "size": "1G"}),
        ("1", "order", {"order": "1"}),
        (" ", "", {}),
        (None, "", {}),
    ],
)
def test_the_part_without_a_name(text: str | None, default: str, parts: dict[str, str]) -> None:
    assert properties.parse(text, default) == parts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "virtio=bc:24:11:00:00:01,bridge=vmbr0,firewall=1",
            "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1",
        ),
        ("bridge=vmbr0,model=virtio,macaddr=BC:24:11:00:00:01", "virtio=BC:24:11:00:00:01,bridge=vmbr0"),
        ("virtio,bridge=vmbr0", "virtio,bridge=vmbr0"),
        ("name=eth0,bridge=vmbr0,type=veth", "name=eth0,bridge=vmbr0,type=veth"),
    ],
)
def test_cards(text: str, shown: str) -> None:
    assert properties.show_net(properties.parse_net(text)) == shown


@pytest.mark.parametrize(
    ("env", "token", "endpoint"),
    [
        ({"PROXMOX_VE_API_TOKEN": TOKEN}, None, "https://x:8006"),
        ({}, TOKEN, "https://x:8006"),
        ({"PROXMOX_VE_ENDPOINT": "https://127.0.0.1:1/"}, TOKEN, "https://127.0.0.1:1"),
        ({"PROXMOX_VE_ENDPOINT": "https://127.0.0.1:1/api2/json"}, TOKEN, "https://127.0.0.1:1"),
        ({"PROXMOX_VE_ENDPOINT": "pve.home"}, TOKEN, "https://pve.home:8006"),
        ({"PROXMOX_VE_ENDPOINT": "https://[fd00::1]:8006"}, TOKEN, "https://[fd00::1]:8006"),
    ],
)
def test_where_and_who(env: dict[str, str], token: str | None, endpoint: str) -> None:
    found = access(fleet().nodes[0], env, token)
    assert (found.endpoint, found.user, found.token_name) == (endpoint, "hearth@pve", "deploy")
    assert found.verify is True and "11111111" not in repr(found)


@pytest.mark.parametrize("value", ["1", "true", "True", "yes"])
def test_insecure(value: str) -> None:
    assert access(fleet().nodes[0], {"PROXMOX_VE_INSECURE": value}, TOKEN).verify is False


@pytest.mark.parametrize(
    ("env", "token", "match"),
    [
        ({}, None, "there is no API token"),
        ({}, "root@pam", "user@realm!id=uuid"),
        ({"PROXMOX_VE_ENDPOINT": "http://x"}, TOKEN, "https"),
        ({"PROXMOX_VE_CA_BUNDLE": "/nonexistent"}, TOKEN, "no such file"),
    ],
)
def test_what_cannot_be_used_to_log_in(env: dict[str, str], token: str | None, match: str) -> None:
    with pytest.raises(HearthError, match=match):
        access(fleet().nodes[0], env, token)


def answers() -> list[dict[str, Any]]:
    """Every recorded refusal."""
    rows = [json.loads(line) for line in RECORDINGS.read_text().splitlines()]
    return [row for row in rows if row["status"] >= 400]


def test_every_recorded_refusal_becomes_an_error_with_its_words() -> None:
    assert len(answers()) > 100
    for row in answers():
        body = row["body"] if isinstance(row["body"], dict) else {}
        raw = ResourceException(row["status"], "", row["reason"], errors=body.get("errors"))
        error = faults.from_status("https://x:8006", row["method"], row["path"], raw)
        assert error.status == row["status"]
        assert row["reason"].strip().rstrip(".")[:40] in str(error)
        assert set(error.errors) == set(body.get("errors") or {})


def test_recorded_locks_are_known_as_locks() -> None:
    reasons = {row["reason"] for row in answers()}
    locks = {reason for reason in reasons if faults.is_lock(reason)}
    assert {"CT is locked (backup)"} <= locks
    assert any(reason.startswith("can't lock file") for reason in locks)
    assert not any("does not exist" in reason or "Permission" in reason for reason in locks)


def test_the_recorded_pending_rows_keep_value_pending_deletes_and_digest_apart() -> None:
    rows = [json.loads(line) for line in RECORDINGS.read_text().splitlines()]
    told = [row["body"]["data"] for row in rows if row["path"].endswith("/pending") and row["status"] == 200]
    configs = [parse_pending(data) for data in told]
    assert configs and all(config.digest and "digest" not in config.values for config in configs)
    assert any(config.pending for config in configs)
    removed = next(config for config in configs if config.deletes)
    key = next(iter(removed.deletes))
    assert removed.next(key) is None and removed.values[key]


def test_a_containers_create_says_everything_that_matters() -> None:
    wanted = guest(unprivileged=None, features={"nesting": True, "fuse": True}, protection=True, tun=True)
    params = creation(Intent(wanted, fleet(wanted), "pve", ("key one", "key two"))).params
    assert params["unprivileged"] == 1  # left out, 8.4 would make it privileged
    assert params["features"] == "nesting=1"  # the rest is root's
    assert params["ssh-public-keys"] == "key one\nkey two"
    assert params["rootfs"] == "local-lvm:8"
    assert params["tags"] == "hearth"
    assert "hwaddr=02:48:00:00:00:87" in str(params["net0"])
    assert not {"protection", "force", "dev0"} & set(params)


def test_a_privileged_containers_create_leaves_its_features_to_root() -> None:
    wanted = guest(unprivileged=False)
    params = creation(Intent(wanted, fleet(wanted), "pve")).params
    assert params["unprivileged"] == 0 and "features" not in params


def test_a_vms_keys_are_quoted_wholly() -> None:
    wanted = guest("vm")
    params = creation(Intent(wanted, fleet(wanted), "pve", ("ssh-ed25519 A/b+c= me@home",))).params
    assert not set(str(params["sshkeys"])) & set(" /+=@")
    assert unquote(str(params["sshkeys"])) == "ssh-ed25519 A/b+c= me@home"


@pytest.mark.parametrize("missing", ["image", "disk"])
def test_a_guest_that_says_too_little_cannot_be_made(missing: str) -> None:
    fields: dict[str, Any] = {missing: None}
    wanted = guest(**fields)
    with pytest.raises(HearthError, match=f"it has no {missing}"):
        creation(Intent(wanted, fleet(wanted), "pve"))


def test_auto_stays_where_it_is_and_else_goes_where_memory_is_free() -> None:
    wanted = guest(node="auto")
    views = [NodeView("pve", (seen(),)), NodeView("pve2", ())]
    assert place(wanted, views, {"pve": 1, "pve2": 9}) == "pve"
    assert place(wanted, [NodeView("pve", ())], {"pve": 1, "pve2": 9}) == "pve2"
    assert place(guest(node="pve"), [], {"pve2": 9}) == "pve"
    with pytest.raises(HearthError, match="no node of the fleet is online"):
        place(wanted, [], {})


def test_guests_placed_together_share_the_memory() -> None:
    guests = [guest(node="auto", name=f"g{n}", vmid=150 + n, memory=1024, mac=None) for n in range(4)]
    placed = place_all(fleet(*guests), [], {"pve": 4096, "pve2": 4000, "stranger": 99999})
    assert sorted(placed.values()) == ["pve", "pve", "pve2", "pve2"]
