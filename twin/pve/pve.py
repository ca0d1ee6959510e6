"""The corrected fake: fakepve with every correction of this package mixed in."""

from __future__ import annotations

from typing import Any

from twin.pve.access import Access
from twin.pve.access_acl import AccessAcl
from twin.pve.access_users import AccessUsers
from twin.pve.backup_jobs import BackupJobs
from twin.pve.edge import Edge
from twin.pve.firewall import Firewall
from twin.pve.login import Login
from twin.pve.storage import Storage
from twin.pve.vzdump import Vzdump


class Pve(Edge, Storage, Firewall, Vzdump, Login, BackupJobs, AccessUsers, AccessAcl):
    """A fake Proxmox VE that answers as the recordings of a real one do.

    Args:
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        version: the Proxmox VE version to be, "8.4.21" or "9.2.11": some defaults differ.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, version: str = "9.2.11") -> None:
        super().__init__(host=host, port=port)
        self.version = version
        self.release_version = ".".join(version.split(".")[:2])
        self.access = Access(self.major)
        self.bridges = {"vmbr0"}
        #: Faults that were applied and not cleared: see faults.py.
        self.faults: list[Any] = []

    @property
    def major(self) -> int:
        """Proxmox VE's major version."""
        return int(self.version.partition(".")[0])
