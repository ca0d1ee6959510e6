"""Every port that the fleet serves; what is checked, and later opened and watched, is taken from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hearth.fleet.model import Fleet, Guest
from hearth.role.declaration import Port, Role


@dataclass(frozen=True)
class Served:
    """A port that a role serves on a guest."""

    guest: Guest
    role: Role
    port: Port

    def __str__(self) -> str:
        return f"{self.guest.name}-{self.role.name}-{self.port.name}"

    @property
    def health(self) -> str:
        """The name of the check that proves it: the port's own, else "tls" or "tcp"."""
        return self.port.health or ("tls" if self.port.tls else self.port.protocol)


def served(fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Served, ...]:
    """Every port of every role of every guest, in the file's order."""
    return tuple(
        Served(guest, roles[name], port)
        for guest in fleet.guests
        for name in guest.roles
        for port in roles[name].provides
    )
