"""Every role plans every operation on a guest that does not exist, and asks nobody to do anything."""

from __future__ import annotations

from typing import Any

import pytest
from ops_kit import Absent, preparing
from role_kit import FakeRun, fleet, group_data, guest

from hearth.fleet.model import Guest
from hearth.role.here import Here

BOTH = [guest("comms", 135, "mosquitto"), guest("comms", 135, "mosquitto", kind="vm")]


def plan(there: Guest, **admin: Any) -> dict[str, bool]:
    """The names of all operations of the guest's roles, and whether each would change something."""
    run = FakeRun(fleet(there, **admin))
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data()
        for name in there.roles:
            deployer = run.roles[name].deployer
            assert deployer
            deployer(Here(run, there, host, run.roles[name]))
        operations = host.state.ops[host]
        return {
            next(iter(host.state.get_op_meta(key).names)): bool(data.operation_meta.will_change)
            for key, data in operations.items()
        }


@pytest.mark.parametrize("there", BOTH, ids=["lxc", "vm"])
@pytest.mark.parametrize("locale", ["C.UTF-8", "de_DE.UTF-8"])
def test_everything_is_planned(there: Guest, locale: str) -> None:
    found = plan(there, keys=("ssh-ed25519 AAAA admin@home",), locale=locale)
    for name in ("Harden SSH", "Create the admin's user", "Configure Mosquitto", "Run Mosquitto"):
        assert found[name], f"{name} is planned"
    assert [name for name, change in found.items() if not change] == unchanged(there)
    assert not any("." in name.split()[0] for name in found), "every operation has a name of ours"


def unchanged(there: Guest) -> list[str]:
    """An image without cloud-init has no template of /etc/hosts: nothing to plan."""
    return ["Know the fleet by name after a restart too"] if there.kind == "vm" else []


@pytest.mark.parametrize(
    ("locale", "made", "charset"),
    [
        ("C.UTF-8", False, "UTF-8"),
        ("POSIX", False, "ISO-8859-1"),
        ("de_DE.UTF-8", True, "UTF-8"),
        ("ca_ES.UTF-8@valencia", True, "UTF-8"),
        ("de_DE", True, "ISO-8859-1"),
    ],
)
def test_a_locale_is_made_where_libc_does_not_bring_it(locale: str, made: bool, charset: str) -> None:
    FakeRun(fleet())
    from roles.base import charset_of, needs_locales

    assert needs_locales(locale) is made
    assert charset_of(locale) == charset


def test_a_vm_has_its_own_clock_and_an_agent_and_a_container_has_not() -> None:
    lxc, vm = (plan(there) for there in BOTH)
    assert {"Keep the time", "Run the guest agent"} <= set(vm) - set(lxc)
