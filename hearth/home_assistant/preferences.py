"""What an admin sets about Home Assistant as a whole: location, analytics, backup, web server, log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hearth.home_assistant import settings
from hearth.home_assistant.client import Client, NotThereError, RefusedError, until
from hearth.home_assistant.duty import deployer
from hearth.home_assistant.home import Home

RESTARTS = 180.0  # seconds


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
        preferences = _analytics(session)
        backup = session.ask("backup/config/info", "read the backup's settings")["config"]
        # A preference that was never set is off.
        off = dict.fromkeys(self.analytics, False)
        return (
            core,
            settings.differing(self.analytics, {**off, **preferences}),
            settings.differing(self.backup, backup),
        )


def _analytics(session: Client) -> Mapping[str, Any]:
    """The preferences; NotThereError while it is still being set up, as after a slow first start."""
    try:
        found: Mapping[str, Any] = session.ask("analytics", "read analytics")["preferences"]
    except RefusedError as error:
        if error.code != "not_found":
            raise
        raise NotThereError(error.action, error.reason) from error
    return found


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
