"""A small home node for a fake: node, storages, template, cloud image, Hearth's user and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.pve.pve import Pve

GIB = 1024**3

DEBIAN_TEMPLATE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
DEBIAN_IMAGE = "local:import/debian-12-genericcloud-amd64.qcow2"

#: What Hearth's own role holds: guests, images, templates, pools, bridges, the node's firewall.
HEARTH_PRIVILEGES = (
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Pool.Allocate",
    "Pool.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.GuestAgent.Audit",
    "VM.Monitor",
    "VM.PowerMgmt",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a furnished fake, each as `user@realm!id=secret`."""

    hearth: str
    root: str


def furnish(pve: Pve, node: str = "pve", images: bool = True) -> Tokens:
    """Turn an empty fake into a home's node.

    Args:
        pve: the fake; its nodes and storages are replaced.
        node: name of its one node.
        images: whether the Debian template and cloud image are on the storage already.

    Returns:
        The tokens `hearth@pve!deploy` (least privilege) and `root@pam!admin` (no privilege separation).
    """
    pve.nodes = {node: {"online": True}}
    pve.storages = _storages()
    if images:
        pve.store_file("local", DEBIAN_TEMPLATE.rpartition("/")[2], 120 * 1024**2, "vztmpl")
        pve.store_file("local", DEBIAN_IMAGE.rpartition("/")[2], 350 * 1024**2, "import")
        pve.storages["local"]["volumes"][DEBIAN_IMAGE.partition(":")[2]]["virtual"] = 2 * GIB
    return Tokens(hearth=_hearth(pve), root=pve.add_token("root@pam!admin", privsep=False))


def _storages() -> dict[str, dict[str, object]]:
    return {
        "local": {
            "type": "dir",
            "path": "/var/lib/vz",
            "content": "iso,vztmpl,backup,import",
            "active": 1,
            "files": set(),
            "volumes": {},
            "avail": 80 * GIB,
        },
        "local-lvm": {
            "type": "lvmthin",
            "vgname": "pve",
            "thinpool": "data",
            "content": "images,rootdir",
            "active": 1,
            "files": set(),
            "volumes": {},
            "avail": 800 * GIB,
        },
    }


def _hearth(pve: Pve) -> str:
    """Hearth's own user, role and token, as `hearth doctor` tells the admin to make them."""
    pve.access.custom["Hearth"] = frozenset(HEARTH_PRIVILEGES) & pve.access.privileges
    token = pve.add_token("hearth@pve!deploy")
    for who in ("hearth@pve", "hearth@pve!deploy"):
        pve.give("/", "Hearth", who)
    return token
