"""The MAC address of a guest, derived from its VMID.

A guest that is created again keeps its MAC, so nobody's ARP table is stale: it answers at once
instead of after 10 to 50 seconds.
"""

from __future__ import annotations

PREFIX = (0x02, 0x48)  # 02: locally administered, unicast (IEEE 802, 8.2); 48: "H"


def mac_of(vmid: int) -> str:
    """The MAC address of the guest with this VMID.

    Args:
        vmid: 100 to 999999999, as Proxmox has them.

    Returns:
        02:48 and the VMID as four bytes, big endian, in upper case: "02:48:00:00:00:87".
    """
    return ":".join(f"{byte:02X}" for byte in (*PREFIX, *vmid.to_bytes(4, "big")))
