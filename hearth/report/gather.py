"""Everything that the page shows, asked for; what cannot be asked says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hearth.drift.finding import Drift
from hearth.drift.look import look
from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest, Node
from hearth.monitored import Place, place_of
from hearth.outdated.pins import Pin, pins
from hearth.pki.certificates import load_certificate, names_of
from hearth.report import alerts, backups, drill, health, topology
from hearth.report.asked import Asked, ask, nothing
from hearth.role.certificates import certificate_for
from hearth.run import Run


@dataclass(frozen=True)
class NodePart:
    """A node: what the fleet file says, and how it is."""

    node: Node
    health: Asked[health.NodeHealth]


@dataclass(frozen=True)
class GuestPart:
    """A guest: what the fleet file says, where it is, its state, and how it is where it runs."""

    guest: Guest
    node: str
    state: str
    health: health.GuestHealth | None
    backup: backups.Last | None


@dataclass(frozen=True)
class CertificatePart:
    """A certificate: whose, for what, until when, and days that are left; negative after its end."""

    name: str
    names: tuple[str, ...]
    end: datetime
    days: int


@dataclass(frozen=True)
class Page:
    """All of the page.

    Args:
        made: when, UTC.
        nodes, guests: the machines.
        drawing: who talks to whom.
        drift: what is otherwise.
        versions: what is pinned.
        jobs: Proxmox's backup jobs.
        drill: the last one.
        certificates: the CA's and the guests'.
        alerts: what is wrong just now.
    """

    made: datetime
    nodes: tuple[NodePart, ...]
    guests: tuple[GuestPart, ...]
    drawing: Asked[topology.Drawing]
    drift: Asked[Drift]
    versions: Asked[list[Pin]]
    jobs: Asked[tuple[backups.Job, ...]]
    drill: Asked[drill.Drill]
    certificates: Asked[tuple[CertificatePart, ...]]
    alerts: Asked[tuple[alerts.Alert, ...]]


def gather(run: Run, now: datetime | None = None) -> Page:
    """Ask everything, with GETs and facts only.

    Args:
        run: a run that only plans.
        now: the time, UTC.

    Raises:
        HearthError: the fleet file is no good.
    """
    fleet = run.fleet
    made = now or datetime.now(UTC)
    dumps = {node.name: ask(partial(_dumps, run, node.name)) for node in fleet.nodes}
    running = _running(run, fleet)
    guests = tuple(_guest(run, guest, running, dumps) for guest in fleet.guests)
    return Page(
        made=made,
        nodes=tuple(NodePart(node, ask(partial(_node, run, node.name))) for node in fleet.nodes),
        guests=guests,
        drawing=ask(lambda: _drawing(run, guests)),
        drift=ask(lambda: look(run)),
        versions=ask(lambda: pins(run.values, fleet, run.project / "templates", lambda node: [])),
        jobs=ask(lambda: backups.jobs(run.survey.api(fleet.nodes[0].name).get("/cluster/backup") or [])),
        drill=_drill(run),
        certificates=ask(lambda: certificates(run, made)),
        alerts=_alerts(run),
    )


def _node(run: Run, name: str) -> health.NodeHealth:
    api = run.survey.api(name)
    return health.node_health(
        api.get("/version") or {},
        api.get(f"/nodes/{name}/status") or {},
        api.get(f"/nodes/{name}/storage", enabled=1) or [],
    )


def _running(run: Run, fleet: Fleet) -> Mapping[int, health.GuestHealth]:
    found: dict[int, health.GuestHealth] = {}
    for node in fleet.nodes:
        rows = ask(partial(_rows, run, node.name))
        found |= health.guest_health(rows.value or [])
    return found


def _rows(run: Run, node: str) -> list[Any]:
    api = run.survey.api(node)
    return [*(api.get(f"/nodes/{node}/lxc") or []), *(api.get(f"/nodes/{node}/qemu") or [])]


def _dumps(run: Run, node: str) -> dict[int | None, backups.Last]:
    rows = run.survey.api(node).get(f"/nodes/{node}/tasks", typefilter=backups.TASK, limit=500)
    return backups.last(node, rows or [])


def _guest(
    run: Run,
    guest: Guest,
    running: Mapping[int, health.GuestHealth],
    dumps: Mapping[str, Asked[dict[int | None, backups.Last]]],
) -> GuestPart:
    try:
        node, state = run.survey.node_of(guest), run.survey.state_of(guest)
    except HearthError:
        node, state = guest.node, "unknown"
    found = dumps.get(node)
    last = (found.value or {}).get(guest.vmid) if found else None
    return GuestPart(guest, node, state, running.get(guest.vmid), last)


def _drawing(run: Run, guests: Iterable[GuestPart]) -> topology.Drawing:
    living: dict[str, list[str]] = {node.name: [] for node in run.fleet.nodes}
    states = {}
    for part in guests:
        living.setdefault(part.node, []).append(part.guest.name)
        states[part.guest.name] = part.state
    return topology.draw(living, states, topology.edges(run.walls.flows, run.fleet, run.roles))


def certificates(run: Run, now: datetime) -> tuple[CertificatePart, ...]:
    """The certificates that the secrets hold, the one that ends first first. Raises HearthError."""
    named = {"the home's CA": "ca/cert"}
    for guest in run.fleet.guests:
        if certificate_for(guest, run.fleet, run.roles) is not None:
            named[guest.name] = f"tls/{guest.name}/cert"
    found = []
    for name, secret in named.items():
        text = run.secrets.find(secret)
        if text is not None:
            certificate = load_certificate(secret, text)
            end = certificate.not_valid_after_utc
            names = tuple(sorted(map(str, names_of(certificate))))
            found.append(CertificatePart(name, names, end, (end - now).days))
    return tuple(sorted(found, key=lambda one: one.end))


def _drill(run: Run) -> Asked[drill.Drill]:
    asked = ask(lambda: drill.read(run.state_dir / drill.FILE))
    if asked.value is None and not asked.why:
        return nothing("no drill was held from this machine yet")
    return Asked(asked.value, asked.why)


def _alerts(run: Run) -> Asked[tuple[alerts.Alert, ...]]:
    place: Asked[Place | None] = ask(lambda: place_of(run, alerts.ROLE, alerts.PORT, "Alertmanager"))
    if place.why:
        return Asked(why=place.why)
    known = place.value
    if known is None:
        return nothing("no guest has the role alerts: nobody watches this home")
    return ask(lambda: alerts.alerts(known.ask(alerts.PATH, active="true")))
