"""The v2 API, as Tailscale serves it (tailscale.com/api) and headscale from 0.30 on (hscontrol/api/v2).

Headscale knows the tailnet "-" only, and has no `acl/validate`, no DNS and no `expire`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from hearth.secrets import Secret
from hearth.tailnet.errors import (
    BAD_REQUEST,
    NOT_FOUND,
    NotServedError,
    PolicyRefusedError,
    TailnetError,
    policy_refusal,
)
from hearth.tailnet.model import Device, Dns, JoinKey, Policy
from hearth.tailnet.request import words
from hearth.tailnet.wire import Wire

HUJSON = "application/hujson"
DESCRIBED = 50  # characters that a key's description may have, and headscale refuses more


class V2:
    """`hearth.tailnet.model.Api` over the v2 API.

    Args:
        wire: the connection.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._tailnet = wire.access.path

    # ------------------------------------------------------------------- keys

    def make_key(self, tags: Sequence[str], seconds: int, description: str) -> JoinKey:
        """POST tailnet/-/keys."""
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": list(tags)}
        body = {
            "keyType": "auth",
            "capabilities": {"devices": {"create": create}},
            "expirySeconds": seconds,
            "description": description[:DESCRIBED],
        }
        action = "make a key to join the tailnet with"
        said = read(action, self._wire.ask("POST", f"{self._tailnet}/keys", action, json=body))
        if not said.get("key"):
            raise TailnetError(action, "the answer has none")
        return JoinKey(str(said.get("id", "")), Secret(str(said["key"])), moment(said.get("expires")))

    def revoke_key(self, ident: str) -> None:
        """DELETE tailnet/-/keys/ID."""
        self._gone(f"{self._tailnet}/keys/{quote(ident, safe='')}", "revoke a key of the tailnet")

    # ---------------------------------------------------------------- devices

    def devices(self) -> list[Device]:
        """GET tailnet/-/devices?fields=all."""
        action = "list the tailnet's devices"
        params = {"fields": "all"}
        said = read(action, self._wire.ask("GET", f"{self._tailnet}/devices", action, params=params))
        return [device_of(one) for one in said.get("devices") or ()]

    def device(self, ident: str) -> Device:
        """GET device/ID?fields=all."""
        action = f"read the tailnet's device {ident}"
        return device_of(
            read(action, self._wire.ask("GET", _device(ident), action, params={"fields": "all"}))
        )

    def delete(self, ident: str) -> None:
        """DELETE device/ID."""
        self._gone(_device(ident), f"remove the tailnet's device {ident}")

    def authorize(self, ident: str) -> None:
        """POST device/ID/authorized."""
        self._set(ident, "authorized", f"authorize the device {ident}", {"authorized": True})

    def tag(self, ident: str, tags: Sequence[str]) -> None:
        """POST device/ID/tags."""
        self._set(ident, "tags", f"tag the device {ident}", {"tags": list(tags)})

    def approve(self, ident: str, routes: Sequence[str]) -> None:
        """POST device/ID/routes."""
        self._set(ident, "routes", f"approve routes of the device {ident}", {"routes": list(routes)})

    def expire(self, ident: str) -> None:
        """POST device/ID/expire."""
        action = f"expire the key of the device {ident}"
        try:
            self._set(ident, "expire", action, {})
        except TailnetError as error:
            if error.status != NOT_FOUND:
                raise
            self.device(ident)  # raises where it is the device that there is not
            raise _not_served(action, "remove the device instead") from error

    # ----------------------------------------------------------------- policy

    def policy(self) -> Policy:
        """GET tailnet/-/acl."""
        action = "read the tailnet's policy"
        return _policy(action, self._wire.ask("GET", self._acl, action, headers={"Accept": HUJSON}))

    def validate(self, text: str) -> None:
        """POST tailnet/-/acl/validate, which answers 200 also where a test fails: the words tell."""
        action = "validate the policy"
        try:
            answer = self._send(f"{self._acl}/validate", action, text, {}, again=True)
        except TailnetError as error:
            if error.status == NOT_FOUND:
                raise _not_served(action, "headscale judges it when it is applied") from error
            raise _refused_policy(error) from error
        said = words(answer) if answer.content.strip() else ""
        if said:
            raise PolicyRefusedError(action, said, "mend the policy file", answer.status_code)

    def set_policy(self, text: str, etag: str) -> Policy:
        """POST tailnet/-/acl with If-Match."""
        action = "apply the policy"
        try:
            answer = self._send(self._acl, action, text, {"If-Match": etag})
        except TailnetError as error:
            raise _refused_policy(error) from error
        return _policy(action, answer)

    # -------------------------------------------------------------------- DNS

    def dns(self) -> Dns:
        """GET tailnet/-/dns/..., four of them."""
        action = "read the tailnet's DNS settings"
        said = {
            part: self._dns(part, action)
            for part in ("preferences", "nameservers", "searchpaths", "split-dns")
        }
        return Dns(
            magic=bool(said["preferences"].get("magicDNS")),
            nameservers=tuple(said["nameservers"].get("dns") or ()),
            search=tuple(said["searchpaths"].get("searchPaths") or ()),
            split={domain: tuple(servers or ()) for domain, servers in said["split-dns"].items()},
        )

    def set_dns(self, wanted: Dns) -> None:
        """POST tailnet/-/dns/..., PUT split-dns; nameservers first, since MagicDNS depends on them."""
        now, action = self.dns(), "set the tailnet's DNS"
        if now.nameservers != wanted.nameservers:
            self._put_dns("nameservers", action, {"dns": list(wanted.nameservers)})
        if now.search != wanted.search:
            self._put_dns("searchpaths", action, {"searchPaths": list(wanted.search)})
        if dict(now.split) != dict(wanted.split):
            split = {domain: list(servers) for domain, servers in wanted.split.items()}
            self._wire.ask("PUT", f"{self._tailnet}/dns/split-dns", action, json=split)
        if now.magic != wanted.magic:
            self._put_dns("preferences", action, {"magicDNS": wanted.magic})

    # --------------------------------------------------------------- internal

    @property
    def _acl(self) -> str:
        return f"{self._tailnet}/acl"

    def _set(self, ident: str, what: str, action: str, body: Mapping[str, Any]) -> None:
        # Each of them sets a value whole: twice is once.
        self._wire.ask("POST", f"{_device(ident)}/{what}", action, again=True, json=body)

    def _gone(self, path: str, action: str) -> None:
        try:
            self._wire.ask("DELETE", path, action)
        except TailnetError as error:
            if error.status != NOT_FOUND:
                raise

    def _send(
        self, path: str, action: str, text: str, headers: Mapping[str, str], again: bool = False
    ) -> httpx.Response:
        wanted = {"Content-Type": HUJSON, "Accept": HUJSON, **headers}
        return self._wire.ask("POST", path, action, again, content=text.encode(), headers=wanted)

    def _dns(self, part: str, action: str) -> dict[str, Any]:
        try:
            return read(action, self._wire.ask("GET", f"{self._tailnet}/dns/{part}", action))
        except TailnetError as error:
            if error.status != NOT_FOUND:
                raise
            raise _not_served(action, "headscale has them in its configuration file, under `dns`") from error

    def _put_dns(self, part: str, action: str, body: Mapping[str, Any]) -> None:
        self._wire.ask("POST", f"{self._tailnet}/dns/{part}", action, again=True, json=body)


def device_of(said: Mapping[str, Any]) -> Device:
    """A device as the API describes it.

    `name` is the whole MagicDNS name at Tailscale, and the name alone at headscale. Tailscale says
    `connectedToControl`; headscale gives `lastSeen` only to devices that are not connected.
    """
    name, _, domain = str(said.get("name") or "").partition(".")
    seen = moment(said.get("lastSeen"))
    online = said.get("connectedToControl")
    return Device(
        id=str(said.get("nodeId") or said.get("id") or ""),
        name=name,
        hostname=str(said.get("hostname") or ""),
        domain=domain.rstrip("."),
        tags=tuple(said.get("tags") or ()),
        addresses=tuple(said.get("addresses") or ()),
        user=str(said.get("user") or ""),
        online=seen is None if online is None else bool(online),
        authorized=bool(said.get("authorized", True)),
        created=moment(said.get("created")),
        last_seen=seen,
        expires=None if said.get("keyExpiryDisabled") else moment(said.get("expires")),
        advertised=tuple(said.get("advertisedRoutes") or ()),
        approved=tuple(said.get("enabledRoutes") or ()),
    )


def moment(said: object) -> datetime | None:
    """A time of RFC 3339; None where there is none, or Go's zero time."""
    if not isinstance(said, str) or not said or said.startswith("0001-"):
        return None
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        return None


def read(action: str, answer: httpx.Response) -> dict[str, Any]:
    """An answer that is a JSON object; TailnetError where it is none."""
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        reason = f"what {answer.url.host} answers is not the API's: {answer.text[:80]!r}"
        raise TailnetError(action, reason, "does TAILSCALE_BASE_URL name the server?")
    return said


def _device(ident: str) -> str:
    return f"/api/v2/device/{quote(ident, safe='')}"


def _policy(action: str, answer: httpx.Response) -> Policy:
    etag = answer.headers.get("ETag")
    if not etag:
        raise TailnetError(action, "the answer has no ETag", "without one it cannot be replaced safely")
    return Policy(answer.text, etag)


def _refused_policy(error: TailnetError) -> TailnetError:
    return policy_refusal(error) if error.status == BAD_REQUEST else error


def _not_served(action: str, remedy: str) -> NotServedError:
    return NotServedError(action, "this server does not serve that", remedy, NOT_FOUND)
