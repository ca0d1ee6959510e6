"""Proxmox's backup jobs in this run: each cluster's plan, and its change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from hearth.fleet.model import Fleet
from hearth.proxmox import jobs
from hearth.proxmox.jobs import JobsPlan
from hearth.survey import Survey


class RunLike(Protocol):
    """What BackupJobs takes from the run (hearth.run.Run)."""

    @property
    def fleet(self) -> Fleet: ...
    @property
    def survey(self) -> Survey: ...


class BackupJobs:
    """The backup jobs of a run.

    Args:
        run: the run; everything is asked of it when it is first needed.
    """

    def __init__(self, run: RunLike) -> None:
        self._run = run
        self._plans: dict[str, JobsPlan] = {}

    @property
    def planned(self) -> Mapping[str, JobsPlan]:
        """The plans that were made so far, by node."""
        return self._plans

    def plan(self, node: str) -> JobsPlan:
        """What a run does at a node, made once: two GETs. The cluster's first node works for all.

        Raises:
            HearthError: the node cannot be asked.
        """
        if node not in self._plans:
            api = self._run.survey.api(node)
            self._plans[node] = (
                jobs.plan(self._wanted(node), api.get(jobs.ROOT) or [])
                if node == self._run.survey.cluster(node).first(self._run.fleet)
                else JobsPlan()
            )
        return self._plans[node]

    def converge(self, node: str, say: Callable[[str], None]) -> None:
        """Bring a cluster's jobs to what the fleet file wants. Raises HearthError."""
        jobs.converge(self._run.survey.api(node), self._wanted(node), say)

    def _wanted(self, node: str) -> dict[str, dict[str, str]]:
        fleet, survey = self._run.fleet, self._run.survey
        return jobs.wanted(fleet, survey.cluster(node).nodes, lambda name: survey.node_of(fleet.guest(name)))
