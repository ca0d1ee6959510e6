"""What of Proxmox's firewall a hand has changed is found: each kind of thing, and only what is Hearth's."""
# ruff: noqa: E501  a table reads by its lines

from __future__ import annotations

from collections.abc import Callable

import pytest
from firewall_home import FirewallHome

from hearth.drift import dry_run
from hearth.drift.finding import Collected
from hearth.proxmox.api import Api

ROOT = "/cluster/firewall"
COMMS = "/nodes/pve/lxc/135/firewall"


def look(home: FirewallHome) -> Collected:
    """What drift makes of the wall's plan, as the dry run gives it."""
    run = home.run()
    try:
        plan = {
            "hosts": {},
            "unreached": {},
            "unknown": {},
            "firewall": {"pve": run.walls.plan("pve").to_json()},
        }
    finally:
        run.survey.hang_up()
    return dry_run.of_plan(plan, set(), {"pve"})


def by_hand(home: FirewallHome, change: Callable[[Api], object]) -> None:
    run = home.run()
    try:
        change(run.survey.api("pve"))
    finally:
        run.survey.hang_up()


def a_set(api: Api) -> str:
    return str(next(row["name"] for row in api.get(f"{ROOT}/ipset") if str(row["name"]).startswith("hearth")))


def an_entry(api: Api) -> tuple[str, str]:
    name = a_set(api)
    return name, str(api.get(f"{ROOT}/ipset/{name}")[0]["cidr"]).replace("/", "%2F")


def test_a_settled_home_is_silent(home: FirewallHome) -> None:
    found = look(home.settle())
    assert (found.findings, found.notes) == ([], [])


CHANGES: dict[str, tuple[Callable[[Api], object], str, str]] = {
    "a rule of a guest removed": (lambda api: api.delete(f"{COMMS}/rules/0"), "comms", "missing, should be there"),
    "a rule of ours switched off": (lambda api: api.put(f"{COMMS}/rules/0", enable=0), "comms", "switched off"),
    "a rule of ours changed": (lambda api: api.put(f"{COMMS}/rules/0", action="DROP"), "comms", "should be there"),
    "a guest's firewall off": (lambda api: api.put(f"{COMMS}/options", enable=0), "comms", "enable: 0, should be 1"),
    "a guest's policy": (lambda api: api.put(f"{COMMS}/options", policy_in="ACCEPT"), "comms", "ACCEPT, should be DROP"),
    "the cluster's policy": (lambda api: api.put(f"{ROOT}/options", policy_in="ACCEPT"), "pve", "should be DROP"),
    "all of it off": (lambda api: api.put(f"{ROOT}/options", enable=0), "pve", "state: off, should be on"),
    "an address out of a set": (
        lambda api: api.delete("{}/ipset/{}/{}".format(ROOT, *an_entry(api))), "pve", "missing, should be there",
    ),
    "an address more in a set": (
        lambda api: api.post(f"{ROOT}/ipset/{a_set(api)}", cidr="10.9.9.9", comment="hearth"), "pve", "10.9.9.9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_by_hand_is_found(name: str, home: FirewallHome) -> None:
    change, subject, text = CHANGES[name]
    by_hand(home.settle(), change)
    found = look(home).findings
    assert found
    assert {finding.subject for finding in found} == {subject}
    assert any(text in str(finding) for finding in found), [str(finding) for finding in found]
    assert {finding.kind for finding in found} == {"firewall"}
    home.deploy()
    assert look(home).findings == []


def test_a_firewall_on_trial_is_told_as_such(home: FirewallHome) -> None:
    """A run was killed while its rules were on trial: nobody has proven them, and after a minute all is open."""
    by_hand(home.settle(), lambda api: api.put(f"{ROOT}/options", enable=2))
    assert "on for a minute" in str(look(home).findings[0])


def test_what_is_not_hearths_is_a_note(home: FirewallHome) -> None:
    home.settle()
    by_hand(
        home,
        lambda api: api.post(f"{COMMS}/rules", type="in", action="ACCEPT", dport="9", proto="tcp", enable=1),
    )
    found = look(home)
    assert found.findings == []
    assert ["guest/comms" in note.now for note in found.notes] == [True]
