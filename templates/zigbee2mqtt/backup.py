"""Written by Hearth. Have a running Zigbee2MQTT save its devices and its coordinator's backup.

It answers `zigbee2mqtt/bridge/request/backup` once database.db and coordinator_backup.json are written
(www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html; lib/extension/bridge.ts). Exit code 0: done, or
it does not run and its files are at rest.
"""

import json
import queue
import ssl
import subprocess
import sys
import uuid
from pathlib import Path

import paho.mqtt.client as mqtt

REQUEST, RESPONSE = "zigbee2mqtt/bridge/request/backup", "zigbee2mqtt/bridge/response/backup"
SETTINGS = "/etc/zigbee2mqtt/backup.json"
FAILED = 0x80  # reason codes from here on are failures (MQTT 5.0, 2.4)
CONNECTS, ANSWERS = 20, 180  # seconds; a coordinator with many devices takes its time


def main(settings: dict) -> str:
    """Why it did not, or nothing."""
    unit = settings["unit"]
    if unit and subprocess.run(["systemctl", "-q", "is-active", unit], check=False).returncode:
        return ""
    heard: queue.Queue = queue.Queue()
    client = connected(settings, heard)
    transaction = uuid.uuid4().hex
    try:
        client.connect(settings["host"], settings["port"])
        client.loop_start()
        if problem := heard.get(timeout=CONNECTS):
            return f"the broker refuses: {problem}"
        client.subscribe(RESPONSE, 1)
        if problem := heard.get(timeout=CONNECTS):
            return problem
        client.publish(REQUEST, json.dumps({"transaction": transaction}), 1)
        return judged(heard, transaction)
    except queue.Empty:
        return "no answer: is its adapter there?"
    except OSError as error:
        return f"the broker cannot be reached: {error}"
    finally:
        client.disconnect()
        client.loop_stop()


def connected(settings: dict, heard: queue.Queue) -> mqtt.Client:
    """A client that puts what happens into the queue: connected, subscribed, then answers."""
    version = getattr(mqtt, "CallbackAPIVersion", None)  # paho 2; Debian 12 has 1.6
    client = mqtt.Client(*([version.VERSION2] if version else []), protocol=mqtt.MQTTv5)
    client.username_pw_set(settings["user"], settings["password"])
    if settings["ca"]:
        client.tls_set(settings["ca"], tls_version=ssl.PROTOCOL_TLS_CLIENT)

    def on_connect(_client, _data, _flags, reason, _properties=None):
        heard.put(str(reason) if reason != 0 else "")

    def on_subscribe(_client, _data, _number, reasons, _properties=None):
        refused = any(getattr(reason, "value", reason) >= FAILED for reason in reasons)
        heard.put("its answers may not be read" if refused else "")

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.on_message = lambda _client, _data, message: heard.put(message.payload)
    return client


def judged(heard: queue.Queue, transaction: str) -> str:
    """What it answers to this request, and to no other; nothing where all is well."""
    while True:
        try:
            answer = json.loads(heard.get(timeout=ANSWERS))
        except ValueError:
            continue
        if answer.get("transaction") == transaction:
            return "" if answer.get("status") == "ok" else str(answer.get("error") or "it failed")


if __name__ == "__main__":
    failed = main(json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else SETTINGS).read_text()))
    if failed:
        sys.exit(f"Zigbee2MQTT has not saved its coordinator's backup: {failed}")
