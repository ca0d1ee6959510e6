"""What the home's MQTT brokers and Zigbee devices do, for Prometheus.

It runs with Debian 12's Python and python3-paho-mqtt, and imports nothing else.
"""
