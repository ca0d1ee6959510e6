"""A message to where it is to go, by Apprise; what ntfy can do besides a text goes into its URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import apprise

from alert_relay.message import Message

NTFY = ("ntfy://", "ntfys://")


def send(url: str, message: Message) -> bool:
    """Send it to one service; False where that does not take it.

    Args:
        url: as Apprise has it (github.com/caronc/apprise/wiki).
        message: what is sent.
    """
    service = apprise.Apprise()
    if not service.add(_url(url, message)):
        return False
    body = message.body if url.startswith(NTFY) or not message.link else f"{message.body}\n{message.link}"
    return bool(service.notify(body=body or message.title, title=message.title, notify_type=message.kind))


def known(url: Any) -> bool:
    """Whether Apprise knows what to do with a URL; nothing is sent."""
    return isinstance(url, str) and bool(apprise.Apprise().add(url))


def _url(url: str, message: Message) -> str:
    if not url.startswith(NTFY):
        return url
    more = {"priority": message.priority, "tags": ",".join(message.tags), "click": message.link}
    query = urlencode({key: value for key, value in more.items() if value})
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url
