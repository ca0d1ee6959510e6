"""What a tailnet has, as plain data, and what may be asked of a coordination server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hearth.secrets import Secret


@dataclass(frozen=True)
class Device:
    """A machine of the tailnet.

    Args:
        id: the server's own name for it.
        name: its name in the tailnet, without the domain: "comms", or "comms-1" where "comms" was taken.
        hostname: what the machine calls itself.
        domain: the tailnet's MagicDNS domain; empty where the server does not say it with the device.
        last_seen: when it was last connected; None while it is, or where it never was.
        expires: when its key ends; None: never.
        advertised: the routes that it offers.
        approved: the routes that it may have, offered or not.
    """

    id: str
    name: str
    hostname: str
    domain: str = ""
    tags: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    user: str = ""
    online: bool = False
    authorized: bool = True
    created: datetime | None = None
    last_seen: datetime | None = None
    expires: datetime | None = None
    advertised: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()


@dataclass(frozen=True)
class JoinKey:
    """A key that lets one machine join, once, until `expires`."""

    id: str
    secret: Secret
    expires: datetime | None


@dataclass(frozen=True)
class Policy:
    """The policy file as it is there: HuJSON with its comments, and the tag that names this very text.

    `etag` is sent back as it came (RFC 9110, 13.1.1).
    """

    text: str
    etag: str


@dataclass(frozen=True)
class Dns:
    """The tailnet's DNS."""

    magic: bool = False
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Api(Protocol):
    """What Hearth asks of a coordination server. Every call may raise TailnetError."""

    def make_key(self, tags: Sequence[str], seconds: int, description: str) -> JoinKey:
        """A new key: single use, pre-authorized, its machine tagged and kept."""

    def revoke_key(self, ident: str) -> None:
        """End a key; nothing happens where it is none any more."""

    def devices(self) -> list[Device]:
        """All devices, with their routes."""

    def device(self, ident: str) -> Device:
        """One device."""

    def delete(self, ident: str) -> None:
        """Remove a device; nothing happens where it is none any more."""

    def authorize(self, ident: str) -> None:
        """Let a device in that waits for an admin."""

    def tag(self, ident: str, tags: Sequence[str]) -> None:
        """Replace a device's tags."""

    def approve(self, ident: str, routes: Sequence[str]) -> None:
        """Replace the routes that a device may have."""

    def expire(self, ident: str) -> None:
        """End a device's key now: it has to join again."""

    def policy(self) -> Policy:
        """The policy as it is."""

    def validate(self, text: str) -> None:
        """Have the server judge a policy and run its tests; PolicyRefusedError where it fails."""

    def set_policy(self, text: str, etag: str) -> Policy:
        """Replace the policy that `etag` names; PolicyChangedError where it is another by now."""

    def dns(self) -> Dns:
        """The DNS settings; NotServedError where the server keeps them in its own configuration."""

    def set_dns(self, wanted: Dns) -> None:
        """Replace the DNS settings that differ."""
