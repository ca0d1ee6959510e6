"""Hearth's own key to headscale's API: made once, on the server itself, and kept with the secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError

KEY = "tailscale/api-key"  # where hearth.tailnet looks for it
_LEAD = "hskey-api-"
_PREFIX = 12  # characters after the lead by which headscale lists a key (hscontrol/db/api_key.go)
_SHAPE = re.compile(rf"{_LEAD}[A-Za-z0-9_-]{{{_PREFIX}}}-[A-Za-z0-9_-]{{32,}}")
_LEAST = 3  # a new key is made when less than this part of its life is left


@dataclass(frozen=True)
class ListedKey:
    """A key as headscale lists it: by its prefix, never whole."""

    prefix: str
    expires: datetime | None


class ApiKeys(FactBase[list[ListedKey] | None]):
    """The keys to headscale's API; None where headscale does not answer (or there is none yet).

    + command: headscale's command line, with its configuration
    """

    def command(self, command: str) -> str:
        return f"{command} apikeys list -o json 2>/dev/null || :"

    def process(self, output: list[str]) -> list[ListedKey] | None:
        try:
            rows = json.loads("\n".join(output)) or []
        except ValueError:
            return None
        return [ListedKey(str(row["prefix"]), _moment(row.get("expiration"))) for row in rows]


def _moment(given: Any) -> datetime | None:
    """A time as headscale's JSON has it: {"seconds": N} before 0.30, RFC 3339 since."""
    if isinstance(given, dict):
        return datetime.fromtimestamp(int(given.get("seconds", 0)), UTC)
    return datetime.fromisoformat(given) if isinstance(given, str) and given else None


def holds(key: str | None, listed: Sequence[ListedKey] | None, days: int, now: datetime) -> bool:
    """Whether our key is one of headscale's and lives long enough.

    Args:
        key: ours, whole; None: there is none.
        listed: headscale's; None: it does not answer.
        days: for how long a key is made.
        now: the time.
    """
    if key is None or listed is None or not _SHAPE.fullmatch(key):
        return False
    until = now + timedelta(days=days) / _LEAST
    return any(
        prefix_of(key) == prefix_of(found.prefix) and (found.expires is None or found.expires > until)
        for found in listed
    )


def prefix_of(key: str) -> str:
    """What headscale lists of a key."""
    return key.removeprefix(_LEAD)[:_PREFIX]


@operation()
def api_key(command: str, days: int) -> Generator[PyinfraCommand, None, None]:
    """
    Hearth's key to headscale's API: among the secrets, known to headscale, and good for a while.

    + command: headscale's command line, with its configuration
    + days: for how long a key is made; another one is made when a third of that is left

    One from the environment (TAILSCALE_API_KEY) is the admin's own, and left alone.

    **Example:**

    .. code:: python

        headscale.api_key(name="Give Hearth its key", command="headscale -c /etc/h.yaml", days=365)
    """
    secrets = runs.current().secrets
    if secrets.overridden(KEY):
        host.noop("the environment has one")
        return
    ours = secrets.find(KEY)
    listed = host.get_fact(ApiKeys, command=command)
    if holds(ours.reveal() if ours else None, listed, days, datetime.now(UTC)):
        host.noop("headscale knows it")
        return
    yield FunctionCommand(_make, (command, days), {})


@told
def _make(state: Any, host: Any, command: str, days: int) -> None:
    secrets = runs.current().secrets
    old = secrets.find(KEY)
    made = f"{command} apikeys create --expiration {days}d -o json"
    worked, output = host.connector.run_shell_command(made)
    found = _SHAPE.search(output.stdout) if worked else None
    if found is None:
        raise HearthError("make a key to headscale's API", output.stderr or "headscale gave none")
    secrets.put(KEY, found[0])
    secrets.save()
    if old is not None and _SHAPE.fullmatch(old.reveal()):
        # It may be of another server: then there is nothing to end.
        host.connector.run_shell_command(f"{command} apikeys expire --prefix {prefix_of(old.reveal())} || :")
