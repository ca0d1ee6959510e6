"""The order in which roles are deployed."""

from __future__ import annotations

from collections.abc import Mapping

from hearth.errors import HearthError
from hearth.role.declaration import Role

FIRST = "base"


def in_order(roles: Mapping[str, Role]) -> tuple[str, ...]:
    """Every role after those it needs and those that bring it; `base` and what it brings first; else as is.

    A need for a role that is not in the mapping, one of run time only, and a role's need for itself (a bridge
    between two brokers) order nothing.

    Raises:
        HearthError: roles need each other in a circle, which is named.
    """
    order: list[str] = []
    # What `base` brings is about every guest: a wall opens for a new flow before a role uses it.
    everywhere = (FIRST, *(roles[FIRST].companions if FIRST in roles else ()))
    for name in sorted(roles, key=lambda name: name not in everywhere):
        _visit(name, roles, order, ())
    return tuple(order)


def _visit(name: str, roles: Mapping[str, Role], order: list[str], path: tuple[str, ...]) -> None:
    if name in order:
        return
    if name in path:
        circle = " -> ".join((*path[path.index(name) :], name))
        raise HearthError(
            "order the roles", f"they need each other in a circle: {circle}", "drop one of the needs"
        )
    for before in _before(name, roles):
        _visit(before, roles, order, (*path, name))
    order.append(name)


def _before(name: str, roles: Mapping[str, Role]) -> list[str]:
    needed = [need.role for need in roles[name].needs if not need.later]
    bringing = [other for other, role in roles.items() if name in role.companions]
    return [role for role in (*needed, *bringing) if role in roles and role != name]
