"""No service of ours is forgotten: whatever Hearth runs in a guest is confined, a new role's too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox import EXPOSED, SHOWN, assert_confined, exposure
from under_test import UnderTest

from hearth.fleet.model import Guest

MARK = "# Written by Hearth."
SSH = 22  # Debian's own, which `base` only configures
# Such units are started when they are needed, or end when their work is done.
WHEN_NEEDED = {"no", "on-failure"}


def units(host: Any) -> Iterator[dict[str, str]]:
    """Every running service, as systemd shows it."""
    asked = f"Id,FragmentPath,DropInPaths,Type,{SHOWN}"
    said = host.check_output(f"systemctl show --state=running -p {asked} '*.service'")
    for block in said.strip().split("\n\n"):
        yield dict(line.split("=", 1) for line in block.splitlines())


def ours(host: Any) -> list[dict[str, str]]:
    """Those whose unit, or a part of it, was written by Hearth and says how they run."""
    marked = set(host.run(f"grep -rlxF '{MARK}' /etc/systemd/system /etc/containers/systemd").stdout.split())
    return [unit for unit in units(host) if marked & {unit["FragmentPath"], *unit["DropInPaths"].split()}]


def test_every_service_of_ours_is_confined(host: Any) -> None:
    for unit in ours(host):
        if unit["User"] in ("", "root"):
            raise AssertionError(f"{unit['Id']} runs as root")
        if unit["Restart"] in WHEN_NEEDED:
            assert exposure(host, unit["Id"]) <= EXPOSED, unit["Id"]
        else:
            assert_confined(host, unit["Id"], unit["User"], steady=False)


def test_no_two_services_share_a_user(host: Any) -> None:
    users = [unit["User"] for unit in ours(host)]
    assert len(users) == len(set(users)), users


def test_no_upgrade_was_left_in_the_middle(host: Any) -> None:
    assert host.run("ls /opt/hearth/*/trying").stdout == ""
    assert '"undoing": true' not in host.run("cat /var/lib/hearth/upgrades/*.json").stdout


def test_what_serves_our_ports_is_ours(under_test: UnderTest, guest: Guest, host: Any) -> None:
    ports = [served.port for served in under_test.ports if served.guest == guest]
    numbers = {number for port in ports for number in (port.number, port.behind) if number} - {SSH}
    names = {unit["Id"] for unit in ours(host)}
    for number in sorted(numbers):
        assert served_by(host, number) <= names, number


def served_by(host: Any, number: int) -> set[str]:
    """The units whose processes listen on a port."""
    processes = f"ss -Hltunp 'sport = :{number}' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u"
    found = set(host.check_output(f"{processes} | xargs -r -n1 ps -o unit= -p").split())
    assert found, f"nothing listens on {number}"
    return found
