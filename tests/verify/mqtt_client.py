"""A small MQTT client for checks: it waits for answers and raises when it is refused."""

from __future__ import annotations

import queue
import ssl
import threading
import uuid
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

ANSWER = 10.0  # seconds


class RefusedError(Exception):
    """The broker answered, and said no."""


class Mqtt:
    """A connection to a broker, closed at the end of a `with` block.

    Args:
        address: host name or IP address; with TLS the certificate must be for it.
        port: TCP port.
        user: user name; None: anonymous.
        password: password.
        tls: the context to connect with; None: plain TCP.

    Raises:
        RefusedError: the broker refused the login.
        OSError: there is no connection, or no TLS that holds.
    """

    def __init__(
        self,
        address: str,
        port: int,
        user: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.received: queue.Queue[MQTTMessage] = queue.Queue()
        self.gone = threading.Event()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"verify-{uuid.uuid4()}", protocol=MQTTProtocolVersion.MQTTv5
        )
        if user is not None:
            self._client.username_pw_set(user, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.connect_timeout = ANSWER
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._answers.put(reason)
        self._client.on_subscribe = lambda _c, _u, _m, reasons, _p: self._answers.put(reasons)
        self._client.on_publish = lambda _c, _u, _m, reason, _p: self._answers.put(reason)
        self._client.on_message = lambda _c, _u, message: self.received.put(message)
        self._client.on_disconnect = lambda *_: self.gone.set()
        self._client.connect(address, port)
        self._client.loop_start()
        reason = self._answer("the login")
        if reason.is_failure:
            self.close()
            raise RefusedError(str(reason))

    def __enter__(self) -> Mqtt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect and stop the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topic: str, qos: int = 2) -> None:
        """Subscribe and wait for the answer; Mosquitto grants what it will not deliver."""
        self._client.subscribe(topic, qos)
        self._answer(f"the subscription to {topic}")

    def publish(self, topic: str, payload: str, qos: int = 0, retain: bool = False) -> None:
        """Publish and wait until the broker has it (QoS 1 and 2) or it is sent (QoS 0).

        Raises:
            RefusedError: the broker does not let this user (QoS 1 and 2; MQTT 5.0, 3.4.2.1).
        """
        self._client.publish(topic, payload, qos, retain)
        reason = self._answer(f"the message to {topic}")
        if reason.is_failure:
            raise RefusedError(str(reason))

    def message(self, wait: float = ANSWER) -> MQTTMessage:
        """The next message; AssertionError when none comes."""
        try:
            return self.received.get(timeout=wait)
        except queue.Empty:
            raise AssertionError(f"no message within {wait} s") from None

    def _answer(self, to: str) -> Any:
        try:
            return self._answers.get(timeout=ANSWER)
        except queue.Empty:
            self.close()
            raise OSError(f"no answer to {to} within {ANSWER} s") from None
