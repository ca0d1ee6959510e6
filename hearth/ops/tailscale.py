"""A guest in the tailnet: joined once, with a key that nobody sees, and with the settings it should have."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from typing import Any

from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.ops.noted import Lack, note
from hearth.role.coordination import access_for
from hearth.secrets import Secret
from hearth.tailnet import Api, connect, joining, members
from hearth.tailnet.members import missing_routes
from hearth.tailnet.membership import (
    IN,
    OUT,
    PREFS,
    STATUS,
    UNDECIDED,
    Entry,
    Membership,
    Settings,
    differing,
    let_in,
    membership,
    must_be_in,
    wrong,
)


class Member(FactBase[Membership]):
    """How this guest stands in the tailnet; nothing of it where tailscaled does not answer."""

    @staticmethod
    def default() -> Membership:
        return Membership()

    def command(self) -> str:
        return f"{STATUS} 2>/dev/null && {PREFS} 2>/dev/null || :"

    def process(self, output: list[str]) -> Membership:
        return membership("\n".join(output))


def command(verb: str, flags: dict[str, str]) -> str:
    """A command line of tailscale's."""
    return " ".join(["tailscale", verb, *(f"--{flag}={shlex.quote(value)}" for flag, value in flags.items())])


@operation()
def joined(entry: Entry) -> Generator[PyinfraCommand, None, None]:
    """
    A guest that is in the tailnet under its own name; one that is there already is not joined again.

    + entry: where, as whom, and how

    A plan asks nobody but the guest. At execution the offline device that has this name and our tag is
    forgotten (the guest before it was re-created), a key for one device is made, and handed to tailscale on
    its standard input. Then the name has to be the right one.

    **Example:**

    .. code:: python

        entry = Entry(Settings("comms"), server="https://tailnet.home.arpa", domain="tail.home.arpa")
        tailscale.joined(name="Join the tailnet", entry=entry)
    """
    now = host.get_fact(Member)
    problem = wrong(now, entry) if now.joined else ""
    if now.joined and not problem:
        host.noop(f"it is {now.name or entry.name}")
        return
    note([Lack("tailnet", "membership", "name", problem or "not in the tailnet", entry.name)])
    yield FunctionCommand(_join, (entry,), {})


@operation()
def settled(settings: Settings) -> Generator[PyinfraCommand, None, None]:
    """
    Settings of a guest in the tailnet that are so, whoever changed them; and it is up.

    + settings: all of them

    **Example:**

    .. code:: python

        tailscale.settled(name="Keep Tailscale's settings", settings=Settings("comms"))
    """
    now = host.get_fact(Member)
    steps = [command("set", flags)] if (flags := differing(now, settings)) else []
    # Somebody has said `tailscale down`. Only without any flag does it ask for no settings.
    steps += ["timeout 60 tailscale up"] if now.backend == "Stopped" else []
    if not steps:
        host.noop("as wanted")
        return
    note(lacks(now, settings))
    yield StringCommand(" && ".join(steps))


def lacks(now: Membership, settings: Settings) -> list[Lack]:
    """What of a machine's settings is otherwise; that it is in no tailnet, another operation says.

    Args:
        now: how it stands.
        settings: as they should be.
    """
    if not now.joined:
        return []
    flags = differing(now, settings)
    found = [Lack("tailnet", "settings", flag, now.settings.get(flag, ""), flags[flag]) for flag in flags]
    return [
        *found,
        *([Lack("tailnet", "settings", "state", "down", "up")] if now.backend == "Stopped" else []),
    ]


@operation()
def carrying(routes: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """
    Networks that a subnet router may carry: approved at the server, by the policy or, where it says nothing,
    by us.

    + routes: networks in CIDR notation, which the guest advertises

    The guest itself learns of an approval late (headscale tells it when it connects again): so the server is
    asked where the guest does not know.

    **Example:**

    .. code:: python

        tailscale.carrying(name="Carry the LAN for the tailnet", routes=["192.168.1.0/24"])
    """
    now = host.get_fact(Member)
    if not missing_routes(now.carries, routes) or (now.joined and _approved(routes)):
        host.noop("approved")
        return
    yield FunctionCommand(_approve, (tuple(routes),), {})


def _approved(routes: Sequence[str]) -> bool:
    """What the server says; False where it does not: while planning it may not be there yet."""
    try:
        device = members.joined(host.name, api_of_run().devices())
    except HearthError:
        return False
    return device is not None and not missing_routes(device.approved, routes)


def api_of_run() -> Api:
    """The coordination server's API, as this run reaches it. Raises HearthError."""
    run = runs.current()
    return connect(access_for(run.fleet, run.roles, run.environ, run.secrets))


@told
def _join(state: Any, host: Any, entry: Entry) -> None:
    if (host.name, "tailscale") in runs.current().brought_back:
        _come_back(host, entry)
    elif host.get_fact(Member).backend == UNDECIDED:
        _await_state(host, *OUT, *IN, within=entry.within)
    now = host.get_fact(Member)
    if not now.joined:
        let_in(api_of_run(), entry, lambda key: _up(host, entry, key), host.log)
        now = host.get_fact(Member)
    must_be_in(host.name, now, entry)


def _come_back(host: Any, entry: Entry) -> None:
    """Wait until tailscaled is in the tailnet with the identity that a restore has just brought.

    Joining now would forget its device and with it the identity.
    """
    if not _await_state(host, *IN, within=entry.within):
        raise HearthError(
            f"bring {host.name} back into the tailnet",
            f"its restored identity was not accepted within {entry.within} seconds",
            "is the coordination server up, and does it know this device? run again",
        )


def _await_state(host: Any, *states: str, within: int) -> bool:
    """Wait until tailscaled is in one of these states; whether it came to that."""
    wanted = "\\|".join(states)
    script = (
        f'tries=0; until {STATUS} 2>/dev/null | grep -q \'"BackendState": *"\\({wanted}\\)"\'; do '
        f"tries=$((tries + 1)); [ $tries -le {within} ] || exit 1; sleep 1; done"
    )
    worked, _ = host.connector.run_shell_command(script, _timeout=2 * within + 30)
    return bool(worked)


def _up(host: Any, entry: Entry, key: Secret) -> str:
    flags = {**entry.settings.flags(), "login-server": entry.server, "timeout": f"{entry.within}s"}
    # On standard input: no list of processes and no disk ever holds it.
    line = f"{command('up', flags)} --reset --auth-key=file:/dev/stdin"
    worked, output = host.connector.run_shell_command(line, _stdin=key.reveal(), _timeout=entry.within + 30)
    return "" if worked else str(output.stderr or "tailscale gave no reason")


@told
def _approve(state: Any, host: Any, routes: tuple[str, ...]) -> None:
    api = api_of_run()
    joining.approve_routes(api, host.name, routes)
    device = members.joined(host.name, api.devices())
    missing = missing_routes(device.approved if device else (), routes)
    if missing:
        raise HearthError(
            f"carry networks for the tailnet on {host.name}", f"the server keeps back {', '.join(missing)}"
        )
