"""The integrations, and that all of it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hearth.home_assistant import entries as config_entries
from hearth.home_assistant import onboarding
from hearth.home_assistant.client import Client, NotThereError, until
from hearth.home_assistant.duty import deployer
from hearth.home_assistant.entries import FAILED, EntryStep, WantedEntry
from hearth.home_assistant.home import Home

LOADS = 180.0  # seconds that an integration may take
SETS_UP = 60.0  # seconds


@dataclass(frozen=True)
class Entries:
    """The integrations that have only config flows.

    Args:
        wanted: those that should be there.
        unwanted: domains that should not.
    """

    wanted: tuple[WantedEntry, ...]
    unwanted: tuple[str, ...] = ()

    def missing(self, home: Home) -> list[str]:
        """What is to be done."""
        return [str(step) for step in self._steps(home)]

    def mend(self, home: Home) -> None:
        """Do it, and see each of them loaded."""
        by_domain = {entry.domain: entry for entry in self.wanted}
        for step in self._steps(home):
            if step.deed == "remove":
                onboarding.remove(deployer(home), [{"entry_id": step.entry, "domain": step.domain}])
            else:
                self._set_up(home, by_domain[step.domain], step)

    def _steps(self, home: Home) -> list[EntryStep]:
        session = deployer(home)
        told = {entry.domain: home.told(entry.domain) for entry in self.wanted}
        return config_entries.plan_entries(
            self.wanted,
            self.unwanted,
            onboarding.entries(session),
            told,
            config_entries.asking_for_login(session),
        )

    def _set_up(self, home: Home, entry: WantedEntry, step: EntryStep) -> None:
        session = deployer(home)
        entry_id = step.entry or config_entries.add(session, entry)
        if step.deed == "change" and entry.reconfigures:
            config_entries.reconfigure(session, entry, entry_id)
        if entry.options is not None:
            config_entries.set_options(session, entry, entry_id)
        until(f"load {entry.domain}", home.place, lambda: _loaded(session, entry_id), LOADS)
        home.tell(entry.domain, entry.fingerprint)


def _loaded(session: Client, entry_id: str) -> bool:
    found: Sequence[Mapping[str, Any]] = onboarding.entries(session)
    state = next((row for row in found if row["entry_id"] == entry_id), None)
    if state is None or state["state"] != "loaded":
        reason = f"it is {state['state']}: {state.get('reason')}" if state else "it is gone"
        raise NotThereError("load an integration", reason)
    return True


@dataclass(frozen=True)
class Whole:
    """All that is configured is set up, and nothing has failed.

    Args:
        domains: the integrations that are configured.
    """

    domains: tuple[str, ...]

    def missing(self, home: Home) -> list[str]:
        """What is wrong."""
        session = deployer(home)
        config = session.ask("get_config", "read the state")
        return [f"mend: {line}" for line in troubles(config, onboarding.entries(session), self.domains)]

    def mend(self, home: Home) -> None:
        """Wait for what is still being set up; nothing else can be done from here."""

        def whole() -> bool:
            if found := self.missing(home):
                raise NotThereError("see that all runs", "; ".join(found))
            return True

        until("set everything up", home.place, whole, SETS_UP)


def troubles(
    config: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], domains: Sequence[str]
) -> list[str]:
    """What is wrong with a Home Assistant, in words.

    Args:
        config: `get_config`.
        entries: `config_entries/get`.
        domains: the integrations that are configured.
    """
    if config.get("recovery_mode"):
        return ["it has started in recovery mode"]
    if config.get("state") != "RUNNING":
        return [f"it is {config.get('state')}"]
    there = {name.partition(".")[0] for name in config["components"]}
    absent = [f"{domain} is not set up" for domain in domains if domain not in there]
    failed = [
        f"{row['domain']} has failed: {row['state']}, {row.get('reason')}"
        for row in entries
        if row["state"] in FAILED and not row.get("disabled_by")
    ]
    return [*absent, *failed]
