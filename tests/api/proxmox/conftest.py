"""A small fleet on the corrected fake, and how a run goes through its guest layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from hearth.fleet.model import Fleet, Guest, Image, Network, Node
from hearth.proxmox import observe
from hearth.proxmox.api import Api, connect
from hearth.proxmox.guests import converge
from hearth.proxmox.plan import GuestPlan, Intent, plan_guest
from hearth.proxmox.wrapper import NodeShell
from twin.pve import Pve
from twin.pve.furnish import DEBIAN_IMAGE, DEBIAN_TEMPLATE

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKly5rO/DdfA6KOQ4MF6jiiy+BhpNMeUUN7DW6xcWwlc test@example"


def file_of(volume: str) -> str:
    """The file name of a volume ID."""
    return volume.rpartition("/")[2]


def fleet_of(*guests: Guest, **network: Any) -> Fleet:
    """A fleet of these guests on one node."""
    address = "192.168.1.185"
    node = Node(
        name="pve", address=address, endpoint=f"https://{address}:8006", storage="local-lvm", images="local"
    )
    lan = {"bridge": "vmbr0", "subnet": "192.168.1.0/24", "gateway": "192.168.1.1", **network}
    return Fleet(
        nodes=(node,),
        networks=(Network(name="lan", **lan),),
        images=(
            Image(name="debian", kind="lxc", url=f"http://images.example/{file_of(DEBIAN_TEMPLATE)}"),
            Image(name="cloud", kind="vm", url=f"http://images.example/{file_of(DEBIAN_IMAGE)}"),
        ),
        guests=guests,
    )


def container(**fields: Any) -> Guest:
    """A container as the default fleet has them."""
    known: dict[str, Any] = {
        "name": "comms",
        "kind": "lxc",
        "node": "pve",
        "vmid": 135,
        "network": "lan",
        "address": "192.168.1.135",
        "mac": "02:48:00:00:00:87",
        "cores": 1,
        "memory": 512,
        "swap": 512,
        "disk": 8192,
        "image": "debian",
        "unprivileged": True,
        "features": {"nesting": True},
        "onboot": True,
    }
    return Guest(**(known | fields))


def machine(**fields: Any) -> Guest:
    """A VM as the default fleet has them."""
    known: dict[str, Any] = {
        "name": "database",
        "kind": "vm",
        "node": "pve",
        "vmid": 136,
        "network": "lan",
        "address": "192.168.1.136",
        "mac": "02:48:00:00:00:88",
        "cores": 2,
        "memory": 2048,
        "disk": 16384,
        "image": "cloud",
        "onboot": True,
    }
    return Guest(**(known | fields))


@dataclass
class Home:
    """What a run does with one guest, without pyinfra."""

    pve: Pve
    api: Api
    shell: NodeShell | None = None
    said: list[str] = field(default_factory=list)

    def plan(self, guest: Guest, api: Api | None = None, **named: Any) -> GuestPlan:
        """Look and plan, as a run does: GETs only."""
        network = named.pop("lan", {})
        intent = Intent(guest, fleet_of(guest, **network), "pve", (KEY,), **named)
        asked = api or self.api
        view = observe.observe(asked, "pve", ours=[guest.vmid])
        seen = view.find(guest.vmid)
        config = observe.read_config(asked, seen) if seen and seen.kind == guest.kind else None
        pools = observe.pools(asked, [guest.pool]) if guest.pool else None
        return plan_guest(intent, [view], config, pools)

    def run(self, guest: Guest, api: Api | None = None, **named: Any) -> GuestPlan:
        """A whole run; gives the plan it began with."""
        options = {"restart": named.pop("restart", True)}
        plan = self.plan(guest, api, **named)
        converge(api or self.api, plan, self.shell, self.said.append, **options)
        return plan

    def words(self, guest: Guest, **named: Any) -> list[str]:
        """The changes of the next run, as the admin reads them."""
        return [str(change) for change in self.plan(guest, **named).changes]

    def config(self, vmid: int) -> dict[str, Any]:
        """A guest's configuration in the fake."""
        return dict(self.pve.guest(vmid).config)

    def volumes(self) -> set[str]:
        """Every disk there is, whoever's it is."""
        return {
            f"{sid}:{name}"
            for sid, store in self.pve.storages.items()
            for name, volume in store.get("volumes", {}).items()
            if volume.get("content") in ("images", "rootdir")
        }


@pytest.fixture
def home(pve: Pve, pve_env: dict[str, str]) -> Home:
    """The fake with Hearth's own token, and patience that fits a test."""
    return Home(pve, api_for(pve_env))


@pytest.fixture
def new_api(pve_env: dict[str, str]) -> Callable[..., Api]:
    """Another connection to the same fake, with other patience."""

    def make(**options: Any) -> Api:
        return api_for(pve_env, **options)

    return make


def api_for(env: dict[str, str], **options: Any) -> Api:
    """An Api that sleeps hardly at all."""
    api = connect(fleet_of().nodes[0], env, **({"timeout": 5.0, "lock_timeout": 2.0} | options))
    real = api.sleep
    api.sleep = lambda seconds: real(min(seconds, 0.02))
    return api
