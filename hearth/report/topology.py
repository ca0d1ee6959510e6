"""Who lives where and who talks to whom, and the drawing of it: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hearth.firewall.flows import Flow
from hearth.fleet.model import Fleet
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Role

ROW, TOP, DOT, WIDTH = 30, 14, 178, 360  # units of the drawing
NEAREST, FARTHEST = 24, 210  # how far an arc may reach to the right
DOOR = 20  # and further, so that it is not hidden by another one between the same guests


@dataclass(frozen=True, order=True)
class Edge:
    """A guest that reaches another one.

    Args:
        user, provider: their names.
        ports: what for: "mosquitto.mqtts 8883".
        door: through the front door, for whoever is in the home.
    """

    user: str
    provider: str
    ports: tuple[str, ...]
    door: bool = False

    @property
    def words(self) -> str:
        """For people who do not see the drawing."""
        verb = "passes on to" if self.door else "uses"
        return f"{self.user} {verb} {self.provider}: {', '.join(self.ports)}"


def edges(flows: Iterable[Flow], fleet: Fleet, roles: Mapping[str, Role]) -> tuple[Edge, ...]:
    """The ways between guests: what roles need of each other, what guests of one role say to each other, and
    the front door's passages.

    Args:
        flows: the table.
        fleet: the fleet.
        roles: every role there is.
    """
    ports: dict[tuple[str, str, bool], set[str]] = defaultdict(set)
    for user, provider, label in _needs(fleet, roles):
        ports[user, provider, False].add(label)
    for flow in flows:
        if flow.who in ("fleet", "door"):
            for user in _who_reaches(flow, fleet):
                ports[user, flow.guest, flow.who == "door"].add(f"{flow.why} {flow.port}")
    return tuple(
        sorted(
            Edge(user, provider, tuple(sorted(found)), door)
            for (user, provider, door), found in ports.items()
        )
    )


def _needs(fleet: Fleet, roles: Mapping[str, Role]) -> Iterator[tuple[str, str, str]]:
    """User, provider, and what for."""
    for guest in fleet.guests:
        for need in (need for name in guest.roles if name in roles for need in roles[name].needs):
            for provider in fleet.with_role(need.role):
                if provider.name != guest.name:
                    number = roles[need.role].port(need.port).number
                    yield guest.name, provider.name, f"{need.role}.{need.port} {number}"


def _who_reaches(flow: Flow, fleet: Fleet) -> Iterator[str]:
    for guest in fleet.guests:
        reaches = any(address in flow.sources for address in fixed_addresses(guest))
        if guest.name != flow.guest and reaches:
            yield guest.name


@dataclass(frozen=True)
class Row:
    """A line of the drawing.

    Args:
        name: a node's or guest's.
        y: its middle.
        node: a node, not a guest.
        state: a guest's: "running", "stopped", "absent", "unknown".
    """

    name: str
    y: int
    node: bool = False
    state: str = ""


@dataclass(frozen=True)
class Arc:
    """An edge as a curve.

    Args:
        path: for SVG's `d`.
        edge: what it stands for.
    """

    path: str
    edge: Edge


@dataclass(frozen=True)
class Drawing:
    """Nodes with their guests below each other, and arcs from users to providers at their right."""

    rows: tuple[Row, ...]
    arcs: tuple[Arc, ...]
    height: int
    width: int = WIDTH
    dot: int = DOT


def draw(living: Mapping[str, Sequence[str]], states: Mapping[str, str], found: Iterable[Edge]) -> Drawing:
    """The drawing.

    Args:
        living: node -> its guests, by name.
        states: guest -> state.
        found: the ways between guests.
    """
    rows: list[Row] = []
    for node, guests in living.items():
        rows.append(Row(node, TOP + len(rows) * ROW, node=True))
        for guest in guests:
            rows.append(Row(guest, TOP + len(rows) * ROW, state=states.get(guest, "unknown")))
    place = {row.name: row.y for row in rows if not row.node}
    arcs = tuple(
        Arc(_curve(place[edge.user], place[edge.provider], len(rows), edge.door), edge)
        for edge in found
        if edge.user in place and edge.provider in place
    )
    return Drawing(tuple(rows), arcs, TOP * 2 + (len(rows) - 1) * ROW if rows else 0)


def _curve(start: int, end: int, rows: int, door: bool) -> str:
    """A curve whose bow tells how far apart its ends are; an arrow has room at its end."""
    share = abs(end - start) / (max(rows - 1, 1) * ROW)
    bow = DOT + NEAREST + round(share * (FARTHEST - NEAREST)) + (DOOR if door else 0)
    side = 4 if end > start else -4  # there and back are two curves
    return f"M{DOT + 6} {start + side} C{bow} {start + side} {bow} {end - side} {DOT + 10} {end - side}"
