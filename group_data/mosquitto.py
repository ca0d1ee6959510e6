"""What an admin may tune about the MQTT broker. Services get their users and topics from their roles."""

# Devices that log in with a name and password of their own, and what each may do:
#   "garden-sensor": {"publish": ["garden/#"], "subscribe": ["garden/set"]},
# The password is generated: `hearth secrets show mqtt/garden-sensor`.
mosquitto_devices: dict[str, dict[str, list[str]]] = {}

# What the broker writes to the journal: "error", "warning", "notice", "information" or "debug", each with all
# before it.
mosquitto_log_level = "notice"

# Connections a listener accepts at once.
mosquitto_max_connections = 500

# The largest message, in bytes.
mosquitto_max_message = 1_048_576

# Messages that wait for a client, also retained ones when it subscribes; more are dropped. Keep it above the
# number of retained messages: Home Assistant would miss some, and a second broker is not bridged then.
mosquitto_max_queued = 10_000

# How long the broker keeps subscriptions and messages for a client that does not come back (e.g. "14d", "2w",
# "1m").
mosquitto_client_expiry = "14d"

# Seconds between two writes of retained messages and queues to disk.
mosquitto_autosave = 300

# The broker is restarted when it takes more memory than this (systemd.resource-control(5)).
mosquitto_memory = "256M"

# The bridge of a second broker to the first is restarted when it takes more memory than this.
mosquitto_bridge_memory = "128M"
