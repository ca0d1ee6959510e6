"""`twin exec -- python -m twin.devices.pairing`: a hand that opens the Zigbee network until both are in.

At home that is a button in Zigbee2MQTT's frontend, and one on the device.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from hearth.errors import HearthError
from hearth.secrets import SecretStore
from twin.devices.control import Devices
from twin.devices.start import BROKER_PORT
from twin.home import PROJECT, Home
from twin.state import Twin

HAND = "twin-hand"  # in twin/standins.yaml: may publish OPEN, and nothing else
OPEN = "zigbee2mqtt/bridge/request/permit_join"
OPEN_FOR = 120  # seconds; Zigbee2MQTT takes up to 254
PATIENCE = 180.0  # seconds until both have joined: Zigbee2MQTT may only be starting
AGAIN = 10.0  # seconds after which a request that nobody heard is repeated


def pair(twin: Twin) -> None:
    """Let the sensor and the light join the fleet's Zigbee network; nothing where they are in it already.

    Args:
        twin: a twin that is up, from inside of it.

    Raises:
        HearthError: they did not join, or the broker cannot be reached.
    """
    devices, deadline = Devices.of(twin), time.monotonic() + PATIENCE
    while missing := _outside(devices):
        if time.monotonic() > deadline:
            raise HearthError(f"pair {', '.join(missing)}", f"not within {PATIENCE:g} s", "`twin log zigbee`")
        _open(Home(**twin.load()["home"]).brokers)
        for name in missing:
            devices.act(name, "join")
        _wait(devices, min(deadline, time.monotonic() + AGAIN))
    # So that nobody waits for the first report.
    devices.measure(temperature=20.0, humidity=40.0)


def _outside(devices: Devices) -> list[str]:
    return [name for name, device in devices.state()["devices"].items() if not device["joined"]]


def _wait(devices: Devices, until: float) -> None:
    while _outside(devices) and time.monotonic() < until:
        time.sleep(0.3)


def _open(brokers: list[str]) -> None:
    store = SecretStore.from_environment(PROJECT, os.environ)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(HAND, store.get(f"mqtt/{HAND}").reveal())
    client.tls_set_context(ssl.create_default_context(cadata=store.get("ca/cert").reveal()))
    client.connect_timeout = 10
    try:
        client.connect(brokers[0], BROKER_PORT)
        client.loop_start()
        client.publish(OPEN, json.dumps({"time": OPEN_FOR}), qos=1).wait_for_publish(10)
    except (OSError, ValueError, RuntimeError) as error:
        raise HearthError("open the Zigbee network", f"{brokers[0]}: {error}", "is it deployed?") from error
    finally:
        client.disconnect()
        client.loop_stop()


if __name__ == "__main__":
    try:
        pair(Twin.named(os.environ["HEARTH_TWIN"]))
    except HearthError as error:
        sys.exit(str(error))
