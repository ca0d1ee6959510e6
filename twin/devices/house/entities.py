"""What the house has, and how each entity is announced.

Source: Home Assistant's documentation of the MQTT integration, "MQTT Discovery" and each platform's page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NAME = "simulated-house"
NODE = "simulated_house"
STATUS = f"{NAME}/status"
ONLINE, OFFLINE = "online", "offline"
COMMANDS = f"{NAME}/+/+/set"
ROOMS = (
    *("kitchen", "living_room", "dining_room", "bedroom", "nursery", "guest_room", "study", "bathroom"),
    *("guest_bathroom", "hall", "stairs", "landing", "attic", "cellar", "laundry", "pantry"),
    *("garage", "workshop", "garden", "terrace"),
)
# What the broker has to let it do: `mosquitto_devices` in group_data.
PUBLISHES = (f"homeassistant/+/{NODE}/+/config", STATUS, f"{NAME}/+/+")
SUBSCRIBES = (COMMANDS,)


@dataclass(frozen=True)
class Entity:
    """One entity.

    Args:
        room: where it is.
        thing: what it is, unique in its room.
        component: Home Assistant's platform: sensor, binary_sensor, switch or number.
        first: its state at first, as MQTT carries it.
        facts: what discovery says of it besides.
    """

    room: str
    thing: str
    component: str
    first: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name in the house, unique."""
        return f"{self.room}/{self.thing}"

    @property
    def state_topic(self) -> str:
        """Where its state is published, retained."""
        return f"{NAME}/{self.key}"

    @property
    def config_topic(self) -> str:
        """Where it is announced, retained."""
        return f"homeassistant/{self.component}/{NODE}/{self.room}_{self.thing}/config"

    @property
    def commanded(self) -> bool:
        """Whether it takes commands."""
        return self.component in ("switch", "number")

    def config(self) -> dict[str, Any]:
        """What is announced."""
        commands = {"command_topic": f"{self.state_topic}/set"} if self.commanded else {}
        words = f"{self.room} {self.thing}".replace("_", " ")
        return {
            "name": words.capitalize(),
            "unique_id": f"{NODE}_{self.room}_{self.thing}",
            "state_topic": self.state_topic,
            **commands,
            "availability_topic": STATUS,
            "payload_available": ONLINE,
            "payload_not_available": OFFLINE,
            "qos": 1,
            **self.facts,
            "device": {
                "identifiers": [NAME],
                "name": "Simulated house",
                "manufacturer": "Hearth",
                "model": "Stand-in of the digital twin",
            },
            "origin": {"name": "hearth-twin"},
        }


def entities() -> list[Entity]:
    """All of them: 13 a room, and 3 of the house."""
    return [entity for room in ROOMS for entity in _room(room)] + _house()


def accepted(entity: Entity, payload: str) -> str | None:
    """The state that a command leads to; None where it is not one for this entity."""
    if entity.component == "switch":
        return payload if payload in ("ON", "OFF") else None
    if entity.component == "number":
        try:
            wanted = float(payload)
        except ValueError:
            return None
        return f"{wanted:g}" if entity.facts["min"] <= wanted <= entity.facts["max"] else None
    return None


def drifted(entity: Entity, step: int) -> str:
    """The next value of a measuring sensor: around its first one, up and down by turns."""
    swing = (step % 5) - 2
    return f"{float(entity.first) * (1 + swing / 100):.1f}"


def _room(room: str) -> list[Entity]:
    number = ROOMS.index(room)
    return [
        _measures(room, "temperature", "°C", f"{18 + number / 4:.1f}", "temperature"),
        _measures(room, "humidity", "%", f"{40 + number:.1f}", "humidity"),
        _measures(room, "illuminance", "lx", f"{50 + 10 * number:.1f}", "illuminance"),
        _measures(room, "co2", "ppm", f"{500 + 20 * number:.1f}", "carbon_dioxide"),
        _measures(room, "power", "W", f"{20 + 5 * number:.1f}", "power"),
        *(_notices(room, kind) for kind in ("motion", "door", "window", "smoke")),
        *(Entity(room, thing, "switch", "OFF") for thing in ("lamp", "socket", "fan")),
        Entity(
            room, "target", "number", "20", {"min": 5, "max": 30, "step": 0.5, "unit_of_measurement": "°C"}
        ),
    ]


def _house() -> list[Entity]:
    energy = {"device_class": "energy", "state_class": "total_increasing", "unit_of_measurement": "kWh"}
    return [
        Entity("house", "energy", "sensor", "1234.5", energy),
        Entity("house", "internet", "binary_sensor", "ON", {"device_class": "connectivity"}),
        Entity("house", "holiday", "switch", "OFF"),
    ]


def _measures(room: str, thing: str, unit: str, first: str, device_class: str) -> Entity:
    facts = {"device_class": device_class, "state_class": "measurement", "unit_of_measurement": unit}
    return Entity(room, thing, "sensor", first, facts)


def _notices(room: str, device_class: str) -> Entity:
    return Entity(room, device_class, "binary_sensor", "OFF", {"device_class": device_class})
