"""Who listens to the runs' changes. A listener that does not keep up is dropped, the others never wait."""

from __future__ import annotations

import queue
import threading
from typing import Any

_MOST_WAITING = 256  # messages


class Listener:
    """One listener's messages. `None` means: no more will come."""

    def __init__(self) -> None:
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self.lost = threading.Event()  # it did not keep up

    def put(self, message: dict[str, Any] | None) -> None:
        """Give it a message, or mark it lost where too many wait."""
        try:
            self.messages.put_nowait(message)
        except queue.Full:
            self.lost.set()


class Streams:
    """All listeners.

    Args:
        most: how many there may be at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._closed = False

    def join(self) -> Listener | None:
        """A new listener; None where there are enough, or no more messages will come."""
        with self._lock:
            if self._closed or len(self._listeners) >= self._most:
                return None
            listener = Listener()
            self._listeners.add(listener)
            return listener

    @property
    def full(self) -> bool:
        """Whether nobody more may join now."""
        with self._lock:
            return self._closed or len(self._listeners) >= self._most

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        with self._lock:
            self._listeners.discard(listener)

    def tell(self, message: dict[str, Any]) -> None:
        """Give a message to all."""
        with self._lock:
            for listener in self._listeners:
                listener.put(message)

    def close(self) -> None:
        """No more messages: every listener is told."""
        with self._lock:
            self._closed = True
            for listener in self._listeners:
                listener.put(None)
