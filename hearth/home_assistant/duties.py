"""What should be so inside Home Assistant, each as a question that only reads and a deed that mends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hearth.errors import HearthError
from hearth.home_assistant import entries as config_entries
from hearth.home_assistant import onboarding, settings, tokens
from hearth.home_assistant.client import Client, NotThereError, RefusedError, until
from hearth.home_assistant.entries import FAILED, EntryStep, WantedEntry
from hearth.home_assistant.home import Home, print_of
from hearth.home_assistant.login import Owner, logged_in
from hearth.role.tokens import DEPLOYER

RESTARTS = 180.0  # seconds
SETS_UP = 60.0  # seconds


class Duty(Protocol):
    """Something that should be so."""

    def missing(self, home: Home) -> list[str]:
        """What is not so, in words for the plan; only reads. Raises HearthError."""

    def mend(self, home: Home) -> None:
        """Make it so. Raises HearthError."""


def deployer(home: Home) -> Client:
    """The run's own access. Raises HearthError where there is none, or it no longer holds."""
    found = home.deployer
    if found is None:
        raise HearthError(
            f"look into Home Assistant on {home.place.name}",
            "the run has no token yet",
            "deploy the whole role",
        )
    return found


@dataclass(frozen=True)
class Onboarded:
    """The owner is there, and onboarding is done.

    Args:
        owner: the owner.
        unwanted: domains that onboarding adds by itself, and that should not stay.
    """

    owner: Owner
    unwanted: tuple[str, ...] = ()

    def missing(self, home: Home) -> list[str]:
        """The steps that are left."""
        return [onboarding.SAID[step] for step in onboarding.left(home.visitor)]

    def mend(self, home: Home) -> None:
        """Do them."""
        new = "user" in onboarding.left(home.visitor)
        onboarding.onboard(home.visitor, self.owner, self.unwanted)
        if new:
            home.tell("owner", print_of(self.owner.password))


@dataclass(frozen=True)
class Tokens:
    """Every client has a token that holds.

    Args:
        owner: whose tokens they are.
        clients: their names, the run's own among them.
    """

    owner: Owner
    clients: tuple[str, ...]

    def missing(self, home: Home) -> list[str]:
        """The clients that need one."""
        try:
            plan = self._plan(home, deployer(home))
        except NotThereError:
            raise
        except HearthError:  # without access of our own nothing is known of the others
            return [f"make the token of {client}" for client in self.clients]
        made = [f"make the token of {client}" for client in plan.make]
        return [*made, *(f"revoke the token of {client}" for client in plan.forget)]

    def mend(self, home: Home) -> None:
        """Make and revoke them; each is kept as soon as it is made."""
        own = home.token(DEPLOYER)
        if own is None or not tokens.holds(home.visitor, own):
            with logged_in(home.visitor, self.owner) as session:
                self._carry_out(home, session, self._plan(home, session))
        else:
            session = deployer(home)
            self._carry_out(home, session, self._plan(home, session))

    def _plan(self, home: Home, session: Client) -> tokens.TokenPlan:
        known = {client: token for client in self.clients if (token := home.token(client))}
        listed = tokens.listed(session)
        return tokens.plan_tokens(
            self.clients, known, listed, lambda token: tokens.holds(home.visitor, token)
        )

    def _carry_out(self, home: Home, session: Client, plan: tokens.TokenPlan) -> None:
        for token_id in plan.revoke:
            tokens.revoke(session, token_id)
        for client in plan.make:
            home.keep_token(client, tokens.make(session, client))
        for client in plan.forget:
            home.forget_token(client)


@dataclass(frozen=True)
class Password:
    """The owner's password is the secret's. Whoever changes it in Home Assistant alone keeps that one."""

    owner: Owner

    def missing(self, home: Home) -> list[str]:
        """Whether the secret has changed since we last set it."""
        same = home.told("owner") in (None, print_of(self.owner.password))
        return [] if same else ["change the owner's password"]

    def mend(self, home: Home) -> None:
        """Set it; sessions and tokens go on."""
        session = deployer(home)
        user = session.ask("auth/current_user", "ask who the owner is")
        session.ask(
            "config/auth_provider/homeassistant/admin_change_password",
            "change the owner's password",
            user_id=user["id"],
            password=self.owner.password,
        )
        home.tell("owner", print_of(self.owner.password))


@dataclass(frozen=True)
class Settings:
    """What the admin sets of the whole, as group_data has it.

    Args:
        core: keys of `config/core/update`.
        analytics: keys of `analytics/preferences`.
        backup: keys of `backup/config/update`.
    """

    core: Mapping[str, Any]
    analytics: Mapping[str, Any]
    backup: Mapping[str, Any] = field(repr=False)

    def missing(self, home: Home) -> list[str]:
        """The settings that differ, by name."""
        core, analytics, backup = self._differing(deployer(home))
        named = [f"set {key}" for key in core]
        named += [f"set analytics: {key}" for key in analytics]
        return [*named, *(f"set backup: {key}" for key in backup)]

    def mend(self, home: Home) -> None:
        """Send what differs."""
        session = deployer(home)
        core, analytics, backup = self._differing(session)
        if core:
            session.ask("config/core/update", "set location and units", **core)
        if analytics:
            session.ask("analytics/preferences", "set analytics", preferences=dict(self.analytics))
        if backup:
            session.ask("backup/config/update", "set the backup", **backup)

    def _differing(self, session: Client) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        core = settings.core_settings(self.core, session.ask("get_config", "read the settings"))
        preferences = session.ask("analytics", "read analytics")["preferences"]
        backup = session.ask("backup/config/info", "read the backup's settings")["config"]
        # A preference that was never set is off.
        off = dict.fromkeys(self.analytics, False)
        return (
            core,
            settings.differing(self.analytics, {**off, **preferences}),
            settings.differing(self.backup, backup),
        )


@dataclass(frozen=True)
class Http:
    """Home Assistant's own web server: where it listens, and which proxy it believes.

    Args:
        wanted: keys of `http/config`.
    """

    wanted: Mapping[str, Any]

    def missing(self, home: Home) -> list[str]:
        """Whether it differs."""
        found = deployer(home).ask("http/config", "read the web server's settings")
        if settings.http_settings(self.wanted, found) is None:
            return []
        return ["set the web server's address and trusted proxies, and restart Home Assistant"]

    def mend(self, home: Home) -> None:
        """Configure, wait for the restart, and confirm: unconfirmed it is taken back after five minutes."""
        session = deployer(home)
        found = session.ask("http/config", "read the web server's settings")
        content = settings.http_settings(self.wanted, found)
        if content is None:
            return
        answer = session.ask("http/config/configure", "set the web server", config=content)
        if answer["restart"]:
            _await_restart(home, session)
        deployer(home).ask("http/config/promote", "confirm the web server's settings")


def _await_restart(home: Home, session: Client) -> None:
    def pending_runs() -> bool:
        session.close()
        try:
            found = session.ask("http/config", "read the web server's settings")
            running = session.ask("get_config", "read the state")["state"] == "RUNNING"
        except RefusedError as error:
            raise NotThereError(error.action, error.reason) from error
        return running and bool(found["active_config_type"] == "pending")

    until("restart with its new web server", home.place, pending_runs, RESTARTS)


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
        until(f"load {entry.domain}", home.place, lambda: _loaded(session, entry_id), RESTARTS)
        home.tell(entry.domain, entry.fingerprint)


def _loaded(session: Client, entry_id: str) -> bool:
    found: Sequence[Mapping[str, Any]] = onboarding.entries(session)
    state = next((row for row in found if row["entry_id"] == entry_id), None)
    if state is None or state["state"] != "loaded":
        reason = f"it is {state['state']}: {state.get('reason')}" if state else "it is gone"
        raise NotThereError("load an integration", reason)
    return True


@dataclass(frozen=True)
class Levels:
    """The levels of the log, without a restart.

    Args:
        wanted: the content of `logger:`: `default`, and `logs` by component.
    """

    wanted: Mapping[str, Any]

    def missing(self, home: Home) -> list[str]:
        """Whether they are others than those last set."""
        return [] if home.told("levels") == self._text else ["set the levels of the log"]

    def mend(self, home: Home) -> None:
        """Set them; those that are no longer named go back to the default."""
        before = json.loads(home.told("levels") or "{}")
        default, logs = self.wanted["default"], self.wanted["logs"]
        session = deployer(home)
        action = "set the levels of the log"
        session.call("POST", "/api/services/logger/set_default_level", action, json={"level": default})
        given = {**dict.fromkeys(before.get("logs", ()), default), **logs}
        if given:
            session.call("POST", "/api/services/logger/set_level", action, json=given)
        home.tell("levels", self._text)

    @property
    def _text(self) -> str:
        return json.dumps(self.wanted, sort_keys=True)


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
