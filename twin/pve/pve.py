"""The corrected fake: fakepve with every correction of this package mixed in."""

from __future__ import annotations

from fakepve import FakePve


class Pve(FakePve):
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
        # With fakepve's default None even token users pass checks that are for root@pam only.
        self.acl: dict[str, list[tuple[str, set[str]]]] = {}
