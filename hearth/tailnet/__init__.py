"""The tailnet: who is in it, under which name, by which policy.

`connect` gives an `Api`; `joining` is what a guest's joining needs of it; `members` decides on plain data.
"""

from hearth.tailnet.access import Access, access
from hearth.tailnet.connect import connect
from hearth.tailnet.errors import NotServedError, PolicyChangedError, PolicyRefusedError, TailnetError
from hearth.tailnet.model import Api, Device, Dns, JoinKey, Policy

__all__ = [
    "Access",
    "Api",
    "Device",
    "Dns",
    "JoinKey",
    "NotServedError",
    "Policy",
    "PolicyChangedError",
    "PolicyRefusedError",
    "TailnetError",
    "access",
    "connect",
]
