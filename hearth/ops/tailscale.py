"""A guest in the tailnet: joined once, with a key that nobody sees, and with the settings it should have."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.role.coordination import access_for
from hearth.tailnet import Api, connect, joining, members
from hearth.tailnet.members import missing_routes

STATUS = "tailscale status --json --peers=false"
PREFS = "tailscale debug prefs"
IN = ("Running", "Starting", "Stopped")  # ipn.State of tailscale.com: it has a node key that was accepted


@dataclass(frozen=True)
class Settings:
    """What `tailscale set` keeps (tailscale.com/docs/reference/tailscale-cli)."""

    hostname: str
    accept_dns: bool = False
    accept_routes: bool = False
    routes: tuple[str, ...] = ()
    ssh: bool = False

    def flags(self) -> dict[str, str]:
        """Every setting as a flag of `tailscale set` and `tailscale up`."""
        return {
            "hostname": self.hostname,
            "accept-dns": _word(self.accept_dns),
            "accept-routes": _word(self.accept_routes),
            "advertise-routes": ",".join(self.routes),
            "ssh": _word(self.ssh),
        }


def _word(value: bool) -> str:
    return "true" if value else "false"


@dataclass(frozen=True)
class Membership:
    """How a guest stands in the tailnet.

    Args:
        backend: tailscaled's state: "NoState" where it does not run, "NeedsLogin", "Running", ...
        name: its MagicDNS name, without the dot at the end; empty before it joined.
        carries: the networks that it may carry for others, as the server approved them.
        server: the coordination server that it is told to use.
        settings: its flags, as `Settings.flags` has them.
    """

    backend: str = "NoState"
    name: str = ""
    carries: tuple[str, ...] = ()
    server: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def joined(self) -> bool:
        """It is in a tailnet."""
        return self.backend in IN


class Member(FactBase[Membership]):
    """How this guest stands in the tailnet; nothing of it where tailscaled does not answer."""

    @staticmethod
    def default() -> Membership:
        return Membership()

    def command(self) -> str:
        return f"{STATUS} 2>/dev/null && {PREFS} 2>/dev/null || :"

    def process(self, output: list[str]) -> Membership:
        return membership("\n".join(output))


def membership(text: str) -> Membership:
    """Read the answers of STATUS and PREFS, one after the other.

    Args:
        text: two JSON documents (ipn/ipnstate.Status, ipn.Prefs); anything else counts as no answer.
    """
    decoder = json.JSONDecoder()
    try:
        status, end = decoder.raw_decode(text)
        prefs, _ = decoder.raw_decode(text[end:].lstrip())
    except ValueError:
        return Membership()
    own = status.get("Self") or {}
    settings = Settings(
        str(prefs.get("Hostname") or ""),
        bool(prefs.get("CorpDNS")),
        bool(prefs.get("RouteAll")),
        tuple(prefs.get("AdvertiseRoutes") or ()),
        bool(prefs.get("RunSSH")),
    )
    return Membership(
        str(status.get("BackendState") or "NoState"),
        str(own.get("DNSName") or "").rstrip("."),
        tuple(own.get("AllowedIPs") or ()),
        str(prefs.get("ControlURL") or ""),
        settings.flags(),
    )


@dataclass(frozen=True)
class Entry:
    """How a guest comes into the tailnet.

    Args:
        settings: what it joins with; `settings.hostname` is its name.
        server: URL of the coordination server.
        domain: the tailnet's MagicDNS domain.
        lives: seconds for which the key to join holds.
        within: seconds for joining.
    """

    settings: Settings
    server: str
    domain: str
    lives: int = 300
    within: int = 60

    @property
    def name(self) -> str:
        """Its full MagicDNS name."""
        return f"{self.settings.hostname}.{self.domain}"


def wrong(now: Membership, entry: Entry) -> str:
    """Why a guest that has joined is not where it should be; empty where it is.

    Args:
        now: how it stands.
        entry: where it should be.
    """
    if now.server.rstrip("/") != entry.server:
        return f"it is in the tailnet of {now.server}, not of {entry.server}"
    if now.settings.get("hostname") != entry.settings.hostname:
        return ""  # its name follows from a setting, which `settled` puts right
    if now.backend == "Running" and now.name and now.name != entry.name:
        return f"its name there is {now.name}, not {entry.name}"
    return ""


def differing(now: Membership, wanted: Settings) -> dict[str, str]:
    """The flags of `tailscale set` that are to be given: those that differ, routes in any order."""

    def same(flag: str, value: str) -> bool:
        found = now.settings.get(flag, "")
        return sorted(found.split(",")) == sorted(value.split(","))

    return {flag: value for flag, value in wanted.flags().items() if not same(flag, value)}


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
    yield StringCommand(" && ".join(steps))


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
    now = host.get_fact(Member)
    if not now.joined:
        _let_in(host, api_of_run(), entry)
        now = host.get_fact(Member)
    reason = wrong(now, entry) or ("" if now.joined else f"tailscaled says {now.backend}")
    if reason:
        remedy = "see docs/tailnet-guests.md, In the wrong tailnet, or under a wrong name"
        raise HearthError(f"have {host.name} in the tailnet", reason, remedy)


def _let_in(host: Any, api: Api, entry: Entry) -> None:
    name = entry.settings.hostname
    for device in joining.forget_old(api, name):
        host.log(f"forgot the device {device.name} (id {device.id}): this guest, before it was made anew")
    key = joining.join_key(api, name, seconds=entry.lives)
    flags = {**entry.settings.flags(), "login-server": entry.server, "timeout": f"{entry.within}s"}
    # On standard input: no list of processes and no disk ever holds it.
    line = f"{command('up', flags)} --reset --auth-key=file:/dev/stdin"
    how = {"_stdin": key.secret.reveal(), "_timeout": entry.within + 30}
    worked, output = host.connector.run_shell_command(line, **how)
    if not worked:
        api.revoke_key(key.id)
        raise HearthError(f"join {host.name} to the tailnet", output.stderr or "tailscale gave no reason")
    joining.assert_named(api, name)


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
