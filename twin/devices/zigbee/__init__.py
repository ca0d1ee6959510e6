"""A Zigbee coordinator as Z-Stack's ZNP firmware is one, over TCP, and the devices behind it.

The frames are zigpy-znp's and zigpy's; what is ours is how radio and devices behave.
"""
