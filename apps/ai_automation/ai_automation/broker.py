"""MQTT, both ways (protocol 5, by paho-mqtt).

In: `ai_automation/trigger/<id>` and the rules' own topics. Out: `ai_automation/status` (retained; the last
will says offline) and `ai_automation/runs/<run id>`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ai_automation.config import Mqtt
from ai_automation.failure import ActionError
from ai_automation.run import Run

_log = logging.getLogger(__name__)

BASE = "ai_automation"
TRIGGER = f"{BASE}/trigger/"
STATUS = f"{BASE}/status"
_MOST_QUEUED = 1000  # messages about runs that wait for the broker to come back
_LONGEST_PAUSE = 15  # seconds between two tries to connect
_CONFIRM = 10  # seconds for the broker to take a message


@dataclass(frozen=True)
class Message:
    """A message that came in.

    Args:
        filter: the topic filter by which it came; a message that fits two comes twice.
    """

    filter: str
    topic: str
    payload: bytes


class Broker:
    """The connection. It is kept up, and made again, by itself.

    Args:
        settings: from the config.
        password: "" where there is none.
        loop: the event loop on which `send` is used.
        received: called with each message, on paho's thread.
        most_bytes: larger messages are dropped, and logged.
    """

    def __init__(
        self,
        settings: Mqtt,
        password: str,
        loop: asyncio.AbstractEventLoop,
        received: Callable[[Message], None],
        most_bytes: int,
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._received = received
        self._most_bytes = most_bytes
        self._filters: list[str] = []
        self._ids: dict[str, int] = {}  # topic filter -> subscription identifier
        self._sent: dict[int, asyncio.Future[ReasonCode]] = {}
        self._awaited: set[int | None] = set()  # subscriptions not yet confirmed
        self.state = "connecting"
        self._client = self._make(password)

    def _make(self, password: str) -> paho.Client:
        settings = self._settings
        client = paho.Client(CallbackAPIVersion.VERSION2, settings.client_id, protocol=paho.MQTTv5)
        if settings.username is not None:
            client.username_pw_set(settings.username, password)
        if settings.ca_file is not None:
            client.tls_set(ca_certs=settings.ca_file)
        client.max_queued_messages_set(_MOST_QUEUED)
        client.reconnect_delay_set(1, _LONGEST_PAUSE)
        client.will_set(STATUS, "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        return client

    def start(self, filters: Iterable[str]) -> None:
        """Connect in the background and subscribe to these topic filters."""
        self._number(filters)
        self._client.connect_async(self._settings.host, self._settings.port, keepalive=30)
        self._client.loop_start()

    def follow(self, filters: Iterable[str]) -> None:
        """Subscribe to these topic filters, and no others."""
        before = set(self._filters)
        self._number(filters)
        gone = sorted(before - set(self._filters))
        if self._client.is_connected():
            if gone:
                self._client.unsubscribe(gone)
            self._subscribe(sorted(set(self._filters) - before))

    def report(self, run: Run) -> None:
        """Tell a run's state; kept for later while the broker is away."""
        self._client.publish(f"{BASE}/runs/{run.id}", json.dumps(run.brief()), qos=1)

    async def send(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish, and return when the broker has taken it.

        Raises:
            ActionError: not connected, not allowed, or no confirmation.
        """
        if not self._client.is_connected():
            raise ActionError("mqtt is not connected", "not_sent")
        # Published and noted in one step of the loop, to which _on_publish posts: nothing comes between.
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise ActionError(f"mqtt: {paho.error_string(info.rc)}", "not_sent")
        done: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._sent[info.mid] = done
        try:
            async with asyncio.timeout(_CONFIRM):
                reason = await done
        except TimeoutError:
            raise ActionError(f"mqtt: the broker did not confirm within {_CONFIRM} s", "unsure") from None
        finally:
            self._sent.pop(info.mid, None)
        if reason.is_failure:
            raise ActionError(f"mqtt: the broker refused {topic}: {reason}")

    def stop(self) -> None:
        """Say offline and part."""
        if self._client.is_connected():
            info = self._client.publish(STATUS, "offline", qos=1, retain=True)
            try:
                info.wait_for_publish(3)
            except (ValueError, RuntimeError) as error:
                _log.warning("mqtt: offline could not be said: %s", error)
        self._client.disconnect()
        self._client.loop_stop()
        self.state = "disconnected"

    def _number(self, filters: Iterable[str]) -> None:
        self._filters = sorted({f"{TRIGGER}+", *filters})
        for topic in self._filters:
            self._ids.setdefault(topic, len(self._ids) + 1)

    def _subscribe(self, filters: Iterable[str]) -> set[int | None]:
        # One identifier each: a message tells by which filter it came, so that overlapping ones fire once.
        sent: set[int | None] = set()
        for topic in filters:
            properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
            properties.SubscriptionIdentifier = self._ids[topic]
            _, mid = self._client.subscribe(topic, options=SubscribeOptions(qos=1), properties=properties)
            sent.add(mid)
        return sent

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            if self.state != "refused":
                _log.error("mqtt: the broker refused us: %s (check user and password)", reason)
            self.state = "refused"
            return
        _log.info("mqtt: connected to %s:%d", self._settings.host, self._settings.port)
        client.publish(STATUS, "online", qos=1, retain=True)
        self._awaited = self._subscribe(self._filters)

    def _on_connect_fail(self, client: paho.Client, userdata: Any) -> None:
        if self.state != "disconnected":
            _log.warning("mqtt: %s:%d cannot be reached; trying on", self._settings.host, self._settings.port)
        self.state = "disconnected"

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if self.state in ("connecting", "connected"):
            _log.warning("mqtt: disconnected: %s; connecting again", reason)
            self.state = "disconnected"

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                _log.error("mqtt: the broker refused a subscription: %s (check its ACL)", reason)
        self._awaited.discard(mid)
        if not self._awaited:  # from here on no message is missed
            self.state = "connected"

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, reason: ReasonCode, properties: Any
    ) -> None:
        self._loop.call_soon_threadsafe(self._confirmed, mid, reason)

    def _confirmed(self, mid: int, reason: ReasonCode) -> None:
        done = self._sent.get(mid)
        if done is not None and not done.done():
            done.set_result(reason)
        elif reason.is_failure:
            _log.error("mqtt: the broker refused a message: %s (check its ACL)", reason)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if message.retain:  # the state of some earlier time, not an event
            return
        if len(message.payload) > self._most_bytes:
            _log.warning("mqtt: %d bytes on %s are too many; dropped", len(message.payload), message.topic)
            return
        numbers = set(getattr(message.properties, "SubscriptionIdentifier", []))
        for topic, number in list(self._ids.items()):
            if number in numbers:
                self._received(Message(topic, message.topic, bytes(message.payload)))
