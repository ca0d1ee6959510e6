"""The firewalls of this run: the table of flows, each cluster's plan, and the change behind its switch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Protocol

from hearth.firewall.flows import Flow, flows, management, pingers
from hearth.firewall.settings import Settings, log_level, read_settings
from hearth.fleet.model import Fleet, Guest
from hearth.path import addresses_towards
from hearth.proxmox.cluster import Cluster
from hearth.proxmox.firewall import probe
from hearth.proxmox.firewall.compare import differences
from hearth.proxmox.firewall.desired import API_PORT, Wants, desired
from hearth.proxmox.firewall.model import Seen, Wall, guest_scope
from hearth.proxmox.firewall.narrow import narrowed
from hearth.proxmox.firewall.observe import observe
from hearth.proxmox.firewall.plan import WallPlan
from hearth.proxmox.firewall.saved import Memory
from hearth.proxmox.firewall.switch import OFF, SWITCH_ON, Switch
from hearth.proxmox.observe import PATHS
from hearth.role.declaration import Role
from hearth.survey import Survey

Say = Callable[[str], None]


class RunLike(Protocol):
    """What Walls takes from the run (hearth.run.Run)."""

    @property
    def fleet(self) -> Fleet: ...
    @property
    def roles(self) -> Mapping[str, Role]: ...
    @property
    def survey(self) -> Survey: ...
    @property
    def values(self) -> Mapping[str, Any]: ...
    @property
    def state_dir(self) -> Path: ...
    def address_of(self, guest: Guest) -> str: ...


class Walls:
    """The walls of a run.

    Args:
        run: the run; everything is asked of it when it is first needed.
    """

    def __init__(self, run: RunLike) -> None:
        self._run = run
        self._plans: dict[str, WallPlan] = {}

    @cached_property
    def settings(self) -> Settings:
        """Whom the admin counts as what, this machine among management."""
        fleet = self._run.fleet
        return read_settings(self._run.values, fleet, addresses_towards(fleet))

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The table of flows."""
        return flows(self._run.fleet, self._run.roles, self.settings)

    @property
    def planned(self) -> Mapping[str, WallPlan]:
        """The plans that were made so far, by node or guest."""
        return self._plans

    def plan(self, host: str) -> WallPlan:
        """What a run does at a node, or for the guests where it leaves their nodes out; made once: GETs only.

        Args:
            host: the node, or a guest.

        Raises:
            HearthError: a value of group_data means nothing, or the node cannot be asked.
        """
        if host not in self._plans:
            guest = self._guest(host)
            self._plans[host] = self._plan_of_guests(guest) if guest else self._plan_of_node(host)
        return self._plans[host]

    def converge(self, host: str, say: Say) -> None:
        """Bring the firewall of a node's cluster to what the flows want; for a guest, its own part.

        Raises:
            HearthError: refused, or something did not answer any more; the message says how it ended.
        """
        guest = self._guest(host)
        node = self._run.survey.node_of(guest) if guest else host
        cluster = self._run.survey.cluster(node)
        wanted = self._wanted(cluster, self._guests(cluster))
        targets = list(self._targets(cluster))
        switch = Switch(
            api=self._run.survey.api(node),
            observe=lambda: self._seen(node, wanted),
            probe=lambda: probe.answering(targets),
            memory=self._memory(cluster),
            required=frozenset(target.name for target in targets[:1]),
            say=say,
        )
        switch.change(self._part(cluster, wanted, self._seen(node, wanted)) if guest else wanted)

    def _guest(self, host: str) -> Guest | None:
        return next((guest for guest in self._run.fleet.guests if guest.name == host), None)

    def _plan_of_node(self, node: str) -> WallPlan:
        cluster = self._run.survey.cluster(node)
        if node != cluster.first(self._run.fleet):
            return WallPlan(cluster.name)
        wanted = self._wanted(cluster, self._guests(cluster))
        seen = self._seen(node, wanted)
        saved = self._memory(cluster).load()
        ran_out = saved is not None and saved.armed and seen.enable == OFF
        return WallPlan(cluster.name, differences(wanted, seen), seen, ran_out)

    def _plan_of_guests(self, guest: Guest) -> WallPlan:
        """The first guest of a cluster does the work for all that this run is about.

        A firewall that is not on is the whole run's to switch on.
        """
        node = self._run.survey.node_of(guest)
        cluster = self._run.survey.cluster(node)
        if guest != next(iter(self._chosen(cluster)), None):
            return WallPlan(cluster.name)
        wanted = self._wanted(cluster, self._guests(cluster))
        seen = self._seen(node, wanted)
        if seen.enable != SWITCH_ON:
            return WallPlan(cluster.name)
        seen = replace(seen, foreign=())  # theirs to tell who changes the whole
        return WallPlan(cluster.name, differences(self._part(cluster, wanted, seen), seen), seen)

    def _part(self, cluster: Cluster, wanted: Wall, seen: Seen) -> Wall:
        return narrowed(wanted, seen.wall, [guest.name for guest in self._chosen(cluster)])

    def _chosen(self, cluster: Cluster) -> Iterable[Guest]:
        """Our guests of a cluster that this run is about."""
        survey = self._run.survey
        return (
            guest for guest in survey.chosen if not guest.appliance and survey.node_of(guest) in cluster.nodes
        )

    def _wanted(self, cluster: Cluster, guests: Iterable[Guest]) -> Wall:
        fleet = self._run.fleet
        kept = [node for node in fleet.nodes if node.name in cluster.nodes]
        return desired(
            Wants(
                fleet=fleet,
                flows=self.flows,
                management=management(fleet, self.settings),
                ping=pingers(fleet, self.settings),
                nodes=cluster.nodes,
                kept=tuple(node.name for node in kept),
                node_ports=tuple(sorted({API_PORT, *(node.ssh.port for node in kept)})),
                guests=tuple(guests),
                log_level=log_level(self._run.values),
            )
        )

    def _seen(self, node: str, wanted: Wall) -> Seen:
        survey, cluster = self._run.survey, self._run.survey.cluster(node)
        there = {
            guest_scope(guest.name): f"/nodes/{survey.node_of(guest)}/{PATHS[guest.kind]}/{guest.vmid}"
            for guest in self._guests(cluster)
            if self._is_there(guest)
        }
        kept = [each.name for each in self._run.fleet.nodes if each.name in cluster.nodes]
        saved = self._memory(cluster).load()
        return observe(survey.api(node), kept, there, wanted, saved.wall if saved else None)

    def _guests(self, cluster: Cluster) -> tuple[Guest, ...]:
        """Our guests of a cluster that are there, or will be after this run."""
        survey = self._run.survey
        return tuple(
            guest
            for guest in self._run.fleet.guests
            if not guest.appliance
            and survey.node_of(guest) in cluster.nodes
            and (survey.state_of(guest) != "absent" or guest in survey.chosen)
        )

    def _is_there(self, guest: Guest) -> bool:
        """False where it is absent, or will be made anew: Proxmox forgets its rules with it."""
        survey = self._run.survey
        if survey.changed(guest):
            return survey.state_of(guest) != "absent"
        return survey.state_of(guest) != "absent" and survey.plan(guest).action != "replace"

    def _targets(self, cluster: Cluster) -> Iterable[probe.Target]:
        """The API of each node first, then SSH of nodes and of this run's running guests."""
        survey, fleet = self._run.survey, self._run.fleet
        nodes = [node for node in fleet.nodes if node.name in cluster.nodes]
        for node in nodes:
            yield probe.api(f"the API of {node.name}", partial(survey.new_api, node.name))
        for node in nodes:
            yield probe.ssh(f"SSH of {node.name}", str(node.address), node.ssh.port)
        for guest in self._chosen(cluster):
            if survey.state_of(guest) == "running" and _is_fixed(guest):
                yield probe.ssh(f"SSH of {guest.name}", self._run.address_of(guest))

    def _memory(self, cluster: Cluster) -> Memory:
        return Memory(self._run.state_dir / f"firewall-{cluster.name}.json")


def _is_fixed(guest: Guest) -> bool:
    return isinstance(guest.address, IPv4Address | IPv6Address)
