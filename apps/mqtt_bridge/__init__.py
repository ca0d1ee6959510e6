"""A bridge between two Mosquitto brokers that never lets an old retained message overwrite a newer one.

Mosquitto's own bridge sends, whenever it connects, every retained message of its side and asks for every one
of the other: after a break each side ends with what the other had before (bridge__on_connect in src/bridge.c,
up to 2.1; seen with 2.0.11). This one compares what both retain with what both had when they last agreed.
"""
