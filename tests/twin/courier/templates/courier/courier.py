"""Publishes numbers over MQTT with QoS 1 and notes what was acknowledged; or notes what it reads.

Whoever publishes waits for the file `read` beside its own: nobody keeps a message before somebody subscribes.

courier.py publish|read HOST TOPIC FILE, with MQTT_USER, MQTT_PASSWORD and MQTT_CA in the environment.
FILE.gone gets a line for every connection that was lost.
"""

import os
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt


class Courier:
    def __init__(self, host, topic, file):
        version = getattr(mqtt, "CallbackAPIVersion", None)  # from paho 2 on
        first = (version.VERSION1,) if version else ()
        self.topic, self.file, self.acknowledged = topic, Path(file), set()
        name = f"courier-{sys.argv[1]}-{topic.replace('/', '-')}"
        self.client = mqtt.Client(*first, client_id=name, clean_session=False)
        self.client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
        self.client.tls_set(os.environ["MQTT_CA"])
        self.client.reconnect_delay_set(1, 2)
        self.client.on_disconnect = lambda *given: self.note(f"{self.file}.gone", given[2])
        self.client.connect_async(host, 8883, keepalive=10)

    def note(self, file, what):
        with Path(file).open("a") as log:
            log.write(f"{what}\n")

    def publish(self):
        self.client.on_publish = lambda client, data, mid: self.acknowledged.add(mid)
        while not self.file.with_name("read").exists():
            time.sleep(0.05)
        self.client.loop_start()
        before = self.file.read_text().split() if self.file.exists() else []
        number = int(before[-1]) if before else 0
        while True:
            number += 1
            sent = self.client.publish(self.topic, str(number), qos=1)
            while sent.mid not in self.acknowledged:
                time.sleep(0.01)
            self.note(self.file, number)
            time.sleep(0.05)

    def read(self):
        self.client.on_connect = lambda *_: self.client.subscribe(self.topic, qos=1)
        self.client.on_subscribe = lambda *_: self.file.touch()
        self.client.on_message = lambda client, data, message: self.note(self.file, message.payload.decode())
        self.client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    getattr(Courier(*sys.argv[2:]), sys.argv[1])()
