"""A fleet, a run and a guest for tests of roles; nothing here touches a machine but temporary folders."""

from __future__ import annotations

import runpy
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hearth.fleet.model import Admin, Fleet, Guest, Network, Node
from hearth.known_hosts import KnownHosts
from hearth.phones.registry import Phones
from hearth.pki import Authority
from hearth.role.catalogue import load_roles
from hearth.role.declaration import Role
from hearth.role.here import Here, Restoring
from hearth.secrets import SecretStore

PROJECT = Path(__file__).parents[3]
LAN = Network(name="lan", bridge="vmbr0", subnet=IPv4Network("192.168.1.0/24"), domain="home.test")
NODE = Node(
    name="pve",
    address=IPv4Address("192.168.1.185"),
    endpoint="https://192.168.1.185:8006",
    storage="s",
    images="i",
)


def guest(name: str, last: int, *roles: str, **more: Any) -> Guest:
    """A container at 192.168.1.<last>."""
    given = {"kind": "lxc", "address": IPv4Address(f"192.168.1.{last}"), **more}
    return Guest(name=name, node="pve", vmid=last, network="lan", roles=("base", *roles), **given)


def fleet(*guests: Guest, **admin: Any) -> Fleet:
    """A fleet of one node and one network."""
    return Fleet(nodes=(NODE,), networks=(LAN,), guests=guests, admin=Admin(**admin))


def dual(name: str, last: int, *roles: str) -> Guest:
    """A guest with an IPv6 address too."""
    return guest(name, last, *roles, address6=IPv6Address(f"fd00::{last}"))


class Data(SimpleNamespace):
    """pyinfra's HostData, as far as roles use it."""

    def get(self, name: str, default: Any = None) -> Any:
        """A value, or the default."""
        return getattr(self, name, default)


def group_data(**changes: Any) -> Data:
    """What pyinfra's `host.data` holds: the values of group_data/, and changes to them."""
    values: dict[str, Any] = {}
    for path in (PROJECT / "group_data").glob("*.py"):
        values |= {
            k: v for k, v in runpy.run_path(str(path)).items() if k.islower() and not k.startswith("_")
        }
    return Data(**{**values, **changes})


@dataclass
class FakeRun:
    """Whatever Here asks of a run, with secrets that stay in memory."""

    fleet: Fleet
    roles: dict[str, Role] = field(default_factory=lambda: load_roles(PROJECT / "roles"))
    project: Path = PROJECT
    phones: Phones = field(default_factory=Phones)
    known_hosts: KnownHosts = field(default_factory=lambda: KnownHosts(Path("/nonexistent/known_hosts")))
    restoring: Restoring | None = None
    secrets: SecretStore = field(
        default_factory=lambda: SecretStore(
            Path("/nonexistent/secrets.age"), Path("/nonexistent/age.key"), {}
        )
    )

    def __post_init__(self) -> None:
        self.authority = Authority(self.secrets)

    def here(self, name: str, role: str, **data: Any) -> Here:
        """One role on one guest."""
        return Here(
            self,
            self.fleet.guest(name),
            SimpleNamespace(data=group_data(**data), name=name),
            self.roles[role],
        )
