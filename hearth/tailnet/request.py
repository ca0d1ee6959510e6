"""A request to a coordination server, and the words of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

IDEMPOTENT: Final = ("GET", "PUT", "DELETE")


@dataclass(frozen=True)
class Ask:
    """A request.

    Args:
        method: GET, POST, PUT, PATCH, DELETE.
        path: with its slash.
        action: what it is for, as the error says it: "list the tailnet's devices".
        content: httpx's arguments: `json`, `content`, `params`, `headers`.
        again: whether doing it twice is doing it once; None: as the method has it.
    """

    method: str
    path: str
    action: str
    content: Mapping[str, Any] = field(repr=False)  # may hold a secret
    again: bool | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again although it may have been done."""
        return self.method in IDEMPOTENT if self.again is None else self.again


def words(answer: httpx.Response) -> str:
    """The server's own words: `message` and the errors in `data`; OAuth's description; else its text."""
    try:
        said = answer.json()
        message = str(said.get("message") or said.get("error_description") or said.get("error") or "")
        details = said.get("data")
    except (ValueError, AttributeError):
        return " ".join(answer.text.split())[:300]
    told = [text for item in details or () if isinstance(item, dict) for text in item.get("errors") or ()]
    parts = (message, "; ".join(map(str, told)))
    return ": ".join(" ".join(part.split()) for part in parts if part)
