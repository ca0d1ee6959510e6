"""A connection to each broker, which comes back by itself for as long as the program runs."""

from __future__ import annotations

import ssl
import threading
import time
from typing import Any

import paho.mqtt.client as mqtt

from mqtt_metrics.state import BEAT, SUBSCRIBED, State

KEEPALIVE = 20  # seconds
AGAIN = 10  # seconds between two tries, at most


class Brokers:
    """All connections, and the state that they write to.

    Args:
        settings: see __main__.
        state: where what is heard goes; `lock` guards it.
    """

    def __init__(self, settings: dict[str, Any], state: State) -> None:
        self.state = state
        self.lock = threading.Lock()
        self.clients = [self._client(settings, broker) for broker in settings["brokers"]]

    def start(self) -> None:
        """Begin to connect; what is away is tried again for ever."""
        for client, (host, port) in self.clients:
            client.connect_async(host, port, KEEPALIVE)
            client.loop_start()

    def stop(self) -> None:
        """Say goodbye."""
        for client, _ in self.clients:
            client.disconnect()
            client.loop_stop()

    def beat(self) -> None:
        """Give the first broker a message that the others must hear of."""
        now = time.monotonic()
        with self.lock:
            if self.state.sent is None and any(one.up for one in self.state.brokers.values() if one.first):
                self.state.sent = now
        first = self.clients[0][0]
        if first.is_connected():
            first.publish(BEAT, repr(now), 0)

    def text(self) -> str:
        """For Prometheus."""
        with self.lock:
            return self.state.text(time.monotonic())

    def _client(
        self, settings: dict[str, Any], broker: dict[str, Any]
    ) -> tuple[mqtt.Client, tuple[str, int]]:
        guest = str(broker["guest"])
        client = _new(f"{settings['user']}-metrics")
        client.username_pw_set(settings["user"], settings["password"])
        if settings.get("ca"):
            client.tls_set_context(ssl.create_default_context(cafile=settings["ca"]))
        client.reconnect_delay_set(1, AGAIN)
        client.on_connect = lambda *given: self._connected(guest, client, given[3])
        client.on_disconnect = lambda *_: self._up(guest, False)
        client.on_message = lambda _c, _u, message: self._hear(guest, message)
        return client, (str(broker["host"]), int(broker["port"]))

    def _connected(self, guest: str, client: mqtt.Client, reason: Any) -> None:
        accepted = getattr(reason, "value", reason) == 0
        self._up(guest, accepted)
        if accepted:
            client.subscribe([(topic, 0) for topic in SUBSCRIBED])

    def _up(self, guest: str, up: bool) -> None:
        with self.lock:
            broker = self.state.brokers[guest]
            broker.up = up
            if not up:
                broker.counts.clear()

    def _hear(self, guest: str, message: Any) -> None:
        with self.lock:
            self.state.hear(guest, message.topic, message.payload, time.monotonic())


def _new(name: str) -> mqtt.Client:
    # paho 1.6 (Debian 12) and 2.x (Debian 13).
    versions = getattr(mqtt, "CallbackAPIVersion", None)
    first = {"callback_api_version": versions.VERSION2} if versions else {}
    return mqtt.Client(client_id=name, protocol=mqtt.MQTTv311, **first)
