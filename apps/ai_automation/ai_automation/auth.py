"""Bearer tokens: who asks, and what they may."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict, deque

from ai_automation.config import Client

_WINDOW = 60  # seconds
_MOST_ADDRESSES = 4096  # remembered at once


class Doorkeeper:
    """Knows the clients by the hashes of their tokens.

    Args:
        clients: from the config.
        most_failures: wrong tokens a minute that one address may try. Right tokens are served all the
            same: the tokens cannot be guessed, and one broken client behind a proxy shall not lock out
            the home.
    """

    def __init__(self, clients: list[Client], most_failures: int) -> None:
        self._clients = clients
        self._most = most_failures
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def who(self, header: str | None) -> Client | None:
        """The client of an Authorization header; compared in constant time, with every client."""
        scheme, _, token = (header or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        found = None
        for client in self._clients:
            for known in client.token_sha256:
                if hmac.compare_digest(known, digest):
                    found = client
        return found if scheme.lower() == "bearer" else None

    def failed(self, address: str) -> int:
        """Note a wrong token.

        Returns:
            0, or the seconds until this address may try again.
        """
        now = time.monotonic()
        with self._lock:
            times = self._failures.setdefault(address, deque())
            self._failures.move_to_end(address)
            while len(self._failures) > _MOST_ADDRESSES:
                self._failures.popitem(last=False)
            while times and times[0] < now - _WINDOW:
                times.popleft()
            if len(times) >= self._most:
                return int(times[0] + _WINDOW - now) + 1
            times.append(now)
            return 0
