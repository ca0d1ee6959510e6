"""The devices of the home, simulated: a Zigbee radio and what hangs on it, a house of MQTT entities, a phone."""
