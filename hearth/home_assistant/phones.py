"""Every phone has a login of its own in Home Assistant, so that it can be ended alone.

A login is a user without an administrator's rights and a person. The app, when it registers, leaves a config
entry of `mobile_app`, whose tracker Home Assistant gives to the person of the user who was logged in: that is
how a phone's entries are found. WebSocket commands: homeassistant/components/config/auth.py,
auth_provider_homeassistant.py, entity_registry.py, homeassistant/components/person and auth.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from hearth.errors import HearthError
from hearth.home_assistant import onboarding
from hearth.home_assistant.client import Client, NotThereError, RefusedError
from hearth.home_assistant.duty import deployer
from hearth.home_assistant.home import Home, print_of
from hearth.home_assistant.login import Owner, logged_in
from hearth.home_assistant.tokens import PREFIX
from hearth.phones.registry import user_of

GROUP = "system-users"  # homeassistant/auth/const.py, GROUP_ID_USER
APP = "mobile_app"


@dataclass(frozen=True)
class PhoneLogin:
    """A phone's login: its name, and the password of its user."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class LoginStep:
    """Something to be done: make a phone's user, or end it; `user` is its id where there is one."""

    deed: Literal["make", "end"]
    phone: str
    user: str = ""

    def __str__(self) -> str:
        if self.deed == "make":
            return f"let the phone {self.phone} in"
        return f"end the login, tokens and app of the phone {self.phone}"


def shown_name(phone: str) -> str:
    """What Home Assistant shows of a phone's user; by it we know our own again."""
    return f"{PREFIX}phone {phone}"


def plan_logins(
    wanted: Sequence[PhoneLogin],
    gone: Sequence[str],
    users: Sequence[Mapping[str, Any]],
    told: Mapping[str, str | None],
) -> list[LoginStep]:
    """What is to be done about phones' logins.

    Args:
        wanted: the phones there are.
        gone: names of phones that are no more.
        users: `config/auth/list`.
        told: phone -> the print of the password that its user was made with.

    Raises:
        HearthError: a phone's user name belongs to somebody else.
    """
    steps = [
        LoginStep("end", name, row["id"]) for name in gone for row in _rows(users, name) if _ours(row, name)
    ]
    for login in wanted:
        rows = _rows(users, login.name)
        if not all(_ours(row, login.name) for row in rows):
            raise HearthError(
                f"let the phone {login.name} into Home Assistant",
                f"the user name {user_of(login.name)} is another person's",
                "rename that user, or the phone",
            )
        if told.get(login.name) == print_of(login.password) and _holds(rows, login.name):
            continue
        # Renewed, revoked and added again, or cut off while it was made.
        steps += [LoginStep("end", login.name, row["id"]) for row in rows]
        steps.append(LoginStep("make", login.name))
    return steps


def _rows(users: Sequence[Mapping[str, Any]], phone: str) -> list[Mapping[str, Any]]:
    return [row for row in users if row.get("username") == user_of(phone) or row["name"] == shown_name(phone)]


def _ours(row: Mapping[str, Any], phone: str) -> bool:
    return bool(row["name"] == shown_name(phone)) and not row["is_owner"]


def _holds(rows: Sequence[Mapping[str, Any]], phone: str) -> bool:
    return len(rows) == 1 and rows[0].get("username") == user_of(phone) and bool(rows[0]["is_active"])


@dataclass(frozen=True)
class PhoneLogins:
    """Every phone has its login, and no phone that was revoked has one.

    Args:
        wanted: the phones there are.
        gone: names of phones that are no more.
    """

    wanted: tuple[PhoneLogin, ...]
    gone: tuple[str, ...]

    def missing(self, home: Home) -> list[str]:
        """What is to be done."""
        return [str(step) for step in self._steps(home)]

    def mend(self, home: Home) -> None:
        """Do it."""
        by_name = {login.name: login for login in self.wanted}
        for step in self._steps(home):
            if step.deed == "end":
                end(home, step.phone, step.user)
            else:
                make(home, by_name[step.phone])

    def _steps(self, home: Home) -> list[LoginStep]:
        users = deployer(home).ask("config/auth/list", "list the users")
        told = {login.name: home.told(user_of(login.name)) for login in self.wanted}
        return plan_logins(self.wanted, self.gone, users, told)


def make(home: Home, login: PhoneLogin) -> None:
    """Make a phone's user, its password and its person.

    Raises:
        RefusedError: Home Assistant refuses one of them; the user is then taken back.
    """
    session, action = deployer(home), f"let the phone {login.name} in"
    answer = session.ask("config/auth/create", action, name=shown_name(login.name), group_ids=[GROUP])
    user = str(answer["user"]["id"])
    try:
        session.ask(
            "config/auth_provider/homeassistant/create",
            action,
            user_id=user,
            username=user_of(login.name),
            password=login.password,
        )
        session.ask("person/create", action, name=login.name, user_id=user, device_trackers=[])
    except RefusedError:
        with suppress(HearthError):
            session.ask("config/auth/delete", action, user_id=user)
        raise
    home.tell(user_of(login.name), print_of(login.password))


def end(home: Home, phone: str, user: str) -> None:
    """End a phone: its app's entries, its tokens with the connections they hold, its person and user.

    Deleting a user ends its tokens, but not the WebSockets that they have opened: only revoking a token does
    (homeassistant/auth/__init__.py, async_remove_user and async_remove_refresh_token), and only the user
    itself can revoke its own. So we log in as the user, once more, with a password that nobody has seen.
    """
    session, action = deployer(home), f"end the phone {phone}"
    persons = [person for person in _persons(session) if person.get("user_id") == user]
    onboarding.remove(session, entries_of(session, persons))
    with suppress(RefusedError):  # a second factor, or no password: what follows ends the tokens all the same
        _hang_up(home, session, phone, user)
    for person in persons:
        session.ask("person/delete", action, person_id=person["id"])
    session.ask("config/auth/delete", action, user_id=user)
    home.untell(user_of(phone))


def _hang_up(home: Home, session: Client, phone: str, user: str) -> None:
    passing = secrets.token_urlsafe(32)
    action = f"end the connections of the phone {phone}"
    command = "config/auth_provider/homeassistant/admin_change_password"
    session.ask(command, action, user_id=user, password=passing)
    with logged_in(home.visitor, Owner(phone, user_of(phone), passing, "en")) as own, suppress(NotThereError):
        own.ask("auth/delete_all_refresh_tokens", action, delete_current_token=True)


def entries_of(session: Client, persons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The config entries of the apps whose trackers these persons have."""
    trackers = {tracker for person in persons for tracker in person.get("device_trackers", ())}
    registry = session.ask("config/entity_registry/list", "list the entities") if trackers else []
    found = {
        row["config_entry_id"]
        for row in registry
        if row["entity_id"] in trackers and row["platform"] == APP and row.get("config_entry_id")
    }
    return [row for row in onboarding.entries(session) if row["entry_id"] in found and row["domain"] == APP]


def _persons(session: Client) -> list[dict[str, Any]]:
    return list(session.ask("person/list", "list the persons")["storage"])
