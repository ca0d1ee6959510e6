"""A phone with Home Assistant's app: registered, with sensors, reached over its WebSocket push channel.

Source: developers.home-assistant.io, "Native App Integration" (setup, sending data, notifications).

    with Phone(url, ca, token, "anna") as phone:
        phone.register()
        phone.call_service("light.turn_on", entity_id="light.lamp")
        phone.wait_for_notification(30)
"""

from __future__ import annotations

import json
import queue
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from nacl.encoding import Base64Encoder
from nacl.secret import SecretBox

from hearth.errors import HearthError
from twin.devices.websocket import Socket

_PAUSE = 0.5  # seconds between two tries to connect
_TIMEOUT = 30.0
_GONE = 410


def app(name: str) -> dict[str, Any]:
    """What the app says of itself and its phone, named so; `device_id` tells one phone from another."""
    return {
        "app_id": "org.hearth.twin.phone",
        "app_name": "Hearth's stand-in of the app",
        "app_version": "1.0",
        "device_name": name,
        "device_id": f"hearth-twin-{name}",
        "manufacturer": "Hearth",
        "model": "Stand-in",
        "os_name": "Twin",
        "os_version": "1.0",
        "app_data": {"push_websocket_channel": True},
    }


class Phone:
    """A phone.

    Args:
        url: Home Assistant's address as the phone knows it (https://192.168.1.134:8123).
        ca: file with the certificate of the fleet's CA, PEM; the only one the phone trusts.
        token: the user's access token.
        name: the phone's name; notifications go to `notify.mobile_app_<name>`.
        encrypted: whether what it sends to its webhook is encrypted besides TLS.
        source: the phone's own address; empty: whatever the system takes.
    """

    def __init__(
        self, url: str, ca: Path | str, token: str, name: str, *, encrypted: bool = False, source: str = ""
    ) -> None:
        self.name, self.url = name, url.rstrip("/")
        self.notifications: list[dict[str, Any]] = []
        self._token, self._encrypted, self._source = token, encrypted, source
        self._tls = ssl.create_default_context(cafile=str(ca)) if url.startswith("https:") else None
        transport = httpx.HTTPTransport(verify=self._tls or False, local_address=source or None)
        self._http = httpx.Client(base_url=self.url, transport=transport, timeout=_TIMEOUT)
        self._registration: dict[str, Any] = {}
        self._news = threading.Condition()
        self._ended, self._listening = threading.Event(), threading.Event()
        self._listener: threading.Thread | None = None

    def __enter__(self) -> Phone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch the phone off; it stays registered."""
        self._ended.set()
        if self._listener is not None:
            self._listener.join(_TIMEOUT)
        self._http.close()

    # ------------------------------------------------------------------ the app and its sensors

    def register(self) -> str:
        """Register the app and hold the push channel; returns the webhook's id.

        Registering again gives a new webhook, and ends the old.

        Raises:
            HearthError: Home Assistant refuses, or the push channel does not come.
        """
        body = {**app(self.name), "supports_encryption": self._encrypted}
        self._registration = self._api("POST", "/api/mobile_app/registrations", body)
        self._listening.clear()
        if self._encrypted and not self._registration.get("secret"):
            raise HearthError(f"register the phone {self.name}", "no secret came for the encryption")
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        self.await_channel(_TIMEOUT)
        return str(self._registration["webhook_id"])

    def unregister(self) -> None:
        """Take the phone out of Home Assistant again, with its sensors; it needs an administrator's token."""
        socket = self.socket()
        try:
            entries = socket.command("config_entries/get", type_filter=["integration"], domain="mobile_app")
        finally:
            socket.close()
        for entry in entries:
            if entry["title"] == self.name:
                self._api("DELETE", f"/api/config/config_entries/entry/{entry['entry_id']}")

    def webhook(self, kind: str, data: Any) -> Any:
        """Send to the webhook; returns what it answers ({} means nothing, often also "refused").

        Raises:
            HearthError: not registered, or Home Assistant answers with an error.
        """
        if not self._registration:
            raise HearthError(f"send {kind} from the phone {self.name}", "it is not registered")
        body: dict[str, Any] = {"type": kind, "data": data}
        if self._encrypted:
            sealed = self._box().encrypt(json.dumps(data).encode(), encoder=Base64Encoder).decode()
            body = {"type": kind, "encrypted": True, "encrypted_data": sealed}
        path = f"/api/webhook/{self._registration['webhook_id']}"
        answer = self._request("POST", path, body, {})
        if isinstance(answer, dict) and answer.get("encrypted"):
            return json.loads(self._box().decrypt(answer["encrypted_data"].encode(), encoder=Base64Encoder))
        return answer

    def register_sensor(self, unique_id: str, name: str, state: Any, **facts: Any) -> None:
        """Add a sensor (`type="binary_sensor"`, `unit_of_measurement`, `device_class` ...)."""
        sensor = {"type": "sensor", "unique_id": unique_id, "name": name, "state": state, **facts}
        self._must(self.webhook("register_sensor", sensor), "register_sensor", unique_id)

    def update_sensor(self, unique_id: str, state: Any, kind: str = "sensor") -> None:
        """Send a sensor's new state."""
        update = {"type": kind, "unique_id": unique_id, "state": state}
        answer = self.webhook("update_sensor_states", [update])
        self._must(answer.get(unique_id, {}), "update_sensor_states", unique_id)

    def update_location(self, latitude: float, longitude: float, accuracy: float = 10) -> None:
        """Say where the phone is (degrees; accuracy in metres)."""
        self.webhook("update_location", {"gps": [latitude, longitude], "gps_accuracy": accuracy})

    # ------------------------------------------------------------------ what a user does in the app

    def call_service(self, service: str, **data: Any) -> Any:
        """Call a service (`light.turn_on`) over HTTPS; returns the states that it changed."""
        domain, _, name = service.partition(".")
        return self._api("POST", f"/api/services/{domain}/{name}", data)

    def state(self, entity_id: str) -> dict[str, Any]:
        """An entity's state: {"state": ..., "attributes": {...}}."""
        found: dict[str, Any] = self._api("GET", f"/api/states/{entity_id}")
        return found

    def socket(self) -> Socket:
        """Another WebSocket connection of the same user; close it when done."""
        return Socket(self.url, self._token, self._tls, self._source)

    # ------------------------------------------------------------------ notifications

    def await_channel(self, timeout: float) -> None:
        """Wait until the push channel stands.

        Raises:
            HearthError: it did not come within `timeout` seconds.
        """
        if not self._listening.wait(timeout):
            raise HearthError(f"hold the push channel of {self.name}", f"it did not come in {timeout:g} s")

    def wait_for_notification(
        self, timeout: float, which: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """The first notification (`message`, `title`, `data`) that fits, waited for if need be.

        Raises:
            HearthError: none came within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                found = next((n for n in self.notifications if which(n)), None)
                if found is not None:
                    return found
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise HearthError(
                        f"wait for a notification on {self.name}",
                        f"none that fits came within {timeout:g} s; there are {self.notifications}",
                    )

    def _listen(self) -> None:
        """Hold the channel as an app does: whatever ends it, it comes back."""
        while not self._ended.is_set():
            try:
                socket = self.socket()
            except HearthError:
                self._ended.wait(_PAUSE)
                continue
            try:
                self._hold(socket)
            except HearthError:
                self._ended.wait(_PAUSE)
            finally:
                self._listening.clear()
                socket.close()

    def _hold(self, socket: Socket) -> None:
        webhook = self._registration["webhook_id"]
        channel = "mobile_app/push_notification_channel"
        events = socket.subscribe(channel, webhook_id=webhook, support_confirm=True)
        self._listening.set()
        while not self._ended.is_set() and webhook == self._registration["webhook_id"]:
            try:
                message = events.get(timeout=0.2)
            except queue.Empty:
                continue
            if message is None:
                return
            self._take(socket, webhook, message["event"])

    def _take(self, socket: Socket, webhook: str, notification: dict[str, Any]) -> None:
        confirm = notification.pop("hass_confirm_id", None)
        with self._news:
            self.notifications.append(notification)
            self._news.notify_all()
        if confirm:
            socket.command("mobile_app/push_notification_confirm", webhook_id=webhook, confirm_id=confirm)

    # ------------------------------------------------------------------ requests

    def _api(self, method: str, path: str, body: Any = None) -> Any:
        return self._request(method, path, body, {"Authorization": f"Bearer {self._token}"})

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        shown = "/api/webhook" if path.startswith("/api/webhook/") else path  # its id is a secret
        action = f"send {method} {shown} from the phone {self.name}"
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise HearthError(action, str(error) or type(error).__name__) from error
        if answer.status_code == _GONE:
            raise HearthError(action, "this registration was deleted", "register again")
        if answer.is_error:
            raise HearthError(action, f"{answer.status_code} {answer.text[:200]}")
        return answer.json() if answer.content else {}

    def _box(self) -> SecretBox:
        return SecretBox(bytes.fromhex(self._registration["secret"]))

    def _must(self, answer: Any, kind: str, unique_id: str) -> None:
        if not (isinstance(answer, dict) and answer.get("success")):
            raise HearthError(f"send {kind} of {unique_id} from the phone {self.name}", f"answer: {answer}")
