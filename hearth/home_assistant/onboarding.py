"""The first steps of a new Home Assistant, without a hand.

`/api/onboarding` lists the steps; once all are done it is gone with the next start (404), as seen on 2026.11.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from hearth.home_assistant.client import Client, NotThereError, RefusedError, until
from hearth.home_assistant.login import Owner, logged_in

STEPS = ("user", "core_config", "analytics", "integration")
SAID = {
    "user": "create the owner",
    "core_config": "finish onboarding's basic settings",
    "analytics": "leave analytics off",
    "integration": "finish onboarding",
}
# CoreConfigOnboardingView adds these, in tasks of its own; they come within a second or two.
ADDED_BY_ITSELF = ("google_translate", "met", "radio_browser", "shopping_list")
SETTLES = 8.0  # seconds


def steps_left(listed: Sequence[dict[str, Any]] | None) -> tuple[str, ...]:
    """The steps that are still to be done, in their order.

    Args:
        listed: what `/api/onboarding` answers; None: it is gone, so all are done.
    """
    if listed is None:
        return ()
    done = {row["step"] for row in listed if row["done"]}
    return tuple(step for step in STEPS if step not in done)


def left(client: Client) -> tuple[str, ...]:
    """Ask which steps are still to be done. Raises NotThereError."""
    answer = client.answer("GET", "/api/onboarding")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        # Also before the integration is set up: then there is no login yet either.
        providers = client.answer("GET", "/auth/providers")
        if not providers.is_success:
            raise NotThereError(f"ask Home Assistant on {client.place.name} for its onboarding", "it starts")
        return ()
    if not answer.is_success:
        raise NotThereError(
            f"ask Home Assistant on {client.place.name} for its onboarding", f"HTTP {answer.status_code}"
        )
    return steps_left(answer.json())


def onboard(client: Client, owner: Owner, unwanted: Sequence[str]) -> None:
    """Do the steps that are left. Killed at any place, the next call goes on from there.

    Args:
        client: without a token.
        owner: the owner to create, or the one that an earlier call created.
        unwanted: domains of config entries that onboarding adds by itself, to be removed again.

    Raises:
        RefusedError: a step is refused, or the owner that is there has another password.
        NotThereError: it does not answer.
    """
    steps = left(client)
    if "user" in steps:
        _create(client, owner)
    if steps:
        with logged_in(client, owner) as session:
            for step in steps:
                _do(session, step, unwanted)


def _create(client: Client, owner: Owner) -> None:
    content = {
        "client_id": client.place.origin,
        "name": owner.name,
        "username": owner.username,
        "password": owner.password,
        "language": owner.language,
    }
    client.call("POST", "/api/onboarding/users", f"create the owner {owner.username}", json=content)


def _do(session: Client, step: str, unwanted: Sequence[str]) -> None:
    origin = session.place.origin
    if step == "core_config":
        session.call("POST", "/api/onboarding/core_config", SAID[step], json={})
        remove_added(session, unwanted)
    elif step == "analytics":
        session.call("POST", "/api/onboarding/analytics", SAID[step], json={})
    elif step == "integration":
        content = {"client_id": origin, "redirect_uri": origin}
        session.call("POST", "/api/onboarding/integration", SAID[step], json=content)


def remove_added(session: Client, unwanted: Sequence[str]) -> None:
    """Wait for the entries that onboarding adds, and remove the unwanted ones."""
    expected = {domain for domain in unwanted if domain in ADDED_BY_ITSELF}

    def all_there() -> bool:
        return expected <= {entry["domain"] for entry in entries(session)}

    # One that cannot be added (no location is known) never comes: then the others go all the same.
    with contextlib.suppress(NotThereError):
        until("add what onboarding adds", session.place, all_there, SETTLES)
    remove(session, [entry for entry in entries(session) if entry["domain"] in expected])


def entries(session: Client) -> list[dict[str, Any]]:
    """Every config entry: entry_id, domain, title, state, disabled_by, ..."""
    return list(session.ask("config_entries/get", "read the config entries"))


def remove(session: Client, found: Sequence[dict[str, Any]]) -> None:
    """Remove config entries."""
    for entry in found:
        path = f"/api/config/config_entries/entry/{entry['entry_id']}"
        try:
            session.call("DELETE", path, f"remove the integration {entry['domain']}")
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:  # else somebody was faster
                raise
