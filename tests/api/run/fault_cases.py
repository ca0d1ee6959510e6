"""What a whole run must do about each fault of twin/pve/fault_table.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.api.run.conftest import Home, container, fleet_of, machine
from twin.pve.furnish import DEBIAN_TEMPLATE

CONVERGES: tuple[str, ...] = ()  # ends 0, with the state that was asked for
EITHER = None  # chance decides; what it must not do is lie


@dataclass(frozen=True)
class Case:
    """A fault with its parameters, and how the run that meets it ends.

    Args:
        params: of the fault.
        says: words that the failing run must say; CONVERGES, or EITHER.
        there: whether the guests are deployed already and a change waits; else nothing is there.
        scale: the fake's time_scale.
        before: done to the home before the fault.
    """

    params: dict[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] | None = CONVERGES
    there: bool = False
    scale: float = 0.0
    before: Callable[[Home], None] | None = None


def base() -> dict[str, Any]:
    """The fleet as it was deployed first."""
    return fleet_of(comms=container(), database=machine(restart="allowed"))


def changed() -> dict[str, Any]:
    """The fleet as every run of these tests wants it: live changes, new volumes, a restart."""
    return fleet_of(
        comms=container(memory="1 GiB", disk="16 GiB", mounts={"mp0": {"path": "/srv", "size": "1 GiB"}}),
        database=machine(restart="allowed", cores=4, disks={"scsi1": {"size": "1 GiB"}}),
    )


def stopped(home: Home) -> None:
    """Both guests were stopped by somebody."""
    for vmid in (135, 136):
        home.pve.guest(vmid).status = "stopped"


def without_template(home: Home) -> None:
    """The template is not on the node; a download would bring it."""

    async def fetch(url: str) -> bytes:
        return b"template"

    home.pve.fetch = fetch
    name = DEBIAN_TEMPLATE.rpartition("/")[2]
    del home.pve.storages["local"]["volumes"][f"vztmpl/{name}"]


def on_ceph(home: Home) -> None:
    """The guests' disks go to Ceph."""
    home.pve.add_ceph_storage("ceph")
    home.pve.storages["ceph"].update(avail=800 * 1024**3, volumes={})
    home.fleet["nodes"]["pve"]["storage"] = "ceph"
    home.declare(home.fleet)


CT, CT_CONFIG = "/nodes/pve/lxc", "/nodes/pve/lxc/135/config"
EXPECTED: dict[str, tuple[Case, ...]] = {
    "config-lock": (Case({"vmid": 135}, ("guest comms", "lock"), there=True),),
    "guest-lock": (Case({"vmid": 135}, ("guest comms", "locked (snapshot)"), there=True),),
    "backup": (Case({"vmid": 136}, ("guest database", "locked (backup)"), there=True),),
    "moved": (Case({"vmid": 135, "node": "pve2"}, ("guest comms", "already exists"), there=True),),
    "slow-guest": (Case({"vmid": 136, "start": 1, "shutdown": 1, "stop": 1}, there=True, scale=0.3),),
    "deaf-guest": (Case({"vmid": 136}, ("restart guest database",), there=True, scale=0.005),),
    "start-fails": (Case({"vmid": 135}, ("start guest comms", "startup"), there=True, before=stopped),),
    "agent-hangs": (Case({"vmid": 136}, there=True),),
    "offline": (Case({"node": "pve"}, ("pve", "No route to host")),),
    "slow": (Case({"seconds": 0.1}, scale=1.0),),
    "hanging": (Case({"seconds": 1}, ("no answer came in time",)),),
    "dropping": (Case({"rate": 0.1}, EITHER), Case({"rate": 0.9}, ("the connection broke",))),
    "http": (
        Case({"path": CT, "status": 596, "message": "Connection timed out"}, ("596",)),
        Case({"path": CT, "status": 502, "message": "<html>bad gateway</html>", "html": True}, ("502",)),
        Case({"path": CT, "status": 596, "message": "Broken pipe", "times": 2}),
        Case({"method": "POST", "path": CT, "status": 595, "message": "No route", "times": 1}),
        Case({"method": "POST", "path": CT, "status": 500, "message": "boom"}, ("guest comms", "boom")),
        Case(
            {"method": "PUT", "path": CT_CONFIG, "status": 500, "message": "got no worker upid"},
            ("guest comms", "got no worker upid"),
            there=True,
        ),
    ),
    "named": (
        Case({"path": CT, "error": "no_quorum"}, ("create guest comms", "no quorum")),
        Case({"path": CT, "error": "permission_check_failed"}, ("create guest comms", "Permission check")),
        Case(
            {"method": "PUT", "path": CT_CONFIG, "error": "config_lock_timeout"},
            ("guest comms", "can't lock file"),
            there=True,
        ),
        Case({"method": "PUT", "path": CT_CONFIG, "error": "locked", "times": 1}, there=True),
    ),
    "task": (
        Case({"type": "vzcreate", "message": "unable to create CT 135"}, ("create guest comms", "unable to")),
        Case({"type": "qmcreate", "message": "unable to create VM 136"}, ("guest database", "unable to")),
        Case({"type": "vzstart", "message": "startup failed"}, ("start guest comms", "startup failed")),
        Case({"type": "resize", "message": "lvextend failed"}, ("grow", "lvextend failed"), there=True),
        Case({"type": "vzcreate", "message": "can't lock file '/x' - got timeout", "times": 1}),
    ),
    "slow-task": (Case({"type": "vzcreate", "seconds": 20}, scale=0.05),),
    "download": (Case({}, ("debian", "ERROR 404"), before=without_template),),
    "quorum": (Case({}, ("no quorum", "pvecm status")), Case({}, ("no quorum",), there=True)),
    "full": (
        Case({"storage": "local-lvm"}, ("space",)),
        Case({"storage": "local-lvm"}, ("space",), there=True),
    ),
    "storage-offline": (Case({"storage": "local-lvm"}, ("local-lvm", "not")),),
    "ceph-down": (Case({}, ("create guest", "ceph"), before=on_ceph),),
    "ceph-slow": (Case({"seconds": 5}, scale=0.02, before=on_ceph),),
    "bridge": (Case({}, ("start guest", "bridge 'vmbr0' does not exist")),),
    "token-revoked": (Case({}, ("log in at", "PROXMOX_VE_API_TOKEN")),),
    "token-expired": (Case({}, ("log in at", "PROXMOX_VE_API_TOKEN")),),
    "user-disabled": (Case({}, ("log in at", "PROXMOX_VE_API_TOKEN"), there=True),),
    "tickets-expired": (Case({}),),
    "forbidden": (
        Case({"privilege": "VM.Allocate"}, ("create guest", "Permission check failed", "hearth doctor")),
        Case({"privilege": "VM.PowerMgmt"}, ("guest comms", "VM.PowerMgmt", "hearth doctor")),
        Case({"privilege": "Datastore.AllocateSpace"}, ("create guest", "Datastore.AllocateSpace")),
        Case({"privilege": "VM.Config.Memory"}, ("guest comms", "VM.Config.Memory"), there=True),
        Case({"privilege": "VM.Audit"}, ("already exists", "may not see it", "hearth doctor"), there=True),
    ),
}
