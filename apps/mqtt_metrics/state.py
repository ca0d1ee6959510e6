"""What was heard, and how it reads for Prometheus (its text format, version 0.0.4). No I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

BEAT = "hearth/monitoring/beat"
ZIGBEE = "zigbee2mqtt/"
BRIDGE_STATE = f"{ZIGBEE}bridge/state"
DEVICES = f"{ZIGBEE}bridge/devices"
AVAILABILITY = "/availability"
SYS = "$SYS/broker/"
SUBSCRIBED = (BEAT, f"{SYS}#", f"{ZIGBEE}#")
LATE = 90.0  # seconds after which a beat that did not come through says that the way is broken
# Mosquitto's own counts (mosquitto(8), "Broker Status") -> our metric, what it counts, its type.
COUNTED = {
    "clients/connected": ("hearth_mqtt_clients", "Clients that are connected.", "gauge"),
    "messages/received": ("hearth_mqtt_received_total", "Packets that came in.", "counter"),
    "messages/sent": ("hearth_mqtt_sent_total", "Packets that went out.", "counter"),
    "publish/messages/dropped": ("hearth_mqtt_dropped_total", "Messages thrown away.", "counter"),
    "retained messages/count": ("hearth_mqtt_retained", "Retained messages.", "gauge"),
    "subscriptions/count": ("hearth_mqtt_subscriptions", "Subscriptions.", "gauge"),
    "store/messages/bytes": ("hearth_mqtt_stored_bytes", "Bytes of messages kept.", "gauge"),
    "uptime": ("hearth_mqtt_uptime_seconds", "Seconds since it was started.", "gauge"),
}


@dataclass
class Broker:
    """What is known of one broker.

    Args:
        guest: where it runs.
        first: the others get from it what it is told.
    """

    guest: str
    first: bool
    up: bool = False
    counts: dict[str, float] = field(default_factory=dict)
    beat: float | None = None  # when the last beat was heard here
    took: float | None = None  # seconds it took from the first broker


@dataclass
class State:
    """All that was heard.

    Args:
        brokers: by guest, the first one first.
        now: seconds, of a clock that only goes forward.
    """

    brokers: dict[str, Broker]
    zigbee: bool | None = None  # connected; None: no Zigbee2MQTT has ever said so
    devices: frozenset[str] | None = None  # names, from Zigbee2MQTT's own list
    available: dict[str, bool] = field(default_factory=dict)
    sent: float | None = None  # when the first beat was sent

    def hear(self, guest: str, topic: str, payload: bytes, now: float) -> None:
        """A message at a broker; what makes no sense is passed over."""
        broker = self.brokers[guest]
        if topic == BEAT:
            self._beat(broker, payload, now)
        elif topic.startswith(SYS):
            self._count(broker, topic.removeprefix(SYS), payload)
        elif broker.first and topic.startswith(ZIGBEE):
            self._zigbee(topic, payload)

    def _beat(self, broker: Broker, payload: bytes, now: float) -> None:
        sent = _number(payload)
        if sent is not None and sent <= now:
            broker.beat, broker.took = now, now - sent

    def _count(self, broker: Broker, name: str, payload: bytes) -> None:
        value = _number(payload.removesuffix(b" seconds"))
        if name in COUNTED and value is not None:
            broker.counts[name] = value

    def _zigbee(self, topic: str, payload: bytes) -> None:
        if topic == BRIDGE_STATE:
            self.zigbee = _state(payload) == "online"
        elif topic == DEVICES:
            self.devices = _names(payload)
        elif topic.endswith(AVAILABILITY):
            name = topic.removeprefix(ZIGBEE).removesuffix(AVAILABILITY)
            if not payload:  # the device was removed or renamed
                self.available.pop(name, None)
            else:
                self.available[name] = _state(payload) == "online"

    def text(self, now: float) -> str:
        """For Prometheus."""
        lines: list[str] = []
        for name, help_, kind, samples in self._families(now):
            if samples:
                lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
                lines += [f"{name}{_labels(labels)} {value!r}" for labels, value in samples]
        return "\n".join(lines) + "\n"

    def _families(self, now: float) -> Iterator[tuple[str, str, str, list[tuple[dict[str, str], float]]]]:
        every = self.brokers.values()
        others = [one for one in every if not one.first]
        up = [({"guest": one.guest}, float(one.up)) for one in every]
        yield "hearth_mqtt_up", "Whether the broker takes our login.", "gauge", up
        bridged = [({"guest": one.guest}, float(self._bridged(one, now))) for one in others]
        yield "hearth_mqtt_bridge_up", "Whether what the first broker is told reaches it.", "gauge", bridged
        took = [({"guest": one.guest}, one.took) for one in others if one.took is not None]
        yield "hearth_mqtt_bridge_seconds", "How long the last message took.", "gauge", took
        for topic, (name, help_, kind) in COUNTED.items():
            counts = [({"guest": one.guest}, one.counts[topic]) for one in every if topic in one.counts]
            yield name, help_, kind, counts
        zigbee: list[tuple[dict[str, str], float]] = [] if self.zigbee is None else [({}, float(self.zigbee))]
        yield "hearth_zigbee_bridge_up", "Whether Zigbee2MQTT is connected.", "gauge", zigbee
        known = self.devices
        found = [
            ({"device": name}, float(up))
            for name, up in sorted(self.available.items())
            if known is None or name in known
        ]
        yield "hearth_zigbee_device_available", "Whether a Zigbee device is heard of.", "gauge", found

    def _bridged(self, broker: Broker, now: float) -> bool:
        """Until a first beat had its time, nothing is wrong."""
        since = broker.beat if broker.beat is not None else self.sent
        return since is None or now - since <= LATE


def _number(payload: bytes) -> float | None:
    try:
        found = float(payload)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _state(payload: bytes) -> str:
    """Zigbee2MQTT says {"state": "online"}; with a legacy setting, the bare word."""
    try:
        found: Any = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
    return str(found.get("state", "")) if isinstance(found, dict) else ""


def _names(payload: bytes) -> frozenset[str] | None:
    try:
        found: Any = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(found, list):
        return None
    return frozenset(
        str(row["friendly_name"]) for row in found if isinstance(row, dict) and "friendly_name" in row
    )


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
