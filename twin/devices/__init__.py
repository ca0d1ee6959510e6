"""The devices of the home, simulated: a Zigbee radio with two devices, a house of MQTT entities, a phone."""
