"""The fake Proxmox VE API: fakepve, corrected where real Proxmox answers otherwise.

`Pve` is the fake, `Server` runs it in a thread of its own, `furnish` gives it a small home node.
"""

from twin.pve.furnish import furnish
from twin.pve.pve import Pve
from twin.pve.server import Server

__all__ = ["Pve", "Server", "furnish"]
