"""The house's connection to a broker: it announces all it has, tells states, and takes commands."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from twin.devices.house.entities import (
    COMMANDS,
    NAME,
    OFFLINE,
    ONLINE,
    STATUS,
    Entity,
    accepted,
    drifted,
    entities,
)
from twin.devices.house.login import Login

log = logging.getLogger("twin.devices.house")
PATIENCE = 5.0  # seconds for a connection
ALIVE = 20  # seconds between two pings


class House:
    """All entities and their states.

    Args:
        states: entity's key -> state, as `save` was told.
        save: told all states after a change.
        source: its own address; empty: whatever the system takes.
    """

    def __init__(
        self, states: dict[str, str], save: Callable[[dict[str, str]], None], source: str = ""
    ) -> None:
        self._entities = {entity.key: entity for entity in entities()}
        self.states = {key: states.get(key, entity.first) for key, entity in self._entities.items()}
        self._save = save
        self._source = source
        self._step = 0

    def stay(self, broker: tuple[str, int], login: Login, ended: Callable[[], bool], every: float) -> bool:
        """Connect to a broker and stay until it is lost or `ended`; whether it let the house in.

        Args:
            broker: address and port of the TLS listener.
            login: user and CA.
            ended: asked often.
            every: seconds between two new measurements.

        Raises:
            OSError: the broker does not answer, or its certificate is not the fleet's.
        """
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=NAME, protocol=mqtt.MQTTv5)
        client.username_pw_set(NAME, login.password.reveal())
        client.tls_set_context(login.tls())
        client.will_set(STATUS, OFFLINE, qos=1, retain=True)
        client.connect_timeout = PATIENCE
        entered: list[bool] = []
        client.on_connect = lambda c, _u, _f, code, _p: entered.append(self._connected(c, code))
        client.on_message = lambda c, _u, message: self._commanded(c, message)
        client.connect(*broker, keepalive=ALIVE, bind_address=self._source)
        self._loop(client, ended, every)
        return any(entered)

    def _loop(self, client: mqtt.Client, ended: Callable[[], bool], every: float) -> None:
        next_one = time.monotonic() + every
        while client.loop(timeout=0.5) == mqtt.MQTT_ERR_SUCCESS:
            if ended():
                client.publish(STATUS, OFFLINE, qos=1, retain=True)
                client.disconnect()
                return
            if time.monotonic() >= next_one and client.is_connected():
                next_one = time.monotonic() + every
                self._measure(client)

    def _connected(self, client: mqtt.Client, code: Any) -> bool:
        if code.is_failure:
            log.warning("the broker refused the house: %s", code)
            client.disconnect()
            return False
        for entity in self._entities.values():
            config = json.dumps(entity.config(), ensure_ascii=False)
            client.publish(entity.config_topic, config, qos=1, retain=True)
            self._tell(client, entity)
        client.subscribe(COMMANDS, qos=1)
        client.publish(STATUS, ONLINE, qos=1, retain=True)
        log.info("announced %d entities", len(self._entities))
        return True

    def _commanded(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        entity = self._entities.get(message.topic.removeprefix(f"{NAME}/").removesuffix("/set"))
        state = accepted(entity, message.payload.decode(errors="replace")) if entity else None
        if entity is None or state is None or message.retain:
            log.warning("no command: %s", message.topic)
            return
        self._change(client, entity, state)

    def _measure(self, client: mqtt.Client) -> None:
        self._step += 1
        keys = [
            key for key, entity in self._entities.items() if entity.facts.get("state_class") == "measurement"
        ]
        entity = self._entities[keys[self._step % len(keys)]]
        self._change(client, entity, drifted(entity, self._step))

    def _change(self, client: mqtt.Client, entity: Entity, state: str) -> None:
        self.states[entity.key] = state
        self._save(self.states)
        self._tell(client, entity)

    def _tell(self, client: mqtt.Client, entity: Entity) -> None:
        client.publish(entity.state_topic, self.states[entity.key], qos=1, retain=True)
