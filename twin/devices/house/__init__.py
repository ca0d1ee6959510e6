"""A house full of entities that announces itself by Home Assistant's MQTT discovery."""
