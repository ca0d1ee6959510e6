"""A whole look: every part asked, with GETs and facts only, and one that cannot be asked stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from hearth.drift import certificates, dry_run, guests, tailnet
from hearth.drift.finding import Collected, Drift, Finding, Trouble
from hearth.drift.settings import Settings, read_settings
from hearth.errors import HearthError
from hearth.fleet.model import Fleet
from hearth.lock import holder
from hearth.pki.certificates import load_certificate, wanted_names
from hearth.proxmox.plan import GuestPlan
from hearth.role.certificates import certificate_for
from hearth.role.coordination import access_for
from hearth.role.tailnet import known_names, member_names
from hearth.run import Run
from hearth.tailnet import connect, policy, status


@dataclass
class Look:
    """One look at a home.

    Args:
        run: a run that only plans.
        now: the time, UTC.
        clean_plan: makes the plan of a deploy without the guests of these names; replaced in tests.
    """

    run: Run
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    clean_plan: Callable[[Run, Iterable[str]], dict[str, Any]] = lambda run, without: dry_run.dry_run(
        run.project, run.environ, without
    )

    @property
    def fleet(self) -> Fleet:
        """The fleet."""
        return self.run.fleet

    @cached_property
    def settings(self) -> Settings:
        """What the admin wants to hear of."""
        return read_settings(self.run.values)

    @cached_property
    def plans(self) -> dict[str, GuestPlan | HearthError]:
        """The plan of every guest, or why there is none."""
        found: dict[str, GuestPlan | HearthError] = {}
        for guest in self.fleet.guests:
            try:
                found[guest.name] = self.run.survey.plan(guest)
            except HearthError as error:
                found[guest.name] = error
        return found

    @cached_property
    def inside(self) -> frozenset[str]:
        """The guests that a dry run can look into."""
        return frozenset(
            name
            for name, plan in self.plans.items()
            if isinstance(plan, GuestPlan) and guests.examined_inside(plan)
        )

    @cached_property
    def refused(self) -> frozenset[str]:
        """The guests for which a run would not begin."""
        return frozenset(
            name for name, plan in self.plans.items() if isinstance(plan, GuestPlan) and plan.refusals
        )

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The dry run's plan. Raises HearthError."""
        return self.clean_plan(self.run, sorted(self.refused))


Part = Callable[[Look, Collected], None]


def of_guests(look: Look, into: Collected) -> None:
    """Guests of the fleet, and those of nobody."""
    for name, plan in look.plans.items():
        if isinstance(plan, HearthError):
            into.troubles.append(Trouble(name, str(plan)))
        else:
            into.findings += guests.of_plan(plan)
            into.findings += guests.left_out(plan)
    views = look.run.survey.views
    ours = [guest.vmid for guest in look.fleet.guests]
    into.findings += guests.left_over(views, ours, look.settings.known)
    _strange(into, look.settings.unmanaged, guests.unmanaged(views, ours, look.settings.known))


def of_insides(look: Look, into: Collected) -> None:
    """Files, services, the guests' walls, Proxmox's firewall, the nodes' places in the tailnet."""
    nodes = [node.name for node in look.fleet.nodes]
    found = dry_run.of_plan(look.plan, look.inside, nodes)
    into.findings += found.findings
    known = {trouble.subject for trouble in into.troubles}
    into.troubles += [trouble for trouble in found.troubles if trouble.subject not in known]
    _strange(into, look.settings.foreign, found.notes)


def of_tailnet(look: Look, into: Collected) -> None:
    """Devices, routes and policy, where the fleet has a tailnet."""
    run = look.run
    if run.fleet.tailnet is None:
        return
    given = access_for(run.fleet, run.roles, run.environ, run.secrets)
    api = connect(given)
    expected, known = member_names(run.fleet), known_names(run.fleet)
    down = {guest.name for guest in run.fleet.guests} - look.inside
    into.findings += tailnet.of_devices(status.rows(api.devices(), expected, known, look.now), down)
    file = run.project / policy.FILE
    if file.exists():
        memory = policy.Memory(run.state_dir / policy.MEMORY, f"{given.url} {given.tailnet}")
        state = policy.compare(policy.load(file), api.policy(), memory.applied())
        into.findings += tailnet.of_policy(state)


def of_certificates(look: Look, into: Collected) -> None:
    """What the secrets hold for each guest that serves TLS."""
    secrets = look.run.secrets
    stored = secrets.find("ca/cert")
    authority = load_certificate("ca/cert", stored) if stored else None
    for guest in look.fleet.guests:
        names = certificate_for(guest, look.fleet, look.run.roles)
        plan = look.plans[guest.name]
        if names is None or not isinstance(plan, GuestPlan) or plan.state == "absent":
            continue
        wanted = wanted_names(guest.name, names.names, names.addresses)
        text = secrets.find(f"tls/{guest.name}/cert")
        there = load_certificate(f"tls/{guest.name}/cert", text) if text else None
        kept = certificates.Kept(guest.name, wanted, there)
        into.findings += certificates.of_certificate(kept, authority, look.now)


def _strange(into: Collected, wish: str, found: Iterable[Finding]) -> None:
    """What is not Hearth's, as the admin wants to hear of it."""
    if wish == "drift":
        into.findings += found
    elif wish == "report":
        into.notes += found


# What else the home keeps adds its part here: (name for errors, part).
PARTS: tuple[tuple[str, Part], ...] = (
    ("guests", of_guests),
    ("files and services", of_insides),
    ("tailnet", of_tailnet),
    ("certificates", of_certificates),
)


def look(run: Run, parts: Iterable[tuple[str, Part]] = PARTS) -> Drift:
    """Everything that is otherwise.

    Args:
        run: a run that only plans.
        parts: what is looked at.

    Raises:
        HearthError: the fleet file or group_data are no good, so that nothing can be compared; or a run is
            under way.
    """
    one = Look(run)
    other = holder(run.state_dir / "lock")
    if other is not None:
        raise HearthError(
            "look for drift", f"a run is under way{other}", "wait for it: what it has not done is no drift"
        )
    _ = one.fleet, one.settings  # mistakes of the admin's own files stop all
    into = Collected()
    for name, part in parts:
        try:
            part(one, into)
        except HearthError as error:
            into.troubles.append(Trouble("home", f"{name}: {error}"))
    return into.drift()
