"""A connection to one broker: what it retains, then everything that happens there."""

from __future__ import annotations

import contextlib
import queue
import ssl
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

OWN = "hearth/bridge/"
UPTIME = "$SYS/broker/uptime"  # mosquitto(8): "1234 seconds", retained
UPDATES = 10.0  # seconds between two of them: mosquitto.conf(5), sys_interval
VERIFY = "hearth/verify/"
VERIFY_BRIDGED = "hearth/verify/bridged/"
KEEPALIVE = 10  # seconds
REFUSED = 0x80  # reason codes from here on are failures (MQTT 5.0, 2.4)
PATIENCE = 20.0  # seconds for an answer
# What travels with a message (MQTT 5.0, 3.3.2.3); the rest belongs to the connection.
CARRIED = (
    "PayloadFormatIndicator",
    "MessageExpiryInterval",
    "ContentType",
    "ResponseTopic",
    "CorrelationData",
    "UserProperty",
)


UNSENT = (RuntimeError, ValueError)  # what paho raises where a message could not even be queued


class ApartError(Exception):
    """A broker is away, or refuses."""


@dataclass(frozen=True)
class Place:
    """Where a broker is, and who we are there.

    Args:
        side: "primary" or "standby".
        host: name or address.
        port: TCP port.
        user: user name, and client id.
        password: its password.
        most: the broker's max_queued_messages: it drops what it would tell a new subscriber beyond that.
        ca: file of the authority that its certificate must be from; None: plain TCP.
    """

    side: str
    host: str
    port: int
    user: str
    password: str
    most: int = 1000
    ca: str | None = None


@dataclass(frozen=True)
class Heard:
    """A message at a side; None as message: the side is lost."""

    side: str
    message: Any


def bridged(topic: str) -> bool:
    """Whether a topic is the same at both brokers: all are, but each broker's own and those of checks."""
    if topic.startswith(("$", OWN)):
        return False
    return not topic.startswith(VERIFY) or topic.startswith(VERIFY_BRIDGED)


class Link:
    """A connection, open within a `with` block.

    Args:
        place: the broker.
        guest: names this bridge in its topics.
        inbox: where messages go, and the news that the connection is lost.

    Raises:
        ApartError: no connection, or a refused login.
    """

    def __init__(self, place: Place, guest: str, inbox: queue.Queue[Heard]) -> None:
        self.place, self.inbox = place, inbox
        self.own = f"{OWN}{guest}/"
        self._answers: queue.Queue[Any] = queue.Queue()
        self.lost = False
        self._gathered: dict[str, bytes] = {}
        self._end = ""
        self._whole = threading.Event()
        self._turn = threading.Lock()  # whether a message is gathered or goes to the inbox
        self._client = _client(place.user)
        self._client.username_pw_set(place.user, place.password)
        if place.ca:
            self._client.tls_set_context(ssl.create_default_context(cafile=place.ca))
        self._client.will_set(f"{self.own}state", "0", 1, retain=True)
        self._client.on_connect = lambda *given: self._answers.put(given[3])
        self._client.on_subscribe = lambda *given: self._answers.put(given[3])
        self._client.on_message = lambda _c, _u, message: self._hear(message)
        self._client.on_disconnect = lambda *_: self._lose()

    def __enter__(self) -> Link:
        try:
            self._client.connect(self.place.host, self.place.port, KEEPALIVE)
        except OSError as error:
            raise ApartError(f"{self.place.host}:{self.place.port}: {error}") from error
        self._client.loop_start()
        try:
            reason = self._answer("the login")
            if getattr(reason, "value", reason) != 0:
                raise ApartError(f"{self.place.host}:{self.place.port}: {reason}")
        except ApartError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._client.on_disconnect = None
        if self._client.is_connected():
            info = self.say("state", "0")
            with contextlib.suppress(*UNSENT):
                info.wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def gather(self) -> None:
        """Begin to gather: until `retained` has ended, retained messages do not go to the inbox."""
        with self._turn:
            self._gathered = {}
            self._whole.clear()

    def retained(self) -> dict[str, bytes]:
        """What the broker retains, by topic, after `gather`; from then on every message goes to the inbox.

        The broker answers in order: what it retains comes before a message that we send ourselves afterwards.
        With QoS 0 the broker needs no answers meanwhile.

        Raises:
            ApartError: it did not answer, or has more than it tells: a list cut short would look like so many
                deletions.
        """
        self._end = f"{self.own}end/{uuid.uuid4()}"
        self._subscribe(self._end, SubscribeOptions(qos=0))
        self._subscribe(UPTIME, SubscribeOptions(qos=0, retainHandling=0))
        # No-local from the beginning: Mosquitto changes only the QoS of a subscription that it has.
        self._subscribe("#", SubscribeOptions(qos=0, noLocal=True, retainAsPublished=True, retainHandling=0))
        self._client.publish(self._end, b"", 0)
        if not self._whole.wait(PATIENCE):
            raise ApartError(f"{self.place.host}: it did not say what it retains within {PATIENCE:.0f} s")
        if len(self._gathered) >= self.place.most:
            raise ApartError(f"{self.place.host} retains too many messages: raise mosquitto_max_queued")
        self._subscribe("#", SubscribeOptions(qos=2, noLocal=True, retainAsPublished=True, retainHandling=2))
        return dict(self._gathered)

    def send(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: Any = None
    ) -> mqtt.MQTTMessageInfo:
        """Hand a message to the broker, with the properties that belong to it."""
        return self._client.publish(topic, payload, qos, retain, carried(properties))

    def say(self, name: str, text: str) -> mqtt.MQTTMessageInfo:
        """Keep a word about this bridge at the broker."""
        return self._client.publish(self.own + name, text, 1, retain=True)

    def _subscribe(self, topic: str, options: SubscribeOptions) -> None:
        self._client.subscribe(topic, options=options)
        reasons = self._answer("the subscription")
        if any(reason.value >= REFUSED for reason in reasons):
            raise ApartError(f"{self.place.host}: the subscription is refused")

    def _hear(self, message: Any) -> None:
        with self._turn:
            if message.topic == self._end:
                self._whole.set()
            elif not self._whole.is_set() and (message.retain or message.topic == UPTIME):
                self._gathered[message.topic] = message.payload
            elif not message.topic.startswith(f"{self.own}end/"):  # of an earlier time
                self.inbox.put(Heard(self.place.side, message))

    def _lose(self) -> None:
        self.lost = True
        self._answers.put(None)
        self.inbox.put(Heard(self.place.side, None))

    def _answer(self, to: str) -> Any:
        try:
            found = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            found = None
        if found is None:
            raise ApartError(f"{self.place.host}:{self.place.port}: no answer to {to}")
        return found


def confirmed(info: mqtt.MQTTMessageInfo) -> bool:
    """Whether the broker has said that it has a message."""
    try:
        return bool(info.is_published())
    except UNSENT:
        return False


def began_at(retained: dict[str, bytes]) -> float:
    """When a broker began, in seconds since 1970, at most UPDATES late; 0 where it does not say."""
    word = retained.get(UPTIME, b"").split(b" ")[0]
    return time.time() - int(word) if word.isdigit() else 0.0


def carried(properties: Any) -> Properties | None:
    """The properties of a message that go on with it."""
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    names = [name for name in CARRIED if properties is not None and hasattr(properties, name)]
    for name in names:
        setattr(found, name, getattr(properties, name))
    return found if names else None


def _client(name: str) -> mqtt.Client:
    # paho 1.6 (Debian 12) and 2.x (Debian 13).
    versions = getattr(mqtt, "CallbackAPIVersion", None)
    first = {"callback_api_version": versions.VERSION2} if versions else {}
    return mqtt.Client(client_id=name, protocol=mqtt.MQTTv5, **first)
