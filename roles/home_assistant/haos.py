"""Home Assistant OS: an appliance. This guest stands before it with TLS, and all else goes through its API.

A socket of the guest's loopback leads to the appliance (systemd-socket-proxyd(8)), so that HAProxy, tokens
and checks are the same as for a Home Assistant on the guest itself.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.ops import files, shell, systemd
from hearth.role.here import Here

from .configuration import NAME
from .place import USER

APPLIANCE_PORT = 8123


def haos(here: Here, port: int, web: dict[str, Any]) -> dict[str, Any]:
    """Lead to the appliance; the settings of its web server.

    Args:
        here: the guest before it.
        port: of this guest's loopback.
        web: what Home Assistant's web server would be told on this guest.
    """
    there = appliance(here)
    shell.ensure(
        name="Create Home Assistant's user",
        holds=f"id -u {USER}",
        command=f"useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {USER}",
    )
    values = {"port": port, "name": there.name, "address": there.address, "appliance_port": APPLIANCE_PORT}
    units = [
        here.template(f"haos.{kind}.j2", f"/etc/systemd/system/{NAME}.{kind}", values=values)
        for kind in ("socket", "service")
    ]
    files.present(name="Lead to Home Assistant's own machine", files=units)
    systemd.service(
        name="Listen for Home Assistant's own machine",
        unit=f"{NAME}.socket",
        restart_on=units,
        ports=[port],
    )
    return told(web, here.guest)


def appliance(here: Here) -> Guest:
    """The appliance that group_data names.

    Raises:
        HearthError: the fleet has none of this name, it is no appliance, or its address is not fixed.
    """
    name = here.value("appliance")
    action = f"find Home Assistant's appliance {name!r}"
    found = next((guest for guest in here.fleet.guests if guest.name == name), None)
    if found is None:
        there = ", ".join(guest.name for guest in here.fleet.guests if guest.appliance) or "none"
        raise HearthError(action, f"the fleet's appliances are: {there}", "set home_assistant_appliance")
    if not found.appliance:
        raise HearthError(
            action, "Hearth would set it up inside", "write `appliance: true` in the fleet file"
        )
    if not isinstance(found.address, IPv4Address):
        raise HearthError(
            action, "it has no fixed address", "give it one in the fleet file, the one it has in its network"
        )
    return found


def told(web: dict[str, Any], before: Guest) -> dict[str, Any]:
    """Its web server's settings: it listens as it likes, and believes this guest only."""
    kept = {key: value for key, value in web.items() if key not in ("server_host", "server_port")}
    return {**kept, "trusted_proxies": [f"{before.address}/32"]}
