"""Every credential of the whole home, each tried as its owner would use it; tests of rotation ask here."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from paho.mqtt.client import Client as MqttClient
from paho.mqtt.enums import CallbackAPIVersion
from websockets.exceptions import ConnectionClosed

from hearth.home_assistant.client import Client, Place, RefusedError
from hearth.home_assistant.login import Owner, logged_in
from hearth.home_assistant.tokens import holds
from hearth.secrets import mqtt_logins
from hearth.websocket import opened
from tests.twin.home_kit import Home

LIMIT = 20  # seconds
PYTHON = "/opt/hearth/home-assistant/current/venv/bin/python"
DATABASE = (
    "import os, sys, psycopg2\n"
    "try: psycopg2.connect(host=sys.argv[1], user='home_assistant', dbname='home_assistant', "
    "password=sys.stdin.read(), sslmode='require')\n"
    "except psycopg2.OperationalError as e: sys.exit(7 if 'authentication failed' in str(e) else str(e))\n"
)
Credentials = Mapping[str, str]  # secret, "@" and the user name where the two belong together -> value


@dataclass(frozen=True)
class Tried:
    """The home, and how each of its credentials is tried."""

    home: Home

    def current(self) -> Credentials:
        """All that this knows how to try, as they are now."""
        store = self.home.secrets
        found = {name: store.get(name).reveal() for name in store.names() if self._way(name)}
        for name in [name for name in found if name.startswith("mqtt/")]:
            del found[name]
            for login in mqtt_logins(store, name.removeprefix("mqtt/")):
                found[f"{name}@{login.name}"] = login.password.reveal()
        return found

    def opens(self, credential: str, value: str) -> bool:
        """Whether it is accepted."""
        name, _, user = credential.partition("@")
        way = self._way(name)
        assert way is not None
        return way(user or name.rpartition("/")[2], value)

    def _way(self, name: str) -> Callable[[str, str], bool] | None:
        ways: dict[str, Callable[[str, str], bool]] = {
            "mqtt": self._broker,
            "mcp-hub/token": lambda _, value: self._bearer("comms", 3000, "/api/tools", value),
            "ai-automation/token": lambda _, value: self._bearer("comms", 5000, "/api/automations", value),
            "home-assistant/token": lambda _, value: self.home.twin.call(lambda: holds(self._ha(), value)),
            "postgresql": self._database,
            "zigbee2mqtt": self._frontend,
        }
        if name in ("postgresql/replication", "zigbee2mqtt/network-key"):
            return None
        if name == "home-assistant/owner":
            return self._owner
        kind, _, last = name.rpartition("/")
        if kind == "postgresql" and last != "home-assistant":
            return None
        if kind == "zigbee2mqtt" and last != "frontend-token":
            return None
        return ways.get(kind)

    @property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.home.secret("ca/cert"))

    def _ha(self) -> Client:
        url = f"https://{self.home.address('home-assistant')}:8123"
        return Client(Place("home-assistant", url, trusted=self._tls))

    def _broker(self, user: str, password: str) -> bool:
        reasons: list[object] = []
        client = MqttClient(CallbackAPIVersion.VERSION2)
        client.username_pw_set(user, password)
        client.tls_set_context(self._tls)
        client.on_connect = lambda c, _u, _f, reason, _p: (reasons.append(reason), c.disconnect())
        self.home.twin.call(lambda: (client.connect(self.home.address("comms"), 8883), client.loop_forever()))
        return not reasons[0].is_failure  # type: ignore[attr-defined]

    def _bearer(self, guest: str, port: int, path: str, token: str) -> bool:
        url = f"https://{self.home.address(guest)}:{port}{path}"
        headers = {"Authorization": f"Bearer {token}"}
        tls = self._tls
        answer = self.home.twin.call(
            lambda: httpx.get(url, headers=headers, verify=tls, timeout=LIMIT, trust_env=False)
        )
        # A token without that right is known, and told so.
        assert answer.status_code in (200, 401, 403), answer.text
        return answer.status_code != httpx.codes.UNAUTHORIZED

    def _owner(self, _: str, password: str) -> bool:
        def log_in() -> bool:
            with self._ha() as client, logged_in(client, Owner("Home", "home", password, "en")):
                return True

        try:
            return self.home.twin.call(log_in)
        except RefusedError:
            return False

    def _database(self, _: str, password: str) -> bool:
        ask = f"{PYTHON} -c \"$(cat <<'END'\n{DATABASE}END\n)\" {self.home.address('database')}"
        done = subprocess.run(
            self.home.ssh("home-assistant", ask),
            input=password,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, 7), done.stderr
        return done.returncode == 0

    def _frontend(self, _: str, token: str) -> bool:
        def ask() -> bool:
            address = self.home.address("comms")
            inside = socket.create_connection((address, 8080), LIMIT)
            url = f"wss://{address}:8080/api?token={token}"
            with opened(url, self._tls, sock=inside) as connection:
                try:
                    connection.recv(LIMIT)
                except ConnectionClosed:
                    return False
                return True

        return self.home.twin.call(ask)
