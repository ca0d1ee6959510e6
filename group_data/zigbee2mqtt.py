"""What an admin may tune about Zigbee2MQTT. It keeps devices and groups itself: they are in no file here."""

from typing import Any

# The Zigbee adapter: "tcp://192.168.1.20:6638" for one in the network, or "/dev/serial/by-id/usb-..." for a
# stick. None: the guest's one serial device (`devices` in the fleet file).
zigbee2mqtt_adapter: str | None = None

# What kind of adapter it is: "zstack" (TI: Sonoff ZBDongle-P, SLZB-06), "ember" (Silicon Labs: Sonoff
# ZBDongle-E, SkyConnect), "deconz", "zigate", "zboss". None: Zigbee2MQTT finds out, which it can for most
# sticks and for none in the network.
zigbee2mqtt_adapter_type: str | None = None

# The Zigbee channel, 11 to 26 (with Wi-Fi about: 15, 20, 25). None: as it is; 11 for a new network. Some
# devices have to be paired again after a change.
zigbee2mqtt_channel: int | None = None

# May the adapter forget a network that it holds and that is not this home's? For one that is second-hand.
zigbee2mqtt_overwrite_adapter = False

# What goes to the journal: "error", "warning", "info" or "debug".
zigbee2mqtt_log_level = "info"

# Minutes without a sign of life after which a device counts as offline: those on mains are asked, others
# wait for.
zigbee2mqtt_offline_after = 10
zigbee2mqtt_offline_after_battery = 1500

# May converters and extensions be added in the frontend? They are programs: whoever has the frontend's
# token could then run anything as Zigbee2MQTT's user.
zigbee2mqtt_external_js = False

# Any further settings, as https://www.zigbee2mqtt.io/guide/configuration has them. They win over what is
# changed in the frontend, e.g. {"advanced": {"last_seen": "ISO_8601"}, "ota":
# {"disable_automatic_update_check": True}}. One that is taken away here stays as it was until it is changed
# in the frontend.
zigbee2mqtt_settings: dict[str, Any] = {}

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
zigbee2mqtt_memory = "512M"

# The data folder of an older installation on the guest: copied once, when there is none of ours yet. Devices,
# groups and the network's key are taken over from it.
zigbee2mqtt_older_data = "/opt/zigbee2mqtt/data"
