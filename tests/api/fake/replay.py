"""Puts recorded requests of a real Proxmox VE to a fake and says where the answers differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from twin.pve import Server

RECORDINGS = Path(__file__).parents[2] / "recordings" / "pve-8.4.21.jsonl"
API = "/api2/json"

#: What differs from one run to the next, and what it is called instead.
_CHANGING = (
    (re.compile(r"UPID:[^\s'\"]+"), "UPID"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "DIGEST"),
    (re.compile(r"\b(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\b"), "MAC"),
    (re.compile(r"creation-qemu=[\d.]+,ctime=\d+"), "CREATION"),
    (re.compile(r" at /usr/share/perl5/\S+ line \d+\."), ""),
)


@dataclass(frozen=True)
class Recorded:
    """One recorded request and its answer. `index` is its line in the file, from 0."""

    index: int
    auth: str
    method: str
    path: str
    params: Any
    status: int
    reason: str
    body: Any


def recordings() -> Iterator[Recorded]:
    """Every recorded request, in the recorded order."""
    with RECORDINGS.open() as lines:
        for index, line in enumerate(lines):
            row = json.loads(line)
            yield Recorded(
                index,
                row["auth"],
                row["method"],
                row["path"],
                row["params"],
                row["status"],
                row["reason"],
                row["body"],
            )


def normal(value: Any) -> Any:
    """A value without what changes from run to run: MACs, digests, UUIDs, times of creation."""
    if isinstance(value, str):
        for pattern, name in _CHANGING:
            value = pattern.sub(name, value)
        return value
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, dict):
        return {key: "TIME" if key == "snaptime" else normal(item) for key, item in value.items()}
    return value


class Client:
    """Sends recorded requests, with the fake's own tokens, tickets and UPIDs in place of the recorded."""

    def __init__(self, server: Server, tokens: dict[str, str], password: str) -> None:
        self._server = server
        self._tokens = tokens
        self._password = password
        self._upids: dict[str, str] = {}
        self._http = requests.Session()
        # REQUESTS_CA_BUNDLE in the environment would win over `verify`.
        self._http.trust_env = False
        self._http.verify = str(server.ca_file)

    def send(self, one: Recorded) -> requests.Response:
        """The fake's answer to a recorded request."""
        path = one.path
        for recorded, ours in self._upids.items():
            path = path.replace(recorded, ours)
        answer = self._http.request(
            one.method,
            self._server.url + path,
            headers={**self._headers(one.auth), **_kind(one)},
            timeout=20,
            **self._content(one),
        )
        self._learn(one, answer)
        return answer

    def _content(self, one: Recorded) -> dict[str, Any]:
        if not one.params:
            return {}
        if isinstance(one.params, str):
            return {"data": one.params}
        if one.method in ("GET", "DELETE") and "content" not in one.reason:
            return {"params": one.params}
        if isinstance(one.params, dict) and any(isinstance(v, bool | list) for v in one.params.values()):
            return {"json": one.params}
        return {"data": one.params}

    def _headers(self, auth: str) -> dict[str, str]:
        name = auth.partition(" ")[0]
        value = self._tokens.get(name) or _BAD_TOKENS.get(auth)
        if value is not None:
            return {"Authorization": f"PVEAPIToken={value}"}
        if auth == "bad ticket":
            return {"Cookie": "PVEAuthCookie=PVE:root@pam:garbage"}
        if not auth.startswith("root@pam ticket"):
            return {}
        ticket, csrf = self._server.call(lambda: self._server.pve.issue_ticket("root@pam"))
        headers = {"Cookie": f"PVEAuthCookie={ticket}"}
        return headers if "no CSRF" in auth else {**headers, "CSRFPreventionToken": csrf}

    def knows(self, one: Recorded) -> bool:
        """Whether the task a recorded path names was started in this replay (or never existed)."""
        found = re.search(r"/tasks/(UPID:[^/]+)", one.path)
        return found is None or found.group(1) in self._upids or ":00000000:" in found.group(1)

    def _learn(self, one: Recorded, answer: requests.Response) -> None:
        recorded = one.body.get("data") if isinstance(one.body, dict) else None
        ours = _json(answer)
        ours = ours.get("data") if isinstance(ours, dict) else None
        if isinstance(recorded, str) and recorded.startswith("UPID:") and isinstance(ours, str):
            self._upids[recorded] = ours
        if isinstance(recorded, dict) and "full-tokenid" in recorded and isinstance(ours, dict):
            self._tokens[recorded["full-tokenid"]] = f"{ours['full-tokenid']}={ours['value']}"


_NOBODY = "00000000-0000-0000-0000-000000000000"
_BAD_TOKENS = {
    "bad token": f"root@pam!iac={_NOBODY}",
    "unknown token": f"root@pam!nosuch={_NOBODY}",
    "malformed token": "garbage",
}


def _kind(one: Recorded) -> dict[str, str]:
    """The content type of a body that was recorded as text."""
    if not isinstance(one.params, str):
        return {}
    return {"Content-Type": "text/xml" if one.params.startswith("<") else "application/json"}


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def differences(one: Recorded, answer: requests.Response) -> list[str]:
    """Where an answer differs from the recorded one: status, reason, errors, keys, types, config values."""
    found = []
    if (one.status, normal(one.reason)) != (answer.status_code, normal(answer.reason)):
        found.append(f"status: {one.status} {one.reason!r} != {answer.status_code} {answer.reason!r}")
    ours = _json(answer)
    if not (isinstance(one.body, dict) and isinstance(ours, dict)):
        if one.body != ours:
            found.append(f"body: {one.body!r:.80} != {ours!r:.80}")
        return found
    if normal(one.body.get("errors")) != normal(ours.get("errors")):
        found.append(f"errors: {one.body.get('errors')} != {ours.get('errors')}")
    if not found:
        found += _data_differences(one, one.body.get("data"), ours.get("data"))
    return found


def _data_differences(one: Recorded, real: Any, ours: Any) -> list[str]:
    if re.search(r"/(config|pending)$", one.path) and one.method == "GET":
        return _values(_keyed(real), _keyed(ours))
    if one.path.endswith("/log"):
        return _values(real[-1]["t"], ours[-1]["t"])
    if "/tasks/" in one.path and isinstance(real, dict) and real.get("status") == "running":
        return []
    if "/tasks/" in one.path and isinstance(real, dict):
        steady = ("exitstatus", "status", "type", "id", "user", "tokenid", "node")
        return _values({k: real.get(k) for k in steady}, {k: ours.get(k) for k in steady})
    return _shapes("data", real, ours)


def _keyed(data: Any) -> Any:
    return {item["key"]: item for item in data} if isinstance(data, list) else data


def _values(real: Any, ours: Any) -> list[str]:
    if not (isinstance(real, dict) and isinstance(ours, dict)):
        return [] if normal(real) == normal(ours) else [f"{real!r} != {ours!r}"]
    found = []
    for key in sorted(set(real) | set(ours)):
        mine, theirs = normal(ours).get(key, "(absent)"), normal(real).get(key, "(absent)")
        if mine != theirs or type(mine) is not type(theirs):
            found.append(f"{key}: {theirs!r} != {mine!r}")
    return found


def _shapes(where: str, real: Any, ours: Any) -> list[str]:
    if isinstance(real, dict) and isinstance(ours, dict):
        found = [f"{where}.{key}: only real" for key in sorted(set(real) - set(ours))]
        found += [f"{where}.{key}: only fake" for key in sorted(set(ours) - set(real))]
        for key in sorted(set(real) & set(ours)):
            found += _shapes(f"{where}.{key}", real[key], ours[key])
        return found
    if isinstance(real, list) and isinstance(ours, list):
        if bool(real) != bool(ours):
            return [f"{where}: {len(real)} items != {len(ours)}"]
        return _shapes(where + "[]", _merged(real), _merged(ours)) if real else []
    if _type(real) != _type(ours):
        return [f"{where}: {real!r:.40} != {ours!r:.40}"]
    return []


def _merged(items: list[Any]) -> Any:
    if not all(isinstance(item, dict) for item in items):
        return items[0]
    items = sorted(items, key=lambda item: str([item.get(key) for key in ("type", "vmid", "volid", "iface")]))
    merged: dict[str, Any] = {}
    for item in items:
        merged.update({key: value for key, value in item.items() if value is not None or key not in merged})
    return merged


def _type(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if number else type(value).__name__
