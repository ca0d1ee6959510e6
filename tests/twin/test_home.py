"""From an empty node to a home that needs nothing, with the commands as an admin types them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.twin.home_kit import Done, Home, Story

HOST = re.compile(r"^    \[(?P<host>[\w-]+)\] +(?P<what>.*)$")
PLANNED = re.compile(r"^        (?:\x1b\[\d+m)?[+?](?:\x1b\[0m)? (?P<operation>.*)$")
STARTING = "--> Starting operation: "
# What a fresh Debian may have as wanted, which nobody knows before it exists: planned, and then not needed.
MAY_BE_THERE = {
    "Base | Keep Hearth's and the admin's keys for root",
    "Base | Give root no password",
    "Base | Set the time zone",
    "Base | Fetch package lists every day",
    "Base | Install security updates every day",
    "Base | Keep the time",
    "Base | Run the guest agent",
    # What only the program itself can say, once it is there, and what another role of the guest brought.
    "Ai automation | Remove rules that are no more",
    "Cloud data sync | Have no copy elsewhere: cloud_data_sync_repository is not set",
    "Home assistant | Keep the password of Home Assistant's owner",
    "Home assistant | Let Home Assistant believe the proxy before it, and nobody else",
    "Home assistant | See that all of Home Assistant runs",
    "Mosquitto | Have no bridge at the first broker",
    "Postgresql | Find PostgreSQL 15",
    "Postgresql | Follow the primary",
    "Postgresql | Restart PostgreSQL where a setting asks for it",
    "State | Let nobody collect the state",
    "Tailscale | Keep Tailscale's settings",
    "Wall | Have systemd put the wall up again after Debian's own unit",
    "Zigbee2mqtt | Install Node.js",
}


def planned(done: Done) -> set[tuple[str, str]]:
    """(guest, operation) of what a plan says it will change, or may."""
    found, host = set(), ""
    for line in done.text.splitlines():
        if match := HOST.match(line):
            host = match["host"]
        elif match := PLANNED.match(line):
            found.add((host, match["operation"]))
    return found


def executed(done: Done) -> set[tuple[str, str]]:
    """(guest, operation) of what a run did."""
    found, operation = set(), ""
    for line in done.text.splitlines():
        if line.startswith(STARTING):
            operation = line.removeprefix(STARTING).strip()
        elif (match := HOST.match(line)) and match["what"].startswith("Success") and operation:
            found.add((match["host"], operation))
    return found


# ------------------------------------------------------------- the empty node


def test_the_plan_of_nothing_lists_every_operation_that_the_deploy_then_did(story: Story) -> None:
    promised, done = planned(story.empty), executed(story.first)
    names = {guest.name for guest in story.home.fleet.guests}
    assert {guest for guest, _ in done} - {"pve"} == names
    assert done - promised == set()
    assert {operation for _, operation in promised - done} <= MAY_BE_THERE


def test_the_plan_of_nothing_asks_with_gets_and_writes_nothing(story: Story) -> None:
    assert story.empty.code == 0, story.empty.text
    assert story.empty.requests
    assert story.empty.writes == []
    assert story.files_after_dry == story.files_before
    assert not any(name.startswith("secrets") for name in story.files_after_dry)


def test_the_plan_of_nothing_says_what_will_be_made(story: Story) -> None:
    for guest in story.home.fleet.guests:
        kind = "container" if guest.kind == "lxc" else "VM"
        assert f"{kind} {guest.vmid} on pve, {guest.address}: absent" in story.empty.text
    assert story.empty.text.count("create: ") == len(story.home.fleet.guests)


def test_the_home_was_made_by_the_very_command(story: Story) -> None:
    assert story.first.code == 0, story.first.text
    made = {row["path"] for row in story.first.requests if row["method"] == "POST"}
    assert {"/nodes/pve/lxc", "/nodes/pve/qemu"} <= made
    assert "Failed to load host keys" not in story.first.text


# ------------------------------------------------------------ the whole home


def test_a_second_deploy_changes_nothing_and_costs_two_requests_a_node_and_one_a_guest(home: Home) -> None:
    done = home.deploy().silent()
    fleet = home.fleet
    each = [
        f"GET /nodes/pve/{'lxc' if guest.kind == 'lxc' else 'qemu'}/{guest.vmid}/pending"
        for guest in fleet.guests
    ]
    walls = [asked for asked in done.asked if "/firewall/" in asked or asked == "GET /cluster/status"]
    rest = Counter(done.asked) - Counter(walls)
    assert rest == Counter(["GET /nodes/pve/lxc", "GET /nodes/pve/qemu", *each])
    # The walls: the cluster's and the node's own once, and whether it is one; two for each guest.
    assert walls
    assert len(walls) == len(set(walls))
    for guest in fleet.guests:
        assert sum(f"/{guest.vmid}/firewall/" in asked for asked in walls) <= 2


def test_what_was_deployed_passes_verification(home: Home) -> None:
    done = home.verify().went_well()
    passed = re.search(r"(\d+) passed", done.text)
    assert passed is not None
    assert int(passed[1]) > 10 * len(home.fleet.guests)
    assert "skipped" not in done.text.splitlines()[-1]


@pytest.fixture
def stopped(home: Home) -> Iterator[str]:
    """A guest that somebody stopped."""
    home.task("POST", "tailnet", "/status/stop")
    yield "tailnet"
    if home.status("tailnet") == "stopped":
        home.task("POST", "tailnet", "/status/start")


def test_a_stopped_guest_shows_as_stopped_and_the_next_deploy_starts_it(home: Home, stopped: str) -> None:
    done = home.dry("--limit", stopped)
    assert f"container 141 on pve, {home.address(stopped)}: stopped" in done.text
    assert "its contents are unknown until it runs" in done.text
    assert home.status(stopped) == "stopped"
    inventory = home.run("pyinfra", "inventory", "debug-inventory").went_well()
    assert groups(inventory)["stopped"] == {stopped}
    home.deploy("--limit", stopped).went_well()
    assert home.status(stopped) == "running"
    home.deploy("--limit", stopped).silent()


# --------------------------------------------------------- inventory and limit


def groups(done: Done) -> dict[str, set[str]]:
    """group -> hosts, as `debug-inventory` prints them: `[NAME]`, then `--> Groups: A, B`."""
    found: dict[str, set[str]] = {}
    host = ""
    for line in done.text.splitlines():
        if match := re.match(r"^\[([\w-]+)\]\s*$", line):
            host = match[1]
        elif line.startswith("--> Groups: "):
            for group in line.removeprefix("--> Groups: ").split(", "):
                found.setdefault(group, set()).add(host)
    return found


def test_the_inventory_shows_every_group(home: Home) -> None:
    done = home.run("pyinfra", "inventory", "debug-inventory").went_well()
    assert done.writes == []
    fleet = home.fleet
    found = groups(done)
    assert found["proxmox"] == {"pve"}
    assert found["guests"] == found["running"] == found["base"] == {guest.name for guest in fleet.guests}
    assert found["vms"] == {"database", "home-assistant", "monitoring"}
    assert found["containers"] == {"comms", "mqtt-standby", "data", "security", "tailnet"}
    assert found["mosquitto"] == found["mqtt"] == {"comms", "mqtt-standby"}
    assert "absent" not in found


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("data", {"data"}),
        ("mosquitto", {"comms", "mqtt-standby"}),
        ("mqtt", {"comms", "mqtt-standby"}),
    ],
    ids=["guest", "role", "tag"],
)
def test_limit_leaves_only_whom_it_names(home: Home, limit: str, expected: set[str]) -> None:
    plan = home.plan("--limit", limit)
    assert set(plan["guests"]) == expected


def test_a_limit_that_fits_nothing_is_an_error(home: Home) -> None:
    done = home.run("pyinfra", "inventory", "deploy.py", "--dry", "--limit", "nobody")
    assert done.refused("nobody").writes == []
