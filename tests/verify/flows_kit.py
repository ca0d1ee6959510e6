"""What the flows are proven with: a phone, a sensor that measures, a light that is looked at."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from under_test import UnderTest, address_of

from hearth.errors import HearthError
from twin.devices.phone import Phone

TOKEN = "home-assistant/token/hearth-verify"
PATIENCE = "HEARTH_VERIFY_PATIENCE"  # seconds; wins over verify_patience


class Flows:
    """The devices that group_data/verify.py names, and the phone.

    Args:
        under_test: the fleet.
        place: a folder for the phone's copy of the CA certificate.
    """

    def __init__(self, under_test: UnderTest, place: Path) -> None:
        self.under_test = under_test
        self.place = place

    def value(self, name: str) -> Any:
        """A value of group_data/verify.py; the test is skipped where the admin named none."""
        found = self.under_test.values.get(f"verify_{name}")
        if found is None:
            pytest.skip(f"verify_{name} is not set in group_data/verify.py")
        return found

    @property
    def patience(self) -> float:
        """Seconds that a step may take."""
        return float(os.environ.get(PATIENCE) or self.value("patience"))

    @property
    def url(self) -> str:
        """Home Assistant as a phone knows it: at the front door, where there is one."""
        fleet = self.under_test.fleet
        doors = fleet.with_role("front_door") or fleet.with_role("home_assistant")
        if not doors:
            pytest.skip("no guest has the role home_assistant")
        return f"https://{address_of(doors[0])}:8123"

    @contextmanager
    def phone(self) -> Iterator[Phone]:
        """A phone with the verifier's token, not registered yet."""
        ca = self.place / "ca.pem"
        ca.write_text(self.under_test.authority)
        with Phone(self.url, ca, self.under_test.secret(TOKEN), self.value("phone")) as phone:
            yield phone

    def measure(self, value: float) -> None:
        """Have the sensor measure a value; without a command it is left to the sensor."""
        command = self.under_test.values.get("verify_measure")
        if command:
            _said([part.format(value=value) for part in command])

    def light_is_on(self, phone: Phone) -> bool:
        """Whether the light is on: the device's own word where there is a command, else Home Assistant's."""
        command = self.under_test.values.get("verify_look")
        if command:
            return bool(json.loads(_said(list(command)))["on"])
        return bool(phone.state(self.value("light"))["state"] == "on")

    def until(self, what: str, true: Callable[[], bool]) -> None:
        """Wait for something; the test fails where it does not come."""
        deadline = time.monotonic() + self.patience
        while not _holds(true):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {self.patience:g} s")
            time.sleep(0.2)

    def event(self, events: queue.Queue[Any], what: str, fits: Callable[[Any], bool]) -> Any:
        """The first event that fits; the test fails where none comes."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                event = events.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"{what}: no event within {self.patience:g} s")
            if event is None:
                pytest.fail(f"{what}: the connection is lost")
            if fits(event):
                return event

    @contextmanager
    def registered(self, phone: Phone) -> Iterator[None]:
        """The phone registered and listening; taken out again afterwards."""
        phone.register()
        try:
            yield
        finally:
            with suppress(HearthError):
                phone.unregister()

    @contextmanager
    def as_they_were(self, phone: Phone, *entities: str) -> Iterator[None]:
        """Put lights and switches back to what they were, whatever happens."""
        before = {entity: phone.state(entity)["state"] for entity in entities}
        try:
            yield
        finally:
            for entity, state in before.items():
                if state in ("on", "off"):
                    with suppress(HearthError):
                        phone.call_service(f"homeassistant.turn_{state}", entity_id=entity)


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _holds(true: Callable[[], bool]) -> bool:
    # A server that is being waited for may not answer yet.
    with suppress(HearthError, OSError):
        return true()
    return False
