"""The front door: its guest's address answers on every `door` port of the home, whatever guest serves it.

HAProxy of role `front`, which this one brings, does the work; here stands that a guest is the door.
"""

from __future__ import annotations

from hearth.errors import HearthError
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Role
from hearth.role.here import Here

role = Role(brings=("front",))


@role.deploy
def front_door(here: Here) -> None:
    """Nothing of its own but the demand that phones can be told an address.

    Raises:
        HearthError: the guest has no fixed address.
    """
    if not fixed_addresses(here.guest):
        raise HearthError(
            f"make {here.guest.name} the front door",
            "it has no fixed address",
            "give it an address in the fleet file",
        )
