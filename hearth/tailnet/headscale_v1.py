"""The API of headscale before 0.30, which has no v2: proto/headscale/v1 in its source (read: 0.29.2).

It knows API keys only, and gives policies no ETag: the text's SHA-256 stands for one, and the policy is read
again right before it is replaced. A change within those milliseconds is lost, which 0.30 prevents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from hearth.secrets import Secret
from hearth.tailnet.errors import (
    BAD_REQUEST,
    CHANGED,
    NOT_FOUND,
    SERVER_FAULT,
    NotServedError,
    PolicyChangedError,
    TailnetError,
    policy_refusal,
)
from hearth.tailnet.model import Device, Dns, JoinKey, Policy
from hearth.tailnet.v2 import moment, read
from hearth.tailnet.wire import Wire

#: What GET policy says, as a server fault, where none was ever set (types.ErrPolicyNotFound).
NO_POLICY: Final = "acl policy not found"
#: How a refused policy begins, also as a server fault (grpcv1.go, SetPolicy).
REFUSED: Final = ("setting policy", "verifying SSH rules", "update is disabled")


class HeadscaleV1:
    """`hearth.tailnet.model.Api` over headscale's v1 API.

    Args:
        wire: the connection.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def make_key(self, tags: Sequence[str], seconds: int, description: str) -> JoinKey:
        """POST preauthkey; it has no description."""
        action = "make a key to join the tailnet with"
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        body = {"reusable": False, "ephemeral": False, "expiration": _stamp(until), "aclTags": list(tags)}
        said = self._ask("POST", "preauthkey", action, json=body).get("preAuthKey") or {}
        if not said.get("key"):
            raise TailnetError(action, "the answer has none")
        return JoinKey(str(said.get("id", "")), Secret(str(said["key"])), moment(said.get("expiration")))

    def revoke_key(self, ident: str) -> None:
        """POST preauthkey/expire."""
        self._ask("POST", "preauthkey/expire", "revoke a key of the tailnet", again=True, json={"id": ident})

    def devices(self) -> list[Device]:
        """GET node."""
        said = self._ask("GET", "node", "list the tailnet's devices")
        return [device_of(one) for one in said.get("nodes") or ()]

    def device(self, ident: str) -> Device:
        """GET node/ID."""
        said = self._ask("GET", _node(ident), f"read the tailnet's device {ident}")
        return device_of(said.get("node") or {})

    def delete(self, ident: str) -> None:
        """DELETE node/ID."""
        try:
            self._ask("DELETE", _node(ident), f"remove the tailnet's device {ident}")
        except TailnetError as error:
            if error.status != NOT_FOUND:
                raise

    def authorize(self, ident: str) -> None:
        """Nothing: a node of headscale is authorized from the moment it joins."""
        self.device(ident)

    def tag(self, ident: str, tags: Sequence[str]) -> None:
        """POST node/ID/tags."""
        self._ask("POST", f"{_node(ident)}/tags", f"tag the device {ident}", True, json={"tags": list(tags)})

    def approve(self, ident: str, routes: Sequence[str]) -> None:
        """POST node/ID/approve_routes."""
        action = f"approve routes of the device {ident}"
        self._ask("POST", f"{_node(ident)}/approve_routes", action, True, json={"routes": list(routes)})

    def expire(self, ident: str) -> None:
        """POST node/ID/expire."""
        self._ask("POST", f"{_node(ident)}/expire", f"expire the key of the device {ident}", True, json={})

    def policy(self) -> Policy:
        """GET policy; an empty one where none was ever set, which headscale takes as: all may talk to all."""
        try:
            said = self._ask("GET", "policy", "read the tailnet's policy", again=False)
        except TailnetError as error:
            if NO_POLICY not in error.reason:
                raise
            said = {}
        return _policy(said)

    def validate(self, text: str) -> None:
        """POST policy/check."""
        try:
            self._ask("POST", "policy/check", "validate the policy", again=False, json={"policy": text})
        except TailnetError as error:
            raise _refused_policy(error) from error

    def set_policy(self, text: str, etag: str) -> Policy:
        """PUT policy, where the policy is still the one of the tag."""
        action = "apply the policy"
        if self.policy().etag != etag:
            raise PolicyChangedError(action, "the policy there was changed meanwhile", status=CHANGED)
        try:
            return _policy(self._ask("PUT", "policy", action, again=False, json={"policy": text}))
        except TailnetError as error:
            raise _refused_policy(error) from error

    def dns(self) -> Dns:
        """NotServedError."""
        raise _no_dns("read the tailnet's DNS settings")

    def set_dns(self, wanted: Dns) -> None:
        """NotServedError."""
        raise _no_dns("set the tailnet's DNS")

    def _ask(
        self, method: str, path: str, action: str, again: bool | None = None, **content: Any
    ) -> dict[str, Any]:
        return read(action, self._wire.ask(method, f"/api/v1/{path}", action, again, **content))


def device_of(said: Mapping[str, Any]) -> Device:
    """A node as the v1 API describes it."""
    online = bool(said.get("online"))
    return Device(
        id=str(said.get("id") or ""),
        name=str(said.get("givenName") or said.get("name") or ""),
        hostname=str(said.get("name") or ""),
        tags=tuple(said.get("tags") or ()),
        addresses=tuple(said.get("ipAddresses") or ()),
        user=str((said.get("user") or {}).get("name") or ""),
        online=online,
        created=moment(said.get("createdAt")),
        last_seen=None if online else moment(said.get("lastSeen")),
        expires=moment(said.get("expiry")),
        advertised=tuple(said.get("availableRoutes") or ()),
        approved=tuple(said.get("approvedRoutes") or ()),
    )


def _node(ident: str) -> str:
    return f"node/{quote(ident, safe='')}"


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _policy(said: Mapping[str, Any]) -> Policy:
    text = str(said.get("policy") or "")
    return Policy(text, f'"{hashlib.sha256(text.encode()).hexdigest()}"')


def _refused_policy(error: TailnetError) -> TailnetError:
    fault = error.status >= SERVER_FAULT and error.reason.startswith(REFUSED)
    return policy_refusal(error) if fault or error.status == BAD_REQUEST else error


def _no_dns(action: str) -> NotServedError:
    remedy = "headscale has them in its configuration file, under `dns`"
    return NotServedError(action, "this server does not serve that", remedy, NOT_FOUND)
