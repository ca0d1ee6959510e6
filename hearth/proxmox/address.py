"""Which IPv4 address a guest's configuration gives it: pure."""

from __future__ import annotations

from hearth.fleet.model import Kind
from hearth.proxmox import properties
from hearth.proxmox.observe import Config

KEYS: dict[Kind, str] = {"lxc": "net0", "vm": "ipconfig0"}


def address_in(config: Config, kind: Kind) -> str | None:
    """The static address that is in force, without its prefix; None for DHCP, or where there is none."""
    value = config.values.get(KEYS[kind])
    address = properties.parse(str(value)).get("ip", "") if value else ""
    return address.partition("/")[0] if "." in address else None
