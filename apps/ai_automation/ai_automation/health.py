"""What the services around us are like, looked at now and then."""

from __future__ import annotations

import asyncio
import logging

from ai_automation.actions import Outside
from ai_automation.peer import Peer

_log = logging.getLogger(__name__)

# Home Assistant answers its API's root only to a right token (developers.home-assistant.io/docs/api/rest).
_PATHS = {"home_assistant": "/api/", "mcp_hub": "/health"}


class Probe:
    """Asks the services for their health.

    Args:
        outside: the services.
        pause: seconds between two looks.
    """

    def __init__(self, outside: Outside, pause: float) -> None:
        self._peers: dict[str, Peer | None] = {
            "home_assistant": outside.home_assistant,
            "mcp_hub": outside.mcp_hub,
        }
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self.states = {name: "unknown" if peer else "not_configured" for name, peer in self._peers.items()}

    async def start(self) -> None:
        """Begin to look, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        while True:
            for name, peer in self._peers.items():
                if peer is not None:
                    self._note(name, await peer.status(_PATHS[name]))
            await asyncio.sleep(self._pause)

    def _note(self, name: str, state: str) -> None:
        before = self.states[name]
        if state != before:
            level = logging.INFO if state == "ok" else logging.WARNING
            _log.log(level, "%s: %s (was %s)", name, state, before)
        self.states[name] = state
