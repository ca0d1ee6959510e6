"""Reach into the simulated Zigbee devices: for tests, for `twin exec`, and for `twin device`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from hearth.errors import HearthError
from twin.state import Twin

SOCKET = "zigbee.sock"
_POLL = 0.1


class Devices:
    """The radio's door.

    Args:
        socket: its Unix socket; only root may open it.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @classmethod
    def of(cls, twin: Twin) -> Devices:
        """The devices of a twin; in `twin exec`, `Twin.named(os.environ["HEARTH_TWIN"])` is it."""
        return cls(twin.private / SOCKET)

    def state(self) -> dict[str, Any]:
        """{"adapter": {...}, "devices": {name: {...}}}: as they are, whatever anybody believes."""
        answer: dict[str, Any] = self._ask("GET", "/state")
        return answer

    def light(self) -> dict[str, Any]:
        """The light itself: `on`, `level` (1 to 254), `joined`, `ieee` ..."""
        light: dict[str, Any] = self.state()["devices"]["light"]
        return light

    def sensor(self) -> dict[str, Any]:
        """The sensor itself: `temperature` (degrees Celsius), `humidity` (percent), `joined`, `ieee` ..."""
        sensor: dict[str, Any] = self.state()["devices"]["sensor"]
        return sensor

    def events(self) -> list[dict[str, Any]]:
        """What happened since the radio's process started, oldest first."""
        events: list[dict[str, Any]] = self._ask("GET", "/events")
        return events

    def measure(self, **values: float) -> bool:
        """Let the sensor measure `temperature` or `humidity`, and report it; whether somebody heard it."""
        return self._heard("/sensor", values)

    def switch(self, **how: Any) -> bool:
        """Switch the light by hand (`on=True`, `level=100`); whether somebody heard its report."""
        return self._heard("/light", how)

    def act(self, name: str, action: str) -> bool:
        """Let a device `join` (as soon as the network is open), `leave`, `silence` or `wake`."""
        return self._heard(f"/device/{name}/{action}", {})

    def plug(self, plugged: bool) -> None:
        """Pull the radio out (it listens no more, connections end) or plug it in again."""
        self._heard("/adapter", {"plugged": plugged})

    def wait(self, what: str, until: Callable[[dict[str, Any]], bool], timeout: float) -> dict[str, Any]:
        """Wait for a state.

        Args:
            what: for the message.
            until: asked with `state()`.
            timeout: seconds.

        Raises:
            HearthError: it did not come.
        """
        deadline = time.monotonic() + timeout
        while not until(state := self.state()):
            if time.monotonic() > deadline:
                raise HearthError(f"wait for {what}", f"not within {timeout:g} s; the devices are {state}")
            time.sleep(_POLL)
        return state

    def _heard(self, path: str, body: dict[str, Any]) -> bool:
        return bool(self._ask("POST", path, body)["heard"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        action = "reach the simulated Zigbee devices"
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(self._socket)), timeout=10) as client:
                answer = client.request(method, f"http://twin{path}", json=body)
        except httpx.HTTPError as error:
            raise HearthError(action, str(error) or type(error).__name__, "`python -m twin up`") from error
        if answer.is_error:
            raise HearthError(action, answer.text)
        return answer.json()
