"""How a machine stands in the tailnet, how it should, and how it gets in: guests and nodes alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hearth.errors import HearthError
from hearth.secrets import Secret
from hearth.tailnet import joining
from hearth.tailnet.model import Api

STATUS: Final = "tailscale status --json --peers=false"
PREFS: Final = "tailscale debug prefs"
# Until the server has answered a tailscaled that was just started, as if it had never joined (ipn/ipnlocal,
# nextState). Who takes that for "not in" joins a machine that is in, and forgets its device for that.
UNDECIDED: Final = "NoState"
OUT: Final = ("NeedsLogin", "NeedsMachineAuth")
IN: Final = ("Running", "Starting", "Stopped")  # ipn.State of tailscale.com: its node key was accepted


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
    """How a machine stands in the tailnet.

    Args:
        backend: tailscaled's state: UNDECIDED, also where it does not run, "NeedsLogin", "Running", ...
        name: its MagicDNS name, without the dot at the end; empty before it joined.
        carries: the networks that it may carry for others, as the server approved them.
        server: the coordination server that it is told to use.
        settings: its flags, as `Settings.flags` has them.
    """

    backend: str = UNDECIDED
    name: str = ""
    carries: tuple[str, ...] = ()
    server: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def joined(self) -> bool:
        """It is in a tailnet."""
        return self.backend in IN


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
        str(status.get("BackendState") or UNDECIDED),
        str(own.get("DNSName") or "").rstrip("."),
        tuple(own.get("AllowedIPs") or ()),
        str(prefs.get("ControlURL") or ""),
        settings.flags(),
    )


@dataclass(frozen=True)
class Entry:
    """How a machine comes into the tailnet.

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
    """Why a machine that has joined is not where it should be; empty where it is.

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


def let_in(api: Api, entry: Entry, up: Callable[[Secret], str], say: Callable[[str], None]) -> None:
    """Have a machine that is in no tailnet join, with a key for it alone, under exactly its name.

    Args:
        api: the coordination server.
        entry: where, as whom, and how.
        up: runs `tailscale up` there with the key, which no list of processes and no disk may show; says why
            it did not work, nothing where it did.
        say: told what was forgotten.

    Raises:
        HearthError: it did not join; the key is revoked.
    """
    name = entry.settings.hostname
    for device in joining.forget_old(api, name):
        say(f"forgot the device {device.name} (id {device.id}): this machine, before it was made anew")
    key = joining.join_key(api, name, seconds=entry.lives)
    if reason := up(key.secret):
        api.revoke_key(key.id)
        raise HearthError(f"join {name} to the tailnet", reason)
    joining.assert_named(api, name)


def must_be_in(name: str, now: Membership, entry: Entry) -> None:
    """Refuse a machine that is not where it should be.

    Args:
        name: it.
        now: how it stands.
        entry: where it should be.

    Raises:
        HearthError: it is in another tailnet, or under another name, or in none.
    """
    reason = wrong(now, entry) or ("" if now.joined else f"tailscaled says {now.backend}")
    if reason:
        remedy = "see docs/tailnet-guests.md, In the wrong tailnet, or under a wrong name"
        raise HearthError(f"have {name} in the tailnet", reason, remedy)
